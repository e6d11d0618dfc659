"""Two people in one world: they see each other's heads, read each other's names, and hear where the other one is."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 60.0
PREPARE = """
delete window.VideoDecoder;
const original = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
    return original.call(this, kind, { ...options, preserveDrawingBuffer: true });
};
// Every panner is listened to behind it, one analyser for each ear.
window.panners = [];
const Panner = window.PannerNode;
window.PannerNode = class extends Panner {
    constructor(context, options) {
        super(context, options);
        const ears = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
        this.connect(ears);
        this.ears = [0, 1].map((ear) => {
            const heard = new AnalyserNode(context, { fftSize: 8192 });
            ears.connect(heard, ear);
            return heard;
        });
        window.panners.push(this);
    }
};
"""
# The most that each ear of the last panner hears in a moment, root mean square, over a while.
LISTEN = """async (seconds) => {
    const most = [0, 0];
    const until = performance.now() + 1e3 * seconds;
    while (performance.now() < until) {
        await new Promise((done) => setTimeout(done, 60));
        window.panners.at(-1)?.ears.forEach((ear, i) => {
            const samples = new Float32Array(ear.fftSize);
            ear.getFloatTimeDomainData(samples);
            most[i] = Math.max(most[i], Math.sqrt(samples.reduce((sum, v) => sum + v * v, 0) / samples.length));
        });
    }
    return most;
}"""
READ = """() => {
    const canvas = document.querySelector("#picture");
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const pen = copy.getContext("2d", { willReadFrequently: true });
    pen.drawImage(canvas, 0, 0);
    const pixels = pen.getImageData(0, 0, copy.width, copy.height).data;
    let text = "";
    for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
    return { width: copy.width, height: copy.height, pixels: btoa(text) };
}"""


def wait_until(happens: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def pixels(page: Page) -> np.ndarray:
    taken = page.evaluate(READ)
    flat = np.frombuffer(base64.b64decode(taken["pixels"]), np.uint8)
    return flat.reshape(taken["height"], taken["width"], 4)[..., :3].astype(np.float64)


def enter(browser: Browser, address: str, name: str) -> Page:
    page = browser.new_page(viewport={"width": 420, "height": 420}, reduced_motion="reduce")
    page.set_default_timeout(1e3 * PATIENCE)
    page.add_init_script(PREPARE)
    page.goto(address)
    wait_until(lambda: page.get_attribute("#picture", "data-frame"))
    press(page, "#show-people")
    page.evaluate(
        """(name) => {
        const field = document.querySelector("#name");
        field.value = name;
        field.onchange();
    }""",
        name,
    )
    return page


def press(page: Page, button: str) -> None:
    """Presses the button of a selector, and of a text after a bar; not by mouse, which waits for a renderer at rest."""
    selector, _, words = button.partition("|")
    page.evaluate(
        """([selector, words]) => [...document.querySelectorAll(selector)]
            .find((b) => b.textContent.includes(words)).click()""",
        [selector, words],
    )


def walk(page: Page, key: str, arrived: Callable[[], object]) -> None:
    """Holds a key until someone has arrived; how far that is in a second depends on the renderer."""
    page.evaluate("(code) => void dispatchEvent(new KeyboardEvent('keydown', {code}))", f"Key{key.upper()}")
    wait_until(arrived)
    page.evaluate("(code) => void dispatchEvent(new KeyboardEvent('keyup', {code}))", f"Key{key.upper()}")


def louder(page: Page, side: int) -> bool:
    """Whether what comes to the left (0) or right ear is louder than to the other; a panner glides to its place."""
    heard = page.evaluate(LISTEN, 3.0)
    return bool(heard[side] > 1.3 * heard[1 - side])


def test_two_people_see_and_hear_each_other(
    talking_browser: Browser, serve_room: Callable[..., AbstractContextManager[str]]
) -> None:
    with serve_room("a steady wall", fps=10) as address:
        ada, bob = enter(talking_browser, address, "Ada"), enter(talking_browser, address, "Bob")
        wait_until(lambda: "Bob" in ada.inner_text("#who") and "Ada" in bob.inner_text("#who"))
        assert "host" in ada.inner_text("#who li >> nth=0")
        alone = pixels(ada)
        # Bob goes ahead, into Ada's view.
        walk(bob, "w", lambda: np.abs(pixels(ada) - alone).mean(axis=2).max() > 60)
        for page in (ada, bob):
            press(page, "#voice")
        wait_until(lambda: ada.evaluate("panners.length") and bob.evaluate("panners.length"))
        wait_until(lambda: min(ada.evaluate(LISTEN, 1.5)) > 1e-4 and min(bob.evaluate(LISTEN, 1.5)) > 1e-4)
        walk(bob, "a", lambda: ada.evaluate("panners.at(-1).positionX.value") < -0.8)
        wait_until(lambda: louder(ada, 0))
        walk(bob, "d", lambda: ada.evaluate("panners.at(-1).positionX.value") > 0.8)
        wait_until(lambda: louder(ada, 1))
        press(ada, "#who button|Mute")
        ada.wait_for_timeout(300)
        assert max(ada.evaluate(LISTEN, 2.0)) < 1e-4
        press(ada, "#who button|Block")
        wait_until(lambda: "Ada" not in bob.inner_text("#who"))
        assert "blocked" in ada.inner_text("#who")
        press(ada, "#who button|Unblock")
        wait_until(lambda: "Ada" in bob.inner_text("#who"))
        press(ada, "#who button|Show out")
        wait_until(lambda: "Bob" in ada.inner_text("#subtitle"))
        for page in (ada, bob):
            page.close()


@pytest.mark.parametrize("happening", ["Rain"])
def test_what_happens_is_told_as_a_subtitle(
    talking_browser: Browser, serve_world: Callable[..., AbstractContextManager[str]], happening: str
) -> None:
    with serve_world("a red rubber duck drifting in a bathtub") as address:
        page = enter(talking_browser, address, "Ada")
        wait_until(lambda: "Ada" in page.inner_text("#who"))
        # Read by who the subtitle is for: it goes away by itself.
        page.evaluate("""() => {
            window.read = [];
            const line = document.querySelector("#subtitle");
            new MutationObserver(() => read.push(line.textContent)).observe(line, { childList: true });
        }""")
        press(page, f"#happen button|{happening}")
        wait_until(lambda: any("begins to rain" in words for words in page.evaluate("read")))
        press(page, "#own-camera")
        wait_until(lambda: any("camera" in words for words in page.evaluate("read")))
        press(page, "#show-timings")
        wait_until(lambda: "skipped" in page.inner_text("#timings") and "quality" in page.inner_text("#timings"))
        page.close()
