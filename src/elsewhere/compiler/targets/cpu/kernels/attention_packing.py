"""Queries, keys and values, converted and reordered as attention's tiles read them.

Queries lie as words [words][vectors][lanes], keys as [S][words], values as [S / group][W]; see `attention_plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import llvmlite.ir as ir

from elsewhere.compiler.targets.cpu.kernels import mathematics
from elsewhere.compiler.targets.cpu.kernels import vectors as v
from elsewhere.compiler.targets.cpu.kernels.attention_words import (
    MAGIC,
    Emitter,
    four_bytes,
    merge,
    transpose,
    two_bfloats,
    unsigned_constant,
)
from elsewhere.compiler.targets.cpu.kernels.loops import loop
from elsewhere.compiler.targets.cpu.kernels.vectors import F32, I32, I64

BATCH = 64
"""Keys that are measured, then quantised: few enough to stay in the first-level cache, and enough to hide latency."""

AHEAD = 16
"""How many rows of values ahead are asked for."""


class Packing(Emitter):
    """Emits the reordering, once per block for queries and once per batch entry for keys and values."""

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

        def narrow(word: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            for which in range(vectors):
                numbers = [
                    self.load(
                        builder,
                        middle,
                        self.vector_at(builder, builder.add(word, I64(index * plan_.words)), vectors, which),
                    )
                    for index in range(plan_.group)
                ]
                if plan_.precision == "bf16":
                    packed = two_bfloats(builder, *numbers)
                else:
                    biased = self.number(MAGIC + v.BIAS)
                    packed = four_bytes(builder, [self.fma(builder, one, inverse[which], biased) for one in numbers])
                    packed = builder.xor(packed, unsigned_constant(0x80808080, self.lanes))
                    a = self.words.prepare(builder, unsigned_constant(0x80808080, self.lanes), signed=False)
                    b = self.words.prepare(builder, packed, signed=True)
                    sums[which] = self.words.multiply(builder, sums[which], a, b)
                v.store_plain(builder, packed, target, self.vector_at(builder, word, vectors, which))
            return sums

        zero = v.constant(I32, 0, self.lanes)
        sums = loop(builder, 0, plan_.words, narrow, [zero] * len(inverse), name="narrow")
        for which, sum_ in enumerate(sums):
            # Keys are biased by 128, which adds 128 times the sum of a query to its scores; they start at minus that.
            v.store_plain(
                builder, builder.sub(zero, sum_), self.part(builder, scratch, "query_sums"), which * self.lanes
            )

    def pack_keys(
        self, builder: ir.IRBuilder, k: ir.Value, segment: int, first: int, keys: int, scratch: ir.Value
    ) -> None:
        """Rows of words; for 'i8' of biased bytes, with a scale per key."""
        if self.plan.precision == "i8":
            self.quantise_keys(builder, k, segment, first, keys, scratch)
            return
        stride = self.spec.key_strides[segment][-1]
        target = self.part(builder, scratch, "keys")

        def one(key: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            place = v.address(builder, k, builder.mul(key, I64(stride)), v.MEMORY[self.spec.key_type])
            row = builder.add(key, I64(first))
            to = v.address(builder, target, builder.mul(row, I64(self.plan.words)), self.words.word)
            for start, valid in self.pieces(self.plan.words):
                numbers = self.load_key(builder, place, start)
                word = numbers[0] if self.plan.precision == "f32" else two_bfloats(builder, *numbers)
                v.store_plain(builder, word, to, start, valid)
            return []

        loop(builder, 0, keys, one, name="key")

    def load_key(self, builder: ir.IRBuilder, place: ir.Value, start: int) -> list[ir.Value]:
        """f32 numbers of the words from `start` on of the key at `place`: `group` vectors, zero past the width.

        Word w has the numbers w, w + words, w + 2·words, ... of a row, so that words come from whole vectors.
        """
        numbers = []
        for index in range(self.plan.group):
            e = index * self.plan.words + start
            valid = min(self.lanes, self.plan.words - start, self.spec.width - e)
            if valid < 1:
                numbers.append(self.number(0.0))
                continue
            numbers.append(v.load_vector(builder, self.machine, place, e, self.spec.key_type, self.lanes, valid))
        return numbers

    def quantise_keys(
        self, builder: ir.IRBuilder, k: ir.Value, segment: int, first: int, keys: int, scratch: ir.Value
    ) -> None:
        """Words of biased bytes, with a scale per key, for `BATCH` keys at a time.

        The last ones overlap with those before, which gives the same words again.
        """
        stride, kind = self.spec.key_strides[segment][-1], self.spec.key_type
        target, scales = self.part(builder, scratch, "keys"), self.part(builder, scratch, "key_scales")
        inverses = self.part(builder, scratch, "inverses")
        together = min(BATCH, keys)
        some = min(self.lanes, together)

        def batch(key: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
            key = self.at_most(builder, key, keys - together)
            source = v.address(builder, k, builder.mul(key, I64(stride)), v.MEMORY[kind])
            row_index = builder.add(key, I64(first))

            def measure(index: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
                index = self.at_most(builder, index, together - some)
                largest = self.key_sizes(builder, source, index, some, stride)
                place = builder.add(row_index, index)
                v.store_plain(builder, builder.fmul(largest, self.number(1 / 127)), scales, place, some)
                v.store_plain(builder, builder.fdiv(self.number(127.0), largest), inverses, index, some)
                return []

            loop(builder, 0, together, measure, step=some, name="measure")
            to = v.address(builder, target, builder.mul(row_index, I64(self.plan.words)), I32)

            def quantise(index: ir.Value, none: list[ir.Value]) -> list[ir.Value]:
                place = v.address(builder, source, builder.mul(index, I64(stride)), v.MEMORY[kind])
                self.prefetch(builder, place, together * stride, self.spec.width, kind)
                inverse = v.load_splat(builder, self.machine, inverses, index, "f32", self.lanes)
                row = v.address(builder, to, builder.mul(index, I64(self.plan.words)), I32)
                biased = self.number(MAGIC + v.BIAS)
                for start, valid in self.pieces(self.plan.words):
                    numbers = self.load_key(builder, place, start)
                    word = four_bytes(builder, [self.fma(builder, number, inverse, biased) for number in numbers])
                    v.store_plain(builder, word, row, start, valid)
                return []

            loop(builder, 0, together, quantise, name="quantise")
            return []

        loop(builder, 0, keys, batch, step=together, name="keys")

    def at_most(self, builder: ir.IRBuilder, index: ir.Value, last: int) -> ir.Value:
        return builder.select(builder.icmp_signed("<", index, I64(last)), index, I64(last))

    def prefetch(self, builder: ir.IRBuilder, place: ir.Value, ahead: int, width: int, kind: str) -> None:
        """Asks for a row `ahead` numbers further on: rows of one head lie apart, and processors do not foresee it."""
        line = 64 // v.BYTES[kind]
        for start in range(0, width, line):
            to = v.address(builder, place, ahead + start, v.MEMORY[kind], inbounds=False)
            arguments = [to, ir.Constant(I32, 0), ir.Constant(I32, 3), ir.Constant(I32, 1)]
            v.intrinsic(builder, "llvm.prefetch.p0", v.VOID, arguments)

    def key_sizes(self, builder: ir.IRBuilder, source: ir.Value, index: ir.Value, count: int, stride: int) -> ir.Value:
        """In lane i the largest magnitude in key index + i, for `count` keys."""
        kind = self.spec.key_type
        sizes = []
        for number in range(count):
            offset = builder.mul(builder.add(index, I64(number)), I64(stride))
            place = v.address(builder, source, offset, v.MEMORY[kind])
            row = [one for start, _ in self.pieces(self.plan.words) for one in self.load_key(builder, place, start)]
            size = mathematics.absolute(builder, row[0], self.machine)
            for one in row[1:]:
                size = self.larger(builder, mathematics.absolute(builder, one, self.machine), size)
            sizes.append(size)
        sizes += sizes[:1] * (self.lanes - count)
        largest = merge(builder, sizes, lambda x, y: self.larger(builder, x, y))
        return self.larger(builder, largest, self.number(1e-30))

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
                self.prefetch(builder, place, AHEAD * strides[-1], spec.value_width, spec.value_type)
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
