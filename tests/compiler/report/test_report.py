"""The report: its sums are the program's, its page holds everything it needs, and a browser can read it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elsewhere.compiler.cache import VARIABLE
from elsewhere.compiler.freeze import freeze
from elsewhere.compiler.ir import Builder, show
from elsewhere.compiler.report import time_runs
from elsewhere.compiler.report.inspection import inspect, write_report
from elsewhere.compiler.report.schedule import timeline
from elsewhere.compiler.sources import Source, example_inputs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PLACE = "block.</script><b>one"
"""A place in a model can be called anything."""


def source() -> Source:
    random = np.random.default_rng(0)
    b = Builder(PLACE)
    x = b.input("x", "f32", (96, 64))
    for index in range(3):
        b.place = f"{PLACE}.{index}"
        weights = b.constant(random.standard_normal((64, 64)).astype(np.float32) / 8, "f32")
        x = b.binary("add", b.unary("tanh", b.add("matmul", (x, weights))), x)
    b.output("output", b.add("reduce", (x,), function="sum", axes=(1,)))
    return Source(graph=b.graph(), kind="test", name="three <layers>")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.getbasetemp() / "programs"))
        given = source()
        frozen = freeze(given, "int8", [example_inputs(given.graph)])
        inspection = inspect(frozen.source, runs=30)
    path = tmp_path_factory.mktemp("report") / "page.html"
    write_report(path, frozen, inspection, {"program": "built"})
    return path


def read(page: Path) -> dict[str, Any]:
    match = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.S
    )
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data


def test_sums_are_the_programs(page: Path) -> None:
    data = read(page)
    assert data["totals"]["multiplications"] == 3 * 96 * 64 * 64
    assert data["totals"]["kernels"] == len(data["kernels"])
    products = [k for k in data["kernels"] if k["kind"] == "contract"]
    assert [k["shape"] for k in products] == ["96×64×64"] * 3
    assert [k["place"] for k in products] == [f"{PLACE}.{i}" for i in range(3)]
    for k in data["kernels"]:
        assert k["reason"]
        assert k["bound"] == max(k["products"] + k["elements"], k["memory"])
    assert set(data["timings"]) == {"1", "2"}
    assert [layer["place"] for layer in data["quantisation"]["layers"]] == [f"{PLACE}.{i}" for i in range(3)]


def test_memory_and_schedules_are_whole(page: Path) -> None:
    data = read(page)
    memory = data["memory"]
    assert all(offset + size <= memory["arena"] for offset, size, _, _ in memory["blocks"])
    for schedule in data["schedules"]:
        done: dict[int, float] = {}
        for core, kernel, start, end in schedule["spans"]:
            assert 0 <= core < schedule["threads"]
            assert 0 <= start <= end <= schedule["seconds"] + 1e-12
            done[kernel] = done.get(kernel, 0.0) + end - start
        assert all(seconds == pytest.approx(data["kernels"][kernel]["seconds"]) for kernel, seconds in done.items())


def test_every_stage_is_there_as_text(page: Path) -> None:
    stages = read(page)["stages"]
    texts = [zlib.decompress(base64.b64decode(stage["text"])).decode() for stage in stages]
    assert texts[0] == show(source().graph)
    assert stages[0]["name"] == "imported"
    assert "quantise" in [stage["name"] for stage in stages]
    assert any("fused" in text for text in texts)
    assert all(sum(stage["counts"].values()) == stage["nodes"] for stage in stages)


def test_nothing_is_fetched_and_nothing_breaks_out(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)\s*=\s*["\']?(https?:|//)', text)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    assert text.count("</script>") == 2
    assert "<title>three &lt;layers> · compiled</title>" in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_draws_all_of_it(page: Path) -> None:
    assert CHROMIUM is not None
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--virtual-time-budget=3000",
    )
    command = [CHROMIUM, *flags, "--dump-dom", f"file://{page}"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    kernels = len(read(page)["kernels"])
    assert f"{kernels} kernels" in shown
    assert shown.count('class="stage"') == len(read(page)["stages"])
    assert "calculated" in shown
    assert "largest live set" in shown
    assert "matmul" in shown
    assert "<b>one" not in shown


def test_cores_wait_only_for_meetings() -> None:
    from elsewhere.compiler.targets.cpu.program import Entry, Program

    entries = tuple(Entry("k", "map", "", 2, 1.0, 0, "", -1, 0) for _ in range(3))
    ranges = np.array([[[0, 1], [0, 2], [0, 1]], [[1, 2], [0, 0], [1, 2]]])
    program = Program(b"", np.zeros(0, np.uint8), 0, 0, 0, (), (), (), {2: ranges}, entries, "", meetings=(2,))
    found = timeline(program, [2.0, 3.0, 4.0], 2)
    assert [(s.core, s.kernel, s.start, s.end) for s in found.spans] == [
        (0, 0, 0.0, 1.0), (1, 0, 0.0, 1.0), (0, 1, 1.0, 4.0), (0, 2, 4.0, 6.0), (1, 2, 4.0, 6.0),
    ]  # fmt: skip
    assert found.meetings == (4.0,)
    assert (found.waiting(0), found.waiting(1)) == (0.0, 3.0)


def test_times_and_quantiles() -> None:
    calls = []
    found = time_runs(lambda: calls.append(1), 100)
    assert found.seconds.shape == (100,)
    assert len(calls) > 100
    assert found.least <= found.median <= found.quantile(0.999) <= found.seconds.max()
