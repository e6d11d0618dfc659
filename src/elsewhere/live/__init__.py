"""The real-time loop: control in, frame out; and films, which are the same loop without a person."""

from __future__ import annotations

from elsewhere.live.film import Film, generate
from elsewhere.live.frame import Controls, Frame
from elsewhere.live.options import MODES, Options
from elsewhere.live.session import Session
from elsewhere.live.writer import OutputError, Writer

__all__ = ["MODES", "Controls", "Film", "Frame", "Options", "OutputError", "Session", "Writer", "generate"]
