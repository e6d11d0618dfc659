"""How many frames a second `elsewhere serve` shows one watcher, and its peak memory with that of its worker.

    python benchmarks/serve_pace.py --json benchmarks/results/serve.json

The watcher is a bare WebSocket client, so that the processor's time goes to the server, as with a browser on another
device. The peer in the same run is `--mode calculated`: the same server without the networks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from live_gates import family
from pace import PROMPT, machine, report
from websockets.asyncio.client import connect

from elsewhere.server.app import PROTOCOL
from elsewhere.server.wire import unpack_frame


async def watch(address: str, warm: float, seconds: float) -> float:
    """Frames a second that arrive in `seconds`, after `warm` seconds."""
    request = urllib.request.Request(f"{address}token", method="POST")
    with urllib.request.urlopen(request) as answer:
        token = json.load(answer)["token"]
    url = f"ws://{urlsplit(address).netloc}/live"
    async with connect(url, subprotocols=[PROTOCOL, f"token.{token}"], compression=None) as connection:
        # As a browser with WebCodecs asks.
        await connection.send(json.dumps({"type": "join", "codecs": ["h264", "vp8", "jpeg"]}))
        count, began = 0, time.perf_counter()
        started = began
        while (now := time.perf_counter()) - began < warm + seconds:
            if now - began < warm:
                count, started = 0, now
            message = await asyncio.wait_for(connection.recv(), 60)
            if isinstance(message, bytes):
                count += 1
                await connection.send(json.dumps({"type": "ack", "frame": unpack_frame(message)[0].frame_id}))
        return count / (time.perf_counter() - started)


def serve(mode: str, port: int, size: str = "128x128") -> dict[str, Any]:
    """One server, one watcher."""
    command = [sys.executable, "-m", "elsewhere.cli", "serve", PROMPT, "--mode", mode, "--port", str(port)]
    command += ["--size", size]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        rate = asyncio.run(watch(found.group(), 12.0, 20.0))
        peaks = [re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in family(server.pid)]
        kilobytes = sum(int(peak.group(1)) for peak in peaks if peak)
        return {"frames_per_second": round(rate, 2), "peak_memory_mb": round(kilobytes / 1024)}
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    figures = {"machine": machine(), "grounded": serve("grounded", 8791), "calculated": serve("calculated", 8792)}
    figures["grounded_256"] = serve("grounded", 8793, "256x256")
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
