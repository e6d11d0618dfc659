"""Machines: the published sums come out, and files are read with care."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from elsewhere.compiler.targets.tsp.machine import (
    GROQCHIP1,
    LP30,
    MachineError,
    TspMachine,
    assumed_fields,
    load_machine,
)


def test_the_published_sums_come_out() -> None:
    m = GROQCHIP1
    assert m.memory_bytes == 220 * 2**20
    assert m.lanes == 320 and m.streams * 2 * m.lanes == 20480
    assert round(m.peak_int8 / 1e12) == 737 and round(m.peak_float16 / 1e12) == 184
    assert round(m.packet_cycles, 1) == 23.6
    assert m.largest_system == 10440
    through = m.memory_read + m.switch_to_matrix + m.matrix_multiply + m.matrix_drain + m.matrix_to_vector
    assert through == 76


def test_every_field_has_a_source() -> None:
    assert all(f.metadata["source"] for f in fields(TspMachine))
    assert "accumulator_rows" in assumed_fields() and "clock_hz" not in assumed_fields()


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "lp30-public"\nclock_hz = 1e9\n')
    made = load_machine(path)
    assert (made.name, made.clock_hz, made.rows_per_slice) == ("mine", 1e9, LP30.rows_per_slice)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alus = 'many'", "alus must be int"),
        ("alus = 0", "at least 1"),
        ("alu = 3", "nearest is 'alus'"),
        ("base = 'h100'", "base must be one of"),
        ("not toml", "no TOML"),
        ("rows_per_slice = 8191", "whole banks"),
        ("rows_per_slice = 8388608", "rows_per_slice must be at most"),
        ("slices_per_hemisphere = 1000\nrows_per_slice = 1048576", "GiB"),
        ("streams = 300", "streams must be at most 256"),
        ("weight_streams = 64", "weight_streams must be at most streams"),
        ("lanes_per_superlane = 17\nsuperlanes = 19", "blocks of 16"),
        ("clock_hz = nan", "clock_hz must be at least"),
        ("clock_hz = inf", "clock_hz must be at least"),
        ("alus = true", "alus must be int"),
        ("[alus]\nmany = 1", "alus must be int"),
        ("base = []", "base must be one of"),
        ("name = 7", "name must be str"),
    ],
)
def test_malformed_files_are_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(MachineError, match=message):
        load_machine(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"none.toml cannot be read"):
        load_machine(tmp_path / "none.toml")


def test_unknown_names_are_told() -> None:
    with pytest.raises(MachineError, match="groqchip1"):
        load_machine("groqchip2")
