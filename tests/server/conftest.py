"""Worlds that cost nothing, and a real server in a thread."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette

from elsewhere.live import Controls, Frame, Options
from elsewhere.live.frame import world_id
from elsewhere.server.app import Limits, create_app
from elsewhere.server.run import MESSAGE_BYTES_MOST, address_of, bind
from elsewhere.server.worlds import Blueprint, MisunderstoodError, Opened

SIDE = 64


class Flat:
    """A world of one colour, which its prompt decides; its camera turns with the hands."""

    def __init__(self, blueprint: Blueprint) -> None:
        digest = zlib.crc32(blueprint.prompt.encode())
        self.color = np.frombuffer(digest.to_bytes(4, "little"), np.uint8)[:3]
        self.world_id = world_id(blueprint)
        self.index = 0

    def frame(self, controls: Controls | None = None, *, skip: int = 0) -> Frame:
        yaw = (controls or Controls()).yaw
        pose = np.eye(4)
        pose[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        self.index += 1
        return Frame(
            rgb=np.broadcast_to(self.color, (SIDE, SIDE, 3)).copy(),
            depth=np.full((SIDE, SIDE), 2.0, np.float32),
            c2w=pose,
            focal=60.0,
            center=(32.0, 32.0),
            near=1.0,
            far=4.0,
            frame_id=self.index - 1,
            world_id=self.world_id,
            tick=10 * (self.index - 1),
            seed=0,
            timings={"simulate": 1.0, "guide": 2.0, "network": 3.0},
        )


class Breaking(Flat):
    def frame(self, controls: Controls | None = None, *, skip: int = 0) -> Frame:
        if self.index == 3:
            raise RuntimeError("the sky fell")
        return super().frame(controls, skip=skip)


def read_flat(blueprint: Blueprint) -> Opened:
    if "nonsense" in blueprint.prompt:
        raise MisunderstoodError("prompt must name a thing", (("nonsense", "nothing"),))
    kind = Breaking if "breaks" in blueprint.prompt else Flat
    unknown = (("gribble", "marble"),) if "gribble" in blueprint.prompt else ()
    return Opened(lambda: kind(blueprint), 1.5, 0.0, unknown)


@pytest.fixture
def make_app() -> Callable[..., Starlette]:
    def make(*, limits: Limits | None = None, local_only: bool = True, fps: int = 60) -> Starlette:
        options = Options(mode="calculated", width=SIDE, height=SIDE, fps=fps)
        return create_app("a first world", options, limits=limits, local_only=local_only, reader=read_flat)

    return make


@contextmanager
def running(app: Starlette) -> Iterator[str]:
    listener = bind("127.0.0.1", 0)
    config = uvicorn.Config(
        app,
        log_level="warning",
        ws_max_size=MESSAGE_BYTES_MOST,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield address_of(listener)
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
def serve_app() -> Callable[[Starlette], object]:
    return running
