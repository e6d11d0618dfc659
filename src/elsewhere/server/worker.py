"""The process that makes the frames of all worlds of a server: `python -m elsewhere.server.worker FD`.

It does what it is told over a socket that it inherits, and says four times a second that it is alive. Worlds share it
because they share weights and compiled programs. It ends when the other end of the socket does.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import Any

from elsewhere.live.options import Options
from elsewhere.scene.description import Event
from elsewhere.server.channel import Line, read_controls, read_demand, write_report
from elsewhere.server.runner import Failed, Report, Runner, Start

BEAT_SECONDS = 0.25


class Worker:
    """Runners by the number that the door gave to their worlds."""

    def __init__(self, line: Line, *, bars: bool) -> None:
        self._line, self._bars = line, bars
        self._runners: dict[int, Runner] = {}

    def obey(self, head: dict[str, Any]) -> None:
        """Does what one message says. What is meant for a world that is gone is forgotten."""
        number = head["world"]
        if head["type"] == "open":
            self._open(number, head)
            return
        runner = self._runners.get(number)
        if runner is None:
            return
        match head["type"]:
            case "demand":
                runner.demand(read_demand(head["streams"]))
            case "watch":
                runner.watch(head["watched"])
            case "look":
                runner.look(read_controls(head["controls"]), head["tick"], head["view"])
            case "apply":
                runner.apply(Event(**head["event"]))
            case "preview":
                self._line.send({"type": "preview", "world": number}, runner.preview() or b"")
            case "close":
                self._runners.pop(number).stop()

    def _open(self, number: int, head: dict[str, Any]) -> None:
        from elsewhere.server.worlds import Blueprint

        blueprint = Blueprint(prompt=head["prompt"], options=Options(**head["options"]))
        start = Start(
            number=head["frame"],
            events=tuple(Event(**event) for event in head["events"]),
        )

        def tell(report: Report) -> None:
            fields, parts = write_report(report)
            try:
                self._line.send({**fields, "world": number}, *parts)
            except OSError:
                os._exit(0)  # the door is gone

        try:
            from elsewhere.server.app import read_world

            opened = read_world(blueprint)
        except ValueError as error:  # the door has read it before: another version of us
            tell(Failed(str(error)))
            return
        self._runners[number] = Runner(opened.open, blueprint.options, tell, bars=self._bars, start=start)


def beat(line: Line) -> None:
    """Says that this process runs, until nobody listens."""
    while True:
        try:
            line.send({"type": "beat"})
        except OSError:
            os._exit(0)
        time.sleep(BEAT_SECONDS)


def main(descriptor: int, *, bars: bool) -> None:
    """Serves the door at the other end of socket `descriptor` until it goes."""
    from elsewhere.server.run import share_the_interpreter

    share_the_interpreter()
    line = Line(socket.socket(fileno=descriptor))
    threading.Thread(target=beat, args=(line,), name="beat", daemon=True).start()
    worker = Worker(line, bars=bars)
    while (message := line.receive()) is not None:
        worker.obey(message[0])
    os._exit(0)  # threads in the middle of a frame are not waited for


if __name__ == "__main__":
    main(int(sys.argv[1]), bars="--bars" in sys.argv[2:])
