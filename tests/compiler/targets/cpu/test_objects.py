"""Our own loader of objects: what LLVM made runs without LLVM, and a damaged object is refused, never run."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsewhere.compiler.targets.cpu import objects
from elsewhere.compiler.targets.cpu.jit import optimise, to_object
from elsewhere.compiler.targets.cpu.library import Library, _engine
from elsewhere.compiler.targets.cpu.machine import describe

pytestmark = pytest.mark.skipif(not objects.supported(), reason="objects are loaded on x86-64 Linux only")

TEXT = """
@table = internal constant [4 x double] [double 1.0, double 2.5, double -3.0, double 8.0]
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i32 @sched_yield()
define internal double @pick(i64 %i) noinline {
  %p = getelementptr [4 x double], ptr @table, i64 0, i64 %i
  %v = load double, ptr %p
  ret double %v
}
define double @twice(i64 %i) {
  %v = call double @pick(i64 %i)
  %w = fmul double %v, 2.0
  ret double %w
}
define void @clear(ptr %p, i64 %n) {
  call void @llvm.memset.p0.i64(ptr %p, i8 7, i64 %n, i1 false)
  %r = call i32 @sched_yield()
  ret void
}
define ptr @address() { ret ptr @twice }
"""


@pytest.fixture(scope="module")
def code() -> bytes:
    return to_object(optimise(TEXT, describe()), describe())


def test_tables_calls_and_the_c_library(code: bytes) -> None:
    loaded = objects.Loaded(code)
    twice = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)(loaded.addresses["twice"])
    assert [twice(i) for i in range(4)] == [2.0, 5.0, -6.0, 16.0]
    room = np.zeros(1000, np.uint8)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(loaded.addresses["clear"])(room.ctypes.data, 999)
    assert room[:999].min() == 7 and room[999] == 0
    assert ctypes.CFUNCTYPE(ctypes.c_void_p)(loaded.addresses["address"])() == loaded.addresses["twice"]


def test_llvm_s_own_loader_gives_the_same(code: bytes) -> None:
    engine = _engine(code, describe())
    twice = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)(engine.get_function_address("twice"))
    assert [twice(i) for i in range(4)] == [2.0, 5.0, -6.0, 16.0]


def test_the_library_says_what_is_not_there(code: bytes) -> None:
    with pytest.raises(KeyError):
        Library(code, describe()).address("nothing")


def test_a_function_that_nobody_may_call_is_refused() -> None:
    text = "declare i32 @system(ptr)\ndefine i32 @run() { %r = call i32 @system(ptr null) ret i32 %r }"
    with pytest.raises(objects.UnknownObjectError, match="system"):
        objects.Loaded(to_object(optimise(text, describe()), describe()))


@pytest.mark.parametrize("cut", [0, 3, 40, 64, 200, -1])
def test_a_cut_object_is_refused(code: bytes, cut: int) -> None:
    with pytest.raises(objects.UnknownObjectError):
        objects.Loaded(code[:cut])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_object_is_loaded_or_refused(code: bytes, data: st.DataObject) -> None:
    damaged = bytearray(code)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(objects.UnknownObjectError, OSError):
        objects.Loaded(bytes(damaged))  # not run: what runs is compared with its digest before


def test_a_network_from_the_cache_runs_without_llvm(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("without")
    make = (
        "import sys, numpy as np\n"
        "from elsewhere.compiler import load, program_file\n"
        "from elsewhere.compiler.ir import Builder\n"
        "path = sys.argv[1] + '/x.ew'\n"
        "if sys.argv[2] == 'make':\n"
        "    b = Builder('small'); x = b.input('x', 'f32', (5, 24))\n"
        "    w = b.constant(np.ones((24, 40), np.float32), 'f32')\n"
        "    b.output('y', b.unary('tanh', b.add('matmul', (x, w))))\n"
        "    program_file.save(path, b.graph())\n"
        "compiled = load(path, threads=2)\n"
        "made = compiled(np.full((5, 24), 0.01, np.float32))\n"
        "print(compiled.from_cache, 'llvmlite' in sys.modules, float(np.ravel(list(made.values())[0])[0]))\n"
        "assert compiled.graph.inputs\n"
    )
    said = []
    for do in ("make", "again"):
        command = [sys.executable, "-c", make, str(folder), do]
        environment = {"ELSEWHERE_CACHE": str(folder / "cache"), "PYTHONPATH": ":".join(sys.path)}
        made = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        said.append(made.stdout.split())
    assert said[0][:2] == ["False", "True"]
    assert said[1][:2] == ["True", "False"]
    assert said[0][2] == said[1][2]
    assert abs(float(said[1][2]) - np.tanh(0.24)) < 1e-6
