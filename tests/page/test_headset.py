"""Between two server frames: the page moves the picture itself, in an emulated headset and on the flat screen."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 120.0
IPD, DEPTH, STEP = 0.064, 2.0, 0.10
EYE = 256  # pixels of each eye's side: the browser draws with the processor
FOCAL = EYE / 2 / math.tan(math.pi / 4)

# What is drawn stays readable after the browser has shown it. Frames come as JPEG, whose depth is known to a level:
# the reprojection is judged here, not what a video codec does to depth.
JPEG_ONLY = "delete window.VideoDecoder;"
KEEP_PIXELS = """
const original = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
    return original.call(this, kind, { ...options, preserveDrawingBuffer: true });
};
"""
PUT_ON = f"""
window.device = new IWER.XRDevice(IWER.metaQuest3, {{
    stereoEnabled: true, ipd: {IPD}, fovy: Math.PI / 2, visibilityMask: null,
}});
device.installRuntime({{ forceInstall: true }});
"""
# Lets `act` happen, waits until pictures of it are drawn, and reads them.
CAPTURE = """async (act) => {
    const canvas = document.querySelector("#picture");
    const picture = () => new Promise((done) => {
        const next = window.device?.activeSession ?? window;
        next.requestAnimationFrame(() => setTimeout(done, 0));
    });
    const { frame } = canvas.dataset;
    eval(act);
    for (let i = 0; i < 2; i++) await picture();
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const pen = copy.getContext("2d", { willReadFrequently: true });
    pen.drawImage(canvas, 0, 0);
    const pixels = pen.getImageData(0, 0, copy.width, copy.height).data;
    let text = "";
    for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
    const calm = frame === canvas.dataset.frame && document.body.dataset.state === "live";
    return { calm, width: copy.width, height: copy.height, pixels: btoa(text) };
}"""


def capture(page: Page, act: str = "") -> np.ndarray:
    """(H, W, 3) after `act`, drawn from the same server frame as before it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        taken: dict[str, Any] = page.evaluate(CAPTURE, act)
        if taken["calm"]:
            flat = np.frombuffer(base64.b64decode(taken["pixels"]), np.uint8)
            return flat.reshape(taken["height"], taken["width"], 4)[..., :3].astype(np.float64)
        assert time.monotonic() < deadline, "the connection did not stay alive"
        act = ""


def wait_until(happens: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def middle_of(eye: np.ndarray) -> float:
    """The bright spot's column, from its brightness above the wall's."""
    light = np.clip(eye.sum(axis=2) - 400.0, 0.0, None)
    assert light.sum() > 0, "the spot is not seen"
    return float((light.sum(axis=0) * np.arange(eye.shape[1])).sum() / light.sum())


@pytest.fixture
def enter(glass_browser: Browser, node_modules: Path) -> Iterator[Callable[..., Page]]:
    """Opens an address with a headset on the head, and goes in."""
    pages: list[Page] = []
    complaints: list[str] = []

    def go(address: str, codec: str = "jpeg") -> Page:
        # Nothing fades in and out by itself, so that a picture is the same whenever it is read.
        page = glass_browser.new_page(viewport={"width": 2 * EYE, "height": EYE}, reduced_motion="reduce")
        page.set_default_timeout(1e3 * PATIENCE)
        pages.append(page)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.add_init_script(path=node_modules / "iwer" / "build" / "iwer.min.js")
        page.add_init_script((JPEG_ONLY if codec == "jpeg" else "") + KEEP_PIXELS + PUT_ON)
        page.goto(address)
        wait_until(lambda: page.get_attribute("#picture", "data-frame"))
        assert page.evaluate("navigator.xr.constructor.name !== undefined && device !== undefined")
        wait_until(lambda: page.evaluate("!document.querySelector('#enter').hidden"))
        page.evaluate("document.querySelector('#enter').click()")
        wait_until(lambda: page.evaluate("device.activeSession !== undefined && device.activeSession !== null"))
        capture(page)
        return page

    yield go
    for page in pages:
        page.close()
    assert complaints == []


def eyes(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    assert picture.shape == (EYE, 2 * EYE, 3)
    return picture[:, :EYE], picture[:, EYE:]


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_a_step_to_the_side_shifts_both_pictures_as_depth_says(
    enter: Callable[..., Page], serve_room: Callable[..., AbstractContextManager[str]], codec: str
) -> None:
    """With H.264 too: a decoder that takes depth for 16 to 235 where it is 0 to 255 shifts a quarter too far."""
    with serve_room("a steady wall", fps=5) as address:
        page = enter(address, codec)
        before = capture(page)
        after = capture(page, f"device.position.x += {STEP}")
        for eye_before, eye_after in zip(eyes(before), eyes(after), strict=True):
            shift = middle_of(eye_before) - middle_of(eye_after)
            assert shift == pytest.approx(FOCAL * STEP / DEPTH, abs=1.0)
        left, right = map(middle_of, eyes(before))
        assert left - right == pytest.approx(FOCAL * IPD / DEPTH, abs=1.0)


def sharpness(picture: np.ndarray) -> np.ndarray:
    """(W,) how much neighbouring columns differ."""
    return np.abs(np.diff(picture.mean(axis=2), axis=1)).mean(axis=0)


def test_a_turned_head_finds_what_was_painted_beyond_its_view(
    enter: Callable[[str], Page], serve_room: Callable[..., AbstractContextManager[str]]
) -> None:
    """The stripes of the wall go on, sharp, where a turn of 8° opens what the eyes had not seen."""
    turn = "device.quaternion.set(0, Math.sin({0} / 2), 0, Math.cos({0} / 2))"
    with serve_room("a steady striped wall", fps=5, lens=0.75) as address:
        page = enter(address)
        wait_until(lambda: float(page.get_attribute("#picture", "data-focal") or 96) < 50)
        for angle in (math.radians(8), math.radians(-8)):
            picture = capture(page, turn.format(angle))
            for eye in eyes(picture):
                opened = eye[100:156, :24] if angle > 0 else eye[100:156, -24:]
                # A stripe of 0.25 m at 2 m is 16 pixels wide or more at the rim: there is an edge in 24 columns.
                assert sharpness(opened).max() > 20, angle
            assert picture.max(axis=2).min() > 12  # the darkest stripe has 33, before JPEG


def test_no_turn_of_the_head_meets_blackness(
    enter: Callable[[str], Page], serve_room: Callable[..., AbstractContextManager[str]]
) -> None:
    with serve_room("a steady wall behind a board", fps=5) as address:
        page = enter(address)
        turn = "device.quaternion.set(0, Math.sin({0} / 2), 0, Math.cos({0} / 2)); device.position.x = 0.1"
        for angle in (math.radians(20), math.radians(-20), math.pi):
            picture = capture(page, turn.format(angle))
            assert picture.max(axis=2).min() > 24


@pytest.fixture
def screen(glass_browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Opens an address on a flat screen; the canvas has one pixel for each of the screen's."""
    pages: list[Page] = []

    def go(address: str) -> Page:
        page = glass_browser.new_page(viewport={"width": 500, "height": 520}, reduced_motion="reduce")
        page.set_default_timeout(1e3 * PATIENCE)
        pages.append(page)
        page.add_init_script(JPEG_ONLY + KEEP_PIXELS)
        page.goto(address)
        wait_until(lambda: page.get_attribute("#picture", "data-frame"))
        return page

    yield go
    for page in pages:
        page.close()


def drag(x: float) -> str:
    """A mouse that goes `x` pixels to the right, as the browser would tell it."""
    return f"""
        const hold = (kind, more) => canvas.dispatchEvent(new PointerEvent(kind, {{ pointerId: 1, ...more }}));
        canvas.setPointerCapture = () => {{}};
        canvas.hasPointerCapture = () => true;
        hold("pointerdown", {{}});
        hold("pointermove", {{ movementX: {x} }});
        hold("pointerup", {{}});"""


def test_a_drag_moves_the_picture_without_a_server_frame(
    screen: Callable[[str], Page], serve_room: Callable[..., AbstractContextManager[str]]
) -> None:
    with serve_room("a steady wall", fps=5) as address:
        page = screen(address)
        before = capture(page)
        width = page.evaluate("document.querySelector('#picture').clientWidth")
        after = capture(page, drag(0.05 * width))
        turned = 0.05 * 1.6  # radians for a drag across the picture, as look.ts has it
        side = before.shape[1]
        focal = side * 96.0 / 128 * 1.05  # the page shows a little less than the frame holds
        assert middle_of(after) - middle_of(before) == pytest.approx(focal * math.tan(turned), abs=1.0)
        assert after.max(axis=2).min() > 24


def test_the_gap_beside_a_near_thing_shows_what_is_behind_it(
    screen: Callable[[str], Page], serve_room: Callable[..., AbstractContextManager[str]]
) -> None:
    with serve_room("a steady wall behind a board", fps=5) as address:
        page = screen(address)
        before = capture(page)
        hold = "dispatchEvent(new KeyboardEvent('keydown', {code: 'KeyD'}));"
        capture(page, hold)
        wait_until(lambda: distance(capture(page), before) > 4)
        after = capture(page, "dispatchEvent(new KeyboardEvent('keyup', {code: 'KeyD'}));")
        board, board_before = ((p[..., 0] > 150) & (p[..., 2] < 90) for p in (after, before))
        # As wide and as large as it was: nothing is stretched between it and the wall.
        assert board.any(axis=0).sum() == pytest.approx(board_before.any(axis=0).sum(), rel=0.08)
        assert board.sum() == pytest.approx(board_before.sum(), rel=0.12)
        reddish = (after[..., 0] - after[..., 2] > 40) & ~board
        assert reddish.sum() < 0.25 * board.sum()


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())
