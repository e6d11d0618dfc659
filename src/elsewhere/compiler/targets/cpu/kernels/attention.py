"""Streaming attention in LLVM text: scores of a chunk of keys, their softmax, and their product with the values, before
the next chunk.

Lanes hold queries. Keys and values are broadcast one word at a time (a word is one f32, two bf16 or four int8), so
that the largest score and the sum of probabilities need no exchange between lanes, and f32 keys and values are read
where they lie. See `attention_plan` for the cut into tiles and `attention_few` for very few queries.

Legend: M queries, S keys, E width of queries and keys, W width of values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import llvmlite.ir as ir

from elsewhere.compiler.targets.cpu.kernels import mathematics
from elsewhere.compiler.targets.cpu.kernels import vectors as v
from elsewhere.compiler.targets.cpu.kernels.attention_few import emit_few
from elsewhere.compiler.targets.cpu.kernels.attention_plan import Attention, Plan, plan, scratch_bytes, units
from elsewhere.compiler.targets.cpu.kernels.loops import loop
from elsewhere.compiler.targets.cpu.kernels.vectors import F32, I8, I16, I32, I64, POINTER, VOID
from elsewhere.compiler.targets.cpu.machine import Machine

LOWEST = -1e30
"""The largest score before there was any. A query that sees no key keeps it, and gets zeros."""

MAGIC = mathematics.MAGIC
MAGIC_BITS = mathematics.MAGIC_BITS
FOUR_MAGIC_BITS = MAGIC_BITS * 0x01010101 % 2**32
"""What the magic numbers add up to when four bytes are shifted and added into a word."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What differs between instances of the code for one chunk."""

    vectors: int
    rows: int
    """Queries that exist, of vectors · lanes."""
    key_tile: int
    key_stride: int
    """Words from one key to the next."""
    value_stride: int
    """Words from one group of values to the next."""


def transpose(builder: ir.IRBuilder, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """L vectors of L lanes, rows and columns exchanged, by log2 L rounds of interleaving halves."""
    lanes = len(rows)
    half = lanes // 2
    low = [number for pair in ((i, lanes + i) for i in range(half)) for number in pair]
    high = [number + half for number in low]
    rows = list(rows)
    for _ in range(lanes.bit_length() - 1):
        pairs = [(rows[i], rows[i + half]) for i in range(half)]
        rows = [v.shuffle(builder, a, b, order) for a, b in pairs for order in (low, high)]
    return rows


def unsigned_constant(value: int, lanes: int) -> ir.Constant:
    """A 32-bit pattern in every lane."""
    return v.constant(I32, value - 2**32 if value >= 2**31 else value, lanes)


def four_bytes(builder: ir.IRBuilder, sums: Sequence[ir.Value]) -> ir.Value:
    """Words of four bytes 0..255, each given as f32 number + MAGIC."""
    lanes = sums[0].type.count
    bits = [builder.bitcast(one, v.vector(I32, lanes)) for one in sums]
    word = builder.sub(bits[0], unsigned_constant(FOUR_MAGIC_BITS, lanes))
    for index, one in enumerate(bits[1:], 1):
        word = builder.add(word, builder.shl(one, v.constant(I32, 8 * index, lanes)))
    return word


def two_bfloats(builder: ir.IRBuilder, low: ir.Value, high: ir.Value) -> ir.Value:
    """Words of two bf16, to nearest, halves away from zero (the cheapest rounding)."""
    lanes = low.type.count
    half = v.constant(I32, 0x8000, lanes)
    first, second = (builder.add(builder.bitcast(one, v.vector(I32, lanes)), half) for one in (low, high))
    second = builder.and_(second, v.constant(I32, -65536, lanes))
    return builder.or_(builder.lshr(first, v.constant(I32, 16, lanes)), second)


class Words:
    """Products of words in the processor's instructions."""

    def __init__(self, precision: str, machine: Machine, lanes: int) -> None:
        self.precision, self.machine, self.lanes = precision, machine, lanes
        self.word = F32 if precision == "f32" else I32
        self.accumulator = v.vector(I32 if precision == "i8" else F32, lanes)

    def load(self, builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> tuple[ir.Value, ...]:
        """A vector of words (unsigned bytes for 'i8')."""
        return self.prepare(builder, v.load_plain(builder, pointer, offset, self.word, self.lanes), signed=False)

    def broadcast(self, builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> tuple[ir.Value, ...]:
        """One word in every lane (signed bytes for 'i8')."""
        word = builder.load(v.address(builder, pointer, offset, self.word), align=4, typ=self.word)
        return self.prepare(builder, v.splat(builder, word, self.lanes), signed=True)

    def prepare(self, builder: ir.IRBuilder, word: ir.Value, *, signed: bool) -> tuple[ir.Value, ...]:
        lanes = self.lanes
        if self.precision == "f32":
            return (word,)
        if self.precision == "bf16":
            if self.machine.dot_bf16:
                return (builder.bitcast(word, v.vector(v.BF16, 2 * lanes)),)
            even = builder.shl(word, v.constant(I32, 16, lanes))
            odd = builder.and_(word, v.constant(I32, -65536, lanes))
            return builder.bitcast(even, self.accumulator), builder.bitcast(odd, self.accumulator)
        if self.machine.dot_int8:
            return (builder.bitcast(word, v.vector(I8, 4 * lanes)),)
        # Bytes 0 and 2, and 1 and 3, as 16-bit numbers: their products by pairs are exact.
        wide = builder.bitcast(word, v.vector(I16, 2 * lanes))
        eight = v.constant(I16, 8, 2 * lanes)
        if signed:
            return builder.ashr(builder.shl(wide, eight), eight), builder.ashr(wide, eight)
        return builder.and_(wide, v.constant(I16, 255, 2 * lanes)), builder.lshr(wide, eight)

    def multiply(
        self, builder: ir.IRBuilder, total: ir.Value, a: tuple[ir.Value, ...], b: tuple[ir.Value, ...]
    ) -> ir.Value:
        """total + a·b, where a came from `load` and b from `broadcast`."""
        kind, bits = self.accumulator, 32 * self.lanes
        if self.precision == "i8" and self.machine.dot_int8:
            return v.intrinsic(builder, f"llvm.x86.avx512.vpdpbusd.{bits}", kind, [total, a[0], b[0]])
        if self.precision == "bf16" and self.machine.dot_bf16:
            return v.intrinsic(builder, f"llvm.x86.avx512bf16.dpbf16ps.{bits}", kind, [total, a[0], b[0]])
        for left, right in zip(a, b, strict=True):
            if self.precision == "i8":
                total = builder.add(total, self.add_pairs(builder, left, right))
            else:
                total = v.multiply_add(builder, self.machine, left, right, total)
        return total

    def add_pairs(self, builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
        """Sums of the products of neighbouring 16-bit numbers, written so that LLVM finds `pmaddwd`."""
        wide = v.vector(I32, 2 * self.lanes)
        products = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
        even, odd = (v.shuffle(builder, products, None, range(first, 2 * self.lanes, 2)) for first in (0, 1))
        return builder.add(even, odd)


class Generator:
    """Emits one attention."""

    def __init__(self, module: ir.Module, name: str, spec: Attention, machine: Machine) -> None:
        self.module, self.name, self.spec, self.machine = module, name, spec, machine
        self.plan: Plan = plan(spec, machine)
        self.lanes = self.plan.lanes
        self.words = Words(self.plan.precision, machine, self.lanes)
        self.single = sum(len(lengths) for lengths in self.plan.chunks) == 1
        self.real, self.integers = v.vector(F32, self.lanes), v.vector(I32, self.lanes)
        self.chunk_functions: dict[Shape, ir.Function] = {}
        self.fused = spec.scale * mathematics.LOG2_E
        """Scores are kept as exponents of two."""

    # Small helpers.

    def number(self, value: float) -> ir.Constant:
        return v.constant(F32, value, self.lanes)

    def part(self, builder: ir.IRBuilder, scratch: ir.Value, name: str) -> ir.Value:
        """Pointer to a part of the scratch memory."""
        return v.address(builder, scratch, self.plan.offsets[name], I8)

    def vector_at(self, builder: ir.IRBuilder, index: ir.Value | int, vectors: int, which: int) -> ir.Value | int:
        """Offset in words of vector `which` of row `index`, in an array of rows of `vectors` vectors."""
        if isinstance(index, int):
            return (index * vectors + which) * self.lanes
        row = builder.mul(index, I64(vectors * self.lanes))
        return builder.add(row, I64(which * self.lanes)) if which else row

    def load(self, builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
        return v.load_plain(builder, pointer, offset, F32, self.lanes)

    def fma(self, builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        return v.multiply_add(builder, self.machine, x, y, z)

    def larger(self, builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        """max(x, y) in one instruction; y where x is NaN."""
        return builder.select(builder.fcmp_ordered(">", x, y), x, y)

    def internal(self, name: str, arguments: Sequence[ir.Type]) -> tuple[ir.Function, ir.IRBuilder]:
        """A function of this module alone, kept apart so that compile time grows only with what differs."""
        function = ir.Function(self.module, ir.FunctionType(VOID, arguments), f"{self.name}.{name}")
        function.linkage = "internal"
        function.attributes.add("nounwind")
        function.attributes.add("noinline")
        return function, ir.IRBuilder(function.append_basic_block("entry"))

    # The whole.

    def emit(self) -> ir.Function:
        """void name(i64 begin, i64 end, ptr q, ptr k.., ptr v.., [ptr bias,] ptr out, ptr scratch)."""
        spec, plan_ = self.spec, self.plan
        segments = len(spec.segments)
        has_bias = spec.bias_strides is not None
        pointers = [POINTER] * (1 + 2 * segments + has_bias + 2)
        function = ir.Function(self.module, ir.FunctionType(VOID, [I64, I64, *pointers]), self.name)
        function.attributes.add("nounwind")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        begin, end, q, *rest = function.args
        k, values = rest[:segments], rest[segments : 2 * segments]
        bias = rest[2 * segments] if has_bias else None
        out, scratch = rest[-2:]
        packing = self.packing_function() if plan_.packs else None
        whole, ragged = divmod(spec.queries, plan_.block)
        blocks = whole + bool(ragged)
        full_block = self.block_function(plan_.vectors, plan_.block) if whole else None
        tail_block = self.block_function(-(-ragged // self.lanes), ragged) if ragged else None

        def unit(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            batch = builder.udiv(index, I64(spec.parts)) if spec.parts > 1 else index
            part = builder.urem(index, I64(spec.parts)) if spec.parts > 1 else I64(0)
            places = self.batch_indices(builder, batch)

            def moved(pointer: ir.Value, strides: Sequence[int], kind: str) -> ir.Value:
                return v.address(builder, pointer, self.dot(builder, places, strides), v.MEMORY[kind])

            q_here = moved(q, spec.query_strides, spec.query_type)
            out_here = moved(out, spec.out_strides, spec.out_type)
            k_here = [moved(p, s, spec.key_type) for p, s in zip(k, spec.key_strides, strict=True)]
            v_here = [moved(p, s, spec.value_type) for p, s in zip(values, spec.value_strides, strict=True)]
            bias_here = [] if bias is None else [moved(bias, spec.bias_strides or (), "f32")]
            kept = carried
            if packing is not None:
                source = self.source_index(builder, places)
                with builder.if_then(builder.icmp_signed("!=", source, carried[0])):
                    builder.call(packing, [*k_here, *v_here, scratch])
                kept = [source]
                k_here, v_here = [self.part(builder, scratch, "keys")], [self.part(builder, scratch, "values")]
            first = builder.udiv(builder.mul(part, I64(blocks)), I64(spec.parts)) if spec.parts > 1 else I64(0)
            following = builder.mul(builder.add(part, I64(1)), I64(blocks))
            last = builder.udiv(following, I64(spec.parts)) if spec.parts > 1 else I64(blocks)

            def block(number: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
                query = builder.mul(number, I64(plan_.block))
                arguments = [query, q_here, *k_here, *v_here, *bias_here, out_here, scratch]
                if full_block is None:
                    builder.call(tail_block, arguments)
                elif tail_block is None:
                    builder.call(full_block, arguments)
                else:
                    with builder.if_else(builder.icmp_signed("<", number, I64(whole))) as (then, otherwise):
                        with then:
                            builder.call(full_block, arguments)
                        with otherwise:
                            builder.call(tail_block, arguments)
                return []

            loop(builder, first, last, block, name="block")
            return kept

        loop(builder, begin, end, unit, [I64(-1)] if packing is not None else [], name="unit")
        builder.ret_void()
        return function

    def batch_indices(self, builder: ir.IRBuilder, batch: ir.Value) -> list[ir.Value]:
        """Index along each batch dimension."""
        places: list[ir.Value] = []
        for extent in reversed(self.spec.batch[1:]):
            places.insert(0, builder.urem(batch, I64(extent)))
            batch = builder.udiv(batch, I64(extent))
        return [batch, *places] if self.spec.batch else []

    def dot(self, builder: ir.IRBuilder, places: Sequence[ir.Value], strides: Sequence[int]) -> ir.Value:
        total: ir.Value = I64(0)
        for place, stride in zip(places, strides, strict=False):
            if stride:
                total = builder.add(total, builder.mul(place, I64(stride)))
        return total

    def source_index(self, builder: ir.IRBuilder, places: Sequence[ir.Value]) -> ir.Value:
        """A number that is the same for batch entries with the same keys and values."""
        total: ir.Value = I64(0)
        for dimension, (place, extent) in enumerate(zip(places, self.spec.batch, strict=True)):
            if any(strides[dimension] for strides in (*self.spec.key_strides, *self.spec.value_strides)):
                total = builder.add(builder.mul(total, I64(extent)), place)
        return total

    # One block of queries.

    def block_function(self, vectors: int, rows: int) -> ir.Function:
        """(first query, q, k.., v.., [bias,] out, scratch): all keys for `rows` queries."""
        spec, plan_ = self.spec, self.plan
        sources = len(plan_.chunks)
        has_bias = spec.bias_strides is not None
        kinds = [I64, *[POINTER] * (1 + 2 * sources + has_bias + 2)]
        function, builder = self.internal(f"block{vectors}.{rows}", kinds)
        query, q, *rest = function.args
        k, values = rest[:sources], rest[sources : 2 * sources]
        bias = rest[2 * sources : 2 * sources + has_bias]
        out, scratch = rest[-2:]
        self.pack_queries(builder, q, query, scratch, vectors, rows)
        for which in range(vectors):
            place = which * self.lanes
            v.store_plain(builder, self.number(LOWEST), self.part(builder, scratch, "largest"), place)
            v.store_plain(builder, self.number(0.0), self.part(builder, scratch, "total"), place)
        if not self.single:
            result = self.part(builder, scratch, "result")

            def clear(index: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
                for which in range(vectors):
                    v.store_plain(builder, self.number(0.0), result, self.vector_at(builder, index, vectors, which))
                return []

            loop(builder, 0, spec.value_width, clear, name="clear")
        limit = None
        if spec.causal:
            limit = builder.add(query, I64(spec.offset + rows))  # keys below it are seen by some query
        position = 0
        for source, lengths in enumerate(plan_.chunks):
            if plan_.packs:
                key_stride, value_stride = plan_.words, spec.value_width
            else:
                key_stride, value_stride = spec.key_strides[source][-1], spec.value_strides[source][-1]
            for first, count, length in self.runs(lengths):
                shape = Shape(vectors, rows, min(plan_.key_tile, length), key_stride, value_stride)
                self.call_chunks(
                    builder, shape, (k[source], values[source]), (first, count, length), position, limit,
                    [query, *bias, scratch],
                )  # fmt: skip
            position += sum(lengths)
        self.finish(builder, out, query, scratch, vectors, rows)
        builder.ret_void()
        return function

    @staticmethod
    def runs(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
        """(first key, how many chunks, their length) of chunks of one length."""
        full, last = lengths[0], lengths[-1]
        if full == last:
            return [(0, len(lengths), full)]
        return [(0, len(lengths) - 1, full), (full * (len(lengths) - 1), 1, last)]

    def call_chunks(
        self,
        builder: ir.IRBuilder,
        shape: Shape,
        sources: tuple[ir.Value, ir.Value],
        run: tuple[int, int, int],
        position: int,
        limit: ir.Value | None,
        more: list[ir.Value],
    ) -> None:
        function = self.chunk_function(shape)
        first, count, length = run

        def chunk(number: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            start = builder.add(builder.mul(number, I64(length)), I64(first))
            k = v.address(builder, sources[0], builder.mul(start, I64(shape.key_stride)), I32)
            group = builder.udiv(start, I64(self.plan.group))
            values = v.address(builder, sources[1], builder.mul(group, I64(shape.value_stride)), I32)
            at = builder.add(start, I64(position))
            keys: ir.Value = I64(length)
            if limit is not None:
                # Whole tiles of keys that no query of this block sees are left out; the others are masked.
                tiles = builder.sdiv(builder.add(builder.sub(limit, at), I64(shape.key_tile - 1)), I64(shape.key_tile))
                seen = builder.mul(tiles, I64(shape.key_tile))
                keys = builder.select(builder.icmp_signed("<", seen, keys), seen, keys)
                with builder.if_then(builder.icmp_signed(">", keys, I64(0))):
                    builder.call(function, [k, values, keys, at, *more])
                return []
            builder.call(function, [k, values, keys, at, *more])
            return []

        if self.single and limit is not None and self.spec.offset < 0:
            raise ValueError(f"offset must be at least 0 for few keys, got {self.spec.offset}")
        loop(builder, 0, count, chunk, name="chunk")

    def pack_queries(
        self, builder: ir.IRBuilder, q: ir.Value, query: ir.Value, scratch: ir.Value, vectors: int, rows: int
    ) -> None:
        """Transposes queries into words [E / group][vectors][lanes], scaled so that scores are exponents of two."""
        plan_, lanes = self.plan, self.lanes
        target = self.part(builder, scratch, "queries")
        # Transposed f32 numbers go straight to where they belong, or lie where the scores will be.
        middle = target if plan_.precision == "f32" else self.part(builder, scratch, "scores")
        factor = self.number(1.0 if plan_.precision == "i8" else self.fused)
        padded = plan_.words * plan_.group
        stride = self.spec.query_strides[-1]
        base = v.address(builder, q, builder.mul(query, I64(stride)), v.MEMORY[self.spec.query_type])

        for which in range(vectors):
            valid_rows = min(lanes, rows - which * lanes)

            def piece(start: ir.Value | int, valid: int, which: int = which, valid_rows: int = valid_rows) -> None:
                taken = []
                for lane in range(lanes):
                    if lane >= valid_rows:
                        taken.append(self.number(0.0))
                        continue
                    offset: ir.Value | int = (which * lanes + lane) * stride
                    offset = offset + start if isinstance(start, int) else builder.add(start, I64(offset))
                    row = v.load_vector(builder, self.machine, base, offset, self.spec.query_type, lanes, valid)
                    taken.append(builder.fmul(row, factor))
                for index, column in enumerate(transpose(builder, taken)):
                    if isinstance(start, int) and start + index >= padded:
                        break
                    e = start + index if isinstance(start, int) else builder.add(start, I64(index))
                    v.store_plain(builder, column, middle, self.vector_at(builder, e, vectors, which))

            def turn(start: ir.Value, none: list[ir.Value], piece: Callable[..., None] = piece) -> list[ir.Value]:
                piece(start, lanes)
                return []

            whole = self.spec.width - self.spec.width % lanes
            loop(builder, 0, whole, turn, step=lanes, name="transpose")
            if whole < self.spec.width:
                piece(whole, self.spec.width - whole)
        if plan_.precision != "f32":
            self.narrow_queries(builder, middle, target, scratch, vectors)

    def narrow_queries(
        self, builder: ir.IRBuilder, middle: ir.Value, target: ir.Value, scratch: ir.Value, vectors: int
    ) -> None:
        """Transposed f32 queries to words of bf16 or int8, the latter with a scale per query."""
        plan_ = self.plan
        inverse: list[ir.Value] = []
        if plan_.precision == "i8":

            def grow(e: ir.Value, largest: list[ir.Value]) -> list[ir.Value]:
                numbers = [
                    self.load(builder, middle, self.vector_at(builder, e, vectors, which)) for which in range(vectors)
                ]
                sizes = [mathematics.absolute(builder, one, self.machine) for one in numbers]
                return [self.larger(builder, size, old) for size, old in zip(sizes, largest, strict=True)]

            largest = loop(builder, 0, self.spec.width, grow, [self.number(1e-30)] * vectors, name="largest")
            multiplier = self.part(builder, scratch, "multiplier")
            for which, one in enumerate(largest):
                inverse.append(builder.fdiv(self.number(127.0), one))
                scaled = builder.fmul(one, self.number(self.fused / 127))
                v.store_plain(builder, scaled, multiplier, which * self.lanes)

        def narrow(word: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            e = builder.mul(word, I64(plan_.group))
            for which in range(vectors):
                numbers = [
                    self.load(builder, middle, self.vector_at(builder, builder.add(e, I64(index)), vectors, which))
                    for index in range(plan_.group)
                ]
                if plan_.precision == "bf16":
                    packed = two_bfloats(builder, *numbers)
                else:
                    biased = self.number(MAGIC + v.BIAS)
                    packed = four_bytes(builder, [self.fma(builder, one, inverse[which], biased) for one in numbers])
                v.store_plain(builder, packed, target, self.vector_at(builder, word, vectors, which))
            return []

        loop(builder, 0, plan_.words, narrow, name="narrow")

    def finish(
        self, builder: ir.IRBuilder, out: ir.Value, query: ir.Value, scratch: ir.Value, vectors: int, rows: int
    ) -> None:
        """Divides by the sums of probabilities, transposes back and stores `rows` rows."""
        spec, lanes = self.spec, self.lanes
        result, total = self.part(builder, scratch, "result"), self.part(builder, scratch, "total")
        base = v.address(builder, out, builder.mul(query, I64(spec.out_strides[-1])), v.MEMORY[spec.out_type])
        for which in range(vectors):
            sum_ = self.larger(builder, self.load(builder, total, which * lanes), self.number(1e-30))
            inverse = builder.fdiv(self.number(1.0), sum_)
            valid_rows = min(lanes, rows - which * lanes)

            def piece(
                start: ir.Value | int,
                valid: int,
                which: int = which,
                valid_rows: int = valid_rows,
                inverse: ir.Value = inverse,
            ) -> None:
                columns = []
                for index in range(lanes):
                    if index >= valid:
                        columns.append(self.number(0.0))
                        continue
                    e = start + index if isinstance(start, int) else builder.add(start, I64(index))
                    column = self.load(builder, result, self.vector_at(builder, e, vectors, which))
                    factor = inverse
                    if self.plan.precision == "i8":
                        scales = self.part(builder, scratch, "value_scales")
                        scale = v.load_splat(builder, self.machine, scales, e, "f32", lanes)
                        factor = builder.fmul(inverse, scale)
                    columns.append(builder.fmul(column, factor))
                for lane, row in enumerate(transpose(builder, columns)[:valid_rows]):
                    offset: ir.Value | int = (which * lanes + lane) * spec.out_strides[-1]
                    offset = offset + start if isinstance(start, int) else builder.add(start, I64(offset))
                    v.store_vector(builder, self.machine, row, base, offset, spec.out_type, valid)

            def turn(start: ir.Value, none: list[ir.Value], piece: Callable[..., None] = piece) -> list[ir.Value]:
                piece(start, lanes)
                return []

            whole = spec.value_width - spec.value_width % lanes
            loop(builder, 0, whole, turn, step=lanes, name="finish")
            if whole < spec.value_width:
                piece(whole, spec.value_width - whole)

    # One chunk of keys.

    def chunk_function(self, shape: Shape) -> ir.Function:
        """(k, v, count, position of the first key, first query, [bias,] scratch)."""
        if shape in self.chunk_functions:
            return self.chunk_functions[shape]
        has_bias = self.spec.bias_strides is not None
        kinds = [POINTER, POINTER, I64, I64, I64, *[POINTER] * (has_bias + 1)]
        function, builder = self.internal(f"chunk{len(self.chunk_functions)}", kinds)
        self.chunk_functions[shape] = function
        k, values, count, position, query, *rest = function.args
        scratch = rest[-1]
        if has_bias:
            self.spread_bias(builder, shape, rest[0], count, position, query, scratch)
        before = [
            self.load(builder, self.part(builder, scratch, "largest"), which * self.lanes)
            for which in range(shape.vectors)
        ]
        largest = self.scores(builder, shape, k, count, position, query, scratch, before)
        corrections = self.softmax(builder, shape, count, scratch, before, largest)
        self.weigh(builder, shape, values, count, scratch, corrections)
        builder.ret_void()
        return function

    def spread_bias(
        self,
        builder: ir.IRBuilder,
        shape: Shape,
        bias: ir.Value,
        count: ir.Value,
        position: ir.Value,
        query: ir.Value,
        scratch: ir.Value,
    ) -> None:
        """Lays the bias of a chunk out like its scores, as exponents of two."""
        lanes = self.lanes
        assert self.spec.bias_strides is not None
        query_stride, key_stride = self.spec.bias_strides[-2:]
        first = builder.add(builder.mul(query, I64(query_stride)), builder.mul(position, I64(key_stride)))
        base = v.address(builder, bias, first, F32)
        target = self.part(builder, scratch, "bias")

        def one(key: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            place = v.address(builder, base, builder.mul(key, I64(key_stride)), F32)
            for which in range(shape.vectors):
                valid = min(lanes, shape.rows - which * lanes)
                if query_stride == 0:
                    numbers = v.load_splat(builder, self.machine, place, 0, "f32", lanes)
                elif query_stride == 1:
                    numbers = v.load_plain(builder, place, which * lanes, F32, lanes, valid)
                else:
                    numbers = self.number(0.0)
                    for lane in range(valid):
                        offset = (which * lanes + lane) * query_stride
                        number = builder.load(v.address(builder, place, offset, F32), align=4, typ=F32)
                        numbers = builder.insert_element(numbers, number, I32(lane))
                numbers = builder.fmul(numbers, self.number(mathematics.LOG2_E))
                v.store_plain(builder, numbers, target, self.vector_at(builder, key, shape.vectors, which))
            return []

        loop(builder, 0, count, one, name="bias")

    def scores(
        self,
        builder: ir.IRBuilder,
        shape: Shape,
        k: ir.Value,
        count: ir.Value,
        position: ir.Value,
        query: ir.Value,
        scratch: ir.Value,
        largest: list[ir.Value],
    ) -> list[ir.Value]:
        """Stores scores [key][vectors][lanes] and returns the largest so far.

        For 'i8' they still lack the scale of their query, unless there is a bias. The last tile is moved back so that
        it ends with the last key; what it computes a second time is the same.
        """
        vectors, tile = shape.vectors, shape.key_tile
        queries, target = self.part(builder, scratch, "queries"), self.part(builder, scratch, "scores")
        last = builder.sub(count, I64(tile))
        seen = None
        if self.spec.causal:
            # Lane i sees keys up to query + i + offset; compared as 32-bit numbers relative to this chunk.
            ahead = builder.trunc(builder.add(builder.sub(query, position), I64(self.spec.offset)), I32)
            steps = [v.constant(I32, range(w * self.lanes, (w + 1) * self.lanes), self.lanes) for w in range(vectors)]
            seen = [builder.add(v.splat(builder, ahead, self.lanes), step) for step in steps]

        def one_tile(start: ir.Value, largest: list[ir.Value]) -> list[ir.Value]:
            start = builder.select(builder.icmp_signed("<", start, last), start, last)
            place = v.address(builder, k, builder.mul(start, I64(shape.key_stride)), I32)
            key = builder.add(start, position)
            sums = self.tile_sums(builder, shape, place, queries, self.first_sums(builder, shape, key, scratch))
            for index in range(tile):
                row = builder.add(start, I64(index))
                for which in range(vectors):
                    score = sums[index * vectors + which]
                    if self.plan.precision == "i8":
                        score = builder.sitofp(score, self.real)
                        scales = self.part(builder, scratch, "key_scales")
                        at = builder.add(key, I64(index))
                        scale = v.load_splat(builder, self.machine, scales, at, "f32", self.lanes)
                        score = builder.fmul(score, scale)
                    if self.spec.bias_strides is not None:
                        score = self.add_bias(builder, score, scratch, row, vectors, which)
                    if seen is not None:
                        here = v.splat(builder, builder.trunc(row, I32), self.lanes)
                        visible = builder.icmp_signed("<=", here, seen[which])
                        score = builder.select(visible, score, self.number(float("-inf")))
                    largest[which] = self.larger(builder, score, largest[which])
                    v.store_plain(builder, score, target, self.vector_at(builder, row, vectors, which))
            return largest

        return loop(builder, 0, count, one_tile, largest, step=tile, name="scores")

    def first_sums(self, builder: ir.IRBuilder, shape: Shape, key: ir.Value, scratch: ir.Value) -> list[ir.Value]:
        """What scores start at: zero, or what undoes the bias of int8 queries (-128 times the sum of a key)."""
        if self.plan.precision != "i8":
            return [ir.Constant(self.words.accumulator, [0.0] * self.lanes)] * (shape.key_tile * shape.vectors)
        sums = self.part(builder, scratch, "key_sums")
        first: list[ir.Value] = []
        for index in range(shape.key_tile):
            at = builder.add(key, I64(index))
            first += [v.load_splat(builder, self.machine, sums, at, "i32", self.lanes)] * shape.vectors
        return first

    def tile_sums(
        self, builder: ir.IRBuilder, shape: Shape, place: ir.Value, queries: ir.Value, sums: list[ir.Value]
    ) -> list[ir.Value]:
        """Dot products of `key_tile` keys with a block of queries."""
        vectors = shape.vectors

        def step(word: ir.Value | int, sums: list[ir.Value]) -> list[ir.Value]:
            a = [
                self.words.load(builder, queries, self.vector_at(builder, word, vectors, which))
                for which in range(vectors)
            ]
            for index in range(shape.key_tile):
                offset: ir.Value | int = index * shape.key_stride
                offset = offset + word if isinstance(word, int) else builder.add(word, I64(offset))
                b = self.words.broadcast(builder, place, offset)
                for which in range(vectors):
                    at = index * vectors + which
                    sums[at] = self.words.multiply(builder, sums[at], a[which], b)
            return sums

        return loop(builder, 0, self.plan.words, step, sums, name="dot")

    def add_bias(
        self, builder: ir.IRBuilder, score: ir.Value, scratch: ir.Value, row: ir.Value, vectors: int, which: int
    ) -> ir.Value:
        place = self.vector_at(builder, row, vectors, which)
        bias = self.load(builder, self.part(builder, scratch, "bias"), place)
        if self.plan.precision != "i8":
            return builder.fadd(score, bias)
        multiplier = self.load(builder, self.part(builder, scratch, "multiplier"), which * self.lanes)
        return self.fma(builder, score, multiplier, bias)

    def softmax(
        self,
        builder: ir.IRBuilder,
        shape: Shape,
        count: ir.Value,
        scratch: ir.Value,
        before: list[ir.Value],
        largest: list[ir.Value],
    ) -> list[ir.Value]:
        """Scores to words of probabilities [key / group][vectors][lanes], in place; updates largest and total.

        Returns the factors by which earlier results shrink.
        """
        vectors, lanes = shape.vectors, self.lanes
        scores = self.part(builder, scratch, "scores")
        scaled = self.plan.precision == "i8" and self.spec.bias_strides is None
        factors: list[ir.Value] = []
        bases, corrections = [], []
        for which in range(vectors):
            difference = builder.fsub(before[which], largest[which])
            base = largest[which]
            if scaled:
                factor = self.load(builder, self.part(builder, scratch, "multiplier"), which * lanes)
                factors.append(factor)
                difference, base = builder.fmul(difference, factor), builder.fmul(base, factor)
            bases.append(base)
            corrections.append(mathematics.exp2_softmax(builder, difference, self.machine))
            v.store_plain(builder, largest[which], self.part(builder, scratch, "largest"), which * lanes)

        def hide(row: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            for which in range(vectors):
                v.store_plain(builder, self.number(float("-inf")), scores, self.vector_at(builder, row, vectors, which))
            return []

        # Keys are taken by fours; those that do not exist get the probability 0.
        padded = builder.and_(builder.add(count, I64(3)), I64(-4))
        loop(builder, count, padded, hide, name="hide")

        def four(row: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            for which in range(vectors):
                exponents = []
                for index in range(4):
                    at = self.vector_at(builder, builder.add(row, I64(index)), vectors, which)
                    score = self.load(builder, scores, at)
                    if scaled:
                        exponent = self.fma(builder, score, factors[which], builder.fneg(bases[which]))
                    else:
                        exponent = builder.fsub(score, bases[which])
                    exponents.append(exponent)
                words, sums[which] = self.probabilities(builder, exponents, sums[which])
                group = builder.udiv(row, I64(self.plan.group))
                for index, word in enumerate(words):
                    at = self.vector_at(builder, builder.add(group, I64(index)), vectors, which)
                    v.store_plain(builder, word, scores, at)
            return sums

        zero = ir.Constant(self.words.accumulator, [0] * lanes)
        sums = loop(builder, 0, padded, four, [zero] * vectors, step=4, name="softmax")
        total = self.part(builder, scratch, "total")
        for which, sum_ in enumerate(sums):
            real = builder.sitofp(sum_, self.real) if self.plan.precision == "i8" else sum_
            old = self.load(builder, total, which * lanes)
            v.store_plain(builder, self.fma(builder, old, corrections[which], real), total, which * lanes)
        return corrections

    def probabilities(
        self, builder: ir.IRBuilder, exponents: list[ir.Value], total: ir.Value
    ) -> tuple[list[ir.Value], ir.Value]:
        """Words for four keys, and the new sum of probabilities."""
        if self.plan.precision == "i8":
            word = four_bytes(builder, [self.byte_power(builder, one) for one in exponents])
            bytes_ = self.words.prepare(builder, word, signed=False)
            ones = self.words.prepare(builder, v.constant(I32, 0x01010101, self.lanes), signed=True)
            return [word], self.words.multiply(builder, total, bytes_, ones)
        coefficients = mathematics.EXP2_5 if self.plan.precision == "f32" else mathematics.EXP2_3
        powers = [mathematics.exp2_softmax(builder, one, self.machine, coefficients) for one in exponents]
        pairs = [builder.fadd(powers[0], powers[1]), builder.fadd(powers[2], powers[3])]
        total = builder.fadd(total, builder.fadd(*pairs))
        if self.plan.precision == "f32":
            return powers, total
        return [two_bfloats(builder, powers[0], powers[1]), two_bfloats(builder, powers[2], powers[3])], total

    def byte_power(self, builder: ir.IRBuilder, exponent: ir.Value) -> ir.Value:
        """MAGIC + round(255·2^exponent) for exponent <= 0."""
        bounded = self.larger(builder, exponent, self.number(-100.0))
        # 127 more, so that the sum's low bits shifted up are the power of two itself.
        sum_ = builder.fadd(bounded, self.number(MAGIC + 127))
        r = builder.fsub(bounded, builder.fsub(sum_, self.number(MAGIC + 127)))
        coefficients = [255 * one for one in mathematics.EXP2_3]
        mantissa = mathematics.polynomial(builder, r, coefficients, self.machine)
        bits = builder.shl(builder.bitcast(sum_, self.integers), v.constant(I32, 23, self.lanes))
        return self.fma(builder, mantissa, builder.bitcast(bits, self.real), self.number(MAGIC))

    def weigh(
        self,
        builder: ir.IRBuilder,
        shape: Shape,
        values: ir.Value,
        count: ir.Value,
        scratch: ir.Value,
        corrections: list[ir.Value],
    ) -> None:
        """result[W][vectors][lanes] = result · correction + probabilities · values."""
        vectors, width = shape.vectors, self.spec.value_width
        weights, result = self.part(builder, scratch, "scores"), self.part(builder, scratch, "result")
        groups = builder.udiv(builder.add(count, I64(self.plan.group - 1)), I64(self.plan.group))
        zero = ir.Constant(self.words.accumulator, [0] * self.lanes)

        def tile(start: ir.Value | int, columns: int) -> None:
            place = v.address(builder, values, start, I32)

            def step(group: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                a = [
                    self.words.load(builder, weights, self.vector_at(builder, group, vectors, which))
                    for which in range(vectors)
                ]
                row = v.address(builder, place, builder.mul(group, I64(shape.value_stride)), I32)
                for column in range(columns):
                    b = self.words.broadcast(builder, row, column)
                    for which in range(vectors):
                        at = column * vectors + which
                        sums[at] = self.words.multiply(builder, sums[at], a[which], b)
                return sums

            sums = loop(builder, 0, groups, step, [zero] * (columns * vectors), name="weigh")
            for column in range(columns):
                e = start + column if isinstance(start, int) else builder.add(start, I64(column))
                for which in range(vectors):
                    sum_ = sums[column * vectors + which]
                    if self.plan.precision == "i8":
                        sum_ = builder.sitofp(sum_, self.real)
                    at = self.vector_at(builder, e, vectors, which)
                    if not self.single:
                        old = self.load(builder, result, at)
                        sum_ = self.fma(builder, old, corrections[which], sum_)
                    v.store_plain(builder, sum_, result, at)

        def turn(start: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            tile(start, self.plan.value_tile)
            return []

        whole = width - width % self.plan.value_tile
        loop(builder, 0, whole, turn, step=self.plan.value_tile, name="columns")
        if whole < width:
            tile(whole, width - whole)

    # Keys and values, reordered once per batch entry.

    def packing_function(self) -> ir.Function:
        """(k.., v.., scratch)."""
        segments = len(self.spec.segments)
        function, builder = self.internal("pack", [POINTER] * (2 * segments + 1))
        k, values, scratch = function.args[:segments], function.args[segments : 2 * segments], function.args[-1]
        first = 0
        for segment, keys in enumerate(self.spec.segments):
            self.pack_keys(builder, k[segment], segment, first, keys, scratch)
            first += keys
        if self.plan.precision == "i8":
            self.scale_values(builder, values, scratch)
        self.pack_values(builder, values, scratch)
        builder.ret_void()
        return function

    def pieces(self, width: int) -> list[tuple[int, int]]:
        """(start, valid lanes) of the vectors of a row."""
        return [(start, min(self.lanes, width - start)) for start in range(0, width, self.lanes)]

    def pack_keys(
        self, builder: ir.IRBuilder, k: ir.Value, segment: int, first: int, keys: int, scratch: ir.Value
    ) -> None:
        """Rows of words, for 'i8' with a scale per key and what undoes the bias of queries."""
        spec, plan_ = self.spec, self.plan
        stride = spec.key_strides[segment][-1]
        target = self.part(builder, scratch, "keys")
        element = {"f32": F32, "bf16": I16, "i8": I8}[plan_.precision]
        row_length = plan_.words * plan_.group

        def one(key: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            place = v.address(builder, k, builder.mul(key, I64(stride)), v.MEMORY[spec.key_type])
            row = [
                v.load_vector(builder, self.machine, place, start, spec.key_type, self.lanes, valid)
                for start, valid in self.pieces(spec.width)
            ]
            to = v.address(builder, target, builder.mul(builder.add(key, I64(first)), I64(row_length)), element)
            if plan_.precision == "i8":
                row = self.quantise_key(builder, row, builder.add(key, I64(first)), scratch)
            for (start, valid), numbers in zip(self.pieces(spec.width), row, strict=True):
                kept = min(self.lanes, -(-valid // plan_.group) * plan_.group)
                if plan_.precision == "i8":
                    v.store_plain(builder, builder.trunc(numbers, v.vector(I8, self.lanes)), to, start, kept)
                else:
                    v.store_vector(builder, self.machine, numbers, to, start, plan_.precision, kept)
            return []

        loop(builder, 0, keys, one, name="key")

    def quantise_key(
        self, builder: ir.IRBuilder, row: list[ir.Value], key: ir.Value, scratch: ir.Value
    ) -> list[ir.Value]:
        """int32 lanes whose low bytes are the quantised numbers; stores the key's scale and sum."""
        sizes = [mathematics.absolute(builder, one, self.machine) for one in row]
        largest = sizes[0]
        for size in sizes[1:]:
            largest = self.larger(builder, size, largest)
        kind = f"llvm.vector.reduce.fmax.{v.suffix(self.real)}"
        if kind not in self.module.globals:
            ir.Function(self.module, ir.FunctionType(F32, [self.real]), kind)
        top = builder.call(self.module.globals[kind], [largest], fastmath=("nnan",))
        least = ir.Constant(F32, v.round_to_f32(1e-30))
        top = builder.select(builder.fcmp_ordered(">", top, least), top, least)
        scale = builder.fmul(top, ir.Constant(F32, v.round_to_f32(1 / 127)))
        builder.store(scale, v.address(builder, self.part(builder, scratch, "key_scales"), key, F32), align=4)
        inverse = v.splat(builder, builder.fdiv(ir.Constant(F32, 127.0), top), self.lanes)
        numbers = []
        total: ir.Value = v.constant(I32, 0, self.lanes)
        for one in row:
            sum_ = self.fma(builder, one, inverse, self.number(MAGIC))
            number = builder.sub(builder.bitcast(sum_, self.integers), v.constant(I32, MAGIC_BITS, self.lanes))
            numbers.append(number)
            total = builder.add(total, number)
        kind = f"llvm.vector.reduce.add.{v.suffix(self.integers)}"
        undo = builder.mul(v.intrinsic(builder, kind, I32, [total]), I32(-v.BIAS))
        builder.store(undo, v.address(builder, self.part(builder, scratch, "key_sums"), key, I32), align=4)
        return numbers

    def scale_values(self, builder: ir.IRBuilder, values: Sequence[ir.Value], scratch: ir.Value) -> None:
        """Scales of the columns of values over all keys, and their inverses."""
        spec = self.spec
        pieces = self.pieces(spec.value_width)
        largest: list[ir.Value] = [self.number(1e-30)] * len(pieces)
        for source, keys, strides in zip(values, spec.segments, spec.value_strides, strict=True):

            def grow(
                key: ir.Value,
                largest: list[ir.Value],
                source: ir.Value = source,
                strides: tuple[int, ...] = strides,
            ) -> list[ir.Value]:
                place = v.address(builder, source, builder.mul(key, I64(strides[-1])), v.MEMORY[spec.value_type])
                for index, (start, valid) in enumerate(pieces):
                    row = v.load_vector(builder, self.machine, place, start, spec.value_type, self.lanes, valid)
                    size = mathematics.absolute(builder, row, self.machine)
                    largest[index] = self.larger(builder, size, largest[index])
                return largest

            largest = loop(builder, 0, keys, grow, largest, name="grow")
        scales, inverses = (self.part(builder, scratch, name) for name in ("value_scales", "inverse_scales"))
        for (start, valid), one in zip(pieces, largest, strict=True):
            v.store_plain(builder, builder.fmul(one, self.number(1 / 127)), scales, start, valid)
            v.store_plain(builder, builder.fdiv(self.number(127.0), one), inverses, start, valid)

    def pack_values(self, builder: ir.IRBuilder, values: Sequence[ir.Value], scratch: ir.Value) -> None:
        """Words of one column of `group` keys each, [S / group][W]; keys past the last are zero."""
        spec, group = self.spec, self.plan.group
        target = self.part(builder, scratch, "values")

        def pack_group(places: Sequence[ir.Value], to: ir.Value) -> None:
            for start, valid in self.pieces(spec.value_width):
                rows = [
                    v.load_vector(builder, self.machine, place, start, spec.value_type, self.lanes, valid)
                    for place in places
                ]
                rows += [self.number(0.0)] * (group - len(rows))
                if self.plan.precision == "i8":
                    inverses = self.part(builder, scratch, "inverse_scales")
                    inverse = v.load_plain(builder, inverses, start, F32, self.lanes, valid)
                    biased = self.number(MAGIC + v.BIAS)
                    word = four_bytes(builder, [self.fma(builder, row, inverse, biased) for row in rows])
                    word = builder.xor(word, unsigned_constant(0x80808080, self.lanes))
                elif self.plan.precision == "bf16":
                    word = two_bfloats(builder, rows[0], rows[1])
                else:
                    word = rows[0]
                v.store_plain(builder, word, to, start, valid)

        first = 0
        ragged: set[int] = set()  # groups of keys from more than one segment, or past the last
        for source, keys, strides in zip(values, spec.segments, spec.value_strides, strict=True):
            stride = strides[-1]
            begin, end = -(-first // group), (first + keys) // group

            def turn(
                number: ir.Value,
                none: list[ir.Value],
                source: ir.Value = source,
                stride: int = stride,
                first: int = first,
            ) -> list[ir.Value]:
                key = builder.sub(builder.mul(number, I64(group)), I64(first))
                place = v.address(builder, source, builder.mul(key, I64(stride)), v.MEMORY[spec.value_type])
                element = v.MEMORY[spec.value_type]
                places = [v.address(builder, place, index * stride, element) for index in range(group)]
                to = v.address(builder, target, builder.mul(number, I64(spec.value_width)), I32)
                pack_group(places, to)
                return []

            loop(builder, begin, end, turn, name="values")
            ragged |= {first // group, (first + keys - 1) // group} - set(range(begin, end))
            first += keys
        where = [(segment, key) for segment, keys in enumerate(spec.segments) for key in range(keys)]
        for number in sorted(ragged):
            places = []
            for segment, key in where[number * group : (number + 1) * group]:
                offset = key * spec.value_strides[segment][-1]
                places.append(v.address(builder, values[segment], offset, v.MEMORY[spec.value_type]))
            pack_group(places, v.address(builder, target, number * spec.value_width, I32))


def emit_attention(module: ir.Module, name: str, spec: Attention, machine: Machine) -> ir.Function:
    """A function `void name(i64 begin, i64 end, ptr q, ptr k.., ptr v.., [ptr bias,] ptr out, ptr scratch)`.

    [begin, end) is a range of `units`; any split gives the same bits. Every thread needs `scratch_bytes` of its own,
    whose content does not matter.
    """
    if plan(spec, machine).few:
        return emit_few(module, name, spec, machine)
    return Generator(module, name, spec, machine).emit()


__all__ = ["Attention", "emit_attention", "scratch_bytes", "units"]
