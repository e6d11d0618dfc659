"""What happens at the door, one JSON object a line: who came and left by number, what was refused and why.

Only the fields listed here are written: prompts, names, addresses and poses never are.
"""

from __future__ import annotations

import json
import logging
import sys

FIELDS = ("person", "reason", "world", "code")


class JsonLines(logging.Formatter):
    """A record as one line: time, level, event and those of `FIELDS` that it has."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.msg}
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__  # its message may hold what was typed
        return json.dumps(line, ensure_ascii=False, default=str)


def log_as_json() -> None:
    """Writes the server's records to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("elsewhere.server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
