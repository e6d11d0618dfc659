"""Sun, moon, sky and air of a scene: constants from hour and weather, and radiance along a ray.

`light_of` makes one flat array that kernels index with the constants below. All radiances are already
multiplied by the stage's exposure. The sun's numbers are irradiance / π, so that a white surface facing
the sun has that radiance.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from elsewhere.render.noise import device, fbm2, lattice, smoothstep
from elsewhere.scene.description import Weather

SUN, SUN_COLOR, ZENITH, HORIZON, GLOW, AMBIENT, MEAN = 0, 3, 6, 9, 12, 15, 18
COVER, CLOUD_LIT, CLOUD_DARK, FOG, FOG_COLOR, SUN_COS, SUN_RADIUS, DISC = 30, 31, 34, 37, 38, 41, 42, 43
DRIFT_X, DRIFT_Z, PLAIN, BELOW, STARS = 46, 47, 48, 49, 52
SIZE = 56
SUN_ANGLE = 0.022
"""Angular radius of the sun in radians: four times the real one, so that shadows are visibly soft."""

_NIGHT, _DUSK, _GOLDEN, _DAY = -0.16, 0.0, 0.16, 0.55
_KEYS = np.array([_NIGHT, _DUSK, _GOLDEN, _DAY])
_ZENITH = np.array([(0.012, 0.020, 0.055), (0.10, 0.14, 0.34), (0.17, 0.31, 0.68), (0.13, 0.33, 0.85)])
_HORIZON = np.array([(0.030, 0.045, 0.100), (0.62, 0.34, 0.30), (0.85, 0.72, 0.60), (0.66, 0.82, 1.00)])
_GLOW = np.array([(0.0, 0.0, 0.0), (1.9, 0.72, 0.18), (1.5, 0.85, 0.36), (0.75, 0.62, 0.42)])
_SUN = np.array([(0.0, 0.0, 0.0), (1.1, 0.38, 0.10), (2.5, 1.65, 0.88), (3.0, 2.66, 2.15)])
_MOON = np.array((0.10, 0.13, 0.20))


def sun_direction(hour: float) -> NDArray[np.float64]:
    """Unit vector (3,) towards the sun at local solar time `hour` (0…24): up in the east (+X) at 6, highest
    at noon to the south (+Z), down at 18."""
    angle = math.pi * (hour - 6.0) / 12.0
    tilt = math.radians(38.0)
    x, up = math.cos(angle), math.sin(angle)
    return np.array([x, up * math.cos(tilt), up * math.sin(tilt)])


def _at(keys: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    return np.array([np.interp(height, _KEYS, keys[:, c]) for c in range(3)])


def light_of(hour: float, weather: Weather) -> NDArray[np.float64]:
    """The light array (SIZE,) of a time and weather, exposed."""
    light = np.zeros(SIZE)
    sun = sun_direction(hour)
    height = float(sun[1])
    cover = min(1.0, max(0.0, weather.cloud_cover) + 0.6 * max(weather.rain, weather.snow))
    overcast = cover * cover * (3.0 - 2.0 * cover)
    color = _at(_SUN, height)
    direction = sun.copy()
    if height < -0.03:
        # The moon takes over once the sun cannot be seen; it stands where the sun is at ten in the morning.
        direction = sun_direction(9.4)
        color = _MOON * min(1.0, (-0.03 - height) / 0.10)
    # A sun in the sea's plane would light nothing: keep it a few degrees up for shading.
    direction[1] = max(direction[1], 0.09)
    direction /= np.linalg.norm(direction)
    zenith, horizon, glow = _at(_ZENITH, height), _at(_HORIZON, height), _at(_GLOW, height)
    grey = (zenith @ (0.25, 0.5, 0.25) + horizon @ (0.25, 0.5, 0.25)) * 0.5 * np.array([0.95, 1.0, 1.06])
    mix = 0.9 * overcast
    zenith = zenith * (1.0 - mix) + grey * 0.85 * mix
    horizon = horizon * (1.0 - mix) + grey * 1.1 * mix
    glow = glow * (1.0 - 0.9 * overcast)
    shade = 1.0 - 0.88 * overcast
    light[SUN : SUN + 3] = direction
    light[SUN_COLOR : SUN_COLOR + 3] = color * shade
    light[ZENITH : ZENITH + 3] = zenith
    light[HORIZON : HORIZON + 3] = horizon
    light[GLOW : GLOW + 3] = glow
    light[COVER] = cover
    light[CLOUD_LIT : CLOUD_LIT + 3] = 0.32 * color * (1.0 - 0.7 * overcast) + 0.55 * horizon + 0.12 * zenith
    light[CLOUD_DARK : CLOUD_DARK + 3] = 0.06 * color + 0.42 * horizon + 0.25 * zenith
    light[FOG] = 0.0006 + 0.06 * weather.fog**2 + 0.003 * max(weather.rain, weather.snow)
    light[FOG_COLOR : FOG_COLOR + 3] = 0.92 * horizon
    light[BELOW : BELOW + 3] = 0.35 * horizon + 0.10 * color * direction[1]
    light[SUN_RADIUS] = SUN_ANGLE
    light[SUN_COS] = math.cos(SUN_ANGLE)
    light[DISC : DISC + 3] = 8.0 * color * shade**2 / max(color.max(), 1e-3) * min(1.0, color.max() + 0.25)
    light[STARS] = max(0.0, min(1.0, (-0.04 - height) / 0.12)) * (1.0 - overcast)
    return _expose(_fit(light))


def constant_light(
    sky: tuple[float, float, float], sun: tuple[float, float, float], direction: tuple[float, float, float]
) -> NDArray[np.float64]:
    """The light array of a sky of one radiance all around and a sun, unexposed: for tests with a known answer."""
    light = np.zeros(SIZE)
    light[PLAIN] = 1.0
    light[SUN : SUN + 3] = np.asarray(direction) / np.linalg.norm(direction)
    light[SUN_COLOR : SUN_COLOR + 3] = sun
    light[SUN_RADIUS], light[SUN_COS] = SUN_ANGLE, math.cos(SUN_ANGLE)
    for at in (ZENITH, HORIZON, AMBIENT, MEAN, FOG_COLOR, BELOW):
        light[at : at + 3] = sky
    return light


def _fit(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill in the mean radiance that reaches a surface from the open sky, linear in its normal."""
    k = np.arange(512) + 0.5
    y = 1.0 - k / 512
    angle = k * 2.399963
    ray = np.stack([np.sqrt(1 - y * y) * np.cos(angle), y, np.sqrt(1 - y * y) * np.sin(angle)], axis=1)
    radiance = np.array([sky_smooth.py_func(light, *d) for d in ray])
    k = np.arange(96) + 0.5
    y = 1.0 - 2.0 * k / 96
    angle = k * 2.399963
    normal = np.stack([np.sqrt(1 - y * y) * np.cos(angle), y, np.sqrt(1 - y * y) * np.sin(angle)], axis=1)
    normal = normal[normal[:, 1] > -0.6]
    weight = np.maximum(normal @ ray.T, 0.0)
    mean = weight @ radiance / (weight.sum(axis=1, keepdims=True) + 1e-9)
    basis = np.concatenate([np.ones((len(normal), 1)), normal], axis=1)
    light[MEAN : MEAN + 12] = np.linalg.lstsq(basis, mean, rcond=None)[0].ravel()
    light[AMBIENT : AMBIENT + 3] = 0.72 * (light[MEAN : MEAN + 3] + 0.6 * light[MEAN + 6 : MEAN + 9])
    return light


def _expose(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale so that dusk and night stay readable though darker than day."""
    luminance = np.array([0.2126, 0.7152, 0.0722])
    level = luminance @ (light[SUN_COLOR : SUN_COLOR + 3] * 0.55 + light[AMBIENT : AMBIENT + 3])
    exposure = 0.9 * (level / 1.9) ** 0.22 / level
    for at in (SUN_COLOR, ZENITH, HORIZON, GLOW, AMBIENT, CLOUD_LIT, CLOUD_DARK, FOG_COLOR, DISC, BELOW):
        light[at : at + 3] *= exposure
    light[MEAN : MEAN + 12] *= exposure
    light[STARS] *= 0.8
    return light


@device
def sky_smooth(light, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Radiance of the clear gradient with the clouds' average in it, without the sun's disc."""
    if light[PLAIN] > 0.0:
        return light[ZENITH], light[ZENITH + 1], light[ZENITH + 2]
    up = max(dy, 0.0)
    h = 1.0 - up
    h = h * h
    h = 0.25 * h + 0.75 * h * h * h
    s = max(0.0, dx * light[SUN] + dy * light[SUN + 1] + dz * light[SUN + 2])
    s = s * s
    s = s * s
    s8 = s * s
    s64 = s8 * s8 * s8 * s8
    s64 = s64 * s64
    low = 1.0 - min(1.0, abs(dy) * 2.2)
    glow = 0.10 * s + 0.16 * s8 + 0.35 * s64 + 0.30 * s * low
    r = light[ZENITH] + (light[HORIZON] - light[ZENITH]) * h + glow * light[GLOW]
    g = light[ZENITH + 1] + (light[HORIZON + 1] - light[ZENITH + 1]) * h + glow * light[GLOW + 1]
    b = light[ZENITH + 2] + (light[HORIZON + 2] - light[ZENITH + 2]) * h + glow * light[GLOW + 2]
    if dy < 0.0:
        k = min(1.0, -3.0 * dy)
        r += (light[BELOW] - r) * k
        g += (light[BELOW + 1] - g) * k
        b += (light[BELOW + 2] - b) * k
    return r, g, b


@device
def cloud_density(light, dx, dy, dz):  # type: ignore[no-untyped-def]
    """How much of the sky behind is hidden along a ray, 0…1."""
    if dy < 0.015 or light[COVER] <= 0.0 or light[PLAIN] > 0.0:
        return 0.0
    u = 1.1 / (dy + 0.14)
    f = fbm2(dx * u + light[DRIFT_X], dz * u * 1.5 + light[DRIFT_Z], 4)
    at = 0.70 - 0.46 * light[COVER]
    return smoothstep(at, at + 0.20, f) * min(1.0, 5.0 * (dy - 0.015)) * 0.95


@device
def sky_clouds(light, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Radiance of the sky with shaded clouds and, at night, stars; without the sun's disc."""
    r, g, b = sky_smooth(light, dx, dy, dz)
    if light[PLAIN] > 0.0:
        return r, g, b
    if light[STARS] > 0.0 and dy > 0.0:
        i = math.floor(dx * 90.0)
        j = math.floor(dy * 90.0)
        k = math.floor(dz * 90.0)
        star = lattice(i, j, k)
        if star > 0.992:
            star = light[STARS] * (star - 0.992) * 90.0 * min(1.0, 4.0 * dy)
            r += star
            g += star
            b += star * 1.1
    density = cloud_density(light, dx, dy, dz)
    if density > 0.0:
        # Thickness towards the sun shades a cloud: bright rims, grey bellies.
        sx = dx + 0.10 * light[SUN]
        sy = dy + 0.10 * light[SUN + 1]
        sz = dz + 0.10 * light[SUN + 2]
        shade = cloud_density(light, sx, sy, sz)
        lit = 1.0 - 0.75 * shade * (0.4 + 0.6 * density)
        s = max(0.0, dx * light[SUN] + dy * light[SUN + 1] + dz * light[SUN + 2])
        s = s * s * s * s
        rim = 1.0 + 0.5 * s * s
        r += (rim * (light[CLOUD_DARK] + (light[CLOUD_LIT] - light[CLOUD_DARK]) * lit) - r) * density
        g += (rim * (light[CLOUD_DARK + 1] + (light[CLOUD_LIT + 1] - light[CLOUD_DARK + 1]) * lit) - g) * density
        b += (rim * (light[CLOUD_DARK + 2] + (light[CLOUD_LIT + 2] - light[CLOUD_DARK + 2]) * lit) - b) * density
    return r, g, b


@device
def sun_disc(light, dx, dy, dz):  # type: ignore[no-untyped-def]
    """How much of the sun's (or moon's) disc a ray sees, 0…1."""
    if light[PLAIN] > 0.0:
        return 0.0
    c = dx * light[SUN] + dy * light[SUN + 1] + dz * light[SUN + 2]
    if c < 0.99:
        return 0.0
    return smoothstep(math.cos(1.12 * light[SUN_RADIUS]), math.cos(0.88 * light[SUN_RADIUS]), c)


@device
def mean_sky(light, nx, ny, nz):  # type: ignore[no-untyped-def]
    """Mean radiance that a surface of normal n receives from the part of the sky above the horizon."""
    m = MEAN
    r = light[m] + light[m + 3] * nx + light[m + 6] * ny + light[m + 9] * nz
    g = light[m + 1] + light[m + 4] * nx + light[m + 7] * ny + light[m + 10] * nz
    b = light[m + 2] + light[m + 5] * nx + light[m + 8] * ny + light[m + 11] * nz
    return max(0.0, r), max(0.0, g), max(0.0, b)


@device
def fog(light, distance):  # type: ignore[no-untyped-def]
    """Share of light that passes `distance` metres of air."""
    return math.exp(-light[FOG] * min(distance, 1e6))
