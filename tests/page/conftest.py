"""A served world and a real browser that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import elsewhere

BROWSER = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
Serving = Callable[..., AbstractContextManager[str]]


@contextmanager
def serving(prompt: str, *, port: int = 0) -> Iterator[str]:
    """`elsewhere serve` in a process of its own; gives its address."""
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
    if BROWSER is None:
        reason = "Chromium is not installed; get it with: sudo apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield chromium
        chromium.close()
