"""BLAS in place and without the GIL, on arrays in C order, without checks.

SciPy's wrappers hold the GIL, and NumPy's products write to a new array and mirror triangles. This
module calls the same routines through the addresses that `scipy.linalg.cython_blas` publishes.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import numpy as np

from fastvi.base.typing import Array

__all__ = [
    "add_crossed", "add_square", "aligned", "multiply_rows", "sgemm", "solve_rows",
]  # fmt: skip

KINDS: dict[type, Any] = {bytes: ctypes.c_char, int: ctypes.c_int, float: ctypes.c_double}


LINE = 64  # bytes


def aligned(shape: tuple[int, ...]) -> Array:
    """Allocate an array aligned to cache lines, so that vector loads do not cross them."""
    size = math.prod(shape)
    block = np.empty(size + LINE // 8)
    first = -block.ctypes.data % LINE // 8
    return block[first : first + size].reshape(shape)


def _address(name: str) -> int:
    from numba.extending import get_cython_function_address

    return int(get_cython_function_address("scipy.linalg.cython_blas", name))


@functools.cache
def sgemm() -> int:
    """Return the address of the product of float32 matrices, for kernels."""
    return _address("sgemm")


@functools.cache
def _routine(name: str, n_arguments: int) -> Any:
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)(_address(name))


@functools.lru_cache(1024, typed=True)
def _number(value: Any) -> Any:
    """Return a number and its address, by which Fortran takes it (and only reads it)."""
    number: Any = KINDS[type(value)](value)
    return number, ctypes.addressof(number)


def _call(name: str, *arguments: Any) -> None:
    addresses = [
        argument.ctypes.data if isinstance(argument, np.ndarray) else _number(argument)[1]
        for argument in arguments
    ]
    _routine(name, len(arguments))(*addresses)


def add_square(rows: Array, total: Array) -> None:
    """Add rows' rows to the lower triangle of total (M, M), rows (n, M)."""
    n, m = rows.shape
    _call("dsyrk", b"U", b"N", m, n, 1.0, rows, max(m, 1), 1.0, total, max(m, 1))


def add_crossed(a: Array, b: Array, total: Array) -> None:
    """Add a' b to total (K, M), a (n, K), b (n, M)."""
    n, k = a.shape
    m = b.shape[1]
    width = max(m, 1)
    _call("dgemm", b"N", b"T", m, k, n, 1.0, b, width, a, max(k, 1), 1.0, total, width)


def solve_rows(lower: Array, rows: Array, *, transposed: bool = False) -> Array:
    """Multiply each row (n, M) by L^-1 or L^-T in place; L (M, M) is lower triangular."""
    n, m = rows.shape
    side = b"N" if transposed else b"T"
    width = max(m, 1)
    _call("dtrsm", b"L", b"U", side, b"N", m, n, 1.0, lower, width, rows, width)
    return rows


def multiply_rows(lower: Array, rows: Array, *, transposed: bool = False) -> Array:
    """Multiply each row (n, M) by L or L' from the right in place; L (M, M) is lower triangular."""
    n, m = rows.shape
    side = b"T" if transposed else b"N"
    width = max(m, 1)
    _call("dtrmm", b"L", b"U", side, b"N", m, n, 1.0, lower, width, rows, width)
    return rows
