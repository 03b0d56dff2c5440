"""The inner loop of topic models, with all values of a word in vector registers.

The compiler keeps arrays of unknown length in memory: it reads a row of weights twice, and reads
and writes the sums for each word, at half the speed. This loop is therefore written with LLVM's
vector types, in one variant per width up to 8 registers of 64 bytes, four words at a time. Wider
rows, and machines with fewer registers, use the plain loop in `responsibilities.py`.
"""

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ._jit import kernel
from ._shipped import features

FLAGS = ("reassoc", "contract", "arcp", "nsz", "afn")
I64 = ir.IntType(64)
# Bytes of a row that fit, with as many of e and of the sums, into 32 registers of 64 bytes.
# Pointers have no bounds checks: if checks are requested, the plain loop is used.
MAX_BYTES = 512 if "avx512f" in features() and not config.BOUNDSCHECK else 0


@kernel
def fits(e):
    """Whether rows as wide as e fit into registers; widths are multiples of 8."""
    return e.size * e.itemsize <= MAX_BYTES


def register_sums(words, counts, weights, e, ratio, total):
    """What `responsibility_sums` does, for widths that fit."""
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
        scalar = context.get_value_type(e.dtype)
        item_bytes = e.dtype.bitwidth // 8
        done = builder.append_basic_block("done")
        switch = builder.switch(width, done)
        for n in range(8, MAX_BYTES // item_bytes + 1, 8):
            block = builder.append_basic_block(f"width{n}")
            switch.add_case(ir.Constant(I64, n), block)
            builder.position_at_end(block)
            _Variant(builder, scalar, item_bytes, n, arrays).write()
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(words, counts, weights, e, ratio, total), generate


class _Variant:
    """The loop over words for one width, as LLVM instructions."""

    def __init__(self, builder, scalar, item_bytes, width, arrays):
        self.builder, self.scalar, self.item_bytes = builder, scalar, item_bytes
        self.words, self.counts, self.weights, self.e, self.ratio, self.total = arrays
        lanes = 64 // item_bytes
        self.segments = [(k, min(lanes, width - k)) for k in range(0, width, lanes)]
        self.width = width

    def write(self):
        """Four words at a time, then those that are left."""
        builder = self.builder
        e = [self.load(self.e.data, s) for s in self.segments]
        sums = [cgutils.alloca_once(builder, v.type) for v in e]
        for place, v in zip(sums, e):
            builder.store(ir.Constant(v.type, None), place)
        n_words = builder.extract_value(self.words.shape, 0)
        n_blocks = builder.lshr(n_words, ir.Constant(I64, 2))
        with cgutils.for_range(builder, n_blocks, intp=I64) as loop:
            j = builder.shl(loop.index, ir.Constant(I64, 2))
            self.four_words(j, e, sums)
        start = builder.shl(n_blocks, ir.Constant(I64, 2))
        with cgutils.for_range(builder, builder.sub(n_words, start), intp=I64) as loop:
            j = builder.add(start, loop.index)
            row = self.row(self.pointer(j))
            share = self.shares(j, self.sum_of(self.dot(e, row)), self.scalar)
            self.accumulate(sums, share, row)
        for place, segment in zip(sums, self.segments):
            value = builder.load(place)
            builder.store(value, self.place(self.total.data, segment), align=self.item_bytes)

    def four_words(self, j, e, sums):
        """Sums across lanes and divisions are done for four words at once. The rows are read again
        for the sums over words: four of them do not fit into registers.
        """
        builder = self.builder
        pointers = [self.pointer(builder.add(j, ir.Constant(I64, i))) for i in range(4)]
        dots = self.sums_of([self.dot(e, self.row(pointer)) for pointer in pointers])
        shares = self.shares(j, dots, dots.type)
        for i, pointer in enumerate(pointers):
            share = builder.extract_element(shares, ir.IntType(32)(i))
            self.accumulate(sums, share, self.row(pointer))

    def pointer(self, j):
        """Where the row of weights of word j begins."""
        word = self.builder.sext(self.builder.load(self.builder.gep(self.words.data, [j])), I64)
        start = self.builder.mul(word, ir.Constant(I64, self.width))
        return self.builder.gep(self.weights.data, [start])

    def row(self, pointer):
        return [self.load(pointer, s) for s in self.segments]

    def shares(self, j, dots, kind):
        """ratio_j = counts_j / (dot + 1e-30), of one word or of four, stored."""
        builder = self.builder

        def place(array):
            start = builder.gep(array.data, [j])
            return builder.bitcast(start, kind.as_pointer())

        lanes = getattr(kind, "count", None)
        tiny = float(np.float32(1e-30))
        tiny = ir.Constant(kind, [tiny] * lanes if lanes else tiny)
        norm = builder.fadd(dots, tiny, flags=FLAGS)
        counts = builder.load(place(self.counts), align=self.item_bytes, typ=kind)
        ratio = builder.fdiv(counts, norm)
        builder.store(ratio, place(self.ratio), align=self.item_bytes)
        return ratio

    def accumulate(self, sums, share, row):
        """Add share * row to the sums."""
        builder = self.builder
        for place, v in zip(sums, row):
            product = builder.fmul(self.splat(share, v.type), v, flags=FLAGS)
            builder.store(builder.fadd(builder.load(place), product, flags=FLAGS), place)

    def dot(self, a, b):
        """Sum of products by lane, a vector of 8 or 16 lanes."""
        builder = self.builder
        products = [builder.fmul(x, y, flags=FLAGS) for x, y in zip(a, b)]
        half = products.pop() if products[-1].type != products[0].type else None
        whole = products[0]
        for product in products[1:]:
            whole = builder.fadd(whole, product, flags=FLAGS)
        if half is not None:
            whole = builder.fadd(self.folded(whole), half, flags=FLAGS)
        return whole

    def folded(self, vector):
        """The lower half plus the upper."""
        n = vector.type.count // 2
        low, high = (self.lanes(vector, range(i, i + n)) for i in (0, n))
        return self.builder.fadd(low, high, flags=FLAGS)

    def sums_of(self, vectors):
        """The sums across lanes of four vectors, as a vector of four.

        Fold to eight lanes, then add pairs of them side by side: 8 + 8 -> 8 lanes, twice.
        """
        eight = [v if v.type.count == 8 else self.folded(v) for v in vectors]
        low, high = (0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)
        pairs = [self.interleaved(eight[i], eight[i + 1], low, high) for i in (0, 2)]
        low, high = (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)
        return self.folded(self.interleaved(*pairs, low, high))

    def interleaved(self, a, b, low, high):
        """Lanes `low` of both plus lanes `high` of both."""
        parts = (self.builder.shuffle_vector(a, b, self.mask(which)) for which in (low, high))
        return self.builder.fadd(*parts, flags=FLAGS)

    def sum_of(self, vector):
        """Sum across lanes by halves, in an order of our own."""
        while vector.type.count > 1:
            vector = self.folded(vector)
        return self.builder.extract_element(vector, ir.IntType(32)(0))

    def lanes(self, vector, which):
        return self.builder.shuffle_vector(vector, vector, self.mask(which))

    def mask(self, which):
        return ir.Constant(ir.VectorType(ir.IntType(32), len(which)), list(which))

    def splat(self, value, kind):
        blank = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(blank, value, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
        return self.builder.shuffle_vector(one, blank, mask)

    def place(self, pointer, segment):
        start, lanes = segment
        place = self.builder.gep(pointer, [ir.Constant(I64, start)])
        return self.builder.bitcast(place, ir.VectorType(self.scalar, lanes).as_pointer())

    def load(self, pointer, segment):
        kind = ir.VectorType(self.scalar, segment[1])
        return self.builder.load(self.place(pointer, segment), align=self.item_bytes, typ=kind)
