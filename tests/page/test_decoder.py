"""The page asks for what its browser can decode, and draws it: H.264 where WebCodecs is there, else JPEG."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

from elsewhere.server.wire import unpack_frame

if TYPE_CHECKING:
    from playwright.sync_api import Browser, WebSocket

DUCK = "a red rubber duck drifting in a bathtub at dusk"
REFUSE_H264 = """
    const ask = VideoDecoder.isConfigSupported;
    VideoDecoder.isConfigSupported = (config) =>
        config.codec.startsWith("avc1") ? Promise.resolve({ supported: false }) : ask.call(VideoDecoder, config);
"""
BREAK_ONCE = """
    const decode = VideoDecoder.prototype.decode;
    let count = 0;
    VideoDecoder.prototype.decode = function (chunk) {
        count += 1;
        if (count === 12) throw new Error("lost");
        return decode.call(this, chunk);
    };
"""


@pytest.mark.parametrize(
    ("script", "first", "last"),
    [
        ("", "h264", "h264"),
        (REFUSE_H264, "vp8", "vp8"),
        ("delete window.VideoDecoder;", "jpeg", "jpeg"),
        (BREAK_ONCE, "h264", "jpeg"),
    ],
    ids=["all", "no H.264", "no WebCodecs", "a decoder that fails"],
)
def test_frames_are_drawn_with_what_the_browser_has(
    browser: Browser, serve_world: Callable[..., AbstractContextManager[str]], script: str, first: str, last: str
) -> None:
    codecs: list[str] = []
    ids: list[int] = []

    def listen(socket: WebSocket) -> None:
        def read(data: str | bytes) -> None:
            if isinstance(data, bytes):
                header, _ = unpack_frame(data)
                codecs.append(header.codec)
                ids.append(header.frame_id)

        socket.on("framereceived", read)

    with serve_world(DUCK) as address:
        page = browser.new_page()
        page.add_init_script(script)
        page.on("websocket", listen)
        page.goto(address)
        deadline = time.monotonic() + 120
        while int(page.get_attribute("#picture", "data-frame") or -1) < 40:
            assert time.monotonic() < deadline
            page.wait_for_timeout(100)
        drawn = int(page.get_attribute("#picture", "data-frame") or -1)
        assert drawn >= ids[-1] - 8  # what came last is what is shown
        page.close()
    assert codecs[0] == first
    assert codecs[-1] == last
