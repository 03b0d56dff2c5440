"""The inner loop of topic models, written with LLVM's vector types.

The compiler alone reads and writes the sums over words too often, adds up each word's lanes one by
one, and divides one number at a time, at half the speed.

With 32 registers of 64 bytes, rows of up to 8 of them stay in registers: e and the sums, in one
variant per width, four words at a time. Wider rows, and 16 registers of 32 bytes, take eight words
at a time, register by register of the width: in the first phase there are eight sums and one piece
of e, in the second eight shares and one piece of the sums over words, so that nine or ten registers
do for every width, and one piece in nine is read twice. Two groups of eight are in each phase, so
that the divisions of one hide behind the products of the other.
"""

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ._shipped import features
from ._vectors import FLAGS, I64, Vectors, number

# Pointers have no bounds checks: if checks are requested, the plain loop is used.
AVAILABLE = {"avx2", "fma"} <= features() and not config.BOUNDSCHECK
# Bytes of a row that fit, with as many of e and of the sums, into 32 registers of 64 bytes.
MAX_BYTES = 512 if AVAILABLE and "avx512f" in features() else 0
REGISTER = 64 if MAX_BYTES else 32


def register_sums(words, counts, weights, e, ratio, total):
    """What `responsibility_sums` does, for widths that are multiples of 8, where `AVAILABLE`."""
    rows = weights[words]
    ratio[:] = counts / (rows @ e + e.dtype.type(1e-30))
    total[:] = ratio @ rows


@overload(register_sums)
def _compile_register_sums(words, counts, weights, e, ratio, total):
    if any(array.layout != "C" for array in (words, counts, weights, e, ratio, total)):
        return None
    return lambda words, counts, weights, e, ratio, total: _sums(
        words, counts, weights, e, ratio, total
    )


@intrinsic
def _sums(typing, words, counts, weights, e, ratio, total):
    def generate(context, builder, signature, values):
        arrays = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, values)
        ]
        width = builder.extract_value(arrays[3].shape, 0)
        given = builder, context.get_value_type(e.dtype), e.dtype.bitwidth // 8, width, arrays
        done = builder.append_basic_block("done")
        wider = builder.append_basic_block("wider")
        switch = builder.switch(width, wider)
        for n in range(8, MAX_BYTES // given[2] + 1, 8):
            block = builder.append_basic_block(f"width{n}")
            switch.add_case(number(n), block)
            builder.position_at_end(block)
            _Resident(*given[:3], number(n), arrays).write()
            builder.branch(done)
        builder.position_at_end(wider)
        _Groups(*given).write()
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(words, counts, weights, e, ratio, total), generate


class _Loop(Vectors):
    """What both forms of the loop over words have in common."""

    def __init__(self, builder, scalar, item_bytes, width, arrays):
        super().__init__(builder, scalar, item_bytes)
        self.width = width
        self.words, self.counts, self.weights, self.e, self.ratio, self.total = arrays

    def n_words(self):
        return self.builder.extract_value(self.words.shape, 0)

    def pointer(self, j):
        """Where the row of weights of word j begins."""
        word = self.builder.sext(self.builder.load(self.builder.gep(self.words.data, [j])), I64)
        return self.builder.gep(self.weights.data, [self.builder.mul(word, self.width)])

    def pointers(self, j, n):
        return [self.pointer(self.builder.add(j, number(i))) for i in range(n)]

    def each(self, start, step):
        """Loop from start in steps, as long as whole ones are left; where it ended."""
        builder = self.builder
        left = builder.sub(self.n_words(), start)
        stop = builder.add(start, builder.mul(builder.sdiv(left, number(step)), number(step)))
        return cgutils.for_range_slice(builder, start, stop, number(step), intp=I64), stop

    def shares(self, j, dots):
        """ratio_j = counts_j / (dot + 1e-30), of one word or of several, stored."""
        kind = dots.type
        tiny, lanes = float(np.float32(1e-30)), getattr(kind, "count", None)
        norm = self.add(dots, ir.Constant(kind, [tiny] * lanes if lanes else tiny))
        ratio = self.builder.fdiv(self.load(self.counts.data, j, kind), norm)
        self.store(ratio, self.ratio.data, j)
        return ratio


class _Groups(_Loop):
    """Eight words at a time for any width, then four, then one."""

    def write(self):
        full = REGISTER // self.item_bytes
        self.lanes = (full, 8) if full > 8 else (full,)

        def clear(k, lanes):
            self.store(ir.Constant(self.vector(lanes), None), self.total.data, k)

        self.over_width(clear)
        start = number(0)
        for sizes in ((8, 8), (8,), (4,), (1,)):
            loop, start = self.each(start, sum(sizes))
            with loop as (j, _):
                groups = []
                for size in sizes:
                    groups.append((j, self.pointers(j, size)))
                    j = self.builder.add(j, number(size))
                for place, pointers in groups:
                    self.shares(place, self.dots(pointers))
                for place, pointers in groups:
                    self.accumulate(place, pointers)

    def over_width(self, body):
        """Call body(k, lanes) for each register of a row, the last of which may be half full."""
        builder = self.builder
        full = self.lanes[0]
        whole = builder.and_(self.width, number(-full))
        with cgutils.for_range_slice(builder, number(0), whole, number(full), I64) as (k, _):
            body(k, full)
        if len(self.lanes) > 1:
            with builder.if_then(builder.icmp_signed("<", whole, self.width)):
                body(whole, self.lanes[1])

    def dots(self, pointers):
        """E times each row."""
        builder = self.builder
        sums = {lanes: [self.zero(lanes) for _ in pointers] for lanes in self.lanes}

        def body(k, lanes):
            e = self.load(self.e.data, k, self.vector(lanes))
            for place, pointer in zip(sums[lanes], pointers):
                row = self.load(pointer, k, e.type)
                builder.store(self.multiply_add(e, row, builder.load(place)), place)

        self.over_width(body)
        found, *rest = ([builder.load(place) for place in places] for places in sums.values())
        for halves in rest:
            found = [self.add(self.folded(whole), half) for whole, half in zip(found, halves)]
        return self.across(found)

    def zero(self, lanes):
        """A place for a vector, which holds zeros."""
        place = cgutils.alloca_once(self.builder, self.vector(lanes))
        self.builder.store(ir.Constant(self.vector(lanes), None), place)
        return place

    def accumulate(self, j, pointers):
        """Add each share times its row to the sums."""
        shares = [
            self.load(self.ratio.data, self.builder.add(j, number(i)), self.scalar)
            for i in range(len(pointers))
        ]

        def body(k, lanes):
            total = self.load(self.total.data, k, self.vector(lanes))
            for share, pointer in zip(shares, pointers):
                row = self.load(pointer, k, total.type)
                total = self.multiply_add(self.splat(share, total.type), row, total)
            self.store(total, self.total.data, k)

        self.over_width(body)


class _Resident(_Loop):
    """One width, with all of e and of the sums in registers, four words at a time, then one.

    The rows are read again for the sums over words: four of them do not fit into registers as well.
    """

    def write(self):
        lanes, width = REGISTER // self.item_bytes, self.width.constant
        self.segments = [
            (number(k), self.vector(min(lanes, width - k))) for k in range(0, width, lanes)
        ]
        self.vectors = self.row(self.e.data)
        self.sums = [cgutils.alloca_once(self.builder, kind) for _, kind in self.segments]
        for place, (_, kind) in zip(self.sums, self.segments):
            self.builder.store(ir.Constant(kind, None), place)
        start = number(0)
        for n in (4, 1):
            loop, start = self.each(start, n)
            with loop as (j, _):
                pointers = self.pointers(j, n)
                self.accumulate(
                    self.shares(j, self.across([self.dot(p) for p in pointers])), pointers
                )
        for place, (k, _) in zip(self.sums, self.segments):
            self.store(self.builder.load(place), self.total.data, k)

    def row(self, pointer):
        return [self.load(pointer, k, kind) for k, kind in self.segments]

    def dot(self, pointer):
        """E times a row by lane, a vector of 8 or 16 lanes."""
        products = [
            self.builder.fmul(a, b, flags=FLAGS) for a, b in zip(self.vectors, self.row(pointer))
        ]
        half = products.pop() if products[-1].type != products[0].type else None
        whole = products[0]
        for product in products[1:]:
            whole = self.add(whole, product)
        return whole if half is None else self.add(self.folded(whole), half)

    def accumulate(self, shares, pointers):
        """Add each share times its row to the sums."""
        for i, pointer in enumerate(pointers):
            share = shares
            if len(pointers) > 1:
                share = self.builder.extract_element(shares, ir.IntType(32)(i))
            for place, v in zip(self.sums, self.row(pointer)):
                total = self.multiply_add(self.splat(share, v.type), v, self.builder.load(place))
                self.builder.store(total, place)
