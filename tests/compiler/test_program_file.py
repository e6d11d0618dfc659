"""`.ew` files: what is written is read, byte for byte; what is damaged is refused."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graph import graph, inputs_of

from elsewhere.compiler import program_file
from elsewhere.compiler.ir import Builder, Graph, show
from elsewhere.compiler.program_file import ProgramFileError, decode, load, save
from elsewhere.compiler.targets import reference


def network() -> Graph:
    """A layer in three formats, and a state."""
    b = Builder("layer")
    x = b.input("x", "f32", (5, 24))
    seen = b.input("seen", "f32", (5, 24))
    w = b.constant(np.random.default_rng(0).standard_normal((24, 24)), "f32")
    y = b.matmul(x, w)
    y = b.binary("add", y, b.cast(b.constant(np.linspace(-3, 3, 120).reshape(5, 24), "bf16"), "f32"))
    y = b.binary("add", y, b.cast(b.constant(np.arange(120).reshape(5, 24) - 60, "i8"), "f32"))
    b.output("y", b.binary("add", y, seen))
    b.state("seen", y)
    return b.graph()


def test_round_trip(tmp_path: Path) -> None:
    path, made = tmp_path / "network.ew", network()
    told = {"source": "a test", "quantisation": {"layer": "f32"}, "größe": 1.5}
    save(path, made, told, {"seen": np.ones((5, 24), np.float32)})
    found = load(path)
    assert show(found.graph) == show(made)
    assert found.metadata == told
    np.testing.assert_array_equal(found.states["seen"], np.ones((5, 24), np.float32))
    for key, data in made.constants.items():
        np.testing.assert_array_equal(found.graph.constants[key], data)
        assert found.graph.constants[key].dtype == data.dtype
    x = {"x": np.ones((5, 24), np.float32), "seen": np.zeros((5, 24), np.float32)}
    np.testing.assert_array_equal(reference.run(found.graph, x)[0]["y"], reference.run(made, x)[0]["y"])


@given(r=st.randoms(use_true_random=False), size=st.integers(0, 20))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_graph_comes_back(r: random.Random, size: int, tmp_path: Path) -> None:
    made = graph(r, size)
    save(tmp_path / "x.ew", made)
    found = load(tmp_path / "x.ew").graph
    assert show(found) == show(made)
    given = inputs_of(r, made)
    for name, value in reference.run(made, given)[0].items():
        np.testing.assert_array_equal(reference.run(found, given)[0][name], value)


def test_the_same_network_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.ew", "b.ew"):
        save(tmp_path / name, network(), {"a": 1})
    assert (tmp_path / "a.ew").read_bytes() == (tmp_path / "b.ew").read_bytes()


def test_weights_are_views_of_the_file(tmp_path: Path) -> None:
    save(tmp_path / "x.ew", network())
    (weight,) = (d for d in load(tmp_path / "x.ew").graph.constants.values() if d.shape == (24, 24))
    assert not weight.flags.owndata
    assert not weight.flags.writeable
    assert weight.__array_interface__["data"][0] % program_file.ALIGNMENT == 0


def test_bf16_takes_two_bytes(tmp_path: Path) -> None:
    sizes = []
    for dtype in ("f32", "bf16"):
        b = Builder()
        b.output("y", b.constant(np.ones((256, 256)), dtype))
        save(tmp_path / dtype, b.graph())
        sizes.append((tmp_path / dtype).stat().st_size)
    assert sizes[0] - sizes[1] == 2 * 256 * 256


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    save(tmp_path / "x.ew", network())
    data = (tmp_path / "x.ew").read_bytes()
    for length in [*range(0, 200), len(data) // 2, len(data) - 1]:
        with pytest.raises(ProgramFileError):
            decode(data[:length])


def test_every_changed_bit_of_the_first_bytes_is_noticed(tmp_path: Path) -> None:
    save(tmp_path / "x.ew", network())
    data = bytearray((tmp_path / "x.ew").read_bytes())
    for place in range(8 * 64):
        data[place // 8] ^= 1 << place % 8
        with pytest.raises(ProgramFileError):
            decode(bytes(data))
        data[place // 8] ^= 1 << place % 8
    decode(bytes(data))


def rewritten(data: bytes, **changes: object) -> bytes:
    """The file with another header, whose digest is right."""
    magic, version, length = struct.unpack_from("<8sII", data)
    body = data[48:]
    header = {**json.loads(body[:length]), **changes}
    text = json.dumps({k: v for k, v in header.items() if v is not None}).encode()
    text += b" " * (-(48 + len(text)) % 64)
    prefix = struct.pack("<8sII", magic, version, len(text))
    rest = text + body[length:]
    return prefix + hashlib.sha256(prefix + rest).digest() + rest


KEY = {"dtype": "f32", "shape": [24, 24], "offset": 0}
HOSTILE: dict[str, tuple[dict[str, object], str]] = {
    "no graph": ({"graph": None}, "KeyError: 'graph'"),
    "a graph of another kind": ({"graph": 5}, "header is not sound"),
    "text that is no graph": ({"graph": "%0 = dance() : f32[] {}"}, "no primitive 'dance'"),
    "an illegal graph": ({"graph": '%0 = unary(%0) : f32[2] {"function": "exp"}'}, "operands must be earlier"),
    "weights behind the end": ({"constants": {"k": {**KEY, "offset": 64 * 10**9}}}, "lies at bytes"),
    "weights before the beginning": ({"constants": {"k": {**KEY, "offset": -64}}}, "has shape"),
    "weights at an odd place": ({"constants": {"k": {**KEY, "offset": 1}}}, "lies at bytes"),
    "more weights than memory": ({"constants": {"k": {**KEY, "shape": [2**60, 2**60]}}}, "lies at bytes"),
    "a negative length": ({"constants": {"k": {**KEY, "shape": [-1]}}}, "has shape"),
    "a length that is no number": ({"constants": {"k": {**KEY, "shape": ["a"]}}}, "has shape"),
    "an unknown format": ({"constants": {"k": {**KEY, "dtype": "f64"}}}, "has format 'f64'"),
    "a table of another kind": ({"constants": [1, 2]}, "AttributeError"),
    "a state that is none": ({"states": {"x": KEY}}, "a state 'x'"),
    "metadata of another kind": ({"metadata": [1]}, "no JSON object"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_headers_that_lie_are_refused(name: str, tmp_path: Path) -> None:
    changes, message = HOSTILE[name]
    save(tmp_path / "x.ew", network())
    data = (tmp_path / "x.ew").read_bytes()
    decode(rewritten(data))
    with pytest.raises(ProgramFileError, match=message):
        decode(rewritten(data, **changes), "x.ew")


def test_other_files_say_what_they_are_not(tmp_path: Path) -> None:
    save(tmp_path / "x.ew", network())
    data = (tmp_path / "x.ew").read_bytes()
    with pytest.raises(ProgramFileError, match="no program file of Elsewhere"):
        decode(b"PK\x03\x04" + data[4:])
    with pytest.raises(ProgramFileError, match="has version 9; this release reads version 1"):
        decode(data[:8] + (9).to_bytes(4, "little") + data[12:])
    with pytest.raises(ProgramFileError, match="damaged or cut off"):
        decode(data[:-1] + bytes([data[-1] ^ 1]))
    decode(data[:-1] + bytes([data[-1] ^ 1]), verify=False)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.ew")


def test_what_cannot_be_said_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="metadata must be what JSON can say"):
        save(tmp_path / "x.ew", network(), {"path": Path("x")})
    with pytest.raises(ValueError, match="states: 'seen'"):
        save(tmp_path / "x.ew", network(), states={"seen": np.zeros(3)})
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.ew"
    save(path, network(), {"version": "old"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(path, network(), {"version": "new"})
    assert [p.name for p in tmp_path.iterdir()] == ["x.ew"]
    assert load(path).metadata == {"version": "old"}


def test_reading_needs_neither_torch_nor_onnx(tmp_path: Path) -> None:
    save(tmp_path / "x.ew", network())
    code = (
        "import sys; from elsewhere.compiler.program_file import load; import elsewhere.compiler.importers.onnx;"
        f"load({str(tmp_path / 'x.ew')!r}); print(*({{'torch', 'onnx', 'pickle'}} & set(sys.modules)))"
    )
    source = str(Path(program_file.__file__).parents[2])
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "onnx"} & set(answer.stdout.split())
