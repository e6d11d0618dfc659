"""Ambient waves on deep water, drawn once from the wind.

A handful of plane waves share the energy of a wind-sea spectrum. The dominant wavelength follows from the
height by a constant steepness, so that the same rule suits a bay and a bath. Bodies do not act back on it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from elsewhere.physics.state import Swell

GRAVITY = 9.81
WAVE_COUNT = 14
STEEPNESS = 0.085
"""Root-mean-square slope of the sea: height · wave number of the dominant wave."""
REFERENCE_WIND = 5.0
"""m/s; the wind at which `Environment.swell` is quoted."""
PURPOSE = 0x5EA
"""Second word of the Philox key, so that other streams of the same seed are independent."""


def wind_direction(heading: float) -> tuple[float, float]:
    """Unit (x, z) of a heading in radians from −Z to +X."""
    return math.sin(heading), -math.cos(heading)


def swell_of(height: float, wind_speed: float, wind_heading: float, seed: int) -> Swell:
    """Waves of `height` m (root mean square at 5 m/s) under `wind_speed` m/s, the same for the same seed.

    Raises ValueError for a negative height or wind.
    """
    for name, value in (("height", height), ("wind_speed", wind_speed)):
        if not (value >= 0.0 and math.isfinite(value)):
            raise ValueError(f"{name} must be finite and at least 0; got {value}; nearest valid is 0")
    ratio = min(wind_speed / REFERENCE_WIND, 2.5)
    rms = height * ratio**1.5
    if rms <= 1e-7:
        empty = np.zeros(0, np.float32)
        return Swell(amplitude=empty, wave_x=empty, wave_z=empty, omega=empty, phase=empty)
    peak = STEEPNESS / (height * min(max(ratio, 0.6), 2.0) ** 1.5)
    random = np.random.Generator(np.random.Philox(key=(seed & 0xFFFFFFFFFFFFFFFF, PURPOSE)))
    relative = np.geomspace(0.6, 4.0, WAVE_COUNT) * random.uniform(0.94, 1.06, WAVE_COUNT)
    # Pierson–Moskowitz in wave number, k⁻³ exp(−5/4 (kp/k)²); a logarithmic grid adds one factor k
    energy = relative**-2.0 * np.exp(-1.25 * relative**-2.0)
    amplitude = np.sqrt(energy)
    amplitude *= rms * math.sqrt(2.0 / float(np.sum(amplitude**2)))
    angle = wind_heading + np.clip(random.normal(0.0, 0.55, WAVE_COUNT), -1.3, 1.3)
    number = peak * relative
    return Swell(
        amplitude=amplitude.astype(np.float32),
        wave_x=(number * np.sin(angle)).astype(np.float32),
        wave_z=(-number * np.cos(angle)).astype(np.float32),
        omega=np.sqrt(GRAVITY * number).astype(np.float32),
        phase=random.uniform(0.0, 2.0 * math.pi, WAVE_COUNT).astype(np.float32),
    )


def packed(swell: Swell) -> NDArray[np.float64]:
    """(W, 5) float64 of amplitude, kx, kz, ω, phase: the form that kernels take."""
    columns = (swell.amplitude, swell.wave_x, swell.wave_z, swell.omega, swell.phase)
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float64)


def swell_height(swell: Swell, x: NDArray[np.float64], z: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Height in metres at points `x`, `z` (any one shape), `seconds` after tick 0."""
    total = np.zeros(np.broadcast(x, z).shape)
    for amplitude, wave_x, wave_z, omega, phase in packed(swell):
        total += amplitude * np.sin(wave_x * x + wave_z * z - omega * seconds + phase)
    return total


@njit(cache=True, error_model="numpy", inline="never")
def sample(waves, x, z, seconds):  # type: ignore[no-untyped-def]
    """Height (m), its two slopes and its rate (m/s) at one point."""
    height = 0.0
    slope_x = 0.0
    slope_z = 0.0
    rate = 0.0
    for i in range(waves.shape[0]):
        angle = waves[i, 1] * x + waves[i, 2] * z - waves[i, 3] * seconds + waves[i, 4]
        cosine = waves[i, 0] * math.cos(angle)
        height += waves[i, 0] * math.sin(angle)
        slope_x += waves[i, 1] * cosine
        slope_z += waves[i, 2] * cosine
        rate -= waves[i, 3] * cosine
    return height, slope_x, slope_z, rate
