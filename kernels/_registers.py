"""The inner loop of topic models with all that a word needs held in vector registers.

Arrays of unknown length live in memory for the compiler: it reads a row of weights twice, and the
sums it adds to are read and written for each word, at half the speed. So this loop is written in
LLVM's vector types, a variant for each width up to 8 registers of 64 bytes; wider rows, and
machines with fewer registers, take the plain loop in `lda.py`.
"""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ._jit import kernel

FLAGS = ("reassoc", "contract", "arcp", "nsz", "afn")
I64 = ir.IntType(64)
# Bytes of a row that fit, with as many of e and of the sums, into 32 registers of 64 bytes.
# Pointers are not checked for bounds: where checks are asked for, the plain loop is taken.
MAX_BYTES = 512 if llvm.get_host_cpu_features().get("avx512f") and not config.BOUNDSCHECK else 0


@kernel
def fits(e):
    """Whether rows as wide as e fit into registers; widths are multiples of 8."""
    return e.size * e.itemsize <= MAX_BYTES


def register_sums(words, counts, weights, e, ratio, total):
    """What `lda._responsibility_sums` does, for widths that fit."""
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
        builder = self.builder
        e = [self.load(self.e.data, s) for s in self.segments]
        sums = [cgutils.alloca_once(builder, v.type) for v in e]
        for place, v in zip(sums, e):
            builder.store(ir.Constant(v.type, None), place)
        n_words = builder.extract_value(self.words.shape, 0)
        with cgutils.for_range(builder, n_words, intp=I64) as loop:
            j = loop.index
            word = builder.sext(builder.load(builder.gep(self.words.data, [j])), I64)
            start = builder.mul(word, ir.Constant(I64, self.width))
            pointer = builder.gep(self.weights.data, [start])
            row = [self.load(pointer, s) for s in self.segments]
            share = self.share(j, self.dot(e, row))
            for place, v in zip(sums, row):
                product = builder.fmul(self.splat(share, v.type), v, flags=FLAGS)
                builder.store(builder.fadd(builder.load(place), product, flags=FLAGS), place)
        for place, segment in zip(sums, self.segments):
            value = builder.load(place)
            builder.store(value, self.place(self.total.data, segment), align=self.item_bytes)

    def share(self, j, dot):
        """ratio_j = counts_j / (dot + 1e-30), stored."""
        builder = self.builder
        norm = builder.fadd(dot, ir.Constant(self.scalar, float(np.float32(1e-30))), flags=FLAGS)
        count = builder.load(builder.gep(self.counts.data, [j]))
        ratio = builder.fdiv(count, norm)
        builder.store(ratio, builder.gep(self.ratio.data, [j]))
        return ratio

    def dot(self, a, b):
        """Sum of products, in two chains to hide their latency, then across the lanes."""
        builder = self.builder
        products = [builder.fmul(x, y, flags=FLAGS) for x, y in zip(a, b)]
        half = products.pop() if products[-1].type != products[0].type else None
        chains = products[:2]
        for i, product in enumerate(products[2:]):
            chains[i % 2] = builder.fadd(chains[i % 2], product, flags=FLAGS)
        whole = chains[0] if len(chains) == 1 else builder.fadd(*chains, flags=FLAGS)
        if half is not None:
            n = half.type.count
            low, high = (self.lanes(whole, range(i, i + n)) for i in (0, n))
            whole = builder.fadd(builder.fadd(low, high, flags=FLAGS), half, flags=FLAGS)
        return self.sum_of(whole)

    def sum_of(self, vector):
        """Sum across lanes by halves, in an order of our own."""
        n = vector.type.count
        while n > 1:
            n //= 2
            low, high = (self.lanes(vector, range(i, i + n)) for i in (0, n))
            vector = self.builder.fadd(low, high, flags=FLAGS)
        return self.builder.extract_element(vector, ir.IntType(32)(0))

    def lanes(self, vector, which):
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(which)), list(which))
        return self.builder.shuffle_vector(vector, vector, mask)

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
