"""What a data set covers: how often each attribute comes, which pairs of them have met, how heads and things move.

It reads what clips say of themselves, not their pictures but for a contact sheet.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.model.train.shards import Shard, ShardError, read_manifest
from elsewhere.scene import catalogue
from elsewhere.scene.description import Scene
from elsewhere.scene.json import from_json
from elsewhere.scene.words import light
from elsewhere.scene.words.caption import camera_words
from elsewhere.scene.words.lexicon import CAMERAS

SMALL = ("c2w", "focal", "body_position", "positions", "controls", "scene", "caption", "captions", "picture")
MOVING = 0.1
"""Pixels a frame of 1/24 s: what is slower in the picture counts as standing."""
PAIRED = ("kind", "colour", "material", "place", "hour", "weather", "verb", "camera")


def attributes(scene: Scene) -> dict[str, tuple[str, ...]]:
    """Values of a scene, by attribute; none for what it does not say."""
    bodies = scene.bodies
    return {
        "place": (scene.environment,),
        "hour": (light.hour_word(scene.hour),),
        "weather": light.weather_words(scene.weather),
        "camera": tuple(camera_words(scene.shot)) or ("plain",),
        "kind": tuple(dict.fromkeys(body.kind for body in bodies)),
        "colour": tuple(dict.fromkeys(body.color_name for body in bodies if body.color_name)),
        "material": tuple(dict.fromkeys(body.material for body in bodies if body.material)),
        "verb": tuple(dict.fromkeys(deed.verb for body in bodies for deed in body.behaviours)),
        "things": (str(len(bodies)),),
        "event": tuple(event.action for event in scene.events) or ("none",),
    }


def known() -> dict[str, tuple[str, ...]]:
    """All values that the grammar has for an attribute."""
    return {
        "place": tuple(catalogue.ENVIRONMENTS),
        "hour": tuple(light.HOURS),
        "weather": tuple(light.WEATHERS),
        "camera": tuple(CAMERAS),
        "kind": tuple(catalogue.KINDS),
        "colour": tuple(catalogue.COLORS),
        "material": tuple(catalogue.MATERIALS),
        "verb": tuple(catalogue.VERBS),
    }


def read_small(directory: Path, shard: Shard, names: tuple[str, ...] = SMALL) -> dict[str, NDArray[Any]]:
    """Some arrays of a clip, without its checksum. Raises ShardError for a file that is missing or no archive."""
    path = directory / shard.file
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except Exception as error:
        raise ShardError(f"{path} cannot be read: {error}; see `elsewhere data build --check`") from None


def report(directory: Path) -> dict[str, Any]:
    """Counts per attribute, pairs that have met, sizes, words, and motion, as plain JSON.

    Raises ValueError where there are no clips, ShardError for a file that is missing or broken.
    """
    head, shards = read_manifest(directory)
    if head is None or not shards:
        raise ValueError(f"no clips in {directory}: build some with `elsewhere data build {directory}`")
    counts: dict[str, Counter[str]] = {}
    pairs: dict[tuple[str, str], Counter[tuple[str, str]]] = {pair: Counter() for pair in combinations(PAIRED, 2)}
    sizes: Counter[str] = Counter()
    captions: set[str] = set()
    said: list[int] = []
    turns: list[NDArray[np.float64]] = []
    moves: list[NDArray[np.float64]] = []
    still = frames = 0
    for _, shard in sorted(shards.items()):
        arrays = read_small(directory, shard)
        values = attributes(from_json(str(arrays["scene"])))
        for name, found in values.items():
            counts.setdefault(name, Counter()).update(found)
        for (first, second), met in pairs.items():
            met.update((a, b) for a in values[first] for b in values[second])
        time, _, height, width = arrays["picture"].shape
        frames += time
        sizes[f"{width}x{height}"] += 1
        captions.add(str(arrays["caption"]))
        said.append(len(arrays["captions"]))
        still += not arrays["controls"].any()
        turns.append(_speeds(arrays["c2w"], arrays["positions"]))
        moves.append(_image_speeds(arrays, height))
    speed, move = np.degrees(np.concatenate(turns)), np.concatenate(moves)
    moving = move[move > MOVING]
    return {
        "directory": str(directory),
        "made": {name: value for name, value in head.items() if name not in ("format", "version")},
        "clips": len(shards),
        "frames": frames,
        "bytes": sum(shard.bytes for shard in shards.values()),
        "sizes": dict(sizes.most_common()),
        "different_captions": len(captions),
        "sentences_per_clip": round(float(np.mean(said)), 2),
        "heads_at_rest": round(still / len(shards), 3),
        "camera_degrees_per_second": {
            name: round(float(np.quantile(speed, share)), 2) if len(speed) else 0.0
            for name, share in (("median", 0.5), ("p95", 0.95), ("most", 1.0))
        },
        "moving_things": round(len(moving) / max(1, len(move)), 3),
        "pixels_per_frame": {
            name: round(float(np.quantile(moving, share)), 2) if len(moving) else 0.0
            for name, share in (("median", 0.5), ("p95", 0.95), ("p99.5", 0.995))
        },
        "counts": {name: dict(found.most_common()) for name, found in counts.items()},
        "never": {name: sorted(set(all_of) - set(counts.get(name, ()))) for name, all_of in known().items()},
        "pairs": {f"{a} x {b}": _pairs(met, counts, a, b) for (a, b), met in pairs.items()},
    }


def _pairs(
    met: Counter[tuple[str, str]], counts: dict[str, Counter[str]], first: str, second: str
) -> dict[str, float | int]:
    """How many pairs have met, of those whose parts come at all (not all of them make sense: no rain in a bathtub)."""
    possible = len(counts.get(first, ())) * len(counts.get(second, ()))
    often = sum(count >= 3 for count in met.values())
    return {
        "met": len(met),
        "of": possible,
        "share": round(len(met) / possible, 3) if possible else 0.0,
        "three_times": often,
    }


def _speeds(c2w: NDArray[np.float32], positions: NDArray[np.float32]) -> NDArray[np.float64]:
    """(T − 1,) rad/s at which the camera turns between frames."""
    turn = np.asarray(c2w, np.float64)[:, :3, :3]
    between = np.einsum("tji,tjk->tik", turn[:-1], turn[1:])
    angle = np.arccos(np.clip(0.5 * (np.trace(between, axis1=1, axis2=2) - 1.0), -1.0, 1.0))
    found: NDArray[np.float64] = angle * 24.0 / np.diff(positions)
    return found


def _image_speeds(arrays: dict[str, NDArray[Any]], height: int) -> NDArray[np.float64]:
    """Pixels, of 128 in the picture's height, that each thing in view moves in 1/24 s, the camera's motion left out."""
    c2w, body = np.asarray(arrays["c2w"], np.float64), np.asarray(arrays["body_position"], np.float64)
    focal = arrays["focal"][1:, None, None] * 128.0 / height
    turn, place = c2w[1:, :3, :3], c2w[1:, None, :3, 3]
    before, after = (np.einsum("tji,tbj->tbi", turn, points - place) for points in (body[:-1], body[1:]))
    with np.errstate(divide="ignore", invalid="ignore"):
        start, end = (focal * points[..., :2] / -points[..., 2:] for points in (before, after))
        seen = (before[..., 2] < 0.0) & (after[..., 2] < 0.0) & (np.abs(end).max(axis=-1) < 64.0)
    found: NDArray[np.float64] = (np.linalg.norm(end - start, axis=-1) / np.diff(arrays["positions"])[:, None])[seen]
    return found


def sheet(directory: Path, count: int = 48, columns: int = 8) -> NDArray[np.uint8]:
    """First pictures of evenly spread clips, (H, W, 3); smaller ones stand in the middle of their cell."""
    _, shards = read_manifest(directory)
    if not shards:
        raise ValueError(f"no clips in {directory}: build some with `elsewhere data build {directory}`")
    numbers = sorted(shards)
    chosen = sorted({numbers[round(at)] for at in np.linspace(0, len(numbers) - 1, min(count, len(numbers)))})
    tiles = [np.moveaxis(read_small(directory, shards[n], ("picture",))["picture"][0], 0, -1) for n in chosen]
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    rows = -(-len(tiles) // columns)
    paper = np.full((rows * (height + 4) + 4, columns * (width + 4) + 4, 3), 18, np.uint8)
    for index, tile in enumerate(tiles):
        top = 4 + index // columns * (height + 4) + (height - tile.shape[0]) // 2
        left = 4 + index % columns * (width + 4) + (width - tile.shape[1]) // 2
        paper[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return paper
