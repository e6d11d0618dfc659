"""The house's door: one origin that serves the page and, over a WebSocket, worlds frame by frame."""

from __future__ import annotations

from elsewhere.server.app import Limits, create_app

__all__ = ["Limits", "create_app"]
