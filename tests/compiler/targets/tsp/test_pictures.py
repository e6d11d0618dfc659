"""Still pictures: drawn from programs, the same every time, and the smallest program is what its text says."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from elsewhere.compiler.targets.tsp.burst import run_bursts
from elsewhere.compiler.targets.tsp.checker import check
from elsewhere.compiler.targets.tsp.compile import TspCompiled
from elsewhere.compiler.targets.tsp.cycle import run_cycles
from elsewhere.compiler.targets.tsp.example import smallest
from elsewhere.compiler.targets.tsp.machine import GROQCHIP1, LP30, TspMachine
from elsewhere.compiler.targets.tsp.program import Op
from elsewhere.compiler.targets.tsp.report import Report, diagram
from elsewhere.compiler.targets.tsp.report.picture import LEFT, WIDTH, units_picture
from elsewhere.compiler.targets.tsp.report.timeline import timeline_rows
from elsewhere.compiler.targets.tsp.report.wording import sentences

Made = tuple[TspCompiled, dict[str, Any]]
PICTURES = Path(__file__).parents[4] / "docs" / "pictures"
MACHINES = [GROQCHIP1, LP30, GROQCHIP1.changed(memory_read=5, vector_entry=9, vector_operation=7, slices_per_hop=2)]


@pytest.mark.parametrize("machine", MACHINES, ids=["groqchip1", "lp30", "another"])
def test_three_instructions_keep_every_rule_and_run(machine: TspMachine) -> None:
    program = smallest(machine)
    assert check(program) == []
    x = np.random.Generator(np.random.Philox(0)).integers(-128, 128, (8, machine.lanes)).astype(np.int8)
    for run in (run_bursts, run_cycles):
        np.testing.assert_array_equal(run(program, {"x": x})["y"], np.maximum(x, 0))


@pytest.mark.parametrize("late", [-1, 1])
@pytest.mark.parametrize("instruction", [0, 1, 2])
def test_a_cycle_earlier_or_later_is_wrong(instruction: int, late: int) -> None:
    program = smallest()
    program.code["issue"] += 1
    assert check(program) == []
    program.code["issue"][instruction] += late
    assert check(program)


def test_the_documentation_shows_this_very_program(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from elsewhere.cli.app import app

    text = (PICTURES.parent / "tsp.md").read_text(encoding="utf-8")
    three = str(tmp_path / "three.tsp")
    assert CliRunner().invoke(app, ["tsp", "example", "-o", three]).exit_code == 0
    shown = CliRunner().invoke(app, ["tsp", "show", three]).stdout
    assert "".join(f"    {line}\n" for line in shown.splitlines()) in text
    read, relu, write = sentences(smallest())
    m = GROQCHIP1
    hops = [abs(m.slice_place(20)), m.slice_place(m.slices_per_hemisphere + 40)]
    said = (
        f"issue(max)   =  0 + {m.memory_read} (a read) + {hops[0]} hops  + {m.vector_entry} (entry of the vector unit)"
    )
    assert f"{said} = {relu['issue']}" in text
    assert f"issue(Write) = {relu['issue']} + {m.vector_operation} (an ALU) + {hops[1]} hops + 0" in text
    assert f"{write['issue']} + {write['count']} rows + {m.superlanes - 1} = {smallest().cycles} cycles" in text
    assert read["issue"] == 0 and write["issue"] == relu["issue"] + m.vector_operation + hops[1]


def test_a_picture_shows_what_is_busy(layer: Made) -> None:
    report = Report.of(layer[0].program)
    content = units_picture(report, "a layer")
    assert content == units_picture(report, "a layer")
    assert len(content) < 300_000
    picture = np.array(Image.open(BytesIO(content)).convert("RGB")).astype(int)
    assert picture.shape[1] == WIDTH
    strong = (np.ptp(picture, axis=2) > 30)[:, LEFT:].sum()
    program = report.program
    busy = sum(
        int(program.code["count"][program.code["queue"] == q].sum()) for g in timeline_rows(report) for q in g["queues"]
    )
    # Rows are 3 to 17 pixels high, and strength never is below what one can see.
    assert strong > 2 * busy * (WIDTH - LEFT) / program.cycles * 0.8


def test_diagrams_are_sound_and_follow_the_machine(layer: Made) -> None:
    for content in (diagram.layout(GROQCHIP1), diagram.layout(LP30), diagram.space_time(smallest(), "a <b> & c")):
        root = ElementTree.fromstring(content)
        assert root.tag.endswith("svg")
        assert "href" not in content
    assert diagram.layout(GROQCHIP1) != diagram.layout(LP30)
    program = layer[0].program
    first = int(np.flatnonzero(program.code["op"] == Op.ACTIVATE)[0])
    mine = diagram.flow_of(program, first)
    assert first in mine and len(mine) < len(program.code)
    drawn = diagram.space_time(program, "flow", mine)
    assert f">{program.code['issue'][first]}  ABC<" in drawn
    with pytest.raises(ValueError, match="--instruction must be from 0"):
        diagram.flow_of(program, len(program.code))
    with pytest.raises(ValueError, match="a diagram holds up to 60 instructions"):
        diagram.flow_of(program, None)


@pytest.mark.parametrize("name", ["tsp-chip.svg", "tsp-three.svg"])
def test_committed_diagrams_are_those_of_the_code(name: str) -> None:
    made = (
        diagram.layout(GROQCHIP1)
        if name == "tsp-chip.svg"
        else diagram.space_time(smallest(), "Three instructions: Read, max, Write")
    )
    assert (PICTURES / name).read_text(encoding="utf-8") == made, "run scripts/make_tsp_pictures.py"
