"""Counted loops in LLVM text, with values carried from one turn to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import llvmlite.ir as ir

I64 = ir.IntType(64)


def integer(value: ir.Value | int) -> ir.Value:
    """`value` as an i64."""
    return ir.Constant(I64, value) if isinstance(value, int) else value


def divide(builder: ir.IRBuilder, value: ir.Value, by: int) -> tuple[ir.Value, ir.Value]:
    """(quotient, remainder) of a number that is not negative."""
    if by == 1:
        return value, integer(0)
    quotient = builder.udiv(value, integer(by))
    return quotient, builder.sub(value, builder.mul(quotient, integer(by)))


def digits(builder: ir.IRBuilder, value: ir.Value, extents: Sequence[int]) -> tuple[ir.Value, ...]:
    """The index along each of `extents`, outermost first, of flat index `value`."""
    found: list[ir.Value] = []
    for extent in reversed(extents[1:]):
        value, digit = divide(builder, value, extent)
        found.append(digit)
    return tuple(reversed([*found, value])) if extents else ()


def loop(
    builder: ir.IRBuilder,
    begin: ir.Value | int,
    end: ir.Value | int,
    body: Callable[[ir.Value, list[ir.Value]], Sequence[ir.Value]],
    carried: Sequence[ir.Value] = (),
    *,
    step: int = 1,
    name: str = "loop",
) -> list[ir.Value]:
    """Runs `body(index, values) -> values` for index = begin, begin + step, ... below end.

    Returns what the last turn returned, or `carried` if there was none. `builder` then stands after the loop.
    """
    known = isinstance(begin, int) and isinstance(end, int)
    if known and begin >= end:  # type: ignore[operator]
        return list(carried)
    if known and begin + step >= end:  # type: ignore[operator]
        return list(body(integer(begin), list(carried)))
    begin, end = integer(begin), integer(end)
    function = builder.function
    before = builder.block
    inside, after = function.append_basic_block(name), function.append_basic_block(f"{name}.end")
    if known:
        builder.branch(inside)
    else:
        builder.cbranch(builder.icmp_signed("<", begin, end), inside, after)
    builder.position_at_end(inside)
    index = builder.phi(I64)
    index.add_incoming(begin, before)
    values = [builder.phi(value.type) for value in carried]
    for phi, value in zip(values, carried, strict=True):
        phi.add_incoming(value, before)
    results = list(body(index, list(values)))
    following = builder.add(index, ir.Constant(I64, step), flags=["nsw"])
    last = builder.block
    index.add_incoming(following, last)
    for phi, value in zip(values, results, strict=True):
        phi.add_incoming(value, last)
    builder.cbranch(builder.icmp_signed("<", following, end), inside, after)
    builder.position_at_end(after)
    if known:
        return results
    finals = []
    for value, result in zip(carried, results, strict=True):
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        phi.add_incoming(result, last)
        finals.append(phi)
    return finals
