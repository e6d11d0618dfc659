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
from elsewhere.compiler.targets.cpu.kernels.attention_packing import Packing
from elsewhere.compiler.targets.cpu.kernels.attention_plan import Attention, plan, scratch_bytes, units
from elsewhere.compiler.targets.cpu.kernels.attention_words import MAGIC, four_bytes, transpose, two_bfloats
from elsewhere.compiler.targets.cpu.kernels.loops import loop
from elsewhere.compiler.targets.cpu.kernels.vectors import F32, I16, I32, I64, POINTER, VOID
from elsewhere.compiler.targets.cpu.machine import Machine
from elsewhere.compiler.targets.reference_attention import POWER_COEFFICIENTS

LOWEST = -1e30
"""The largest score before there was any. A query that sees no key keeps it, and gets zeros."""


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


class Generator(Packing):
    """Emits one attention."""

    def __init__(self, module: ir.Module, name: str, spec: Attention, machine: Machine) -> None:
        super().__init__(spec, machine)
        self.module, self.name = module, name
        self.single = sum(len(lengths) for lengths in self.plan.chunks) == 1
        self.chunk_functions: dict[Shape, ir.Function] = {}

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

        first = self.first_sums(builder, vectors, scratch)

        def one_tile(start: ir.Value, largest: list[ir.Value]) -> list[ir.Value]:
            start = builder.select(builder.icmp_signed("<", start, last), start, last)
            place = v.address(builder, k, builder.mul(start, I64(shape.key_stride)), I32)
            key = builder.add(start, position)
            sums = self.tile_sums(builder, shape, place, queries, first * tile)
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

    def first_sums(self, builder: ir.IRBuilder, vectors: int, scratch: ir.Value) -> list[ir.Value]:
        """What the scores of a key start at: zero, or what undoes the bias of int8 keys."""
        if self.plan.precision != "i8":
            return [self.number(0.0)] * vectors
        sums = self.part(builder, scratch, "query_sums")
        return [v.load_plain(builder, sums, which * self.lanes, I32, self.lanes) for which in range(vectors)]

    def tile_sums(
        self, builder: ir.IRBuilder, shape: Shape, place: ir.Value, queries: ir.Value, sums: list[ir.Value]
    ) -> list[ir.Value]:
        """sums + dot products of `key_tile` keys with a block of queries."""
        vectors = shape.vectors

        def step(word: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            q = [
                self.words.load(builder, queries, self.vector_at(builder, word, vectors, which), signed=True)
                for which in range(vectors)
            ]
            for index in range(shape.key_tile):
                offset = builder.add(word, I64(index * shape.key_stride))
                k = self.words.broadcast(builder, place, offset, signed=False)
                for which in range(vectors):
                    at = index * vectors + which
                    sums[at] = self.words.multiply(builder, sums[at], k, q[which])
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
        """MAGIC + round(255·2^exponent) for exponent <= 0, the power as in `attention_int8`."""
        if self.machine.level == "avx512":
            return self.byte_power_scaled(builder, exponent)
        bounded = self.larger(builder, exponent, self.number(-100.0))
        # Rounding x - 1/2 is the floor, or one less of whole x, where r is 1 and both sides round to one byte.
        # 127 more, so that the sum's low bits shifted up are the power of two itself.
        sum_ = builder.fadd(builder.fsub(bounded, self.number(0.5)), self.number(MAGIC + 127))
        r = builder.fsub(bounded, builder.fsub(sum_, self.number(MAGIC + 127)))
        coefficients = [255 * one for one in POWER_COEFFICIENTS]
        mantissa = mathematics.polynomial(builder, r, coefficients, self.machine)
        bits = builder.shl(builder.bitcast(sum_, self.integers), v.constant(I32, 23, self.lanes))
        return self.fma(builder, mantissa, builder.bitcast(bits, self.real), self.number(MAGIC))

    def byte_power_scaled(self, builder: ir.IRBuilder, exponent: ir.Value) -> ir.Value:
        """`byte_power` with AVX-512's instructions for x - floor(x) and for x·2^floor(y), which need no bounds."""
        always, current = ir.Constant(I16, -1), ir.Constant(I32, 4)  # all lanes; the rounding that is set
        arguments = [exponent, ir.Constant(I32, 1), self.number(0.0), always, current]
        r = v.intrinsic(builder, "llvm.x86.avx512.mask.reduce.ps.512", self.real, arguments)
        coefficients = [255 * one for one in POWER_COEFFICIENTS]
        mantissa = mathematics.polynomial(builder, r, coefficients, self.machine)
        arguments = [mantissa, exponent, self.number(0.0), always, current]
        power = v.intrinsic(builder, "llvm.x86.avx512.mask.scalef.ps.512", self.real, arguments)
        return builder.fadd(power, self.number(MAGIC))

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
                    self.words.load(builder, weights, self.vector_at(builder, group, vectors, which), signed=False)
                    for which in range(vectors)
                ]
                row = v.address(builder, place, builder.mul(group, I64(shape.value_stride)), I32)
                for column in range(columns):
                    b = self.words.broadcast(builder, row, column, signed=True)
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


def emit_attention(module: ir.Module, name: str, spec: Attention, machine: Machine) -> ir.Function:
    """A function `void name(i64 begin, i64 end, ptr q, ptr k.., ptr v.., [ptr bias,] ptr out, ptr scratch)`.

    [begin, end) is a range of `units`; any split gives the same bits. Every thread needs `scratch_bytes` of its own,
    whose content does not matter.
    """
    if plan(spec, machine).few:
        return emit_few(module, name, spec, machine)
    return Generator(module, name, spec, machine).emit()


__all__ = ["Attention", "emit_attention", "scratch_bytes", "units"]
