"""Whether things are still there, the same and in the same places, after one has looked away for five seconds.

A picture shows a thing when it is nearer to a drawing of what is calculated than to one without that thing, and than to
one in which that thing and another one have changed places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from elsewhere.judge.measure import Bench, Line, draw
from elsewhere.judge.otherwise import drawing, prefers, seen_pixels, stage_without, swapped
from elsewhere.judge.play import FPS, Look, Moment, Picture, Play, Takes, shown
from elsewhere.scene import Scene

BEFORE = 12
TURN = 12
"""Frames that a half turn of the head takes."""
AWAY = 5 * FPS
AFTER = BEFORE + 2 * TURN + AWAY + 4
LEAST_SHARE = 0.003
"""Of the picture that a thing must cover to be looked for."""


def looks() -> Iterator[tuple[int, Look]]:
    """Frames with where one looks: ahead, round, away for five seconds, back."""
    for frame in range(AFTER + 1):
        share = np.clip([(frame - BEFORE) / TURN, (frame - BEFORE - TURN - AWAY) / TURN], 0.0, 1.0)
        out, back = (3.0 * share**2 - 2.0 * share**3).tolist()
        yield frame, Look(yaw=float(np.pi * (out - back)))


def looks_of(scene: Scene) -> list[tuple[object, ...]]:
    """By body: what makes it look as it does."""
    return [(body.kind, body.color, body.material, round(body.size, 2)) for body in scene.bodies]


def two_of_a_kind(scene: Scene) -> bool:
    """Whether two things in it look different, so that they could be mistaken."""
    return len(set(looks_of(scene))) >= 2 and len(scene.bodies) <= 6


@dataclass(frozen=True, slots=True)
class Tried:
    """A moment drawn as it is, and otherwise for each body that is seen: gone, or in another one's place."""

    true: Picture
    others: dict[int, list[Picture]]

    def shows(self, picture: Picture, number: int) -> bool | None:
        """Whether a picture shows the body in its place; None where no drawing could tell."""
        verdicts = [prefers(picture, self.true, other) for other in self.others[number]]
        known = [verdict for verdict in verdicts if verdict is not None]
        return all(known) if known else None


def tried(play: Play, moment: Moment) -> Tried:
    """All drawings of a moment."""
    least = LEAST_SHARE * moment.guide.depth.size
    seen = [n for n in range(len(play.scene.bodies)) if seen_pixels(moment, n) >= least]
    looks = looks_of(play.scene)
    others: dict[int, list[Picture]] = {}
    for number in seen:
        stage, state = stage_without(play, moment.state, frozenset({number}))
        others[number] = [drawing(stage, state, moment.camera)]
        for partner in (n for n in seen if looks[n] != looks[number]):
            exchanged = swapped(play.scene, moment.state, number, partner)
            others[number].append(drawing(play.stage, exchanged, moment.camera))
            break
    return Tried(drawing(play.stage, moment.state, moment.camera), others)


@dataclass(frozen=True)
class Permanence:
    """Share of things that are shown after looking away, among those that the reference pictures show both times."""

    name: str = "permanence"

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes, fits=two_of_a_kind)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        """By film, a list with one entry for each thing that was seen both times: [shown before, shown after]."""
        play = bench.play(scene)
        takes = Takes(bench.studios, play)
        found: dict[str, dict[int, list[bool | None]]] = {}
        for moment in play.moments(looks()):
            painted = takes.paint(moment)
            if moment.frame not in (BEFORE, AFTER):
                continue
            drawings = tried(play, moment)
            painted["reference"] = shown(play.halves(moment.state, moment.camera)[0])
            painted["mistaken"] = painted["reference"]
            if moment.frame == AFTER:
                painted["mistaken"] = mistaken(play, moment, list(drawings.others))
            for name, picture in painted.items():
                for number in drawings.others:
                    found.setdefault(name, {}).setdefault(number, []).append(drawings.shows(picture, number))
        return {"prompt": scene.prompt} | {
            name: [pair for _, pair in sorted(things.items()) if len(pair) == 2 and None not in pair]
            for name, things in found.items()
        }

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """The floor is a film in which things have changed places, or are gone, while nobody looked."""

        def pairs(name: str) -> list[list[bool]]:
            """Of the things that the reference shows both times."""
            return [
                pair
                for row in rows
                if "reference" in row
                for pair, known in zip(row[name], row["reference"], strict=True)
                if all(known)
            ]

        def share(name: str, at: int) -> float | None:
            known = pairs(name)
            return float(np.mean([pair[at] for pair in known])) if known else None

        things = [pair for row in rows for pair in row.get("reference", [])]
        own = float(np.mean([all(pair) for pair in things])) if things else None
        lines = []
        for studio in (studio.name for studio in bench.studios):
            bounds: dict[str, Any] = {"floor": share("mistaken", 1), "ceiling": 1.0}
            least = 1.0 if studio == "grounded" else None
            lines.append(
                Line(what="permanence, after 5 s away", studio=studio, value=share(studio, 1), least=least, **bounds)
            )
            lines.append(Line(what="shown before looking away", studio=studio, value=share(studio, 0)))
        lines.append(Line(what="things that reference pictures show both times", studio="reference", value=own))
        return [*lines, Line(what="things looked for", studio="reference", value=float(len(things)))]


def mistaken(play: Play, moment: Moment, seen: list[int]) -> Picture:
    """A reference of the moment as it must not be: things that look different in each other's place, or else gone."""
    looks = looks_of(play.scene)
    state, left = moment.state, list(seen)
    alone = []
    while left:
        one = left.pop(0)
        partner = next((n for n in left if looks[n] != looks[one]), None)
        if partner is None:
            alone.append(one)
        else:
            left.remove(partner)
            state = swapped(play.scene, state, one, partner)
    stage = play.stage
    if alone:
        stage, state = stage_without(play, state, frozenset(alone))
    return shown(play.halves(state, moment.camera, stage)[0])
