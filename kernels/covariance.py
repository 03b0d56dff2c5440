"""Covariance functions: K(X, Z), a few rows at a time, and its diagonal.

A covariance function is a tree of sums and products whose leaves are constants, the linear
function, or profiles of the squared distance between scaled inputs. `Program` lists its nodes,
operands before their operators. Shapes: n rows x of D columns, M columns z, padded to W, a multiple
of `WIDTH`, L nodes; the node values of a block of rows fit in a core's first cache. Equations:
Rasmussen and Williams (2006), chapter 4.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .special import ORDERED, _polynomial, exp, exp2, log

SUM, PRODUCT, CONSTANT, LINEAR = 0, 1, 2, 3
RBF, MATERN12, MATERN32, MATERN52, RATIONAL, PERIODIC = 4, 5, 6, 7, 8, 9

# sin(u) / u in powers of u**2, to 2e-16 for |u| <= pi / 2
SINE = tuple((-1.0) ** k / float(np.prod(np.arange(1.0, 2 * k + 2))) for k in range(11))
PI, ROOT3, ROOT5 = float(np.pi), float(np.sqrt(3.0)), float(np.sqrt(5.0))
TILE = 2048  # entries of z that several rows use in turn
WIDTH = 8  # loops over distances have no remainder
BINARY = float(np.sqrt(0.5 / np.log(2.0)))  # exp(-r**2 / 2) = 2**-(BINARY r)**2
NEAR = 1e-24  # squared distances below it count as 0 where a slope has a pole


class Program(NamedTuple):
    """The nodes of a covariance function, the last of which is its value."""

    kinds: object  # (L,) int64
    left: object  # (L,) int64, operands of sums and products
    right: object
    slots: object  # (L,) int64, number of a node among those that read inputs, or -1
    amplitudes: object  # (L,) factor of a leaf, the value of a constant
    shapes: object  # (L,) sigma_0**2 of `LINEAR`, alpha of `RATIONAL`, width of `PERIODIC`
    scales: object  # (L, D) factors of inputs


@kernel(fastmath=ORDERED, inline="always")
def _half_turn(r):
    """(sin, cos) of pi r, up to a common sign."""
    y = PI * (r - np.floor(r + 0.5))
    half = 0.5 * y
    sine = half * _polynomial(half * half, SINE)
    return y * _polynomial(y * y, SINE), 1.0 - 2.0 * sine * sine


@kernel(inline="always")
def _add_squares(x, scales, zt, d, first, last, out):
    """Out (+)= |x * scales - z|^2 of the columns d to d + 8 of inputs; the first ones set."""
    z0, z1 = zt[d, first:last], zt[d + 1, first:last]
    z2, z3 = zt[d + 2, first:last], zt[d + 3, first:last]
    z4, z5 = zt[d + 4, first:last], zt[d + 5, first:last]
    z6, z7 = zt[d + 6, first:last], zt[d + 7, first:last]
    x0, x1 = x[d] * scales[d], x[d + 1] * scales[d + 1]
    x2, x3 = x[d + 2] * scales[d + 2], x[d + 3] * scales[d + 3]
    x4, x5 = x[d + 4] * scales[d + 4], x[d + 5] * scales[d + 5]
    x6, x7 = x[d + 6] * scales[d + 6], x[d + 7] * scales[d + 7]
    zero = out.dtype.type(0)
    for j in range(out.size):
        a = out[j] if d > 0 else zero
        t0, t1, t2, t3 = x0 - z0[j], x1 - z1[j], x2 - z2[j], x3 - z3[j]
        t4, t5, t6, t7 = x4 - z4[j], x5 - z5[j], x6 - z6[j], x7 - z7[j]
        a = t3 * t3 + (t2 * t2 + (t1 * t1 + (t0 * t0 + a)))
        out[j] = t7 * t7 + (t6 * t6 + (t5 * t5 + (t4 * t4 + a)))


@kernel
def _square_distances(x, scales, zt, first, last, out):
    """Out (last - first,) = |x * scales - z|^2, up to eight columns of inputs at a time."""
    n_columns, n = zt.shape[0], last - first
    zero = out.dtype.type(0)
    d = 0
    if n_columns >= 8:
        _add_squares(x, scales, zt, 0, first, last, out)
        d = 8
    while d + 8 <= n_columns:
        _add_squares(x, scales, zt, d, first, last, out)
        d += 8
    if d + 4 <= n_columns:
        z0, z1 = zt[d, first:last], zt[d + 1, first:last]
        z2, z3 = zt[d + 2, first:last], zt[d + 3, first:last]
        x0, x1 = x[d] * scales[d], x[d + 1] * scales[d + 1]
        x2, x3 = x[d + 2] * scales[d + 2], x[d + 3] * scales[d + 3]
        for j in range(n):
            a = out[j] if d > 0 else zero
            t0, t1, t2, t3 = x0 - z0[j], x1 - z1[j], x2 - z2[j], x3 - z3[j]
            out[j] = t3 * t3 + (t2 * t2 + (t1 * t1 + (t0 * t0 + a)))
        d += 4
    if n_columns == 0:
        for j in range(n):
            out[j] = zero
    while d < n_columns:
        z0, x0 = zt[d, first:last], x[d] * scales[d]
        for j in range(n):
            a = out[j] if d > 0 else zero
            t0 = x0 - z0[j]
            out[j] = t0 * t0 + a
        d += 1


@kernel
def _distances(x, scales, zt, m, square):
    """Out square (r M + W - M,): squared distances of rows x (r, D), one after the other.

    A row runs on into the beginning of the next, which comes after it. Tiles of columns stay in
    the first cache.
    """
    width = zt.shape[1]
    tile = max(64, TILE // max(zt.shape[0], 1) // WIDTH * WIDTH)
    first = max(width - 1, 0) // tile * tile  # the last tile is first: it runs on
    while first >= 0:
        last = min(first + tile, width)
        for i in range(x.shape[0]):
            row = square[i * m + first : i * m + last]
            _square_distances(x[i], scales, zt, first, last, row)
        first -= tile


@kernel
def _linear(x, scales, zt, amplitude, shape, out):
    """Out (M,) = amplitude (sigma_0^2 + x z)."""
    for j in range(out.size):
        out[j] = amplitude * shape
    for d in range(zt.shape[0]):
        z, factor = zt[d], amplitude * (x[d] * scales[d])
        for j in range(out.size):
            out[j] += factor * z[j]


@kernel
def _profile(kind, amplitude, shape, square, out):
    """Out (n,) = amplitude times the profile at squared distances (n,)."""
    number = out.dtype.type
    one, half = number(1), number(0.5)
    if kind == RBF:
        for j in range(out.size):
            out[j] = amplitude * exp(-half * square[j])
    elif kind == MATERN12:
        for j in range(out.size):
            out[j] = amplitude * exp(-np.sqrt(square[j]))
    elif kind == MATERN32:
        root = number(ROOT3)
        for j in range(out.size):
            r = root * np.sqrt(square[j])
            out[j] = amplitude * (one + r) * exp(-r)
    elif kind == MATERN52:
        root, third = number(ROOT5), number(1 / 3)
        for j in range(out.size):
            r = root * np.sqrt(square[j])
            out[j] = amplitude * (one + r + third * (r * r)) * exp(-r)
    elif kind == RATIONAL:
        factor = half / shape
        for j in range(out.size):
            out[j] = amplitude * exp(-shape * log(one + factor * square[j]))
    else:
        factor = -2.0 / (np.float64(shape) * np.float64(shape))
        for j in range(out.size):
            sine, _ = _half_turn(np.sqrt(np.float64(square[j])))
            out[j] = amplitude * number(exp(factor * (sine * sine)))


@kernel
def _combine(kind, a, b, out):
    """Out (n,) = a + b or a b."""
    if kind == SUM:
        for j in range(out.size):
            out[j] = a[j] + b[j]
    else:
        for j in range(out.size):
            out[j] = a[j] * b[j]


@kernel
def _leaf(program, node, x, zt, square, out):
    """Out (r M,) = a leaf's values at rows x (r, D), one after the other.

    square (r M + W - M,) is scratch, or what `_slope` takes.
    """
    kind, amplitude, shape = program.kinds[node], program.amplitudes[node], program.shapes[node]
    scales, r = program.scales[node], x.shape[0]
    m = out.size // r
    if kind == CONSTANT:
        for j in range(out.size):
            out[j] = amplitude
    elif kind == LINEAR:
        for i in range(r):
            _linear(x[i], scales, zt[node], amplitude, shape, out[i * m : (i + 1) * m])
    else:
        _distances(x, scales, zt[node], m, square)
        _profile(kind, amplitude, shape, square[: out.size], out)


@kernel
def covariance(program, x, zt, scratch, out):
    """Out (n, M) = k(x, z), x (n, D), zt (L, D, W): z, transposed, scaled for each node, then 0.

    scratch (L + 1, K) with K >= W; the larger it is, the more rows are done at a time.
    """
    n, m = out.shape
    last = program.kinds.size - 1
    n_block = 1 + (scratch.shape[1] - zt.shape[2]) // max(m, 1)
    flat = out.reshape(n * m)
    for i in range(0, n, n_block):
        block = x[i : min(i + n_block, n)]
        size = block.shape[0] * m
        for node in range(last + 1):
            values = flat[i * m : i * m + size] if node == last else scratch[node, :size]
            if program.kinds[node] > PRODUCT:
                _leaf(program, node, block, zt, scratch[last + 1], values)
            else:
                a, b = scratch[program.left[node], :size], scratch[program.right[node], :size]
                _combine(program.kinds[node], a, b, values)


@kernel
def gaussian(program, x, zt, scratch, out):
    """`covariance` of one `RBF`, the usual function: faster, and sooner compiled.

    zt is times `BINARY`, so that the value is 2 to the power of minus the squared distance.
    """
    n, m = out.shape
    n_block = 1 + (scratch.shape[1] - zt.shape[2]) // max(m, 1)
    flat, square = out.reshape(n * m), scratch[0]
    scales = program.scales[0] * out.dtype.type(BINARY)
    amplitude = program.amplitudes[0]
    for i in range(0, n, n_block):
        block = x[i : min(i + n_block, n)]
        size = block.shape[0] * m
        _distances(block, scales, zt[0], m, square)
        _scaled_powers(amplitude, square[:size], flat[i * m : i * m + size])


@kernel
def _scaled_powers(amplitude, exponents, out):
    """Out (n,) = amplitude 2**-exponents."""
    for j in range(out.size):
        out[j] = amplitude * exp2(-exponents[j])
