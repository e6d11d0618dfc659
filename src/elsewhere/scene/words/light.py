"""Time of day and weather: words to numbers, and numbers back to the plainest word."""

from __future__ import annotations

from dataclasses import replace

from elsewhere.scene.description import Weather

HOURS: dict[str, float] = {
    "dawn": 5.8,
    "sunrise": 6.5,
    "morning": 9.0,
    "noon": 12.0,
    "afternoon": 15.0,
    "sunset": 17.5,
    "dusk": 18.3,
    "night": 23.0,
}
"""Local solar time at which the word's light is the clearest."""

HOUR_WORDS: dict[str, str] = {
    "daybreak": "dawn", "twilight": "dusk", "day break": "dawn", "first light": "dawn", "early morning": "sunrise",
    "rising sun": "sunrise", "sun rise": "sunrise", "midday": "noon", "mid day": "noon", "noontime": "noon",
    "daytime": "noon", "daylight": "noon", "day": "noon", "mid afternoon": "afternoon", "late afternoon": "afternoon",
    "golden hour": "sunset", "sundown": "sunset", "setting sun": "sunset", "sun set": "sunset", "evening": "dusk",
    "blue hour": "dusk", "nightfall": "dusk", "gloaming": "dusk", "midnight": "night", "moonlight": "night",
    "moonlit": "night", "moon": "night", "starlight": "night", "starry": "night", "stars": "night",
    "nighttime": "night",
    "nocturnal": "night", "dark": "night", "darkness": "night",
}  # fmt: skip

DEFAULT_HOUR = 14.0

Change = dict[str, float]

WEATHERS: dict[str, Change] = {
    "clear": {"cloud_cover": 0.02},
    "sunny": {"cloud_cover": 0.08},
    "cloudy": {"cloud_cover": 0.6},
    "overcast": {"cloud_cover": 0.95},
    "foggy": {"fog": 0.6, "cloud_cover": 0.5},
    "misty": {"fog": 0.3, "cloud_cover": 0.35},
    "rainy": {"rain": 0.6, "cloud_cover": 0.85},
    "stormy": {"rain": 0.85, "cloud_cover": 1.0, "wind_speed": 15.0},
    "windy": {"wind_speed": 10.0},
    "calm": {"wind_speed": 0.8},
    "snowing": {"snow": 0.7, "cloud_cover": 0.8},
}
"""Fields of `Weather` that each word sets."""

WEATHER_WORDS: dict[str, str] = {
    "cloudless": "clear", "clear sky": "clear", "clear skies": "clear", "blue sky": "clear", "blue skies": "clear",
    "sunshine": "sunny", "sun": "sunny", "sunlit": "sunny", "sunlight": "sunny", "bright": "sunny", "cloud": "cloudy",
    "partly cloudy": "cloudy", "gray sky": "overcast", "grey sky": "overcast", "gloomy": "overcast", "fog": "foggy",
    "mist": "misty", "haze": "misty", "hazy": "misty", "steam": "misty", "rain": "rainy", "raining": "rainy",
    "drizzle": "rainy", "drizzling": "rainy", "downpour": "rainy", "shower": "rainy", "pouring": "rainy",
    "wet": "rainy", "storm": "stormy", "thunderstorm": "stormy", "tempest": "stormy", "hurricane": "stormy",
    "gale": "stormy", "thunder": "stormy", "lightning": "stormy", "wind": "windy", "breeze": "windy",
    "breezy": "windy", "gusty": "windy", "blustery": "windy", "choppy": "windy", "rough": "windy", "wavy": "windy",
    "calmly": "calm", "windless": "calm", "tranquil": "calm", "glassy": "calm", "snow": "snowing",
    "snowfall": "snowing", "snowstorm": "snowing", "blizzard": "snowing", "snowflake": "snowing", "flurry": "snowing",
    "falling snow": "snowing", "wave": "windy",
}  # fmt: skip

_OPPOSITE = {"cloud_cover": 0.02, "fog": 0.0, "rain": 0.0, "snow": 0.0, "wind_speed": 0.5}


def weather_of(words: list[tuple[str, bool]], heading: float) -> Weather:
    """Weather of canonical words, each with True where it was negated ("no rain"); heading in radians."""
    values: Change = {}
    for word, negated in words:
        for name, value in WEATHERS[word].items():
            if negated:
                values[name] = _OPPOSITE[name]
            elif name == "wind_speed" or value < 0.2:
                values[name] = value
            else:
                values[name] = max(values.get(name, 0.0), value)
    return replace(Weather(wind_heading=heading), **values)


def hour_word(hour: float) -> str:
    """The canonical word whose hour is the nearest on the clock."""
    return min(HOURS, key=lambda word: min(abs(hour - HOURS[word]), 24.0 - abs(hour - HOURS[word])))


def weather_words(weather: Weather) -> tuple[str, ...]:
    """Canonical words that say this weather, the strongest first."""
    words: list[str] = []
    if weather.snow > 0.05:
        words.append("snowing")
    if weather.rain > 0.7 and weather.wind_speed > 12.0:
        words.append("stormy")
    elif weather.rain > 0.05:
        words.append("rainy")
    if weather.fog > 0.05:
        words.append("foggy" if weather.fog > 0.45 else "misty")
    if not words:
        words.append(_sky(weather.cloud_cover))
    if weather.wind_speed > 7.0 and "stormy" not in words:
        words.append("windy")
    elif weather.wind_speed < 1.5:
        words.append("calm")
    return tuple(words)


def _sky(cover: float) -> str:
    """The word of a cloud cover; the unremarkable default counts as sunny."""
    for word, limit in (("clear", 0.05), ("sunny", 0.4), ("cloudy", 0.8)):
        if cover <= limit:
            return word
    return "overcast"
