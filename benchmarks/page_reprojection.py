"""How long one reprojection of two eyes takes in a browser: `python benchmarks/page_reprojection.py`.

Builds `web/bench` with Vite (needs `make page` once, for node_modules), opens it in headless Chromium and writes
`benchmarks/results/page-reprojection.json`. Two figures for each size, because they answer different questions:
milliseconds of script and draw calls, which is what the page itself costs, and milliseconds until the picture is
finished, which is the renderer's. Here that is SwiftShader, a renderer for processors; a headset has a GPU.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "page-reprojection.json"
FLAGS = ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SIZES = ((512, 512, 20), (1680, 1760, 2))
GOAL_MS = 4.0


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def build(folder: Path) -> None:
    command = [
        "npx",
        "--no-install",
        "vite",
        "build",
        "bench",
        "--logLevel",
        "warn",
        "--emptyOutDir",
        "--outDir",
        str(folder),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "PAGE_OUT"}
    subprocess.run([*command, "--base", "./", "--target", "es2022"], cwd=ROOT / "web", env=environment, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-write", action="store_true", help="only print")
    parser.add_argument("--gpu", action="store_true", help="let the browser use a GPU, where there is one")
    arguments = parser.parse_args()
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as driver:
            flags = FLAGS[:2] if arguments.gpu else FLAGS
            browser = driver.chromium.launch(executable_path=browser_path, args=flags)
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.wait_for_function("window.time !== undefined")
            cases = [
                {"width": w, "height": h, "frames": n, "fine": fine} for w, h, n in SIZES for fine in (False, True)
            ]
            results = [page.evaluate("(options) => time(options)", case) for case in cases]
            version = browser.version
            browser.close()
        server.shutdown()
    report = {
        "measured": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": [round(load, 1) for load in os.getloadavg()],
        "browser": f"Chromium {version}, headless",
        "goal_script_and_draw_calls_ms": GOAL_MS,
        "results": results,
    }
    text = json.dumps(report, indent=2) + "\n"
    print(text, end="")
    if not arguments.no_write:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
