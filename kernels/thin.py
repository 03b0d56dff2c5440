"""Products of matrices with few columns, as X times the coefficients of ten draws or classes.

Without AVX-512, BLAS spends as much time on copies of the factors as on such a product. Then a tile
of rows and up to three registers of columns is summed without copies. If rows or columns do not
fill a tile, it has some of them twice, and writes the same sums twice. Each number is one sum in
order, in whichever tile it is.
"""

import numpy as np
from numba import config, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload

from ._jit import kernel
from ._shipped import features
from ._vectors import I64, Vectors, number

# Addresses have no bounds: if checks are requested, BLAS is used.
AVAILABLE = (
    {"avx2", "fma"} <= features()
    and "avx512f" not in features()
    and not config.BOUNDSCHECK
    and not config.DISABLE_JIT
)
REGISTER = 32  # bytes
ROWS = 4  # of a tile: with three registers of columns, sums fill twelve of sixteen registers
TERMS = 64  # of a sum at a time, and fewer if
BYTES = 1 << 14  # would not hold b's part of them, which stays in the first-level cache


@kernel
def times(a, b, out):
    """Out (m, K) = a (m, n) @ b (n, K) of one dtype; b and out are in C order."""
    _check(a, b, out)
    if AVAILABLE:
        for i in range(out.shape[0]):
            row = out[i]
            for k in range(row.size):
                row[k] = 0
        _add_tiles(
            out.dtype.type(0), a.ctypes.data, a.strides[0], a.strides[1], b.ctypes.data,
            out.ctypes.data, out.shape[0], b.shape[0], out.shape[1],
        )  # fmt: skip
    else:
        np.dot(a, b, out)


@kernel
def add_product(a, b, out):
    """Out (m, K) += a (m, n) @ b (n, K) of one dtype; b and out are in C order."""
    _check(a, b, out)
    if AVAILABLE:
        _add_tiles(
            out.dtype.type(0), a.ctypes.data, a.strides[0], a.strides[1], b.ctypes.data,
            out.ctypes.data, out.shape[0], b.shape[0], out.shape[1],
        )  # fmt: skip
    else:
        product = np.dot(a, b)
        for i in range(out.shape[0]):
            row, more = out[i], product[i]
            for k in range(row.size):
                row[k] += more[k]


@kernel
def _check(a, b, out):
    """Refuse what tiles would read wrongly, on every processor."""
    _check_types(a, b, out)
    shape = a.shape[0], b.shape[1]
    if a.shape[1] != b.shape[0] or out.shape != shape:
        raise ValueError("shapes do not fit; wanted a (m, n), b (n, K) and out (m, K)")


def _check_types(a, b, out):
    """Refuse other dtypes and orders while code is compiled."""


@overload(_check_types)
def _typed(a, b, out):
    one_kind = all(x.ndim == 2 and x.dtype == out.dtype for x in (a, b, out))
    if (
        not one_kind
        or out.dtype not in (types.float32, types.float64)
        or {b.layout, out.layout} != {"C"}
    ):
        raise TypingError(
            f"a, b and out are {a}, {b} and {out}; wanted matrices of one dtype, float32 or "
            "float64, of which b and out are in C order: use np.ascontiguousarray"
        )
    return lambda a, b, out: None


def product(a, b):
    """A (m, n) @ b (n, K), which have one dtype, without a kernel for each order of a."""
    if not AVAILABLE or a.dtype != b.dtype:
        return a @ b
    b = np.ascontiguousarray(b)
    out = np.zeros((a.shape[0], b.shape[1]), b.dtype)
    _add(b.dtype.type(0), a.ctypes.data, *a.strides, b.ctypes.data, out.ctypes.data,
         *a.shape, b.shape[1])  # fmt: skip
    return out


@kernel
def _add(zero, a, row_step, step, b, out, m, n, width):
    """As `_add_tiles`."""
    _add_tiles(zero, a, row_step, step, b, out, m, n, width)


@intrinsic
def _add_tiles(typing, zero, a, row_step, step, b, out, m, n, width):
    """As `add_product`, of addresses; steps to the next row and column of a in bytes."""

    def generate(context, builder, signature, values):
        values = [
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(values[1:], signature.args[1:])
        ]
        _Product(builder, context.get_value_type(zero), zero.bitwidth // 8, *values).write()
        return context.get_dummy_value()

    return types.void(zero, a, row_step, step, b, out, m, n, width), generate


class _Product(Vectors):
    """Loops over terms, groups of columns, and tiles of rows."""

    def __init__(self, builder, scalar, item_bytes, a, row_step, step, b, out, m, n, width):
        super().__init__(builder, scalar, item_bytes)
        self.a, self.row_step, self.step = a, row_step, step
        self.b, self.out = (builder.inttoptr(x, scalar.as_pointer()) for x in (b, out))
        self.m, self.n, self.width = m, n, width
        lanes = REGISTER // item_bytes
        halves = [(n, 2) for n in (2, 4) if n < lanes]
        self.forms = [(1, 1), *halves, (lanes, 2), (lanes, 3)]  # lanes and registers of a tile

    def multiply_add(self, a, b, c):
        """A b + c, in one instruction."""
        product = self.builder.fmul(a, b, flags=("contract",))
        return self.builder.fadd(product, c, flags=("contract",))

    def smaller(self, x, y):
        return self.builder.select(self.builder.icmp_signed("<", x, y), x, y)

    def write(self):
        builder = self.builder
        row_bytes = builder.mul(self.width, number(self.item_bytes))
        room = builder.sdiv(number(BYTES), builder.add(row_bytes, number(1)))
        terms = builder.add(self.smaller(room, number(TERMS - 8)), number(8))
        with cgutils.for_range_slice(builder, number(0), self.n, terms, I64) as (first, _):
            self.first, self.last = first, self.smaller(builder.add(first, terms), self.n)
            place = cgutils.alloca_once(builder, I64)
            builder.store(number(0), place)
            head, body, end = (builder.append_basic_block(x) for x in ("head", "body", "end"))
            builder.branch(head)
            builder.position_at_end(head)
            self.start = builder.load(place)
            builder.cbranch(builder.icmp_signed("<", self.start, self.width), body, end)
            builder.position_at_end(body)
            builder.store(builder.add(self.start, self.columns()), place)
            builder.branch(head)
            builder.position_at_end(end)

    def columns(self):
        """Write the loops of each form, of which the narrowest that fits runs; its columns."""
        builder = self.builder
        left = builder.sub(self.width, self.start)
        done = builder.append_basic_block("done")
        taken = cgutils.alloca_once(builder, I64)
        for lanes, registers in self.forms:
            columns = self.smaller(left, number(lanes * registers))
            builder.store(columns, taken)
            fits, wider = (builder.append_basic_block(name) for name in ("fits", "wider"))
            builder.cbranch(builder.icmp_signed("==", left, columns), fits, wider)
            builder.position_at_end(fits)
            self.rows(lanes, registers, columns)
            builder.branch(done)
            builder.position_at_end(wider)
        builder.branch(fits)
        builder.position_at_end(done)
        return builder.load(taken)

    def rows(self, lanes, registers, columns):
        """Each tile of rows; the last one may have its last row several times."""
        builder, kind = self.builder, self.vector(lanes)
        places = [number(c * lanes) for c in range(registers - 1)]
        places.append(builder.sub(columns, number(lanes)))
        places = [builder.add(self.start, place) for place in places]
        end = builder.sub(self.m, number(1))
        with cgutils.for_range_slice(builder, number(0), self.m, number(ROWS), I64) as (i, _):
            rows = [self.smaller(builder.add(i, number(r)), end) for r in range(ROWS)]
            self.tile(kind, rows, places)

    def tile(self, kind, rows, places):
        """Load the sums of some rows at places of their columns, add terms, and store them."""
        builder = self.builder
        starts = [builder.add(self.a, builder.mul(row, self.row_step)) for row in rows]
        sums = []
        for row in rows:
            for place in places:
                at = builder.add(builder.mul(row, self.width), place)
                sums.append((cgutils.alloca_once(builder, kind), at))
                builder.store(self.load(self.out, at, kind), sums[-1][0])
        terms = cgutils.for_range_slice(builder, self.first, self.last, number(1), I64)
        with terms as (term, _):
            begin, along = (builder.mul(term, x) for x in (self.width, self.step))
            factors = [self.load(self.b, builder.add(begin, place), kind) for place in places]
            cells = iter(sums)
            for start in starts:
                pointer = builder.inttoptr(builder.add(start, along), self.scalar.as_pointer())
                x = self.splat(builder.load(pointer, align=self.item_bytes), kind)
                for factor, (cell, _) in zip(factors, cells):
                    builder.store(self.multiply_add(x, factor, builder.load(cell)), cell)
        for cell, at in sums:
            self.store(builder.load(cell), self.out, at)
