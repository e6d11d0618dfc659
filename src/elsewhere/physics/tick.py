"""The one length of time that everything calculated agrees on."""

from __future__ import annotations

TICK = 1.0 / 240.0
"""Seconds of one physics step."""
