"""BLAS's `sgemm` by its address, compiled or interpreted: products of blocks of float32 arrays.

NumPy's product would do for whole matrices, but takes a second to compile per use, and has no
blocks of wider matrices. Addresses are signed integers; matrices are in C order.
"""

import ctypes

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

C_SGEMM = ctypes.CFUNCTYPE(None, *(ctypes.c_void_p,) * 13)
I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
NORMAL, TRANSPOSED = ord("N"), ord("T")


def product(blas, n, m, k, a, a_width, a_turned, b, b_width, b_turned, add, c, c_width):
    """C (n, m) = A (n, k) B (k, m), or C += A B if `add`; `turned` matrices are stored transposed.

    `blas` is the address of BLAS's sgemm; a, b, c are addresses of first entries, and the widths
    are the distances of rows as stored.
    """
    letter = {False: ctypes.c_char(b"N"), True: ctypes.c_char(b"T")}
    sizes = [ctypes.c_int(max(int(size), 0)) for size in (m, n, k)]
    widths = [ctypes.c_int(max(int(width), 1)) for width in (b_width, a_width, c_width)]
    one, beta = ctypes.c_float(1.0), ctypes.c_float(1.0 if add else 0.0)
    numbers = [letter[bool(b_turned)], letter[bool(a_turned)], *sizes, one]
    pointers = [ctypes.addressof(number) for number in numbers]
    C_SGEMM(int(blas))(
        *pointers, int(b), ctypes.addressof(widths[0]), int(a), ctypes.addressof(widths[1]),
        ctypes.addressof(beta), int(c), ctypes.addressof(widths[2]),
    )  # fmt: skip


@intrinsic
def _product(typing, blas, n, m, k, a, a_width, a_turned, b, b_width, b_turned, add, c, c_width):
    def generate(context, builder, signature, values):
        blas, n, m, k, a, a_width, a_turned, b, b_width, b_turned, add, c, c_width = values

        def at(value):
            return builder.ptrtoint(cgutils.alloca_once_value(builder, value), I64)

        def whole(value):
            return at(builder.trunc(value, I32))

        def letter(turned):
            pair = ir.Constant(I8, TRANSPOSED), ir.Constant(I8, NORMAL)
            return at(builder.select(cgutils.as_bool_bit(builder, turned), *pair))

        single = ir.FloatType()
        beta = builder.select(
            cgutils.as_bool_bit(builder, add), ir.Constant(single, 1.0), ir.Constant(single, 0.0)
        )
        arguments = [  # Fortran's columns are our rows
            letter(b_turned), letter(a_turned), whole(m), whole(n), whole(k),
            at(ir.Constant(single, 1.0)), b, whole(b_width), a, whole(a_width), at(beta), c,
            whole(c_width),
        ]  # fmt: skip
        kind = ir.FunctionType(ir.VoidType(), [I64] * len(arguments))
        builder.call(builder.inttoptr(blas, kind.as_pointer()), arguments)
        return context.get_dummy_value()

    w, b1 = types.int64, types.boolean
    return types.void(w, w, w, w, w, w, b1, w, w, b1, b1, w, w), generate


@overload(product)
def _compile_product(blas, n, m, k, a, a_width, a_turned, b, b_width, b_turned, add, c, c_width):
    return lambda blas, n, m, k, a, a_width, a_turned, b, b_width, b_turned, add, c, c_width: (
        _product(
            blas, n, m, k, a, max(a_width, 1), a_turned, b, max(b_width, 1), b_turned, add, c,
            max(c_width, 1),
        )
    )  # fmt: skip
