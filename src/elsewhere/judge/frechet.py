"""How far a studio's films are, as a whole, from reference films: Fréchet distance on features of random networks.

Both sides show the same held-out captions, so that they have the same number of samples and the same bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elsewhere.judge.gaussian import distance, extrapolated
from elsewhere.judge.library import CALCULATED, source_digest
from elsewhere.judge.measure import Bench, Line, draw
from elsewhere.judge.play import STRAIGHT, Picture, Takes, plain, shown
from elsewhere.judge.random_networks import clip_features, picture_features
from elsewhere.scene import Scene, parse
from elsewhere.scene.words import caption_tokens

FRAMES = (10, 13, 16)
"""What is looked at: an eighth of a second apart."""
TRAINING_SCENES = 1000
"""Among so many scenes of training's side of the hold-out the nearest is looked for."""
TRAINING_SEED = 1
OTHER_WORLD = 77
"""Seed with which a caption is read again: the same words, other places and sizes."""
STILLS = ("static", "nearest", "mean")


@dataclass(frozen=True)
class Frechet:
    """Features of a clip of each scene, by who made it."""

    name: str = "frechet"

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        play = bench.play(scene)
        takes = Takes(bench.studios, play)
        films: dict[str, list[Picture]] = {}
        for moment in play.moments((frame, STRAIGHT) for frame in range(max(FRAMES) + 1)):
            painted = takes.paint(moment)
            if moment.frame not in FRAMES:
                continue
            one, other = play.halves(moment.state, moment.camera)
            references = {"reference": shown(0.5 * (one + other)), "half": shown(one), "other half": shown(other)}
            for name, picture in {**painted, "plain": plain(moment.guide), **references}.items():
                films.setdefault(name, []).append(picture)
        films["static"] = [films["reference"][0]] * len(FRAMES)
        films["nearest"] = [nearest_picture(bench, scene)] * len(FRAMES)
        films["again"] = other_world(bench, scene)
        return {name: of_film(film) for name, film in films.items()} | {"prompt": scene.prompt}

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """The headline is the distance over clips; that over single pictures stands beside it."""
        average = np.mean([nearest_picture(bench, scene) for scene in self.scenes(bench)], axis=0)
        same = of_film([average.astype(np.float32)] * len(FRAMES))
        rows = [row | {"mean": same} for row in rows]
        lines = []
        for kind in ("clip", "picture"):
            clouds = {name: np.array([row[name][kind] for row in rows]) for name in rows[0] if name != "prompt"}
            target = clouds["reference"]
            ceiling = apart(clouds["half"], clouds["other half"])
            far = {name: apart(cloud, target) for name, cloud in clouds.items()}
            again = apart(clouds["again"], clouds["half"])
            # The static picture is the reference's own first one: it knows the answer, and only motion gives it away.
            guesses = min(STILLS[1:], key=lambda name: far[name])
            still = min(STILLS, key=lambda name: far[name]) if kind == "clip" else guesses
            for studio in (studio.name for studio in bench.studios):
                dream = studio == "dream"
                best = again if dream else ceiling
                base = far[still] if dream else far["plain"]
                bounds: dict[str, Any] = {"floor": base, "ceiling": best}
                lines.append(Line(what=f"Fréchet, {kind}s", studio=studio, value=far[studio], **bounds))
                goal = (0.5 if dream else 0.25) if kind == "clip" else None
                others = ((still, goal), (guesses, None)) if dream and still != guesses else ((still, goal),)
                for other, most in others:
                    base = far[other] if dream else far["plain"]
                    what = f"Fréchet, {kind}s, over " + (f"that of a still ({other})" if dream else "the plain guide's")
                    ratio = far[studio] / max(base, 1e-12)
                    ends: dict[str, Any] = {"floor": 1.0, "ceiling": best / max(base, 1e-12)}
                    lines.append(Line(what=what, studio=studio, value=ratio, most=most, **ends))
                endless = extrapolated(clouds[studio], target)
                lines.append(Line(what=f"Fréchet, {kind}s, endless samples", studio=studio, value=endless))
            for name in (*STILLS, "plain", "half"):
                lines.append(Line(what=f"Fréchet, {kind}s, of {name}", studio="baseline", value=far[name]))
        return lines


def apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Mean distance over networks of (S, M, K, D) features."""
    return distance(one.reshape(-1, *one.shape[2:]), other.reshape(-1, *other.shape[2:]))


def of_film(film: list[Picture]) -> dict[str, Any]:
    """Features of its pictures (3, K, D) and of the clip (1, K, D), as lists."""
    pictures = np.stack(film)
    both = {"picture": picture_features(pictures), "clip": clip_features(pictures)}
    return {kind: np.round(found.astype(np.float64), 6).tolist() for kind, found in both.items()}


@lru_cache(maxsize=2)
def training_scenes(count: int) -> tuple[tuple[Scene, frozenset[str]], ...]:
    """Scenes of training's side of the hold-out with the words of their captions."""
    scenes = draw(TRAINING_SEED, count, evaluation=False)
    return tuple((scene, frozenset(caption_tokens(scene))) for scene in scenes)


def nearest_scene(scene: Scene, count: int = TRAINING_SCENES) -> Scene:
    """The training scene whose caption shares the largest part of its words (Jaccard) with the caption of `scene`."""
    words = frozenset(caption_tokens(scene))
    return max(training_scenes(count), key=lambda known: len(words & known[1]) / len(words | known[1]))[0]


def nearest_picture(bench: Bench, scene: Scene) -> Picture:
    """The first picture of the nearest training scene's reference film."""
    near = nearest_scene(scene)
    key = ("nearest", source_digest(CALCULATED), repr(near), bench.size, bench.samples, bench.seed)

    def make() -> NDArray[np.uint8]:
        play = bench.play(near)
        picture = play.reference(play.world.state, play.camera(0))
        return np.rint(255.0 * picture).astype(np.uint8)

    return bench.library.array(key, make).astype(np.float32) / np.float32(255.0)


def other_world(bench: Bench, scene: Scene) -> list[Picture]:
    """The same caption's reference film with other places and sizes of things: as near as a dream can know."""
    play = bench.play(parse(scene.prompt, seed=OTHER_WORLD).scene)
    film = []
    for frame in FRAMES:
        state = play.world.advance(frame * 10 - play.world.tick)
        film.append(shown(play.halves(state, play.camera(frame))[0]))
    return film
