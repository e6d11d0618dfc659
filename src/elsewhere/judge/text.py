"""Whether films show what was said, as a reader sees it that was trained on reference pictures only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from elsewhere.judge.measure import Bench, Line, draw
from elsewhere.judge.play import STRAIGHT, Takes, plain
from elsewhere.judge.reader import ASPECTS, Reader, shipped
from elsewhere.scene import Scene
from elsewhere.scene.words import caption_tokens

FRAMES = (10, 16)


@dataclass(frozen=True)
class Text:
    """Share of the named words that the reader finds: the mean over place, light, weather and things."""

    name: str = "text"
    reader: Reader | None = None

    def __repr__(self) -> str:
        return f"Text({self._reader().card})"

    def _reader(self) -> Reader:
        return self.reader or shipped()

    def scenes(self, bench: Bench) -> list[Scene]:
        return draw(bench.seed, bench.scenes)

    def row(self, bench: Bench, scene: Scene) -> dict[str, Any]:
        """What the reader says of each picture (words,), by who made it."""
        play = bench.play(scene)
        takes = Takes(bench.studios, play)
        films: dict[str, list[Any]] = {}
        for moment in play.moments((frame, STRAIGHT) for frame in range(max(FRAMES) + 1)):
            painted = takes.paint(moment)
            if moment.frame in FRAMES:
                known = {"plain": plain(moment.guide), "reference": play.reference(moment.state, moment.camera)}
                for name, picture in {**painted, **known}.items():
                    films.setdefault(name, []).append(picture)
        scores = {name: np.round(self._reader().scores(film).astype(float), 4) for name, film in films.items()}
        return {"tokens": list(caption_tokens(scene)), **{name: value.tolist() for name, value in scores.items()}}

    def lines(self, bench: Bench, rows: list[dict[str, Any]]) -> list[Line]:
        """The floor is another scene's reference picture, the ceiling this scene's."""
        others = [*rows[1:], rows[0]]
        unrelated = [row | {"unrelated": other["reference"]} for row, other in zip(rows, others, strict=True)]
        lines = []
        ceiling, floor = self.share(rows, "reference"), self.share(unrelated, "unrelated")
        for studio in (*(studio.name for studio in bench.studios), "plain"):
            share = self.share(rows, studio)
            for aspect in (*ASPECTS, "mean"):
                bounds: dict[str, Any] = {"floor": floor[aspect], "ceiling": ceiling[aspect]}
                lines.append(Line(what=f"text following, {aspect}", studio=studio, value=share[aspect], **bounds))
            if ceiling["mean"]:
                what, least = "text following over the reference's", None if studio == "plain" else 0.85
                ratio, low = share["mean"] / ceiling["mean"], floor["mean"] / ceiling["mean"]
                lines.append(Line(what=what, studio=studio, value=ratio, floor=low, ceiling=1.0, least=least))
        own = self._reader().card.get("held out accuracy", {}).get("mean")
        return [*lines, Line(what="the reader's own accuracy, held-out clips", studio="reader", value=own)]

    def share(self, rows: list[dict[str, Any]], name: str) -> dict[str, float]:
        """By aspect, and the mean of the aspects that captions name at all."""
        said = [(np.array(scores), tuple(row["tokens"])) for row in rows for scores in row[name]]
        return self._reader().shares(said)
