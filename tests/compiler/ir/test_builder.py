"""The builder infers types, shares what is equal, and refuses operands that do not fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from elsewhere.compiler.ir import Builder, check
from elsewhere.compiler.ir.operations import TypeRule


def test_types_are_inferred() -> None:
    b = Builder()
    x = b.input("x", "f32", (2, 8, 6, 4))
    w = b.constant(np.zeros((3, 3, 4, 16)), "f32")
    made = {
        "f32[2,4,3,16]": b.convolution(x, w, stride=(2, 2), padding=((1, 1), (1, 1))),
        "f32[2,8,6,1]": b.reduce("max", x, (-1,)),
        "f32[2,7,5,4]": b.pool("max", x, (2, 2), (1, 1), ((0, 0), (0, 0))),
        "i8[2,8,6,4]": b.binary("less", x, b.like(0.0, x)),
        "f32[4,2,8,6]": b.transpose(x, (3, 0, 1, 2)),
        "f32[2,2,6,4]": b.narrow(x, 1, 1, 8, 4),
        "bf16[2,8,6,4]": b.cast(x, "bf16"),
        "f32[2,8,7,4]": b.pad(x, (0, 0, 1, 0), (0, 0, 0, 0)),
        "f32[5,8,6,4]": b.gather(x, b.constant(np.zeros(5), "i32")),
        "f32[2,8,12,4]": b.concatenate([x, x], 2),
    }
    for wanted, value in made.items():
        assert str(b.type(value)) == wanted
    assert str(b.type(b.matmul(b.constant(np.zeros((2, 3)), "i8"), b.constant(np.zeros((3, 4)), "i8")))) == "i32[2,4]"
    check(b.graph(), "imported")


def test_equal_values_are_made_once() -> None:
    b = Builder()
    x = b.input("x", "f32", (3,))
    assert b.unary("exp", x) == b.unary("exp", x)
    assert b.constant(np.ones(3), "f32") == b.constant([1.0, 1.0, 1.0], "f32")
    assert b.constant(np.ones(3), "f32") != b.constant(np.ones(3), "bf16")
    assert b.constant(np.ones((3, 1)), "f32") != b.constant(np.ones(3), "f32")


def test_chains_of_shapes_are_one() -> None:
    b = Builder()
    x = b.input("x", "f32", (2, 3, 4))
    assert b.reshape(b.reshape(x, (6, 4)), (2, 3, 4)) == x
    assert b.transpose(b.transpose(x, (0, 2, 1)), (0, 2, 1)) == x
    assert b.nodes[b.transpose(b.transpose(x, (1, 2, 0)), (2, 1, 0))].attributes["permutation"] == (0, 2, 1)
    assert b.broadcast(x, (2, 3, 4)) == x
    assert b.slice(x, (0, 0, 0), (2, 3, 4)) == x
    assert b.pad(x, (0, 0, 0), (0, 0, 0)) == x
    assert b.concatenate([x], 0) == x
    assert b.cast(x, "f32") == x


def test_operands_are_broadcast_as_numpy_does() -> None:
    b = Builder()
    x, y = b.input("x", "f32", (2, 1, 4)), b.input("y", "f32", (3, 1))
    assert b.shape(b.binary("add", x, y)) == (2, 3, 4)


REFUSED: dict[str, tuple[Callable[[Builder, int], int], str]] = {
    "formats": (lambda b, x: b.binary("add", x, b.constant(np.ones((2, 3)), "i32")), "one type"),
    "shapes": (lambda b, x: b.binary("add", x, b.constant(np.ones((3, 2)), "f32")), "do not broadcast"),
    "product": (lambda b, x: b.matmul(x, x), "inner lengths"),
    "product of formats": (lambda b, x: b.matmul(x, b.constant(np.ones((3, 2)), "i8")), "cannot multiply"),
    "exp of integers": (lambda b, x: b.unary("exp", b.cast(x, "i32")), "takes floats"),
    "reshape": (lambda b, x: b.reshape(x, (5,)), "6 elements"),
    "permutation": (lambda b, x: b.transpose(x, (0, 0)), "no permutation"),
    "broadcast": (lambda b, x: b.broadcast(x, (4, 3)), "cannot broadcast"),
    "slice": (lambda b, x: b.slice(x, (0, 0), (2, 4)), "outside an axis"),
    "condition": (lambda b, x: b.select(x, x, x), "must be i8"),
    "axis twice": (lambda b, x: b.reduce("sum", x, (0, 0)), "axes must differ"),
    "second input of a name": (lambda b, x: b.input("x", "f32", ()), "an input 'x' already"),
    "too large": (lambda b, x: b.broadcast(b.constant(np.ones((1, 1)), "f32"), (2**16, 2**16)), "more than"),
    "index": (lambda b, x: b.gather(x, x), "must be i32"),
    "window": (lambda b, x: b.pool("max", x, (), (), ()), "one window"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operands_that_do_not_fit(name: str) -> None:
    make, message = REFUSED[name]
    b = Builder()
    with pytest.raises(TypeRule, match=message):
        make(b, b.input("x", "f32", (2, 3)))
