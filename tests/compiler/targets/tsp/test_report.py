"""The report: flows and waits are the program's, the page holds everything, and a real browser draws and zooms it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elsewhere.compiler.targets.tsp.compile import TspCompiled
from elsewhere.compiler.targets.tsp.program import Kind, Op, Program
from elsewhere.compiler.targets.tsp.report import Report, page
from elsewhere.compiler.targets.tsp.report.flows import find_flows, places
from elsewhere.compiler.targets.tsp.report.pack import memory, streams
from elsewhere.compiler.targets.tsp.report.waits import KINDS, critical_chain, find_waits, stream_legs
from elsewhere.compiler.targets.tsp.semantics import steps

Made = tuple[TspCompiled, dict[str, Any]]
BROWSER = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


def shifted(program: Program, mine: np.ndarray) -> Program:
    """The program with some instructions one cycle earlier."""
    code = program.code.copy()
    code["issue"][mine] -= 1
    return Program(
        machine=program.machine,
        code=code,
        symbols=program.symbols,
        maps=program.maps,
        image=program.image,
        inputs=program.inputs,
        outputs=program.outputs,
        states=program.states,
        facts=program.facts,
    )


def test_flows_hold_what_hands_rows_on(compiled: Made) -> None:
    program = compiled[0].program
    flows = find_flows(program)
    code = program.code
    assert (flows.start[flows.of] <= code["issue"]).all()
    assert (np.diff(flows.start) >= 0).all()
    for wire in np.unique(code["outs"]["wire"][code["outs"]["stream"] >= 0]).tolist():
        taken = (code["ins"]["wire"] == wire) & (code["ins"]["kind"] == Kind.STREAM)
        users = (code["outs"]["wire"] == wire).any(axis=1) | taken.any(axis=1)
        assert len(np.unique(flows.of[users])) == 1
    rows, sums = code["op"] == Op.ACTIVATE, code["op"] == Op.ACCUMULATE
    assert set(flows.of[rows]) == set(flows.of[sums])


def test_a_flow_that_waited_breaks_a_rule_one_cycle_earlier(compiled: Made) -> None:
    """What the report calls tight is tight: the checker, which shares no code with it, objects to the earlier flow."""
    from elsewhere.compiler.targets.tsp.checker import check

    program = compiled[0].program
    flows = find_flows(program)
    waits = find_waits(program, flows)
    tight = np.flatnonzero((waits.by >= 0) & (waits.slack == 0) & (flows.start > 0))
    chosen = tight[:: max(1, len(tight) // 12)]
    assert len(chosen) >= 3
    for flow in chosen.tolist():
        faults = check(shifted(program, flows.of == flow))
        assert faults, f"flow {flow} waited for {KINDS[waits.kind[flow]]}, and nothing objects"


def test_a_unit_of_which_others_are_free_holds_nobody_up(compiled: Made) -> None:
    """Where a flow is said to have waited for an ALU, all others were busy in the rows that it wanted."""
    program = compiled[0].program
    code, m = program.code, program.machine
    waits = find_waits(program, find_flows(program))
    for flow in np.flatnonzero(waits.kind == KINDS.index("vector unit")).tolist():
        who = int(waits.waiting[flow])
        start = int(code["issue"][who]) - int(waits.slack[flow]) - 1
        stop = start + int(code["count"][who])
        for queue in range(m.slices, m.slices + m.alus):
            mine = code[code["queue"] == queue]
            assert ((mine["issue"] < stop) & (mine["issue"] + mine["count"] > start)).any()


def test_the_chain_adds_up(compiled: Made) -> None:
    program = compiled[0].program
    flows = find_flows(program)
    chain = critical_chain(flows, find_waits(program, flows), program.cycles)
    assert sum(step.cycles for step in chain) == program.cycles
    ends = [step.cycle + step.cycles for step in chain]
    assert [step.cycle for step in chain[1:]] == ends[:-1]
    report = Report.of(program)
    assert sum(layer.critical for layer in report.layers) == program.cycles
    assert sum(part["cycles"] for part in report.critical()) == program.cycles


def test_places_and_legs_are_those_of_the_simulators(compiled: Made) -> None:
    program = compiled[0].program
    table, legs = places(program.machine), stream_legs(program)
    decoded = steps(program)
    assert [int(table[s.queue]) for s in decoded] == [s.place for s in decoded]
    for who, cycle, place in zip(legs.who.tolist(), legs.cycle.tolist(), legs.place.tolist(), strict=True):
        assert cycle == decoded[who].issue + decoded[who].latency
        assert place == decoded[who].place_out


def test_memory_holds_what_is_written_until_it_is_read(compiled: Made) -> None:
    program = compiled[0].program
    held = memory(program)
    per, banks = program.machine.bank_rows, program.machine.banks_per_slice
    assert (held["strip_rows"] <= per).all()
    assert (held["strip_first"] <= held["strip_last"]).all()
    code = program.code
    read = code[(code["op"] == Op.READ) & (code["strip"] >= 0)]
    for row in read[:: max(1, len(read) // 50)]:
        bank = int(row["a"][0]) * banks + int(row["a"][1]) // per
        mine = held["strip_bank"] == bank
        alive = (held["strip_first"][mine] <= row["issue"]) & (row["issue"] <= held["strip_last"][mine])
        assert alive.any()


def test_streams_never_exceed_what_there_is(compiled: Made) -> None:
    program = compiled[0].program
    found = streams(program)
    start = np.cumsum(found["leg_start"])
    for west in (0, 1):
        mine = found["leg_west"] == west
        change = np.zeros(program.cycles + 200, np.int64)
        np.add.at(change, start[mine], found["leg_width"][mine].astype(np.int64))
        np.add.at(change, start[mine] + found["leg_length"][mine], -found["leg_width"][mine].astype(np.int64))
        assert np.cumsum(change).min() >= 0
        # A stream carries several flows at once where they are apart; each leg of 20 hops may follow another.
        assert np.cumsum(change).max() <= 2 * program.machine.streams * 2


def read(content: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', content, re.S)
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data


def test_the_page_holds_the_program(compiled: Made) -> None:
    report = Report.of(compiled[0].program)
    data = read(page(report, "a <b>title</b></script>"))
    raw = zlib.decompress(base64.b64decode(data["packed"]["bytes"]))
    at, columns = 0, {}
    for name, kind, length in data["packed"]["layout"]:
        dtype = np.dtype({"u8": "u1", "u16": "<u2", "u32": "<u4", "i32": "<i4"}[kind])
        assert at % dtype.itemsize == 0
        columns[name] = np.frombuffer(raw, dtype, length, at)
        at += -(-length * dtype.itemsize // 4) * 4
    code = report.program.code
    order = np.lexsort((code["issue"], code["queue"]))
    np.testing.assert_array_equal(np.cumsum(columns["issue"]), code["issue"][order])
    np.testing.assert_array_equal(columns["count"], code["count"][order])
    np.testing.assert_array_equal(np.cumsum(columns["flow"]), report.flows.of[order])
    queues = [q for group in data["rows"] for q in group["queues"]]
    assert len(queues) == len(set(queues)) and set(code["queue"].tolist()) <= set(queues)


def test_equal_programs_give_equal_pages_and_nothing_is_fetched(layer: Made) -> None:
    content = page(Report.of(layer[0].program), "</script><b>one")
    assert content == page(Report.of(layer[0].program), "</script><b>one")
    assert not re.search(r'(src|href)\s*=\s*["\']?(https?:|//)', content)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", content)
    assert content.count("</script>") == 2
    assert "<title>&lt;/script>&lt;b>one" in content


# -- a real browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed; get it with: sudo apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        started = driver.chromium.launch(executable_path=BROWSER, args=flags)
        yield started
        started.close()


def pixels(view: Any, canvas: str) -> np.ndarray:
    """(height, width, 4) of a canvas, and never through a screenshot's scaling."""
    from io import BytesIO

    from PIL import Image

    address = view.evaluate(f"document.getElementById('{canvas}').toDataURL()")
    return np.array(Image.open(BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGBA")).astype(int)


def coloured(picture: np.ndarray) -> int:
    return int((np.ptp(picture[:, 110:-12, :3], axis=2) > 40).sum())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_zooms_and_explains(chromium: Any, layer: Made, tmp_path: Path, scheme: str) -> None:
    report = Report.of(layer[0].program)
    (tmp_path / "page.html").write_text(page(report, "a layer"), encoding="utf-8")
    view = chromium.new_page(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
    wrong: list[str] = []
    asked: list[str] = []
    view.on("pageerror", lambda error: wrong.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    view.goto((tmp_path / "page.html").as_uri())
    view.wait_for_function("document.body.dataset.ready", timeout=30_000)
    whole = {name: pixels(view, name) for name in ("overview", "timeline", "map", "flight")}
    for name, picture in whole.items():
        assert coloured(picture) > 300, name
    box = view.locator("#timeline").bounding_box()
    view.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
    for _ in range(8):
        view.mouse.wheel(0, -120)
    view.wait_for_function(f"view.to - view.from < {report.program.cycles} / 4")
    view.wait_for_timeout(100)
    for name, picture in whole.items():
        if name != "overview":
            assert (pixels(view, name) != picture).any(axis=2).mean() > 0.01, f"{name} did not zoom"
    before = view.evaluate("view.from")
    view.mouse.down()
    view.mouse.move(box["x"] + box["width"] / 2 - 200, box["y"] + 200)
    view.mouse.up()
    assert view.evaluate("view.from") > before
    view.locator("#all").click()
    view.wait_for_function("view.from === 0")
    view.wait_for_timeout(100)
    np.testing.assert_array_equal(pixels(view, "timeline"), whole["timeline"])
    # The instruction under the pointer, found in the page as Python finds it.
    first = report.program.code[report.program.code["op"] == Op.ACTIVATE][0]
    at = view.evaluate(
        f"(() => {{ const row = rows.find(r => r.queue === {int(first['queue'])}), c = $('timeline');"
        f" return [toX({int(first['issue'])} + {int(first['count'])} / 2, c.clientWidth), row.y + row.h / 2]; }})()"
    )
    box = view.locator("#timeline").bounding_box()
    view.mouse.move(box["x"] + at[0], box["y"] + at[1])
    said = view.locator("#tip").inner_text()
    assert "ABC" in said and f"issue {int(first['issue']):,}" in said and f"count {int(first['count'])}" in said
    view.locator("th button", has_text="memory").click()
    assert view.locator("th[aria-sort=descending]").inner_text().startswith("memory")
    assert wrong == []
    assert all(address.startswith(("file:", "data:", "blob:")) for address in asked)
    view.close()


@pytest.mark.slow
def test_resnet_50_stays_usable(chromium: Any, tmp_path: Path) -> None:
    """10^5 instructions: a page of at most 8 MB that is drawn in two seconds, and zooms at once."""
    from elsewhere.compiler.targets.tsp.compile import compile_tsp
    from elsewhere.compiler.targets.tsp.published import resnet_50

    content = page(Report.of(compile_tsp(resnet_50()).program), "ResNet-50")
    assert len(content.encode()) < 8e6
    (tmp_path / "page.html").write_text(content, encoding="utf-8")
    view = chromium.new_page(viewport={"width": 1400, "height": 1000})
    view.goto((tmp_path / "page.html").as_uri())
    view.wait_for_function("document.body.dataset.ready", timeout=60_000)
    first = view.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert first < 2000
    view.evaluate("look(40000, 41000)")
    view.wait_for_timeout(500)
    assert int(view.evaluate("document.body.dataset.drawn")) < 500
    view.close()
