"""Files that were damaged on purpose: small sound ones, ways to damage them, and what reading them may do.

A reader may return, or raise the error that it promises. Anything else is a failure: another exception, a crash, or
more than `SECONDS` for one file. Every case is made from its number alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import re
import signal
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

SECONDS = 5.0
KINDS = ("onnx", "ew", "text")

Damage = Callable[[random.Random, bytearray], None]


class TooSlow(BaseException):
    """Not an Exception, so that no reader can catch it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one damaged file did: `read`, `refused` (with the promised error), `failed` or `slow`."""

    kind: str
    number: int
    result: str
    detail: str = ""


@functools.cache
def onnx_seeds() -> tuple[bytes, ...]:
    """Small models that use most of the importer: products, pictures, and shapes calculated from shapes."""
    from onnx import TensorProto, helper, numpy_helper

    def model(nodes: list[Any], inputs: dict[str, list[int]], weights: dict[str, Any], output: str = "y") -> bytes:
        tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
        given = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()]
        made = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(nodes, "g", given, made, tensors)
        opset = helper.make_opsetid("", 20)
        data: bytes = helper.make_model(graph, opset_imports=[opset]).SerializeToString()
        return data

    node = helper.make_node
    r = np.random.default_rng(0)

    def weight(*shape: int) -> Any:
        return r.standard_normal(shape).astype(np.float32)

    dense = model(
        [
            node("Gemm", ["x", "w1", "b1"], ["h"], transB=1, name="feed_in"),
            node("Gelu", ["h"], ["g"], approximate="tanh"),
            node("MatMul", ["g", "w2"], ["o"]),
            node("LayerNormalization", ["o", "s", "t"], ["n"], axis=-1, epsilon=1e-5),
            node("Add", ["n", "x"], ["a"]),
            node("Softmax", ["a"], ["y"], axis=1),
        ],
        {"x": [3, 4]},
        {"w1": weight(6, 4), "b1": weight(6), "w2": weight(6, 4), "s": weight(4), "t": weight(4)},
    )
    picture = model(
        [
            node("Conv", ["x", "w", "b"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], group=2),
            node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"]),
            node("Relu", ["n"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[1, 1], ceil_mode=1),
            node("Resize", ["p", "", "f"], ["z"], mode="linear", coordinate_transformation_mode="half_pixel"),
            node("Pad", ["z", "pads"], ["d"], mode="reflect"),
            node("AveragePool", ["d"], ["q"], kernel_shape=[2, 2], pads=[1, 0, 0, 1]),
            node("DepthToSpace", ["q"], ["e"], blocksize=2, mode="CRD"),
            node("ConvTranspose", ["e", "u"], ["k"], strides=[2, 2]),
            node("ReduceMean", ["k", "axes"], ["y"], keepdims=0),
        ],
        {"x": [1, 2, 7, 8]},
        {
            "w": weight(4, 1, 3, 3), "b": weight(4), "s": weight(4), "t": weight(4), "m": weight(4),
            "v": np.abs(weight(4)), "f": np.array([1, 1, 1.5, 2], np.float32), "u": weight(1, 2, 2, 2),
            "pads": np.array([0, 0, 1, 0, 0, 0, 1, 1]), "axes": np.array([2, 3]),
        },
    )  # fmt: skip
    shapes = model(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "one"], ["n"], axis=0),
            node("Unsqueeze", ["n", "zero"], ["n1"]),
            node("Concat", ["n1", "minus"], ["to"], axis=0),
            node("Reshape", ["x", "to"], ["r"]),
            node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.array([2.0], np.float32))),
            node("Range", ["zero0", "n", "one0"], ["i"]),
            node("Cast", ["i"], ["f"], to=1),
            node("Transpose", ["r"], ["t"], perm=[1, 0]),
            node("Slice", ["t", "zero", "minus", "zero", "step"], ["l"]),
            node("Add", ["l", "f"], ["a"]),
            node("Split", ["a"], ["p", "q"], axis=0, num_outputs=2),
            node("Expand", ["p", "big"], ["e"]),
            node("Where", ["mask", "e", "q"], ["w"]),
            node("Tile", ["w", "big"], ["y"]),
            node("Trilu", ["c", "one0"], ["unused"]),
        ],
        {"x": [4, 3]},
        {
            "one": np.array(1), "zero": np.array([0]), "minus": np.array([-1]), "zero0": np.array(0),
            "one0": np.array(1), "step": np.array([1]), "big": np.array([1, 1]), "mask": np.array([True, False, True]),
        },
    )  # fmt: skip
    return dense, picture, shapes


@functools.cache
def graphs() -> tuple[Any, ...]:
    """Seeds of the graph language: a layer, and random ones with every primitive."""
    from random_graph import graph

    from elsewhere.compiler.ir import Builder

    b = Builder("layer")
    x = b.input("x", "f32", (3, 8))
    seen = b.input("seen", "f32", (3, 8))
    w = b.constant(np.random.default_rng(0).standard_normal((8, 8)), "bf16")
    y = b.binary("add", b.matmul(x, w), b.spread(b.constant(np.arange(8.0), "f32"), (3, 8)))
    b.output("y", b.binary("mul", y, b.unary("sigmoid", y)))
    b.state("seen", b.binary("add", seen, y))
    return b.graph(), *(graph(random.Random(seed), 25) for seed in range(8))


@functools.cache
def ew_seeds() -> tuple[bytes, ...]:
    import tempfile
    from pathlib import Path

    from elsewhere.compiler.program_file import save

    files = []
    with tempfile.TemporaryDirectory() as folder:
        for graph in graphs():
            save(Path(folder) / "x.ew", graph, {"source": "fuzzing", "numbers": [1, 2.5, None]})
            files.append((Path(folder) / "x.ew").read_bytes())
    return tuple(files)


@functools.cache
def text_seeds() -> tuple[bytes, ...]:
    from elsewhere.compiler.ir import show

    return tuple(show(graph).encode() for graph in graphs())


@functools.cache
def constants() -> dict[str, Any]:
    """Data of all constants that the texts name, those of regions included."""
    bodies = [n.attributes["body"] for graph in graphs() for n in graph.nodes if n.op == "fused"]
    return {key: value for graph in (*graphs(), *bodies) for key, value in graph.constants.items()}


def seeds(kind: str) -> tuple[bytes, ...]:
    return {"onnx": onnx_seeds, "ew": ew_seeds, "text": text_seeds}[kind]()


def flip(r: random.Random, data: bytearray) -> None:
    data[r.randrange(len(data))] ^= 1 << r.randrange(8)


def replace(r: random.Random, data: bytearray) -> None:
    data[r.randrange(len(data))] = r.choice((0, 1, 0x7F, 0x80, 0xFF, r.randrange(256)))


def cut(r: random.Random, data: bytearray) -> None:
    del data[r.randrange(len(data)) :]


def remove(r: random.Random, data: bytearray) -> None:
    start = r.randrange(len(data))
    del data[start : start + r.randint(1, 16)]


def insert(r: random.Random, data: bytearray) -> None:
    start = r.randrange(len(data))
    data[start:start] = r.choice((b"\xff" * r.randint(1, 10), r.randbytes(r.randint(1, 8)), b"\x0a" * 40))


def double(r: random.Random, data: bytearray) -> None:
    start = r.randrange(len(data))
    data[start:start] = data[start : start + r.randint(1, 200)]


def widen(r: random.Random, data: bytearray) -> None:
    """A number that fills its bytes: lengths and counts become huge."""
    start = r.randrange(len(data))
    data[start : start + r.choice((1, 4, 8))] = r.choice(
        (struct.pack("<q", -1), struct.pack("<q", 2**62), b"\xff\xff\xff\xff\x07", b"\x80\x80\x80\x80\x08")
    )


def renumber(r: random.Random, data: bytearray) -> None:
    """Another decimal number where there is one: what text is made of."""
    digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
    if digits:
        start = r.choice(digits)
        numbers = (b"0", b"-1", b"1", b"7", b"65536", b"4294967296", b"1e999", b"9" * 40, b"null", b"[]", b"true")
        data[start : start + 1] = r.choice(numbers)


def mix(r: random.Random, data: bytearray) -> None:
    """A piece from one place put over another."""
    a, b, n = r.randrange(len(data)), r.randrange(len(data)), r.randint(1, 64)
    data[a : a + n] = data[b : b + n]


DAMAGES: tuple[Damage, ...] = (flip, replace, cut, remove, insert, double, widen, renumber, mix)

ODD = (0, 1, -1, 2, 3, 7, 64, 2**16, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63))
WORDS = ("f32", "bf16", "i8", "i32", "f64", "add", "exp", "matmul", "convolution", "reduce", "reshape", "transpose",
         "broadcast", "slice", "pad", "gather", "pool", "update", "fused", "project", "constant", "input", "cast",
         "concatenate", "unary", "binary", "name", "key", "data", "shape", "axis")  # fmt: skip


def odd_text(r: random.Random, data: bytearray) -> None:
    """Words and numbers of the graph language in places where others stood; lines moved, doubled and dropped."""
    lines = bytes(data).split(b"\n")
    at = r.randrange(len(lines))
    match r.randrange(5):
        case 0:
            lines[at] = lines[r.randrange(len(lines))]
        case 1:
            del lines[at]
        case _:
            tokens = list(re.finditer(rb"-?\d+|[a-z]\w*", lines[at]))
            if tokens:
                token = r.choice(tokens)
                new = str(r.choice(ODD)) if token[0][-1:].isdigit() and r.random() < 0.7 else r.choice(WORDS)
                lines[at] = lines[at][: token.start()] + new.encode() + lines[at][token.end() :]
    data[:] = b"\n".join(lines)


def odd_value(r: random.Random, value: Any, depth: int = 0) -> Any:
    """A JSON value with one of its parts replaced."""
    if isinstance(value, dict) and value and r.random() < 0.9:
        key = r.choice(list(value))
        if r.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: odd_value(r, value[key], depth + 1)}
    if isinstance(value, list) and value and r.random() < 0.8:
        i = r.randrange(len(value))
        return [*value[:i], odd_value(r, value[i], depth + 1), *value[i + 1 :]]
    if isinstance(value, str) and len(value) > 30:
        text = bytearray(value.encode())
        r.choice((odd_text, odd_text, renumber))(r, text)
        return text.decode("utf-8", "replace")
    return r.choice((*ODD, "f32", "", None, [], {}, 1.5, True, [-1], [2**40, 2**40], "x" * 100))


def odd_header(r: random.Random, data: bytes) -> bytes:
    """A program file whose header says something else, with its length and digest right."""
    magic, version, length = struct.unpack_from("<8sII", data)
    header = json.dumps(odd_value(r, json.loads(data[48 : 48 + length]))).encode()
    header += b" " * (-(48 + len(header)) % 64)
    prefix, rest = struct.pack("<8sII", magic, version, len(header)), header + data[48 + length :]
    return prefix + hashlib.sha256(prefix + rest).digest() + rest


def odd_model(r: random.Random, data: bytes) -> bytes:
    """An ONNX file that is well formed and says something else."""
    import onnx

    model = onnx.load_model_from_string(data)
    graph = model.graph
    for _ in range(r.choice((1, 1, 2, 3))):
        node = r.choice(graph.node) if graph.node else onnx.NodeProto()
        tensor = r.choice(graph.initializer) if graph.initializer else onnx.TensorProto()
        match r.randrange(11):
            case 0 if node.attribute:
                attribute = r.choice(node.attribute)
                attribute.i, attribute.f = r.choice(ODD), r.choice((0.0, -1.0, 1e30, float("nan"), 0.5))
                if attribute.ints:
                    attribute.ints[r.randrange(len(attribute.ints))] = r.choice(ODD)
            case 1 if node.attribute:
                attribute = r.choice(node.attribute)
                attribute.type = r.choice((1, 2, 3, 4, 6, 7, 8))
            case 2 if node.attribute:
                attribute = r.choice(node.attribute)
                match r.randrange(3):
                    case 0:
                        del attribute.ints[:]
                    case 1:
                        attribute.ints.append(r.choice(ODD))
                    case 2:
                        node.attribute.remove(attribute)
            case 3 if node.input:
                names = [n for other in graph.node for n in (*other.input, *other.output)]
                node.input[r.randrange(len(node.input))] = r.choice((*names, "", "x"))
            case 4 if node.input:
                if r.random() < 0.5:
                    node.input.append(r.choice(node.input))
                else:
                    del node.input[r.randrange(len(node.input))]
            case 5:
                from elsewhere.compiler.importers.onnx_operators import FORMS, KNOWN

                node.op_type = r.choice(sorted({*FORMS, *KNOWN, "If", "Loop", "LSTM"}))
            case 6 if tensor.dims:
                tensor.dims[r.randrange(len(tensor.dims))] = r.choice(ODD)
            case 7:
                tensor.data_type = r.randrange(24)
            case 8 if tensor.raw_data:
                raw = bytearray(tensor.raw_data)
                r.choice((replace, widen, flip))(r, raw)
                tensor.raw_data = bytes(raw[: len(tensor.raw_data)])
            case 9 if graph.input and graph.input[0].type.tensor_type.shape.dim:
                r.choice(graph.input[0].type.tensor_type.shape.dim).dim_value = r.choice(ODD)
            case _:
                model.opset_import[0].version = r.choice((13, 18, 20, 23, 23, 5, -1))
    made: bytes = model.SerializeToString()
    return made


def damaged(kind: str, number: int) -> bytes:
    """Case `number`: one seed with one to four damages, half of them such that the file stays well formed."""
    r = random.Random(f"{kind} {number}")
    seed = r.choice(seeds(kind))
    if r.random() < 0.5:
        if kind == "onnx":
            return odd_model(r, seed)
        if kind == "ew":
            return odd_header(r, seed)
        text = bytearray(seed)
        for _ in range(r.choice((1, 1, 2))):
            odd_text(r, text)
        return bytes(text)
    data = bytearray(seed)
    for _ in range(r.choice((1, 1, 2, 4))):
        if data:
            r.choice(DAMAGES)(r, data)
    if kind == "ew" and r.random() < 0.8 and len(data) > 48:
        # The digest would stop nearly every damage at the door; an attacker calculates it as well.
        data[16:48] = hashlib.sha256(data[:16] + data[48:]).digest()
    return bytes(data)


def read(kind: str, data: bytes) -> None:
    """Reads as a user would. Raises what the reader raises; a graph that comes back is checked once more."""
    from elsewhere.compiler.importers.onnx import from_onnx
    from elsewhere.compiler.ir import check, parse
    from elsewhere.compiler.program_file import decode

    if kind == "onnx":
        check(from_onnx(data), "imported")
    elif kind == "ew":
        check(decode(data).graph, "fused")
    else:
        check(parse(data.decode("utf-8", "replace"), constants()), "fused")


def promised(kind: str) -> tuple[type[Exception], ...]:
    from elsewhere.compiler.importers import ImportFileError, UnsupportedError
    from elsewhere.compiler.ir import SpecError, TextError
    from elsewhere.compiler.program_file import ProgramFileError

    return {"onnx": (ImportFileError, UnsupportedError), "ew": (ProgramFileError,), "text": (TextError, SpecError)}[
        kind
    ]


def attempt(kind: str, number: int) -> Outcome:
    """Reads case `number` under the time limit. For the main thread alone: it uses the alarm clock."""

    def ring(_: int, __: FrameType | None) -> None:
        raise TooSlow

    data = damaged(kind, number)
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        read(kind, data)
    except promised(kind):
        return Outcome(kind, number, "refused")
    except TooSlow:
        return Outcome(kind, number, "slow", traceback.format_exc(limit=-4))
    except Exception:
        return Outcome(kind, number, "failed", traceback.format_exc(limit=-4))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    return Outcome(kind, number, "read")
