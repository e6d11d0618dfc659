"""How a person's head moves while a clip is filmed: looks here and there, and walks.

Published figures that the model follows:
* Walking nods and sways the head; pitch goes at twice the frequency of yaw or more, and the fastest rotation of
  walking and running stays below 90°/s in the median of 20 people; deliberate shaking reaches 780°/s (Grossman, Leigh,
  Abel, Lanska, Thurston 1988, "Frequency and velocity of rotational head perturbations during locomotion").
* Looking around, pitch is spread like one Gaussian and yaw like a mixture of several; both are correlated in time
  (Blandino, Ropitault, Caromi, Chakareski, Khan, Golmie 2021, "Head Rotation Model for Virtual Reality System Level
  Simulations"). Here each look is a minimum-jerk turn between rests, so that yaw is such a mixture.
Spreads and rests that they leave open (`LOOK`, `REST`, `PITCH_SHARE`) are our choice, for views of about 50°.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SECONDS = 4.0
"""Longest time that a trace covers; after it the head rests."""
LOOK = math.radians(16.0)
"""Spread of where a look goes, in yaw."""
PITCH_SHARE = 0.4
"""Pitch of a look as a share of yaw."""
REST = (0.15, 1.1)
"""Least rest between looks and the mean of what is added, in seconds."""
FASTEST = math.radians(200.0)
"""Rad/s that no look exceeds: turns are as long as that needs, and at least `SHORTEST` seconds."""
SHORTEST = 0.25
WALK = (0.4, 1.4)
"""Paces of a walk in m/s."""
STEP = 1.9
"""Steps a second; the head bobs with each, and sways and turns with every other."""
BOB, SWAY = 0.02, 0.015
"""Metres of a walking head's bob and sway."""
NOD, SWING = math.radians(0.9), math.radians(0.9)
"""Radians of nod and swing."""
EYE_DISTANCE = 2.0
"""Metres at which a person would view the shot's subject: they scale walks to worlds in a cup or at sea."""


@dataclass(frozen=True, slots=True)
class Look:
    """A turn of the head that starts at `begin` and takes `length` seconds, to yaw and pitch from those before."""

    begin: float
    length: float
    before: tuple[float, float]
    after: tuple[float, float]


class HeadMotion:
    """One person's head over a clip. Half of the people look straight ahead and stand; the rest look around, walk, or
    both. `reach` is the distance in metres from the camera to its subject."""

    def __init__(self, rng: np.random.Generator, reach: float) -> None:
        looks, walks = rng.choice([0, 1, 2, 3], p=[0.45, 0.3, 0.12, 0.13]) & np.array([1, 2])
        self.scale = reach / EYE_DISTANCE
        self.looks = _looks(rng) if looks else []
        self.pace = float(rng.uniform(*WALK)) if walks else 0.0
        self.heading = float(rng.uniform(-math.pi, math.pi))
        self.phase = float(rng.uniform(0.0, 2.0 * math.pi))

    def at(self, seconds: float) -> tuple[float, float, tuple[float, float, float]]:
        """Yaw and pitch in radians, and offset (right, up, back) in metres, as `camera_at` takes them."""
        yaw, pitch = _looking(self.looks, seconds)
        if self.pace == 0.0:
            return yaw, pitch, (0.0, 0.0, 0.0)
        # A walk sets in over half a second.
        gone = self.pace * (seconds - 0.5 + 0.5 * math.exp(-2.0 * seconds))
        turn = 2.0 * math.pi * STEP * seconds + self.phase
        weight = self.pace / WALK[1] * (1.0 - math.exp(-2.0 * seconds))
        bob, sway = BOB * weight * math.sin(turn), SWAY * weight * math.sin(0.5 * turn)
        right = gone * math.sin(self.heading) + sway * math.cos(self.heading)
        back = -gone * math.cos(self.heading) + sway * math.sin(self.heading)
        yaw, pitch = yaw + SWING * weight * math.sin(0.5 * turn + 1.0), pitch + NOD * weight * math.cos(turn)
        return yaw, pitch, (self.scale * right, self.scale * bob, self.scale * back)


def _looks(rng: np.random.Generator) -> list[Look]:
    """Looks that begin within `SECONDS`; some people are already between two looks when the clip begins."""
    now, where, found = float(rng.uniform(-0.5, 0.6)), (0.0, 0.0), []
    while now < SECONDS:
        yaw, pitch = rng.standard_normal(2) * (LOOK, PITCH_SHARE * LOOK)
        after = (float(yaw), float(pitch))
        angle = math.hypot(after[0] - where[0], after[1] - where[1])
        # The peak of a minimum-jerk turn is 1.875 times its mean rate.
        length = max(SHORTEST + 0.8 * angle, 1.875 * angle / FASTEST)
        found.append(Look(now, length, where, after))
        where, now = after, now + length + REST[0] + float(rng.exponential(REST[1]))
    return found


def _looking(looks: list[Look], seconds: float) -> tuple[float, float]:
    """Yaw and pitch at a time."""
    where = (0.0, 0.0)
    for look in looks:
        if seconds < look.begin:
            break
        t = min((seconds - look.begin) / look.length, 1.0)
        share = t**3 * (10.0 - 15.0 * t + 6.0 * t * t)
        where = (
            look.before[0] + share * (look.after[0] - look.before[0]),
            look.before[1] + share * (look.after[1] - look.before[1]),
        )
    return where
