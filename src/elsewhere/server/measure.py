"""Loop-back latency of a live world: to a bare client's socket, and to a real browser's canvas.

Every frame has its id painted into its first rows, so that what is measured in the browser is read from the canvas.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvicorn
from starlette.applications import Starlette

from elsewhere.live.options import Options
from elsewhere.server.app import create_app
from elsewhere.server.bars import read_bars
from elsewhere.server.latency import percentiles
from elsewhere.server.run import address_of, bind, configuration, share_the_interpreter
from elsewhere.server.schema import PROTOCOL, TOKEN_PROTOCOL
from elsewhere.server.wire import Header, unpack_frame

BEFORE_SOCKET = ("simulate", "guide", "hold", "network", "decode")
SOCKET_GOAL, CANVAS_GOAL = 15.0, 60.0
"""Milliseconds, p95, on a machine with nothing else to do."""
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]
# A flat canvas can be read back to the pixel; VideoDecoder is taken away where JPEG is wanted.
_PREPARE = """
(() => {
  const getContext = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    return kind.startsWith("webgl") ? null : getContext.call(this, kind, ...rest);
  };
  CODEC_LINE
  const seen = (window.barsSeen = []);
  let last = "";
  const look = () => {
    const canvas = document.querySelector("#picture");
    if (canvas && canvas.dataset.frame && canvas.dataset.frame !== last) {
      const pixels = canvas.getContext("2d").getImageData(0, 4, canvas.width, 1).data;
      last = canvas.dataset.frame;
      seen.push([performance.timeOrigin + performance.now(), ...pixels.filter((_, i) => i % 4 === 1)]);
    }
    setTimeout(look, 1);
  };
  look();
})();
"""


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """`app` in a thread of this process, as `elsewhere serve` has it; gives its address."""
    share_the_interpreter()
    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(configuration(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def measure_live(prompt: str, options: Options, *, seconds: float, codec: str = "h264") -> dict[str, Any]:
    """The latency table of `prompt` served to a bare client and then to a browser, `seconds` each.

    `canvas` is None, with a reason, where there is no Chromium or no playwright.
    """
    app = create_app(prompt, options, bars=True)
    with served(app) as address:
        socket = asyncio.run(_watch(address, codec, seconds))
        app.state.house.latency.clear()
        try:
            canvas, reason = _browse(address, codec, seconds, app), ""
        except ImportError as error:
            canvas, reason = None, f"{error}"
    return {"socket": socket, "canvas": canvas, "canvas_missing": reason, "goals_ms_p95": [SOCKET_GOAL, CANVAS_GOAL]}


async def _watch(address: str, codec: str, seconds: float) -> dict[str, Any]:
    from websockets.asyncio.client import connect

    request = urllib.request.Request(f"{address}token", method="POST")
    with urllib.request.urlopen(request) as answer:
        token = json.load(answer)["token"]
    url = f"ws://{urlsplit(address).netloc}/live"
    headers: list[Header] = []
    arrived: list[float] = []
    sizes: list[int] = []
    async with connect(url, subprotocols=[PROTOCOL, TOKEN_PROTOCOL + token], compression=None) as connection:  # type: ignore[list-item]
        await connection.send(json.dumps({"type": "join", "codecs": [codec]}))
        until = None
        while until is None or time.monotonic() < until:
            message = await asyncio.wait_for(connection.recv(), 120)
            now = time.monotonic()
            if isinstance(message, bytes):
                header, _ = unpack_frame(message)
                await connection.send(json.dumps({"type": "ack", "frame": header.frame_id}))
                until = until or now + seconds
                headers.append(header)
                arrived.append(1e3 * now)
                sizes.append(len(message))
    ready = [h.begun + sum(h.timings[name] for name in BEFORE_SOCKET) for h in headers]
    sums = [sum(v for n, v in h.timings.items() if n != "round_trip") / (h.sent - h.begun) for h in headers]
    return {
        "frames": len(headers),
        "codec": headers[-1].codec,
        "kilobits_per_second": round(8e-3 * sum(sizes) / seconds),
        "ready_to_socket_ms": _rounded(percentiles([h.sent - at for h, at in zip(headers, ready, strict=True)])),
        "ready_to_received_ms": _rounded(percentiles([a - at for a, at in zip(arrived, ready, strict=True)])),
        "encode_ms": _rounded(percentiles([h.timings["encode"] for h in headers])),
        "stages_to_total": _rounded(percentiles(sums)),
    }


def _browse(address: str, codec: str, seconds: float, app: Starlette) -> dict[str, Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ImportError("the canvas is read through playwright, which is not installed") from None
    chromium = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    if chromium is None:
        raise ImportError("Chromium is not installed")
    script = _PREPARE.replace("CODEC_LINE", "delete window.VideoDecoder;" if codec == "jpeg" else "")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page()
        page.add_init_script(script)
        page.goto(address)
        deadline = time.monotonic() + 120.0
        while int(page.get_attribute("#picture", "data-frame") or -1) < 5 and time.monotonic() < deadline:
            page.wait_for_timeout(100)
        page.evaluate("barsSeen.length = 0")
        app.state.house.latency.clear()
        page.wait_for_timeout(1e3 * seconds)
        seen = page.evaluate("barsSeen")
        browser.close()
    recorder = app.state.house.latency
    ready = recorder.ready
    offset = 1e3 * (time.time() - time.monotonic())  # the browser's clock is the wall's
    spans, unread = [], 0
    for at, *row in seen:
        number = read_bars(np.array(row, np.uint8))
        if number is None or number not in ready:
            unread += 1
        else:
            spans.append(at - offset - ready[number])
    return {
        "frames": len(spans),
        "unread": unread,
        "ready_to_canvas_ms": _rounded(percentiles(spans)),
        "stages_ms": {name: _rounded(row) for name, row in recorder.table().items()},
    }


def _rounded(row: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in row.items()}
