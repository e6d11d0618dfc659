"""Machines: the published sums come out, and files are read with care."""

from __future__ import annotations

from pathlib import Path

import pytest

from elsewhere.compiler.targets.tsp.machine import (
    GROQCHIP1,
    LP30,
    MachineError,
    TspMachine,
    assumed_fields,
    load_machine,
    source_of,
    to_toml,
    values,
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
    assert all(f.metadata["source"] for f in values())
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
        ("[alus]\nmany = 1", "alus has value, unit and source"),
        ("base = []", "base must be one of"),
        ("name = 7", "name must be str"),
        ("alus = { value = 8, unit = 'bananas' }", "is in 'units a lane'"),
        ("alus = { unit = 'units a lane' }", "needs a value"),
        ("alus = { value = 8, origin = 'x' }", "value, unit and source"),
        ("alus = { value = 8, source = 3 }", "must be text"),
        ("alus = { value = 'x' }", "alus must be int"),
    ],
)
def test_malformed_files_are_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(MachineError, match=message):
        load_machine(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"there is no file .*none.toml"):
        load_machine(tmp_path / "none.toml")


def test_a_files_sources_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("accumulator_rows = { value = 128, unit = 'rows a plane', source = 'measured' }\nalus = 8\n")
    made = load_machine(path)
    assert made.accumulator_rows == 128 and source_of(made, "accumulator_rows") == "measured"
    assert "alus" in assumed_fields(made) and "accumulator_rows" not in assumed_fields(made)


@pytest.mark.parametrize("machine", [GROQCHIP1, LP30], ids=lambda m: m.name)
def test_a_written_file_is_the_machine_again(machine: TspMachine, tmp_path: Path) -> None:
    path = tmp_path / "again.toml"
    path.write_text(to_toml(machine), encoding="utf-8")
    again = load_machine(path)
    assert again.digest() == machine.digest()
    assert assumed_fields(again) == assumed_fields(machine)


def test_every_value_of_the_successor_that_differs_is_assumed() -> None:
    differs = {f.name for f in values() if f.name != "name" and getattr(LP30, f.name) != getattr(GROQCHIP1, f.name)}
    assert differs <= set(assumed_fields(LP30))


def test_unknown_names_are_told() -> None:
    with pytest.raises(MachineError, match="groqchip1"):
        load_machine("groqchip2")
