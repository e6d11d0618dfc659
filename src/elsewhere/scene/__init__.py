"""What a world is: descriptions, the catalogue of things, words to scenes, scenes to JSON, cameras.

Names are loaded when they are first asked for, so that `import elsewhere.scene` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elsewhere.scene.camera import Camera
    from elsewhere.scene.description import Behaviour, Body, Event, Scene, Shot, Weather
    from elsewhere.scene.json import from_json, to_json
    from elsewhere.scene.shots import camera_at
    from elsewhere.scene.words.parse import Parsed, parse
    from elsewhere.scene.words.tokens import PromptError

__all__ = [
    "Behaviour",
    "Body",
    "Camera",
    "Event",
    "Parsed",
    "PromptError",
    "Scene",
    "Shot",
    "Weather",
    "camera_at",
    "from_json",
    "parse",
    "to_json",
]

_HOMES = {
    "Camera": "camera",
    "camera_at": "shots",
    "from_json": "json",
    "to_json": "json",
    **dict.fromkeys(("Behaviour", "Body", "Event", "Scene", "Shot", "Weather"), "description"),
    **dict.fromkeys(("Parsed", "PromptError", "parse"), "words"),
}


def __getattr__(name: str) -> Any:
    """Loads a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
