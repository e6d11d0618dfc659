"""Programs on disk: found again only by what they were made from, and never trusted when damaged."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import multiprocessing
import os
import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elsewhere.compiler import cache
from elsewhere.compiler.cache import CacheOptions, find_or_build, key_of, load, load_or_build, prune
from elsewhere.compiler.ir import Builder, Graph
from elsewhere.compiler.targets.cpu import machine as machines
from elsewhere.compiler.targets.cpu.machine import describe
from elsewhere.compiler.targets.cpu.program import Program
from elsewhere.compiler.targets.cpu.runtime import Network


def small(scale: float = 1.0, rows: int = 5) -> Graph:
    b = Builder("small")
    x = b.input("x", "f32", (rows, 24))
    weights = np.random.default_rng(0).standard_normal((24, 40)).astype(np.float32) * np.float32(scale)
    b.output("y", b.unary("tanh", b.add("matmul", (x, b.constant(weights, "f32")))))
    return b.graph()


def run(program: Program, rows: int = 5) -> np.ndarray[Any, Any]:
    network = Network(program, describe(), 2)
    made = network({"x": np.linspace(-1, 1, rows * 24, dtype=np.float32).reshape(rows, 24)})["y"]
    network.close()
    return made


@pytest.fixture
def options(tmp_path: Path) -> CacheOptions:
    return CacheOptions(directory=tmp_path / "cache")


@pytest.fixture
def kept(options: CacheOptions) -> Path:
    return find_or_build(small(), options=options).path


def key() -> str:
    return key_of(small(), describe(), (1, 2))


def test_the_second_time_it_comes_from_disk_and_is_the_same(options: CacheOptions) -> None:
    first, second = (find_or_build(small(), options=options) for _ in range(2))
    assert (first.hit, second.hit) == (False, True)
    assert first.key == second.key
    assert second.seconds < 0.5
    for field in dataclasses.fields(Program):
        a, b = (getattr(found.program, field.name) for found in (first, second))
        if field.name == "schedules":
            assert a.keys() == b.keys()
            assert all(np.array_equal(a[count], b[count]) for count in a)
        else:
            assert np.array_equal(a, b) if field.name == "data" else a == b, field.name
    assert second.program.data.ctypes.data % 64 == 0
    assert not second.program.data.flags.writeable
    assert np.array_equal(run(first.program), run(second.program))


def test_everything_that_matters_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, machine = small(), describe()
    keys = [
        key_of(graph, machine, (1, 2)),
        key_of(graph, machine, (1,)),
        key_of(small(rows=6), machine, (1, 2)),
        key_of(small(scale=2.0), machine, (1, 2)),
        key_of(graph, dataclasses.replace(machine, features=machine.features + ",+more"), (1, 2)),
        key_of(graph, dataclasses.replace(machine, processor="another"), (1, 2)),
    ]
    sample = {"x": np.zeros((5, 24), np.float32)}
    keys.append(key_of(graph, machine, (1, 2), "bf16"))
    keys += [key_of(graph, machine, (1, 2), "int8", samples) for samples in ([], [sample], [sample, sample])]
    keys.append(key_of(graph, machine, (1, 2), "int8", [{"x": sample["x"] + 1}]))
    # The same names over other data, as a file could have them.
    liar = dataclasses.replace(graph, constants={name: data + 1 for name, data in graph.constants.items()})
    keys.append(key_of(liar, machine, (1, 2)))
    monkeypatch.setattr(cache, "source_digest", lambda: "another compiler")
    keys.append(key_of(graph, machine, (1, 2)))
    assert len(set(keys)) == len(keys)
    assert key_of(small(), machine, (2, 1)) == keys[-1]


def test_every_level_has_a_program_of_its_own(options: CacheOptions) -> None:
    levels = machines.LEVELS[machines.LEVELS.index(machines.best_level()) :]
    found = [find_or_build(small(), describe(level), options=options) for level in levels]
    assert not any(f.hit for f in found)
    assert len({f.path for f in found}) == len(levels)


def test_a_damaged_file_is_built_anew(kept: Path, options: CacheOptions) -> None:
    whole, wanted = kept.read_bytes(), run(load_or_build(small(), options=options))
    for damaged in (b"", b"\x00", whole[:40], whole[:5000], whole[:-1], b"\x80\x04" + pickle.dumps([1]), b"x" * 10**6):
        kept.write_bytes(damaged)
        assert load(kept, key()) is None
    kept.write_bytes(whole[: len(whole) // 2])
    again = find_or_build(small(), options=options)
    assert not again.hit
    assert np.array_equal(run(again.program), wanted)
    assert kept.read_bytes() == whole
    assert find_or_build(small(), options=options).hit


def test_no_changed_byte_is_believed(kept: Path) -> None:
    whole = kept.read_bytes()
    sound = load(kept, key())
    assert sound is not None
    random = np.random.default_rng(5)
    header = int.from_bytes(whole[8:16], "little") + 48
    places = [*range(48), *random.integers(48, header, 100), *random.integers(header, len(whole), 200)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(random.integers(8))
        kept.write_bytes(changed)
        found = load(kept, key())
        if found is not None:  # between the parts there are bytes that say nothing
            assert whole[place] == 0
            assert found.code == sound.code
            assert np.array_equal(found.data, sound.data)


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A file whose header says something else, with checksums that are right."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[8:16], "little")
    content = json.loads(whole[48 : 48 + length])
    code_at = cache._pages(48 + length)
    change(content)
    header = json.dumps(content).encode()
    start = whole[:8] + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest() + header
    path.write_bytes(start.ljust(cache._pages(len(start)), b"\0") + whole[code_at:])


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(format=99),
        lambda c: c.update(key="0" * 64),
        lambda c: c.pop("tables"),
        lambda c: c.update(code=[-1, ""]),
        lambda c: c.update(data=[2**62, ""]),
        lambda c: c["tables"].update(arena_bytes=-1),
        lambda c: c["tables"].update(arena_bytes=2**63),
        lambda c: c["tables"].update(scratch_bytes="many"),
        lambda c: c["tables"]["inputs"][0].update(offset=2**40),
        lambda c: c["tables"]["outputs"][0].update(shape=[2**40, 2**40]),
        lambda c: c["tables"]["outputs"][0].update(shape=[-1, 4]),
        lambda c: c["tables"]["outputs"][0].update(dtype="f128"),
        lambda c: c["tables"].update(schedules={"1": [[[0, 2**62]]]}),
        lambda c: c["tables"].update(schedules={"1": [[[0, 10**30]]]}),
        lambda c: c["tables"].update(schedules={"two": []}),
        lambda c: c["tables"].update(more=1),
        lambda c: c["tables"].pop("entries"),
    ],
)
def test_a_hostile_header_is_not_believed(kept: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rewritten(kept, lambda c: None)
    assert load(kept, key()) is not None
    rewritten(kept, change)
    assert load(kept, key()) is None


def test_code_that_others_may_write_is_not_run(kept: Path) -> None:
    kept.chmod(0o666)
    assert load(kept, key()) is None
    kept.chmod(0o600)
    assert load(kept, key()) is not None


def test_where_nothing_can_be_written_there_is_one_warning(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    options = CacheOptions(directory=blocked / "cache")
    with pytest.warns(RuntimeWarning, match="cannot be kept in .*ELSEWHERE_CACHE"):
        wanted = run(load_or_build(small(), options=options))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(run(load_or_build(small(), options=options)), wanted)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk_leaves_nothing(
    options: CacheOptions, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(cache.os, "replace", refuse)
    with pytest.warns(RuntimeWarning, match=os.strerror(code)):
        found = find_or_build(small(), options=options)
    assert not found.hit
    assert options.directory is not None
    assert list(options.directory.iterdir()) == []


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    for age, name in ((30, "old"), (20, "middle"), (10, "new")):
        path = tmp_path / f"{name}.program"
        path.write_bytes(bytes(1000))
        os.utime(path, (time.time() - age, time.time() - age))
    remains = tmp_path / ".unfinished-x.program"
    remains.write_bytes(b"")
    os.utime(remains, (0, 0))
    (tmp_path / "someone-else's").write_bytes(bytes(10_000))
    assert {p.name for p in prune(tmp_path, 2000)} == {"old.program", remains.name}
    assert [p.name for p in prune(tmp_path, 0, keep=tmp_path / "middle.program")] == ["new.program"]
    assert {p.name for p in tmp_path.iterdir()} == {"middle.program", "someone-else's"}


def test_the_limit_holds_while_building(tmp_path: Path) -> None:
    options = CacheOptions(directory=tmp_path, limit_bytes=1)
    for rows in (3, 4):
        find_or_build(small(rows=rows), options=options)
    assert len(list(tmp_path.iterdir())) == 1
    assert find_or_build(small(rows=4), options=options).hit


def test_use_renews(kept: Path) -> None:
    os.utime(kept, (0, 0))
    assert load(kept, key()) is not None
    assert kept.stat().st_mtime > time.time() - 60


def _build_in_child(directory: Path) -> tuple[str, str]:
    found = find_or_build(small(rows=7), options=CacheOptions(directory=directory))
    return found.path.name, hashlib.sha256(found.program.code).hexdigest()


def test_processes_may_build_the_same_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        made = set(pool.map(_build_in_child, [tmp_path] * 4))
    assert {p.name for p in tmp_path.iterdir()} == {name for name, _ in made}


def test_notes_of_programs_that_are_gone_go_too(options: CacheOptions) -> None:
    found = find_or_build(small(), options=options)
    cache.note("0" * 64, describe(), (1, 2), found, {"x": 1})
    known = cache.noted("0" * 64, describe(), (1, 2), options)
    assert known is not None and known[1] == {"x": 1} and known[0].key == found.key
    assert cache.noted("1" * 64, describe(), (1, 2), options) is None
    prune(found.path.parent, 0)
    assert list(found.path.parent.iterdir()) == []
    assert cache.noted("0" * 64, describe(), (1, 2), options) is None
