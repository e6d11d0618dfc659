"""Makes the pictures of the tensor streaming processor in docs/pictures from programs that it compiles on the spot.

python scripts/make_tsp_pictures.py

tsp-chip.svg, tsp-three.svg, tsp-product.svg and tsp-block.png; tsp-report.png where Chromium and playwright are there.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from elsewhere.compiler.ir.builder import Builder
from elsewhere.compiler.targets.tsp.compile import compile_tsp
from elsewhere.compiler.targets.tsp.example import smallest
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1
from elsewhere.compiler.targets.tsp.program import Op, Program
from elsewhere.compiler.targets.tsp.published import bert
from elsewhere.compiler.targets.tsp.report import Report, diagram, page
from elsewhere.compiler.targets.tsp.report.picture import units_picture

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
BLOCK = "One transformer block of BERT-base, 128 tokens, int8"


def product(rows: int = 12) -> Program:
    """relu(scale · x·w) of bytes: one pass through one plane."""
    random = np.random.Generator(np.random.Philox(0))
    b = Builder(place="product")
    x = b.input("x", "i8", (rows, 320))
    y = b.cast(b.matmul(x, b.constant(random.integers(-127, 128, (320, 320)), "i8")), "f32")
    b.output("y", b.cast(b.binary("max", b.binary("mul", y, b.like(0.001, y)), b.like(0.0, y)), "i8"))
    return compile_tsp(b.graph()).program


def make(folder: Path) -> None:
    (folder / "tsp-chip.svg").write_text(diagram.layout(GROQCHIP1), encoding="utf-8")
    three = smallest()
    said = "Three instructions: Read, max, Write"
    (folder / "tsp-three.svg").write_text(diagram.space_time(three, said), encoding="utf-8")
    small = product()
    first = int(np.flatnonzero(small.code["op"] == Op.ACTIVATE)[0])
    said = "A product on its way: from memory through a plane and four ALUs, and back"
    drawn = diagram.space_time(small, said, diagram.flow_of(small, first))
    (folder / "tsp-product.svg").write_text(drawn, encoding="utf-8")
    report = Report.of(compile_tsp(bert(layers=1)).program)
    (folder / "tsp-block.png").write_bytes(units_picture(report, BLOCK))
    screenshot(page(report, BLOCK), folder / "tsp-report.png")


def screenshot(content: str, path: Path) -> None:
    """The head of the page as a browser shows it; nothing where there is no browser."""
    browser = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        browser = None
    if browser is None:
        print(f"{path.name} was left out: it needs Chromium and playwright")
        return
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = Path(folder) / "page.html"
        file.write_text(content, encoding="utf-8")
        started = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        view = started.new_page(viewport={"width": 1360, "height": 1180}, color_scheme="light")
        view.goto(file.as_uri())
        view.wait_for_function("document.body.dataset.ready", timeout=120_000)
        shot = Path(folder) / "shot.png"
        view.screenshot(path=str(shot))
        started.close()
        Image.open(shot).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    make(PICTURES)
    for made in sorted(PICTURES.glob("tsp-*")):
        print(f"{made.relative_to(PICTURES.parents[1])}: {made.stat().st_size / 1e3:.0f} KB")
