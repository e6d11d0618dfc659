"""What size and what length of training bring: transformers of several sizes, each trained for several budgets.

All see the same clips in the same order through one trained tokenizer; each length has a schedule of its own. After
each run, held-out clips are asked: two frames of each, made in one step from noise behind true past frames, once with
the guide and once in a dream. The error is the mean square of what is predicted against the true latents, over that
of predicting their mean; below 1 is better than that. A grounded picture's PSNR is against the path-traced one. Compute
is counted: three times the products and sums of a forward pass, for each step (shortcut steps cost more, about twice).

    python benchmarks/scaling.py CLIPS HELD_OUT --tokenizer run/tokenizer.safetensors --out scaling
    python benchmarks/scaling.py CLIPS HELD_OUT --tokenizer run/tokenizer.safetensors --out scaling \\
        --sizes 48x3,96x4,144x6 --budgets 100,200,400 --page docs/scaling.md --picture docs/pictures/scaling.png

A run that was cut off goes on where it was. It needs torch.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = "scaling.jsonl"
MEASURES = {"dream": "error of dreams", "grounded": "error with the guide", "psnr": "PSNR with the guide, dB"}
HEADS = 24
"""Channels of one head, as in the shipped network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One training: width and layers of the transformer, and its steps."""

    width: int
    layers: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.width}x{self.layers}-{self.steps}"


def read_cells(sizes: str, budgets: str) -> list[Cell]:
    """Cells of a grid, from "48x3,96x4" and "100,200". Raises ValueError that names what is wrong."""
    try:
        pairs = [tuple(int(part) for part in size.lower().split("x")) for size in sizes.split(",")]
        steps = sorted({int(budget) for budget in budgets.split(",")})
        cells = [Cell(width=width, layers=layers, steps=count) for width, layers in pairs for count in steps]
    except ValueError:
        raise ValueError(f"sizes must be like 48x3,96x4 and budgets like 100,200; got {sizes!r}, {budgets!r}") from None
    for cell in cells:
        if cell.width % HEADS or not (
            HEADS <= cell.width <= 1536 and 1 <= cell.layers <= 48 and 1 <= cell.steps <= 10**6
        ):
            near = max(HEADS, round(cell.width / HEADS) * HEADS)
            raise ValueError(
                f"sizes must be WIDTHxLAYERS with a width that is a multiple of {HEADS} and up to 48 layers, budgets "
                f"from 1; got {cell.width}x{cell.layers}, {cell.steps} steps; the nearest width is {near}"
            )
    return cells


def train_cell(cell: Cell, clips: Any, tokenizer: Any, out: Path, batch: int) -> tuple[Any, dict[str, Any]]:
    """Trains, or goes on; the network, and what it cost."""
    from torch.utils.flop_counter import FlopCounterMode

    from elsewhere.model.configuration import TransformerConfig
    from elsewhere.model.train import world
    from elsewhere.model.train.networks.transformer import Transformer
    from elsewhere.scene.words import vocabulary

    config = TransformerConfig(
        width=cell.width, layers=cell.layers, heads=cell.width // HEADS, memory=True, vocabulary=vocabulary()
    )
    plan = world.WorldTraining(steps=cell.steps, batch=batch)
    drawn = world.draw_batch(clips, world.Latents(tokenizer, clips), config, plan, np.random.default_rng(0))
    counter = FlopCounterMode(display=False)
    with counter:
        level = drawn.latents.new_zeros(drawn.latents.shape[:2])
        world.predict(Transformer(config), drawn, drawn.latents, level, level)
    folder = out / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    network = world.train(clips, tokenizer, config, plan, folder)
    return network, {
        "parameters": sum(p.numel() for p in network.parameters()),
        "flop": 3.0 * counter.get_total_flops() * cell.steps,
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def measure(network: Any, tokenizer: Any, clips: Any) -> dict[str, float]:
    """Errors and PSNR on all clips of a set, one-step, with the same noise for every network."""
    import torch

    from elsewhere.model.planes import plane_weights
    from elsewhere.model.train import world

    latents = world.Latents(tokenizer, clips)
    found: dict[str, list[tuple[float, float]]] = {"dream": [], "grounded": []}
    errors: list[float] = []
    network.eval()
    with torch.inference_mode():
        for number in range(len(clips)):
            for ground, strength in (("dream", 0.0), ("grounded", 1.0)):
                weights = plane_weights("full", strength)
                clean = torch.from_numpy(latents.of(number, weights))[None]
                batch = world.Batch(
                    latents=clean,
                    planes=torch.from_numpy(clips.coarse[number].astype(np.float32) * weights[:, None, None])[None],
                    rays=torch.from_numpy(clips.rays[number].astype(np.float32))[None],
                    text=torch.from_numpy(clips.text(number, network.config.vocabulary, network.config.text_length))[
                        None
                    ],
                    positions=torch.from_numpy(clips.positions[number]),
                    memory=torch.from_numpy(clips.warped[number].astype(np.float32) / np.float32(255.0))[None],
                    numbers=[number],
                    weights=weights[None],
                )
                count = clean.shape[1]
                noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(number))
                for frame in (count // 2, count - 1):
                    level = torch.full((1, count), world.CONTEXT_LEVEL)
                    step = torch.zeros(1, count)
                    level[0, frame], step[0, frame] = 0.0, 1.0
                    made = world.predict(network, batch, world.at_level(clean, noise, level), level, step)[0, frame]
                    off = float((made - clean[0, frame]).square().mean())
                    spread = float((clean[0, frame] - clean[0, frame].mean(dim=(1, 2), keepdim=True)).square().mean())
                    found[ground].append((off, spread))
                    if ground == "grounded":
                        plane = torch.from_numpy(clips.planes[number][frame]).float()[None] / 127.0
                        shown = tokenizer.decoder(made[None], plane)[0, :3].clamp(0.0, 1.0).numpy()
                        wanted = clips.picture[number][frame].astype(np.float32) / 255.0
                        errors.append(-10.0 * math.log10(max(1e-10, float(((shown - wanted) ** 2).mean()))))
    shares = {name: float(np.sum([a for a, _ in rows]) / np.sum([b for _, b in rows])) for name, rows in found.items()}
    return {name: round(value, 4) for name, value in (shares | {"psnr": float(np.mean(errors))}).items()}


def plain_psnr(clips: Any) -> float:
    """Mean PSNR in dB of the plainly lit guide on the frames that `measure` asks: the floor of PSNR with the guide."""
    found = []
    for plane, picture in zip(clips.planes, clips.picture, strict=True):
        for frame in (len(plane) // 2, len(plane) - 1):
            off = np.clip(plane[frame, :3] / 127.0, 0.0, 1.0) - picture[frame] / 255.0
            found.append(-10.0 * math.log10(max(1e-10, float((off**2).mean()))))
    return round(float(np.mean(found)), 2)


def page(rows: list[dict[str, Any]], about: dict[str, Any], picture: Path | None) -> str:
    """The table in Markdown, with the command that made it."""
    lines = [
        "# Scaling",
        "",
        f"{len(rows)} trainings of the transformer on {about['clips']} clips, asked on {about['held_out']} held-out "
        f"clips, batch {about['batch']}, {about['threads']} thread(s) of a processor. This is a grid for the time that "
        f"there was: its largest run has {max(row['flop'] for row in rows) / 1e12:.3g} TFLOP. Made by "
        f"`{about['command']}`; what the columns are is said in the first lines of that file. The plainly lit guide "
        f"itself has {about['plain_psnr']:.2f} dB.",
        "",
        "| width × layers | parameters | steps | TFLOP | CPU s | " + " | ".join(MEASURES.values()) + " |",
        "|" + "---|" * (5 + len(MEASURES)),
    ]
    for row in sorted(rows, key=lambda row: (row["parameters"], row["steps"])):
        values = " | ".join(f"{row[name]:.2f}" if name == "psnr" else f"{row[name]:.3f}" for name in MEASURES)
        lines.append(
            f"| {row['width']} × {row['layers']} | {row['parameters'] / 1e6:.2f}M | {row['steps']} | "
            f"{row['flop'] / 1e12:.3g} | {row['cpu_seconds']:.0f} | {values} |"
        )
    if picture is not None:
        lines += ["", f"![Each measure against compute]({picture})"]
    return "\n".join(lines) + "\n"


COLOURS = ((22, 92, 170), (200, 90, 20), (30, 140, 80), (140, 60, 150), (90, 90, 90), (180, 30, 60))
PANEL, MARGIN = (420, 300), (60, 34, 20, 44)


def plot(rows: list[dict[str, Any]]) -> Any:
    """A panel for each measure against compute (logarithmic), a line for each size."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (PANEL[0] * len(MEASURES), PANEL[1]), "white")
    pen = ImageDraw.Draw(image)
    sizes = sorted({(row["parameters"], row["width"], row["layers"]) for row in rows})
    across = [math.log10(row["flop"]) for row in rows]
    left_end, right_end = min(across) - 0.1, max(across) + 0.1
    for number, (name, title) in enumerate(MEASURES.items()):
        values = [row[name] for row in rows]
        low, high = min(values), max(values)
        low, high = low - 0.08 * (high - low + 1e-9), high + 0.08 * (high - low + 1e-9)
        left, top = PANEL[0] * number + MARGIN[0], MARGIN[1]
        right, bottom = PANEL[0] * (number + 1) - MARGIN[2], PANEL[1] - MARGIN[3]
        pen.text((left, 10), title, fill=(30, 34, 40))
        for share in (0.0, 0.5, 1.0):
            y, x = bottom - share * (bottom - top), left + share * (right - left)
            pen.line([(left, y), (right, y)], fill=(224, 228, 233))
            pen.text((left - 52, y - 6), f"{low + share * (high - low):.3g}", fill=(30, 34, 40))
            pen.text(
                (x - 20, bottom + 6),
                f"{10 ** (left_end + share * (right_end - left_end)) / 1e12:.2g}",
                fill=(30, 34, 40),
            )
        pen.text((left + 100, bottom + 24), "TFLOP of training", fill=(30, 34, 40))
        for at, size in enumerate(sizes):
            own = sorted((r for r in rows if r["parameters"] == size[0]), key=lambda r: r["flop"])
            points = [
                (
                    left + (math.log10(r["flop"]) - left_end) / (right_end - left_end) * (right - left),
                    bottom - (r[name] - low) / (high - low) * (bottom - top),
                )
                for r in own
            ]
            colour = COLOURS[at % len(COLOURS)]
            if len(points) > 1:
                pen.line(points, fill=colour, width=2)
            for x, y in points:
                pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=colour)
            if number == 0:
                pen.text((right - 110, top + 4 + 14 * at), f"{size[1]}x{size[2]}: {size[0] / 1e6:.2f}M", fill=colour)
    return image


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="a folder that `elsewhere data build` made")
    parser.add_argument("held_out", type=Path, help="another, made with --evaluation")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("scaling"))
    parser.add_argument("--sizes", default="48x3,96x4,144x6")
    parser.add_argument("--budgets", default="100,200,400", help="steps")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--most", type=int, help="clips to train on, the first ones; all by default")
    parser.add_argument("--asked", type=int, help="held-out clips to ask, the first ones; all by default")
    parser.add_argument("--page", type=Path, help="write the table here, in Markdown")
    parser.add_argument("--picture", type=Path, help="write the plot here (.png)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.picture and options.picture.suffix != ".png":
        parser.error(f"--picture must end with .png; got {options.picture.name}")
    try:
        cells = read_cells(options.sizes, options.budgets)
        import torch

        from elsewhere.model.configuration import TokenizerConfig
        from elsewhere.model.train import weights
        from elsewhere.model.train.dataset import Clips
        from elsewhere.model.train.networks.tokenizer import Tokenizer

        tokenizer = weights.load(options.tokenizer, Tokenizer, TokenizerConfig).eval()
        clips, held_out = Clips(options.clips, most=options.most), Clips(options.held_out, most=options.asked)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / RESULTS
    data = {"clips": len(clips), "data": clips.checksum[:16], "batch": options.batch}
    done = {row["name"] for row in read_rows(results) if {k: row[k] for k in data} == data}
    for number, cell in enumerate(cells, 1):
        if cell.name in done:
            continue
        print(f"{number} of {len(cells)}: {cell.name}", file=sys.stderr, flush=True)
        network, cost = train_cell(cell, clips, tokenizer, options.out, options.batch)
        row = {
            "name": cell.name, "width": cell.width, "layers": cell.layers, "steps": cell.steps, **data, **cost,
            **measure(network, tokenizer, held_out),
        }  # fmt: skip
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
    wanted = {cell.name for cell in cells}
    rows = [r for r in read_rows(results) if r["name"] in wanted and {k: r[k] for k in data} == data]
    about = {
        **data,
        "held_out": len(held_out),
        "plain_psnr": plain_psnr(held_out),
        "threads": torch.get_num_threads(),
        "command": f"python benchmarks/scaling.py CLIPS HELD_OUT --tokenizer run/tokenizer.safetensors "
        f"--sizes {options.sizes} --budgets {options.budgets} --batch {options.batch} --most {len(clips)} "
        f"--asked {len(held_out)}",
    }
    if options.picture:
        plot(rows).save(options.picture)
    text = page(rows, about, Path("pictures") / options.picture.name if options.picture else None)
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    if options.json:
        json.dump({"about": about, "rows": rows}, sys.stdout, indent=2)
        print()
    else:
        print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
