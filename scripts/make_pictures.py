"""Makes README's pictures with the shipped weights: a sheet of ten prompts, and a clip.

python scripts/make_pictures.py [--mode grounded]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import elsewhere

PROMPTS = (
    "two pirate ships battling each other as they sail inside a cup of coffee",
    "a red rubber duck drifting in a bathtub at dusk",
    "a lighthouse and a sailboat on the open sea at sunset",
    "a snowman next to a house in a snowy field",
    "a blue toy car next to a teapot on a tabletop",
    "an iceberg and a whale in the open sea, cloudy",
    "three yellow buoys on a lake in the morning",
    "a barrel rolling past a cactus in the desert",
    "a sailboat circling an island on a lake at dawn",
    "five penguins in the snow, from above",
)
PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"


def titled(picture: np.ndarray, title: str, side: int) -> Image.Image:
    """A picture enlarged to `side` with its sentence below, in two lines."""
    words, lines = title.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > side // 6 - 2:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    image = Image.new("RGB", (side, side + 32), "white")
    image.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
    ImageDraw.Draw(image).multiline_text((4, side + 2), "\n".join(lines[:2]), fill="black")
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", default="grounded")
    parser.add_argument("--out", type=Path, default=PICTURES)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    side = 256
    sheet = Image.new("RGB", (5 * side, 2 * (side + 32)), "white")
    for number, prompt in enumerate(PROMPTS):
        film = elsewhere.generate(prompt, seconds=1.0, mode=arguments.mode)
        tile = titled(film.frames[-1], prompt, side)
        sheet.paste(tile, (side * (number % 5), (side + 32) * (number // 5)))
    sheet.save(arguments.out / "ten-prompts.png", optimize=True)
    film = elsewhere.generate(PROMPTS[0], seconds=3.0, fps=12, mode=arguments.mode)
    frames = [Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS) for frame in film.frames]
    frames[0].save(arguments.out / "ships.gif", save_all=True, append_images=frames[1:], duration=83, loop=0)


if __name__ == "__main__":
    main()
