"""Camera moves one after the other, joined smoothly: where a camera is carried to, relative to its shot, at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

JOIN = 0.3
"""Seconds before and after a join in which one move passes into the next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rig:
    """How far a camera has been carried from its shot: radians, metres; logarithms of distance and focal length.

    Azimuth and elevation go round the subject, `turn` (left) and `tilt` (up) turn the camera where it stands, `across`
    (right) and `up` move it without turning, `near` metres towards the subject.
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    distance: float = 0.0
    near: float = 0.0
    turn: float = 0.0
    tilt: float = 0.0
    across: float = 0.0
    up: float = 0.0
    zoom: float = 0.0


CHANNELS = tuple(field.name for field in fields(Rig))


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One move: `amount` of `channel` ("" to hold) in `seconds`. With `shares`, `amount` metres are meant as shares of
    the distance to the subject."""

    channel: str = ""
    amount: float = 0.0
    seconds: float = 2.0
    shares: bool = False


class Moves:
    """Moves in a row. At 0 the camera is its shot; after the last move it stays.

    Each channel is a polyline over time, averaged over ± `JOIN` seconds: its pace has no jumps, and moves of different
    kinds pass into each other. `reach` is the distance to the subject in metres.
    """

    def __init__(self, moves: tuple[Move, ...], reach: float) -> None:
        self.seconds = sum(move.seconds for move in moves)
        self.knots = np.concatenate([[0.0], np.cumsum([move.seconds for move in moves])])
        self.values = np.zeros((len(CHANNELS), len(self.knots)))
        for number, move in enumerate(moves):
            self.values[:, number + 1] = self.values[:, number]
            if move.channel:
                amount = move.amount * (reach if move.shares else 1.0)
                self.values[CHANNELS.index(move.channel), number + 1] += amount
        steps = 0.5 * (self.values[:, 1:] + self.values[:, :-1]) * np.diff(self.knots)
        self._area = np.concatenate([np.zeros((len(CHANNELS), 1)), np.cumsum(steps, axis=1)], axis=1)

    def at(self, seconds: float) -> Rig:
        """Where the camera is carried to after `seconds`."""
        mean = (self._integral(seconds + JOIN) - self._integral(seconds - JOIN)) / (2.0 * JOIN)
        return Rig(**dict(zip(CHANNELS, mean.tolist(), strict=True)))

    @property
    def channels(self) -> frozenset[str]:
        """Those that move."""
        return frozenset(name for name, row in zip(CHANNELS, self.values, strict=True) if row.any())

    def _integral(self, time: float) -> NDArray[np.float64]:
        """∫ of each channel from 0 to `time`. Beyond the last move it holds its value; before 0 it goes on as it began,
        mirrored, so that the mean at 0 is the shot itself."""
        time = abs(time)
        last = len(self.knots) - 1
        if time >= self.knots[last]:
            found: NDArray[np.float64] = self._area[:, last] + (time - self.knots[last]) * self.values[:, last]
            return found
        k = max(int(np.searchsorted(self.knots, time, side="right")) - 1, 0)
        into = time - self.knots[k]
        slope = (self.values[:, k + 1] - self.values[:, k]) / (self.knots[k + 1] - self.knots[k])
        within: NDArray[np.float64] = self._area[:, k] + into * (self.values[:, k] + 0.5 * into * slope)
        return within
