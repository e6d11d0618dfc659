"""A served world and a real browser that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import uvicorn

import elsewhere
from elsewhere.live import Controls, Frame, Options
from elsewhere.live.frame import world_id
from elsewhere.server.app import create_app
from elsewhere.server.run import address_of, bind
from elsewhere.server.worlds import Blueprint, Opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEB = Path(__file__).parents[2] / "web"
BROWSER = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-3d-apis",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
NO_GLASS = {"--disable-gpu", "--disable-3d-apis"}
# WebGL drawn by the processor; without it the page falls back to flat pictures.
WITH_GLASS = [flag for flag in FLAGS if flag not in NO_GLASS] + [
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
Serving = Callable[..., AbstractContextManager[str]]


@contextmanager
def serving(prompt: str, *, port: int = 0, processes: list[int] | None = None) -> Iterator[str]:
    """`elsewhere serve` in a process of its own, whose id goes into `processes`; gives its address."""
    command = [
        sys.executable,
        "-m",
        "elsewhere.cli",
        "serve",
        prompt,
        "--mode",
        "calculated",
        "--size",
        "64",
        "--port",
        str(port),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(elsewhere.__file__).parents[1])}
    process = subprocess.Popen(
        [*command, "--port", str(port), "--json"], stdout=subprocess.PIPE, text=True, env=environment
    )
    if processes is not None:
        processes.append(process.pid)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        said = "".join(line for line in _until_closed(lines))
        yield json.loads(said)["address"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(15)


def _until_closed(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.rstrip() == "}":
            return


@pytest.fixture(scope="session")
def serve_world() -> Serving:
    return serving


# Not for the whole session: while the driver lives, its event loop runs in this thread and no test may start another.
@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    yield from _browser(FLAGS)


@pytest.fixture(scope="module")
def glass_browser() -> Iterator[object]:
    """A browser with WebGL 2."""
    yield from _browser(WITH_GLASS)


@pytest.fixture(scope="module")
def talking_browser() -> Iterator[object]:
    """A browser with WebGL 2 and a microphone that beeps, whose pages may reach each other on this machine."""
    yield from _browser(
        [
            *WITH_GLASS,
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            "--allow-loopback-in-peer-connection",
            "--autoplay-policy=no-user-gesture-required",
        ]
    )


def _browser(flags: list[str]) -> Iterator[object]:
    if BROWSER is None:
        reason = "Chromium is not installed; get it with: sudo apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=BROWSER, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page is built and tested with, installed if need be; skips where npm or the network is missing."""
    if (WEB / "node_modules" / ".package-lock.json").is_file():
        return WEB / "node_modules"
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed; the page's own tests need Node 20 or newer")
    place = tmp_path_factory.mktemp("web")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(WEB / name, place)
    install = [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(install, cwd=place, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        pytest.skip(f"the page's tools could not be installed: {done.stderr.strip()[-300:]}")
    return place / "node_modules"


class Room:
    """A wall 2 m ahead with one bright spot in its middle, and before it, if wanted, a board 1 m ahead.

    Every pixel's depth is known. A `steady` world says the same frame again and again, which keeps the connection
    alive and shows nothing new: all motion is the page's own.
    """

    SIDE = 128
    FOCAL = 96.0
    WALL, BOARD = 2.0, 1.0

    def __init__(self, blueprint: Blueprint) -> None:
        self.world_id = world_id(blueprint)
        self.index = 0
        self.board = "board" in blueprint.prompt
        self.steady = "steady" in blueprint.prompt
        self.striped = "striped" in blueprint.prompt
        self.focal = self.FOCAL

    def frame(self, controls: Controls | None = None, *, skip: int = 0) -> Frame:
        controls = controls or Controls()
        focal = self.SIDE / 2 / np.tan(controls.across / 2) if controls.across else self.FOCAL
        if self.striped and focal != self.focal:  # another picture, also of a steady world
            self.index += 1
        self.focal = focal
        controls = Controls() if self.steady else controls
        pose = stand(controls)
        rgb, depth = self.picture(pose)
        index = self.index
        if not self.steady:
            self.index += 1 + skip
        return Frame(
            rgb=rgb,
            depth=depth,
            c2w=pose,
            focal=self.focal,
            center=(self.SIDE / 2, self.SIDE / 2),
            near=0.5,
            far=4.0,
            frame_id=index,
            world_id=self.world_id,
            tick=10 * index,
            seed=0,
            timings={"simulate": 0.0, "guide": 0.0, "network": 0.0},
        )

    def picture(self, pose: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colour (H, W, 3) and depth (H, W) in metres along −Z, of a camera at `pose` (4, 4)."""
        pixel = (np.arange(self.SIDE) + 0.5 - self.SIDE / 2) / self.focal
        x, y = np.meshgrid(pixel, -pixel)
        rays = np.stack([x, y, -np.ones_like(x)], -1) @ pose[:3, :3].T
        color = np.broadcast_to(np.array([70.0, 90.0, 130.0]), (*x.shape, 3)).copy()
        depth = np.full(x.shape, 4.0)
        for distance in (self.WALL, self.BOARD) if self.board else (self.WALL,):
            along = (-distance - pose[2, 3]) / np.minimum(rays[..., 2], -1e-6)
            hit = pose[:3, 3] + along[..., None] * rays
            on = (rays[..., 2] < 0) & (along > 0) & (along < depth)
            if distance == self.BOARD:
                on &= (abs(hit[..., 0]) < 0.15) & (abs(hit[..., 1]) < 0.15)
                color[on] = (200.0, 60.0, 40.0)
            else:
                spot = np.exp(-(hit[..., 0] ** 2 + hit[..., 1] ** 2) / (2 * 0.12**2))
                shade = np.array([60.0, 80.0, 110.0]) + spot[..., None] * np.array([190.0, 170.0, 140.0])
                if self.striped:
                    shade = shade * (0.65 + 0.35 * np.sign(np.sin(hit[..., 0] * np.pi / 0.25)))[..., None]
                color[on] = shade[on]
            depth[on] = along[on]
        return np.rint(color).astype(np.uint8), depth.astype(np.float32)


def stand(controls: Controls) -> NDArray[np.float64]:
    """Camera to world (4, 4) of a shot at the origin that looks along −Z, with a person's controls."""
    (cy, sy), (cp, sp) = ((np.cos(a), np.sin(a)) for a in (controls.yaw, controls.pitch))
    heading = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pose = np.eye(4)
    pose[:3, :3] = heading @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    pose[:3, 3] = heading @ np.array(controls.offset)
    return pose


@pytest.fixture(scope="session")
def serve_room() -> Serving:
    """Serves the `Room` of a prompt from a thread; gives its address."""

    @contextmanager
    def serving_room(prompt: str, *, fps: int = 24, lens: float = 0.0) -> Iterator[str]:
        options = Options(mode="calculated", width=Room.SIDE, height=Room.SIDE, fps=fps)
        app = create_app(prompt, options, reader=lambda blueprint: Opened(lambda: Room(blueprint), 1.0, lens))
        listener = bind("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield address_of(listener)
        server.should_exit = True
        thread.join(10)
        listener.close()

    return serving_room
