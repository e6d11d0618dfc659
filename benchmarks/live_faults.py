"""A live world over bad lines: delay, loss, a blackout, a line that becomes narrow and wide again.

    python benchmarks/live_faults.py --minutes 3 --json benchmarks/results/live-faults.json

The line is a proxy in this process that carries TCP: it delays, limits the rate and stops. What loss does to TCP is
imitated, because a proxy cannot lose a segment: every 1448 bytes are lost with the given chance, and a lost piece,
with all that follows it, comes one round trip later (fast retransmit). Real loss also shrinks TCP's window, which
this does not show.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from live_gates import PROMPT, SERVER, enter
from pace import machine, report
from websockets.exceptions import ConnectionClosed

from elsewhere.server.latency import percentiles
from elsewhere.server.wire import unpack_frame

SEGMENT = 1448
QUEUE_BYTES = 65536
"""What the line's own buffer holds; then it pushes back, as TCP's window does."""


@dataclass
class Line:
    """A line between a client and the server. Rates are bits a second, times seconds."""

    delay: float = 0.0
    loss: float = 0.0
    rate: Callable[[float], float] = lambda now: 1e9
    dark: Callable[[float], bool] = lambda now: False
    begun: float = field(default_factory=time.monotonic)
    rng: random.Random = field(default_factory=lambda: random.Random(5))

    @property
    def now(self) -> float:
        return time.monotonic() - self.begun

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(maxsize=QUEUE_BYTES // SEGMENT)

        async def fill() -> None:
            free, latest = 0.0, 0.0
            while data := await reader.read(SEGMENT):
                free = max(free, self.now) + 8.0 * len(data) / self.rate(self.now)
                due = free + self.delay
                if self.rng.random() < self.loss:
                    due += 2.0 * self.delay
                latest = max(latest, due)
                await pieces.put((latest, data))
                await asyncio.sleep(max(0.0, free - self.now - 0.02))
            await pieces.put(None)

        filling = asyncio.create_task(fill())
        try:
            while (item := await pieces.get()) is not None:
                await asyncio.sleep(max(0.0, item[0] - self.now))
                while self.dark(self.now):
                    await asyncio.sleep(0.01)
                writer.write(item[1])
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            filling.cancel()
            writer.close()

    async def serve(self, port: int) -> asyncio.Server:
        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(self.carry(reader, there[1]), self.carry(there[0], writer), return_exceptions=True)

        return await asyncio.start_server(meet, "127.0.0.1", 0, limit=SEGMENT * 4)


@dataclass
class Seen:
    """A frame as the client got it; times of the line."""

    at: float
    age: float
    frame_id: int
    size: int


async def watch(line: Line, port: int, seconds: float, patience: float = 2.0) -> tuple[list[Seen], list[float]]:
    """Frames through `line`, and when connections began. A silence of `patience` seconds is a lost connection, as in
    the page."""
    server = await line.serve(port)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    seen: list[Seen] = []
    joined: list[float] = []
    while line.now < seconds:
        try:
            connection = await asyncio.wait_for(enter(address), patience)
        except (TimeoutError, OSError, ConnectionClosed):
            continue
        joined.append(line.now)
        try:
            while line.now < seconds:
                message = await asyncio.wait_for(connection.recv(), patience)
                if isinstance(message, bytes):
                    header, _ = unpack_frame(message)
                    seen.append(Seen(line.now, time.monotonic() - header.sent / 1e3, header.frame_id, len(message)))
                    await connection.send(json.dumps({"type": "ack", "frame": header.frame_id}))
        except (TimeoutError, ConnectionClosed):
            pass
        finally:
            connection.transport.abort()
    server.close()
    return seen, joined


def summary(seen: list[Seen], begin: float = 0.0, end: float = 1e9) -> dict[str, Any]:
    """Freezes, delay and rates of what came between two times."""
    found = [item for item in seen if begin <= item.at < end]
    if len(found) < 2:
        return {"frames": len(found)}
    gaps = [1e3 * (b.at - a.at) for a, b in pairwise(found)]
    span = found[-1].at - found[0].at
    return {
        "frames": len(found),
        "frames_per_second": round((len(found) - 1) / span, 1),
        "kilobits_per_second": round(8e-3 * sum(item.size for item in found) / span),
        "sent_to_received_ms": {k: round(v) for k, v in percentiles([1e3 * item.age for item in found]).items()},
        "longest_gap_ms": round(max(gaps)),
        "gaps_over_500_ms": sum(gap > 500 for gap in gaps),
    }


async def warm(port: int) -> None:
    """Waits until the world runs: what compiles when it is first wanted is no fault of the line."""
    connection = await enter(f"http://127.0.0.1:{port}/")
    frames = 0
    while frames < 24:
        message = await asyncio.wait_for(connection.recv(), 120)
        if isinstance(message, bytes):
            frames += 1
            await connection.send(json.dumps({"type": "ack", "frame": unpack_frame(message)[0].frame_id}))
    await connection.close()


async def steady(port: int, minutes: float) -> dict[str, Any]:
    line = Line(delay=0.02, loss=0.01)
    seen, joined = await watch(line, port, 60.0 * minutes)
    return {"minutes": minutes, "round_trip_ms": 40, "loss": 0.01, "connections": len(joined)} | summary(seen, 2.0)


async def blackout(port: int) -> dict[str, Any]:
    line = Line(delay=0.02, dark=lambda now: 8.0 <= now < 11.0)
    seen, joined = await watch(line, port, 20.0)
    before = [item for item in seen if item.at < 8.0]
    after = [item for item in seen if item.at >= 11.0]
    return {
        "seconds_dark": 3.0,
        "connections": len(joined),
        "first_frame_after_light_ms": round(1e3 * (after[0].at - 11.0)) if after else None,
        "world_went_on": bool(after) and bool(before) and after[-1].frame_id > before[-1].frame_id,
        "after": summary(seen, 13.0),
    }


async def steps(port: int) -> dict[str, Any]:
    line = Line(delay=0.02, rate=lambda now: 0.5e6 if 12.0 <= now < 24.0 else 5e6)
    seen, _ = await watch(line, port, 38.0)
    parts = {"wide": (4, 12), "first_2_s_narrow": (12, 14), "narrow": (14, 24), "wide_again": (26, 38)}
    return {name: summary(seen, *span) for name, span in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the line with delay and loss")
    arguments = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER, PROMPT], stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = {"machine": machine(), "line": "proxy"}
    try:
        assert server.stdout is not None
        port = urlsplit(server.stdout.readline().strip()).port
        assert port is not None
        asyncio.run(warm(port))
        figures["blackout"] = asyncio.run(blackout(port))
        figures["steps_5_0.5_5_megabits"] = asyncio.run(steps(port))
        figures["delay_and_loss"] = asyncio.run(steady(port, arguments.minutes))
    finally:
        server.terminate()
        server.wait(20)
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
