"""The calculated state of a world at one tick: arrays only, no behaviour."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from elsewhere.physics.tick import TICK

TICKS_PER_SECOND = round(1 / TICK)


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Everything that moves, world frame, SI.

    N bodies in the scene's order; a water grid of (Z, X) cells whose middle is the world's origin; one (rows,
    columns, 3) array for each cloth, in the order of the bodies and their kinds' `cloths`.
    """

    tick: int
    position: NDArray[np.float64]  # (N, 3) m, centre of mass
    orientation: NDArray[np.float64]  # (N, 4) xyzw
    velocity: NDArray[np.float64]  # (N, 3) m/s
    angular_velocity: NDArray[np.float64]  # (N, 3) rad/s, world frame
    water_height: NDArray[np.float32]  # (Z, X) m above rest, hulls' and sloshing waves; (0, 0) without water
    water_flow: NDArray[np.float32]  # (2, Z, X) m/s, x then z
    cloth: tuple[NDArray[np.float32], ...]
    cloth_velocity: tuple[NDArray[np.float32], ...]

    def digest(self) -> str:
        """SHA-256 of all arrays, in field order, as little-endian bytes."""
        sha = hashlib.sha256(str(self.tick).encode())
        for f in fields(self):
            value = getattr(self, f.name)
            for array in value if isinstance(value, tuple) else (value,):
                if isinstance(array, np.ndarray):
                    sha.update(str((f.name, array.dtype.str, array.shape)).encode())
                    sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Swell:
    """Ambient waves, as a sum of plane waves that physics and render evaluate alike:
    height(x, z, t) = Σ amplitude · sin(kx·x + kz·z − ω·t + phase), in metres.

    All arrays (W,) float32. They ride on top of `State.water_height`.
    """

    amplitude: NDArray[np.float32]
    wave_x: NDArray[np.float32]  # rad/m
    wave_z: NDArray[np.float32]  # rad/m
    omega: NDArray[np.float32]  # rad/s
    phase: NDArray[np.float32]
