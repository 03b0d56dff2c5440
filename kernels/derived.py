"""Support for derived gradients: a stack, and functions that Numba lacks.

`fastvi.derivatives` writes code that uses these. They are compiled into it, so they are not cached
separately.
"""

import math

import numba
import numpy as np

from . import special

__all__ = [
    "digamma",
    "edge",
    "erfinv",
    "grown",
    "logaddexp",
    "maximum",
    "minimum",
    "popped",
    "pushed",
    "share",
    "sign",
    "trigamma",
]


def inlined(function):
    """Compile a function of numbers into the code that calls it."""
    return numba.njit(function, error_model="numpy", inline="always")


def helper(function):
    """Compile a function of arrays."""
    return numba.njit(function, nogil=True, error_model="numpy")


@helper
def grown(stack, need):
    """A stack of at least `need` numbers that begins with those of `stack`."""
    new = np.empty(max(need, 2 * stack.size))
    for i in range(stack.size):
        new[i] = stack[i]
    return new


@helper
def pushed(stack, top, array):
    """Copy an array onto the stack; its new top."""
    for x in array.flat:
        stack[top] = x
        top += 1
    return top


@helper
def popped(stack, top, array):
    """Copy an array back from the stack; its new top."""
    top -= array.size
    flat = array.reshape(array.size)
    for i in range(flat.size):
        flat[i] = stack[top + i]
    return top


@inlined
def edge(i, n):
    """The end i of a slice of an axis of length n, as a number from 0 to n."""
    return min(max(i if i >= 0 else i + n, 0), n)


@inlined
def sign(x):
    """As np.sign: -1, 0 or 1."""
    return 1.0 if x > 0 else (-1.0 if x < 0 else 0.0 * x)


@inlined
def maximum(x, y):
    """As np.maximum: NaN if either is."""
    return x if x >= y or x != x else y


@inlined
def minimum(x, y):
    """As np.minimum: NaN if either is."""
    return x if x <= y or x != x else y


@inlined
def logaddexp(x, y):
    """log(exp(x) + exp(y)), exact at infinities."""
    high, low = (x, y) if x >= y else (y, x)
    return high if high == low == -math.inf or high == math.inf else (
        high + math.log1p(math.exp(low - high))
    )  # fmt: skip


@inlined
def share(x, total):
    """exp(x - total), 0 where x is minus infinity."""
    return 0.0 if x == -math.inf else math.exp(x - total)


@helper
def digamma(x):
    """The derivative of lgamma, for all numbers but 0, -1, ..."""
    if x > 0.0:
        return special.digamma(np.float64(x))
    return special.digamma(np.float64(1.0 - x)) - math.pi / math.tan(math.pi * x)


@helper
def trigamma(x):
    """The derivative of `digamma`."""
    if x > 0.0:
        return special.trigamma(np.float64(x))
    return (math.pi / math.sin(math.pi * x)) ** 2 - special.trigamma(np.float64(1.0 - x))


@helper
def erfinv(y):
    """The inverse of erf: Winitzki's start, then three Newton steps on the smaller tail."""
    if not -1.0 < y < 1.0:
        return math.inf if y == 1.0 else (-math.inf if y == -1.0 else math.nan)
    size = abs(y)
    spread = math.log((1.0 - size) * (1.0 + size))
    half = 4.3307467508 + 0.5 * spread  # 2 / (pi a), a = 0.147
    x = math.sqrt(max(0.0, math.sqrt(half * half - spread / 0.147) - half))
    for _ in range(3):
        error = math.erfc(x) - (1.0 - size) if size > 0.5 else size - math.erf(x)
        x += error * 0.886226925452758 * math.exp(x * x)
    return math.copysign(x, y)
