"""The page in a real browser, judged by the pixels of its canvas."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CALM = "a snowman next to a tree in a snowy field"
DUCK = "a red rubber duck drifting in a bathtub at dusk"
SIDE = 64
PATIENCE = 120.0  # a first run compiles
READ_PIXELS = """() => {
    const canvas = document.querySelector("#picture");
    return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
}"""


@pytest.fixture(scope="module")
def address(serve_world: Callable[[str], AbstractContextManager[str]]) -> Iterator[str]:
    with serve_world(CALM) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(address)
    wait_until(lambda: frame_number(page) >= 2)
    yield page
    page.close()
    assert complaints == []


def wait_until(happens: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def attribute(page: Page, selector: str, name: str) -> str:
    return page.get_attribute(selector, name) or ""


def frame_number(page: Page) -> int:
    return int(attribute(page, "#picture", "data-frame") or -1)


def pixels(page: Page) -> np.ndarray:
    """(H, W, 3) of what the canvas shows."""
    flat = np.array(page.evaluate(READ_PIXELS), np.int16)
    side = round(np.sqrt(flat.size / 4))
    return flat.reshape(side, side, 4)[..., :3]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())


def worker_of(server: int) -> int:
    """The process that makes the frames of the server with this process id."""
    children = Path(f"/proc/{server}/task").glob("*/children")
    found = [int(child) for path in children for child in path.read_text().split()]
    return next(c for c in found if b"elsewhere.server.worker" in Path(f"/proc/{c}/cmdline").read_bytes())


def wait_for_frames(page: Page, count: int) -> None:
    start = frame_number(page)
    wait_until(lambda: frame_number(page) >= start + count)


def test_pictures_come(page: Page) -> None:
    first = pixels(page)
    assert first.shape == (SIDE, SIDE, 3)
    assert first.std() > 5
    wait_for_frames(page, 5)
    assert attribute(page, "#state", "data-state") == "live"
    wait_until(lambda: "frames/s" in page.inner_text("#state"))
    assert page.input_value("#prompt") == CALM


def test_the_picture_is_drawn_in_whole_pixels(page: Page) -> None:
    box = page.locator("#picture").bounding_box()
    assert box is not None
    assert box["width"] % SIDE == 0
    assert box["height"] == box["width"] >= 256


def test_a_prompt_leads_elsewhere_and_things_move(page: Page) -> None:
    here, world = pixels(page), attribute(page, "#picture", "data-world")
    page.fill("#prompt", DUCK)
    page.press("#prompt", "Enter")
    wait_until(lambda: attribute(page, "#picture", "data-world") != world)
    wait_until(lambda: distance(pixels(page), here) > 15)
    first = pixels(page)
    wait_until(lambda: distance(pixels(page), first) > 1)
    assert "duck" in page.title()
    assert "duck" in page.url


def test_an_example_is_one_click(page: Page) -> None:
    world = attribute(page, "#picture", "data-world")
    page.click("#examples button >> nth=5")
    wait_until(lambda: attribute(page, "#picture", "data-world") != world)
    assert "toy car" in page.input_value("#prompt")


def test_dragging_turns_the_view_and_r_returns(page: Page) -> None:
    wait_for_frames(page, 2)
    ahead = pixels(page)
    wait_for_frames(page, 2)
    restless = distance(pixels(page), ahead)
    box = page.locator("#picture").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 180, middle[1] + 40, steps=6)
    page.mouse.up()
    wait_until(lambda: distance(pixels(page), ahead) > 8 + 2 * restless)
    turned = pixels(page)
    page.keyboard.press("r")
    wait_until(lambda: distance(pixels(page), ahead) < 0.5 * distance(turned, ahead))


def test_a_drag_to_the_right_moves_the_picture_to_the_right(page: Page) -> None:
    page.keyboard.press("r")
    wait_for_frames(page, 4)
    before = pixels(page)
    box = page.locator("#picture").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 100 + box["width"] * 0.1, box["y"] + 200, steps=4)
    page.mouse.up()
    wait_for_frames(page, 6)
    after = pixels(page)
    shifts = range(-20, 21)
    errors = [
        distance(after[:, max(s, 0) : SIDE + min(s, 0)], before[:, max(-s, 0) : SIDE - max(s, 0)]) for s in shifts
    ]
    assert shifts[int(np.argmin(errors))] > 2


@pytest.mark.parametrize("key", ["d", "ArrowLeft"])
def test_keys_move_the_view(page: Page, key: str) -> None:
    page.keyboard.press("r")
    wait_for_frames(page, 4)
    before = pixels(page)
    page.keyboard.down(key)
    wait_until(lambda: distance(pixels(page), before) > 8)
    page.keyboard.up(key)


def test_typing_does_not_move_the_view(page: Page) -> None:
    page.keyboard.press("r")
    wait_for_frames(page, 4)
    before = pixels(page)
    page.focus("#prompt")
    page.keyboard.type("wasd")
    wait_for_frames(page, 6)
    assert distance(pixels(page), before) < 8


def test_words_that_are_not_known_come_with_what_is(page: Page) -> None:
    page.fill("#prompt", "a zorblat and a rubber duck in a bathtub")
    page.press("#prompt", "Enter")
    wait_until(lambda: page.is_visible("#notice") and "zorblat" in page.inner_text("#notice"))
    suggestion = page.inner_text("#notice button >> nth=0")
    assert suggestion.startswith("zorblat → ")
    page.click("#notice button >> nth=0")
    wait_until(lambda: "zorblat" not in page.input_value("#prompt"))
    assert suggestion.removeprefix("zorblat → ") in page.input_value("#prompt")


def test_a_prompt_that_means_nothing_is_told_and_the_world_goes_on(page: Page) -> None:
    world = attribute(page, "#picture", "data-world")
    page.fill("#prompt", "qqzzx wrbl")
    page.press("#prompt", "Enter")
    wait_until(lambda: page.is_visible("#notice.grave"))
    assert "must name a thing or a place" in page.inner_text("#notice")
    wait_for_frames(page, 3)
    assert attribute(page, "#picture", "data-world") == world
    page.click("#notice .close")
    assert not page.is_visible("#notice")


def test_depth_and_timings_can_be_seen(page: Page) -> None:
    page.click("#show-timings")
    wait_until(lambda: "simulate" in page.inner_text("#timings"))
    for stage in ("guide", "network", "encode", "draw", "sum"):
        assert stage in page.inner_text("#timings")
    page.click("#show-depth")
    wait_for_frames(page, 3)
    grey = pixels(page)
    assert np.abs(grey[..., 0] - grey[..., 2]).max() <= 2
    assert grey.std() > 5


def test_everything_has_a_name(page: Page) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas:not([aria-hidden])")]
            .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    assert attribute(page, "html", "lang") == "en"


def test_a_killed_worker_is_told_and_the_person_is_back_in_the_same_world(
    browser: Browser, serve_world: Callable[..., AbstractContextManager[str]]
) -> None:
    page = browser.new_page()
    processes: list[int] = []
    with serve_world(CALM, processes=processes) as address:
        page.goto(address)
        wait_until(lambda: frame_number(page) >= 12)
        world, frame = attribute(page, "#picture", "data-world"), frame_number(page)
        os.kill(worker_of(processes[0]), signal.SIGKILL)
        wait_until(lambda: attribute(page, "#state", "data-state") == "restarting", 10)
        assert "was killed" in page.inner_text("#subtitle")
        wait_until(lambda: attribute(page, "#state", "data-state") == "live")
        wait_until(lambda: frame_number(page) > frame + 2)
        assert attribute(page, "#picture", "data-world") == world
    page.close()


def test_a_lost_server_is_seen_and_found_again(
    browser: Browser, serve_world: Callable[..., AbstractContextManager[str]]
) -> None:
    page = browser.new_page()
    with serve_world(CALM) as address:
        page.goto(address)
        wait_until(lambda: frame_number(page) >= 2)
    wait_until(lambda: attribute(page, "#state", "data-state") == "lost", 10)
    assert "reconnecting" in page.inner_text("#state")
    with serve_world(CALM, port=urlsplit(address).port):
        wait_until(lambda: attribute(page, "#state", "data-state") == "live")
        wait_for_frames(page, 2)
    page.close()
