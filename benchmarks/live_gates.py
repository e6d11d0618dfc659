"""What a crowd costs the door: watchers of one encode, people who come and go, and those who talk nonsense.

    python benchmarks/live_gates.py --json benchmarks/results/live-gates.json
    python benchmarks/live_gates.py --all --json all.json

The server is a process of its own with a worker for the frames, so that their processor time and memory are theirs
alone; both are counted. `--all` adds what other commands measure: latency (`elsewhere bench live`), bad lines
(`live_faults.py`), reprojection (`page_reprojection.py`) and the random walk of 100 people through 20 worlds, twenty
times; then it prints one table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pace import machine, report
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from elsewhere.server.schema import MESSAGES, PROTOCOL
from elsewhere.server.wire import unpack_frame

PROMPT = "a red rubber duck drifting in a bathtub"
ROOT = Path(__file__).parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
SERVER = """
import sys
from elsewhere.live.options import Options
from elsewhere.server.app import Limits, create_app
from elsewhere.server.run import address_of, bind, serve
limits = Limits(clients=400, clients_per_address=400, messages_per_second=1e6, joins_per_second=1e6, joins_at_once=1e6)
listener = bind("127.0.0.1", 0)
print(address_of(listener), flush=True)
serve(create_app(sys.argv[1], Options(mode="calculated", width=128, height=128), limits=limits), listener)
"""


def family(pid: int) -> list[int]:
    """A server and its worker."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(int(child) for path in found for child in path.read_text().split())]


def processor_seconds(pid: int) -> float:
    total = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_kilobytes(pid: int) -> int:
    sizes = [re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{one}/status").read_text()) for one in family(pid)]
    return sum(int(found.group(1)) for found in sizes if found)


def fetch(address: str, path: str, method: str = "GET") -> str:
    with urllib.request.urlopen(urllib.request.Request(address + path, method=method), timeout=30) as answer:
        return str(answer.read().decode())


async def enter(address: str, codec: str = "h264") -> ClientConnection:
    token = json.loads(await asyncio.to_thread(fetch, address, "token", "POST"))["token"]
    url = f"ws://{urlsplit(address).netloc}/live"
    connection = await connect(url, subprotocols=[PROTOCOL, f"token.{token}"], compression=None)  # type: ignore[list-item]
    await connection.send(json.dumps({"type": "join", "codecs": [codec], "watch_only": True}))
    return connection


async def watch(connection: ClientConnection, seconds: float) -> int:
    """Frames in `seconds`, each acknowledged."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        message = await asyncio.wait_for(connection.recv(), 60)
        if isinstance(message, bytes):
            count += 1
            await connection.send(json.dumps({"type": "ack", "frame": unpack_frame(message)[0].frame_id}))
    return count


async def crowd(address: str, pid: int, people: int, seconds: float) -> dict[str, Any]:
    """Cores that the server takes with `people` watchers of one world."""
    connections = [await enter(address) for _ in range(people)]
    await asyncio.gather(*(watch(connection, 3.0) for connection in connections))
    before, begun = processor_seconds(pid), time.monotonic()
    counts = await asyncio.gather(*(watch(connection, seconds) for connection in connections))
    cores = (processor_seconds(pid) - before) / (time.monotonic() - begun)
    await asyncio.gather(*(connection.close() for connection in connections))
    return {"watchers": people, "cores": round(cores, 3), "frames_each": [min(counts), max(counts)]}


async def come_and_go(address: str, pid: int, visits: int) -> dict[str, Any]:
    """Growth of memory over `visits`, half of which end without a word."""
    sizes = []
    for number in range(visits + 100):
        if number == 100:  # the first ones fill pools
            sizes.append(resident_kilobytes(pid))
        connection = await enter(address, random.choice(["h264", "jpeg"]))
        await asyncio.wait_for(connection.recv(), 30)
        if number % 2:
            connection.transport.abort()
        else:
            await connection.close()
    await asyncio.sleep(2.0)
    sizes.append(resident_kilobytes(pid))
    people = json.loads(fetch(address, "healthz"))["people"]
    growth = 100.0 * (sizes[1] / sizes[0] - 1.0)
    return {"visits": visits, "kilobytes": sizes, "growth_percent": round(growth, 2), "left_behind": people}


def nonsense(rng: random.Random) -> str | bytes:
    """A message that follows the schema almost, or not at all."""
    junk: list[Any] = [
        None,
        True,
        -1,
        1e308,
        float("nan"),
        2**70,
        "",
        "x" * 300,
        [],
        [0] * 40,
        {},
        {"a": [1]},
        "\u0000",
    ]
    kind = rng.choice(MESSAGES)
    fields = {name: rng.choice(junk) for name in kind.__dataclass_fields__ if rng.random() < 0.8}
    text = json.dumps({"type": kind.kind, **fields})
    match rng.randrange(5):
        case 0:
            return text[: rng.randrange(len(text))]
        case 1:
            return rng.randbytes(rng.randrange(200))
        case 2:
            return json.dumps(rng.choice(junk))
    return text


async def vandals(address: str, pid: int, count: int) -> dict[str, Any]:
    """`count` malformed handshakes and messages beside a watcher who must not notice."""
    rng = random.Random(11)
    good = await enter(address)
    watching = asyncio.create_task(watch(good, 1e9))
    size, messages, handshakes, closed = resident_kilobytes(pid), 0, 0, 0
    url = f"ws://{urlsplit(address).netloc}/live"
    connection: ClientConnection | None = None
    while messages + handshakes < count:
        if rng.random() < 0.02:
            handshakes += 1
            offered = rng.choice([[PROTOCOL], ["elsewhere.1", "token.x"], [PROTOCOL, "token.0.a.b"], ["soap"], None])
            headers = rng.choice([{}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "\u00ff"}])
            try:
                odd = await connect(url, subprotocols=offered, additional_headers=headers, open_timeout=20)  # type: ignore[arg-type]
                odd.transport.abort()
            except (InvalidStatus, ConnectionClosed, ValueError, OSError, EOFError):
                pass
            continue
        if connection is None:
            connection = await enter(address)
        try:
            await connection.send(nonsense(rng))
            messages += 1
        except ConnectionClosed:
            connection, closed = None, closed + 1
    if connection is not None:
        connection.transport.abort()
    alive = not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    frames = await watch(good, 3.0)
    await good.close()
    grown = 100.0 * (resident_kilobytes(pid) / size - 1.0)
    return {
        "messages": messages,
        "handshakes": handshakes,
        "connections_closed": closed,
        "memory_growth_percent": round(grown, 2),
        "watcher_alive": alive,
        "watcher_frames_in_3_s_after": frames,
    }


def run(*command: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


def elsewhere_measured(minutes: float, walks: int) -> dict[str, Any]:
    """What other commands print; a part that fails says so."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "faults.json"
        commands = {
            "latency": ("-m", "elsewhere.cli", "bench", "live", "--codec", "h264", "--seconds", "20", "--json"),
            "reprojection": ("benchmarks/page_reprojection.py", "--no-write"),
            "faults": ("benchmarks/live_faults.py", "--minutes", str(minutes), "--json", str(file)),
        }
        for name, command in commands.items():
            status, said = run(*command)
            try:
                found[name] = json.loads(file.read_text() if name == "faults" else said)
            except (ValueError, OSError):
                found[name] = {"failed": status}
    walk = ("-m", "pytest", "-q", "-m", "slow", "tests/server/test_rooms.py")
    found["walks_of_100_people"] = {"walks": walks, "clean": sum(run(*walk)[0] == 0 for _ in range(walks))}
    return found


def table(figures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What, wanted, measured."""

    def at(*path: Any) -> Any:
        value: Any = figures
        for name in path:
            try:
                value = value[name]
            except (KeyError, IndexError, TypeError):
                return "not measured"
        return value

    faults = ("faults", "steps_5_0.5_5_megabits")
    return [
        ("ready to socket, p95 ms", "<= 15", str(at("latency", "socket", "ready_to_socket_ms", "p95"))),
        ("ready to canvas, p95 ms", "<= 60", str(at("latency", "canvas", "ready_to_canvas_ms", "p95"))),
        ("stages / total, p50", "0.95 to 1.05", str(at("latency", "socket", "stages_to_total", "p50"))),
        ("two eyes of 512 squared, script and draw calls, ms", "<= 4", str(at("reprojection", "results", 0))),
        ("cores for 50 watchers", "<= 1", str(at("watchers_50", "cores"))),
        ("memory after 500 visits, %", "< 5", str(at("come_and_go", "growth_percent"))),
        (
            "frames in 3 s after 10,000 malformed messages",
            "about 72",
            str(at("vandals", "watcher_frames_in_3_s_after")),
        ),
        ("walks of 100 people without a stranger's frame", "all", str(at("walks_of_100_people"))),
        ("40 ms, 1 % loss: longest gap, ms", "<= 500", str(at("faults", "delay_and_loss", "longest_gap_ms"))),
        (
            "after 3 s of darkness: first frame, ms",
            "<= 3000",
            str(at("faults", "blackout", "first_frame_after_light_ms")),
        ),
        ("5 Mb/s, kb/s", "", str(at(*faults, "wide", "kilobits_per_second"))),
        ("5 Mb/s again after 2 s, kb/s", "as before", str(at(*faults, "wide_again", "kilobits_per_second"))),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the crowd watches")
    parser.add_argument("--visits", type=int, default=500)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--all", action="store_true", help="also latency, faults, reprojection and walks")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the bad line, with --all")
    parser.add_argument("--walks", type=int, default=20, help="with --all")
    arguments = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER, PROMPT], stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = {"machine": machine()}
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        for people in (1, 50):
            figures[f"watchers_{people}"] = asyncio.run(crowd(address, server.pid, people, arguments.seconds))
        figures["come_and_go"] = asyncio.run(come_and_go(address, server.pid, arguments.visits))
        figures["vandals"] = asyncio.run(vandals(address, server.pid, arguments.messages))
        figures["server_alive"] = server.poll() is None
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
    if arguments.all:
        figures |= elsewhere_measured(arguments.minutes, arguments.walks)
    report(figures, arguments.json)
    if arguments.all:
        for what, wanted, measured in table(figures):
            print(f"{what:52} {wanted:14} {measured}")


if __name__ == "__main__":
    main()
