"""Bodies of fused regions in registers: one vector of consecutive elements at a time.

Formats in registers are those of `vectors.py`: f32 for everything but i32. Truth values are 0.0 and 1.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import llvmlite.ir as ir

from elsewhere.compiler.ir.graph import Graph, Node
from elsewhere.compiler.targets.cpu.kernels import mathematics, vectors
from elsewhere.compiler.targets.cpu.kernels.vectors import F32, I32
from elsewhere.compiler.targets.cpu.machine import Machine

Value: TypeAlias = ir.Value

_UNARY: dict[str, Callable[[ir.IRBuilder, Value, Machine], Value]] = {
    "abs": mathematics.absolute,
    "cos": mathematics.cos,
    "erf": mathematics.erf,
    "exp": mathematics.exp,
    "floor": mathematics.floor,
    "log": mathematics.log,
    "neg": mathematics.negate,
    "reciprocal": mathematics.reciprocal,
    "round": mathematics.round_even,
    "rsqrt": mathematics.rsqrt,
    "sigmoid": mathematics.sigmoid,
    "sign": mathematics.sign,
    "sin": mathematics.sin,
    "sqrt": mathematics.sqrt,
    "tanh": mathematics.tanh,
}
_FLOAT = {"sub": "fsub", "mul": "fmul", "div": "fdiv", "add": "fadd"}
_INTEGER = {"add": "add", "sub": "sub", "mul": "mul"}
_COMPARE = {"less": "<", "less_equal": "<=", "equal": "=="}


class BodyError(ValueError):
    """The body holds something that this target cannot put into a kernel."""


class Body:
    """Emits values of a body on demand, each once; `forget` starts a new place in the iteration."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        machine: Machine,
        graph: Graph,
        lanes: int,
        load: Callable[[int], Value],
    ) -> None:
        self.builder, self.machine, self.graph, self.lanes, self.load = builder, machine, graph, lanes, load
        self.known: dict[int, Value] = {}
        self.numbers = {value: i for i, value in enumerate(graph.inputs.values())}
        self.users = graph.users()

    def forget(self) -> None:
        self.known = {}

    def value(self, number: int) -> Value:
        """Value `number` of the body as a vector."""
        if number not in self.known:
            self.known[number] = self.make(self.graph.nodes[number], number)
        return self.known[number]

    def make(self, node: Node, number: int) -> Value:
        if node.op == "input":
            return self.load(self.numbers[number])
        if node.op == "constant":
            return self.constant(float(self.graph.constants[node.attributes["key"]].ravel()[0]), node.type.dtype)
        if node.op in ("reshape", "broadcast"):
            return self.value(node.inputs[0])
        if node.op == "unary":
            return self.unary(node)
        if node.op == "binary":
            return self.binary(node)
        if node.op == "cast":
            return self.cast(node, number)
        if node.op == "select":
            condition, a, b = (self.value(i) for i in node.inputs)
            return self.builder.select(self.truth(condition), a, b)
        raise BodyError(f"a kernel cannot hold {node.op} (at {node.place or 'unknown place'})")

    def constant(self, number: float, dtype: str) -> Value:
        if dtype == "i32":
            return vectors.constant(I32, int(number), self.lanes)
        return vectors.constant(F32, number, self.lanes)

    def truth(self, x: Value) -> Value:
        return self.builder.fcmp_unordered("!=", x, vectors.constant(F32, 0.0, self.lanes))

    def from_truth(self, mask: Value) -> Value:
        return self.builder.uitofp(mask, ir.VectorType(F32, self.lanes))

    def unary(self, node: Node) -> Value:
        function, x = node.attributes["function"], self.value(node.inputs[0])
        if node.type.dtype == "i32":
            return self.integer_unary(node, function, x)
        if function == "not":
            mask = self.builder.fcmp_ordered("==", x, vectors.constant(F32, 0.0, self.lanes))
            return self.from_truth(mask)
        if function == "ceil":
            return mathematics.negate(
                self.builder,
                mathematics.floor(self.builder, mathematics.negate(self.builder, x, self.machine), self.machine),
                self.machine,
            )
        result = _UNARY[function](self.builder, x, self.machine)
        return wrapped(self.builder, result) if node.type.dtype == "i8" and function in ("neg", "abs") else result

    def integer_unary(self, node: Node, function: str, x: Value) -> Value:
        builder, zero = self.builder, vectors.constant(I32, 0, self.lanes)
        negative = builder.icmp_signed("<", x, zero)
        if function == "neg":
            return builder.sub(zero, x)
        if function == "abs":
            return builder.select(negative, builder.sub(zero, x), x)
        if function == "sign":
            some = builder.zext(builder.icmp_signed(">", x, zero), x.type)
            return builder.select(negative, vectors.constant(I32, -1, self.lanes), some)
        raise BodyError(f"there is no {function} of i32 (at {node.place or 'unknown place'})")

    def binary(self, node: Node) -> Value:
        function, builder = node.attributes["function"], self.builder
        dtype = self.graph.nodes[node.inputs[0]].type.dtype
        if function == "add" and dtype not in ("i8", "i32") and (fused := self.multiply_add(node)) is not None:
            return fused
        a, b = (self.value(i) for i in node.inputs)
        if function in ("and", "or"):
            both = builder.and_ if function == "and" else builder.or_
            return self.from_truth(both(self.truth(a), self.truth(b)))
        if dtype == "i32":
            return self.integer(node, function, a, b)
        if function in _COMPARE:
            return self.from_truth(builder.fcmp_ordered(_COMPARE[function], a, b))
        if function == "div" and dtype == "i8":
            return self.divide_bytes(a, b)
        if function in _FLOAT:
            result: Value = getattr(builder, _FLOAT[function])(a, b)
            return wrapped(builder, result) if dtype == "i8" else result
        if function == "pow":
            return mathematics.power(builder, a, b, self.machine)
        pick = mathematics.maximum if function == "max" else mathematics.minimum
        return pick(builder, a, b, self.machine)

    def multiply_add(self, node: Node) -> Value | None:
        """a·b + c in one rounding where the product is used nowhere else."""
        for product, other in (node.inputs, node.inputs[::-1]):
            inner = self.graph.nodes[product]
            single = len(self.users[product]) == 1 and product not in self.graph.kept() and product not in self.known
            if inner.op == "binary" and inner.attributes["function"] == "mul" and single and product != other:
                a, b = (self.value(i) for i in inner.inputs)
                return vectors.multiply_add(self.builder, self.machine, a, b, self.value(other))
        return None

    def integer(self, node: Node, function: str, a: Value, b: Value) -> Value:
        builder = self.builder
        if function in _INTEGER:
            result: Value = getattr(builder, _INTEGER[function])(a, b)
            return result
        if function in _COMPARE:
            return self.from_truth(builder.icmp_signed(_COMPARE[function], a, b))
        if function in ("max", "min"):
            return builder.select(builder.icmp_signed(">" if function == "max" else "<", a, b), a, b)
        if function == "div":
            return self.divide(a, b)
        raise BodyError(f"there is no {function} of i32 (at {node.place or 'unknown place'})")

    def divide(self, a: Value, b: Value) -> Value:
        """Towards zero, by zero 0; the least number by -1 wraps around instead of trapping."""
        builder, zero = self.builder, vectors.constant(I32, 0, self.lanes)
        one, less = vectors.constant(I32, 1, self.lanes), vectors.constant(I32, -1, self.lanes)
        by_zero, by_less = builder.icmp_signed("==", b, zero), builder.icmp_signed("==", b, less)
        quotient = builder.sdiv(a, builder.select(builder.or_(by_zero, by_less), one, b))
        quotient = builder.select(by_less, builder.sub(zero, a), quotient)
        return builder.select(by_zero, zero, quotient)

    def divide_bytes(self, a: Value, b: Value) -> Value:
        """As `divide`. The f32 quotient of two bytes never rounds to a whole number that it is not."""
        builder, zero = self.builder, vectors.constant(F32, 0.0, self.lanes)
        by_zero = builder.fcmp_ordered("==", b, zero)
        quotient = builder.fdiv(a, builder.select(by_zero, vectors.constant(F32, 1.0, self.lanes), b))
        return builder.select(by_zero, zero, wrapped(builder, quotient))

    def cast(self, node: Node, number: int) -> Value:
        builder, lanes = self.builder, self.lanes
        source, target = self.graph.nodes[node.inputs[0]].type.dtype, node.type.dtype
        x = self.value(node.inputs[0])
        if source == "i32" and target != "i32":
            x = builder.sitofp(x, ir.VectorType(F32, lanes))
        if target == "i32":
            if source == "i32":
                return x
            kind = ir.VectorType(I32, lanes)
            rounded = mathematics.round_even(builder, x, self.machine)
            name = f"llvm.fptosi.sat.{vectors.suffix(kind)}.{vectors.suffix(x.type)}"
            return vectors.intrinsic(builder, name, kind, [rounded])
        if not self.users[number]:
            return x  # the store converts
        if target == "i8":
            # NaN becomes the lowest number, as in memory.
            low = vectors.constant(F32, -128.0, lanes)
            x = builder.select(builder.fcmp_ordered(">", x, low), x, low)
            return mathematics.clamp(
                builder, mathematics.round_even(builder, x, self.machine), -128.0, 127.0, self.machine
            )
        if target in ("bf16", "f16") and source != "i8":
            raw = vectors.from_f32(builder, self.machine, x, target)
            return vectors.to_f32(builder, self.machine, raw, target)
        return x


def wrapped(builder: ir.IRBuilder, x: Value) -> Value:
    """A whole f32 below 2^31 as i8 arithmetic has it: modulo 256. What follows the point is cut off."""
    whole = builder.fptosi(x, ir.VectorType(I32, x.type.count))
    return low_byte(builder, whole)


def low_byte(builder: ir.IRBuilder, x: Value) -> Value:
    """The low byte of int32 numbers, with its sign, as f32."""
    places = vectors.constant(I32, 24, x.type.count)
    return builder.sitofp(builder.ashr(builder.shl(x, places), places), ir.VectorType(F32, x.type.count))
