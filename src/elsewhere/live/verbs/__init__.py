"""What can be done with pictures and films beside making them: one file for each verb."""

from __future__ import annotations

from elsewhere.live.verbs.animation import animate
from elsewhere.live.verbs.connection import connect
from elsewhere.live.verbs.editing import edit
from elsewhere.live.verbs.extension import extend
from elsewhere.live.verbs.looping import loop
from elsewhere.live.verbs.stills import still
from elsewhere.live.verbs.work import Work

__all__ = ["Work", "animate", "connect", "edit", "extend", "loop", "still"]
