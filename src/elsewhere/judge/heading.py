"""Where a sailing ship's bow points in a picture, against where the simulator says.

The ship is drawn at every heading in the same place; the picture's heading is that of the drawing it is nearest to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from elsewhere.judge.measure import Bench, Line, draw
from elsewhere.judge.otherwise import best_turn, drawing, seen_pixels, turned
from elsewhere.judge.play import FPS, Moment, Picture, Play, Takes, shown
from elsewhere.scene import Scene

SECONDS = 10
CHECKS = tuple(range(2 * FPS, SECONDS * FPS + 1, 2 * FPS))
COARSE = np.radians(np.arange(-180.0, 180.0, 20.0))
FINEST = np.radians(1.0)
LEAST_SHARE = 0.012
"""Of the picture that the ship must cover for its heading to be read."""
MISREAD = 15.0
"""Degrees by which a reference picture may be misread for a check to count."""
SHIPS = ("pirate ship", "sailboat", "paper boat")
UNDER_WAY = ("sail", "battle", "circle")


def ship_of(scene: Scene) -> int | None:
    """The first ship under way."""
    for number, body in enumerate(scene.bodies):
        if body.kind in SHIPS and any(b.verb in UNDER_WAY for b in body.behaviours):
            return number
    return None


def read_heading(play: Play, moment: Moment, number: int, picture: Picture) -> float | None:
    """Degrees from the calculated heading to the one that a picture shows, −180…180; None where none can be read."""

    def draw_turned(angle: float) -> Picture:
        return drawing(play.stage, turned(play.scene, moment.state, number, angle), moment.camera)

    found = best_turn(picture, draw_turned, COARSE, FINEST)
    return None if found is None else (float(np.degrees(found[0])) + 180.0) % 360.0 - 180.0


@dataclass(frozen=True)
class Heading:
    """Mean size of the heading's error over ten seconds, the camera following the ship."""

    name: str = "heading"

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes, fits=lambda scene: ship_of(scene) is not None and len(scene.bodies) <= 3)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        """By film, degrees at each check at which the ship is large enough."""
        number = ship_of(scene)
        assert number is not None
        play = bench.play(scene)
        takes = Takes(bench.studios, play)
        found: dict[str, list[float]] = {name: [] for name in (*takes.painters, "reference", "flipped")}
        for moment in play.following(range(max(CHECKS) + 1), number):
            painted = takes.paint(moment)
            if moment.frame not in CHECKS or seen_pixels(moment, number) < LEAST_SHARE * moment.guide.depth.size:
                continue
            flipped = turned(scene, moment.state, number, np.pi)
            painted["reference"] = shown(play.halves(moment.state, moment.camera)[0])
            painted["flipped"] = shown(play.halves(flipped, moment.camera)[0])
            for name, picture in painted.items():
                error = read_heading(play, moment, number, picture)
                if error is not None:
                    found[name].append(round(error, 3))
        return {"prompt": scene.prompt} | found

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """The floor is the same film with the ship turned round; the ceiling what is read from reference pictures.

        Where the reference itself is misread (a hull that looks alike fore and aft, a ship seen from above), no
        film is judged.
        """
        names = [name for name in rows[0] if name != "prompt"]
        checks = [{name: row[name][at] for name in names} for row in rows for at in range(len(row["reference"]))]
        legible = [check for check in checks if abs(check["reference"]) <= MISREAD]
        size = {name: [abs(check[name]) for check in legible] for name in names}
        average = {name: float(np.mean(errors)) if errors else None for name, errors in size.items()}
        worst = {name: float(np.max(errors)) if errors else None for name, errors in size.items()}
        lines = []
        for studio in (studio.name for studio in bench.studios):
            bounds: dict[str, Any] = {"floor": average["flipped"], "ceiling": average["reference"], "unit": "°"}
            most = 3.0 if studio == "grounded" else None
            what = "heading error over 10 s"
            lines.append(Line(what=what, studio=studio, value=average[studio], most=most, **bounds))
            bounds |= {"floor": worst["flipped"], "ceiling": worst["reference"]}
            lines.append(Line(what="heading error, the largest", studio=studio, value=worst[studio], **bounds))
        lines.append(Line(what="headings looked for", studio="reference", value=float(len(checks))))
        return [
            *lines,
            Line(what="headings that reference pictures show", studio="reference", value=float(len(legible))),
        ]
