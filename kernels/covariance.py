"""Covariance functions: K(X, Z), its diagonal, and their reverse passes, a few rows at a time.

A covariance function is a tree of sums and products whose leaves are constants, the linear
function, or profiles of the squared distance between scaled inputs. `Program` lists its nodes,
operands before what they are operands of. Shapes: n rows x of D columns, M columns z, padded to W,
a multiple of `WIDTH`, L nodes; the node values of a block of rows fit in a core's first cache.
Equations: Rasmussen and Williams (2006), chapter 4.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .special import ORDERED, _polynomial, exp, log

SUM, PRODUCT, CONSTANT, LINEAR = 0, 1, 2, 3
RBF, MATERN12, MATERN32, MATERN52, RATIONAL, PERIODIC = 4, 5, 6, 7, 8, 9

# sin(u) / u in powers of u**2, to 2e-16 for |u| <= pi / 2
SINE = tuple((-1.0) ** k / float(np.prod(np.arange(1.0, 2 * k + 2))) for k in range(11))
PI, ROOT3, ROOT5 = float(np.pi), float(np.sqrt(3.0)), float(np.sqrt(5.0))
WIDTH = 8  # loops over distances leave no rest
NEAR = 1e-24  # squared distances below it count as 0 where a slope has a pole


class Program(NamedTuple):
    """The nodes of a covariance function, the last of which is its value."""

    kinds: object  # (L,) int64
    left: object  # (L,) int64, operands of sums and products
    right: object
    slots: object  # (L,) int64, number of a node among those that look at inputs, or -1
    amplitudes: object  # (L,) factor of a leaf; a constant is nothing else
    shapes: object  # (L,) sigma_0**2 of `LINEAR`, alpha of `RATIONAL`, width of `PERIODIC`
    scales: object  # (L, D) what inputs are multiplied by


@kernel(fastmath=ORDERED, inline="always")
def _half_turn(r):
    """(sin, cos) of pi r, but for their common sign."""
    y = PI * (r - np.floor(r + 0.5))
    half = 0.5 * y
    sine = half * _polynomial(half * half, SINE)
    return y * _polynomial(y * y, SINE), 1.0 - 2.0 * sine * sine


@kernel
def scale_columns(program, z, zt):
    """Out zt (L, D, W) = z (M, D), transposed and scaled for each node, then 0."""
    for node in range(zt.shape[0]):
        for d in range(zt.shape[1]):
            scale, row = program.scales[node, d], zt[node, d]
            for j in range(z.shape[0]):
                row[j] = z[j, d] * scale
            row[z.shape[0] :] = row.dtype.type(0)


@kernel(inline="always")
def _add_squares(x, scales, zt, d, out):
    """Out (W,) (+)= |x * scales - z|^2 of the columns d to d + 8 of inputs; the first ones set."""
    z0, z1, z2, z3 = zt[d], zt[d + 1], zt[d + 2], zt[d + 3]
    z4, z5, z6, z7 = zt[d + 4], zt[d + 5], zt[d + 6], zt[d + 7]
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
def _square_distances(x, scales, zt, out):
    """Out (W,) = |x * scales - z|^2, up to eight columns of inputs at a time."""
    n_columns, n = zt.shape
    zero = out.dtype.type(0)
    d = 0
    if n_columns >= 8:
        _add_squares(x, scales, zt, 0, out)
        d = 8
    while d + 8 <= n_columns:
        _add_squares(x, scales, zt, d, out)
        d += 8
    if d + 4 <= n_columns:
        z0, z1, z2, z3 = zt[d], zt[d + 1], zt[d + 2], zt[d + 3]
        x0, x1 = x[d] * scales[d], x[d + 1] * scales[d + 1]
        x2, x3 = x[d + 2] * scales[d + 2], x[d + 3] * scales[d + 3]
        for j in range(n):
            a = out[j] if d > 0 else zero
            t0, t1, t2, t3 = x0 - z0[j], x1 - z1[j], x2 - z2[j], x3 - z3[j]
            out[j] = t3 * t3 + (t2 * t2 + (t1 * t1 + (t0 * t0 + a)))
        d += 4
    if n_columns == 0:
        out[:] = zero
    while d < n_columns:
        z0, x0 = zt[d], x[d] * scales[d]
        for j in range(n):
            a = out[j] if d > 0 else zero
            t0 = x0 - z0[j]
            out[j] = t0 * t0 + a
        d += 1


@kernel
def _linear(x, scales, zt, amplitude, shape, out):
    """Out (M,) = amplitude (sigma_0^2 + x z)."""
    out[:] = amplitude * shape
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
def _slope(kind, amplitude, shape, square, value, adjoint, out):
    """Out (n,) = adjoint times the derivative of the value (n,) by the squared distance."""
    number = out.dtype.type
    one, half = number(1), number(0.5)
    if kind == RBF:
        for j in range(out.size):
            out[j] = -half * (adjoint[j] * value[j])
    elif kind == MATERN12:
        near = number(NEAR)
        for j in range(out.size):
            r = np.sqrt(square[j] if square[j] > near else one)
            slope = -half * (adjoint[j] * value[j]) / r
            out[j] = slope if square[j] > near else number(0)
    elif kind == MATERN32:
        root, factor = number(ROOT3), number(-1.5) * amplitude
        for j in range(out.size):
            out[j] = factor * adjoint[j] * exp(-root * np.sqrt(square[j]))
    elif kind == MATERN52:
        root, factor = number(ROOT5), number(-5 / 6) * amplitude
        for j in range(out.size):
            r = root * np.sqrt(square[j])
            out[j] = factor * adjoint[j] * (one + r) * exp(-r)
    elif kind == RATIONAL:
        factor = half / shape
        for j in range(out.size):
            out[j] = -half * (adjoint[j] * value[j]) / (one + factor * square[j])
    else:
        factor = -2.0 * PI / (np.float64(shape) * np.float64(shape))
        for j in range(out.size):
            far = square[j] > number(NEAR)
            r = np.sqrt(np.float64(square[j]) if far else 1.0)
            sine, cosine = _half_turn(r)
            ratio = sine * cosine / r if far else PI
            out[j] = number(factor * (adjoint[j] * value[j]) * ratio)


@kernel
def _shape_slope(kind, shape, square, value, adjoint):
    """Sum of adjoint times the profile's derivative by the logarithm of its shape."""
    total = 0.0
    one, half = square.dtype.type(1), square.dtype.type(0.5)
    if kind == RATIONAL:
        factor = half / shape
        for j in range(square.size):
            b = one + factor * square[j]
            total += adjoint[j] * value[j] * (half * square[j] / b - shape * log(b))
    elif kind == PERIODIC:
        factor = 4.0 / (np.float64(shape) * np.float64(shape))
        for j in range(square.size):
            sine, _ = _half_turn(np.sqrt(np.float64(square[j])))
            total += factor * (adjoint[j] * value[j]) * (sine * sine)
    return total


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
def _pass_down(kind, adjoint, a, b, adjoint_a, adjoint_b):
    """Adjoints of the operands a and b of a sum or product."""
    if kind == SUM:
        for j in range(adjoint.size):
            adjoint_a[j] = adjoint[j]
            adjoint_b[j] = adjoint[j]
    else:
        for j in range(adjoint.size):
            adjoint_a[j] = adjoint[j] * b[j]
            adjoint_b[j] = adjoint[j] * a[j]


@kernel
def _sum(a):
    total = 0.0
    for j in range(a.size):
        total += a[j]
    return total


@kernel
def _dot(a, b):
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@kernel
def _leaf(program, node, x, zt, square, out):
    """Out (r M,) = a leaf's values at rows x (r, D), one after the other.

    square (r M + W - M,) is scratch, or what `_slope` takes: a row of distances runs on into the
    next, which comes after it.
    """
    kind, amplitude, shape = program.kinds[node], program.amplitudes[node], program.shapes[node]
    scales, r, width = program.scales[node], x.shape[0], zt.shape[2]
    m = out.size // r
    if kind == CONSTANT:
        out[:] = amplitude
    elif kind == LINEAR:
        for i in range(r):
            _linear(x[i], scales, zt[node], amplitude, shape, out[i * m : (i + 1) * m])
    else:
        for i in range(r):
            _square_distances(x[i], scales, zt[node], square[i * m : i * m + width])
        _profile(kind, amplitude, shape, square[: out.size], out)


@kernel
def covariance(program, x, zt, scratch, out):
    """Out (n, M) = k(x, z), x (n, D), zt (L, D, W) from `scale_columns`.

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
def _leaf_reverse(program, node, adjoint, value, square, row, slopes):
    """Out row (M,), the weights of a leaf; adds to its slopes."""
    kind, amplitude, shape = program.kinds[node], program.amplitudes[node], program.shapes[node]
    slopes[node, 0] += _dot(adjoint, value)
    if kind == LINEAR:
        for j in range(row.size):
            row[j] = amplitude * adjoint[j]
        slopes[node, 1] += _sum(row)
        return
    _slope(kind, amplitude, shape, square, value, adjoint, row)
    if kind >= RATIONAL:
        slopes[node, 1] += _shape_slope(kind, shape, square, value, adjoint)


@kernel
def covariance_reverse(program, x, zt, adjoint, scratch, weights, slopes):
    """Reverse pass of `covariance` from adjoints (n, M).

    scratch (3, L, W); out weights (S, n, M) for each of S nodes that look at inputs, adjoint times
    the derivative by the squared distance (`LINEAR`: by x z); in and out: slopes (L, 2) float64 +=
    derivatives by the logarithm of the amplitude, and by that of the shape (`LINEAR`: by
    sigma_0^2).
    """
    last, m = program.kinds.size - 1, adjoint.shape[1]
    values, squares, down = scratch[0, :, :m], scratch[1], scratch[2, :, :m]
    for i in range(x.shape[0]):
        for node in range(last + 1):
            if program.kinds[node] > PRODUCT:
                _leaf(program, node, x[i : i + 1], zt, squares[node], values[node])
            elif node < last:  # the last is an operand of none
                a, b = values[program.left[node]], values[program.right[node]]
                _combine(program.kinds[node], a, b, values[node])
        for node in range(last, -1, -1):
            kind, slot = program.kinds[node], program.slots[node]
            above = adjoint[i] if node == last else down[node]
            if kind <= PRODUCT:
                p, q = program.left[node], program.right[node]
                _pass_down(kind, above, values[p], values[q], down[p], down[q])
            elif kind == CONSTANT:
                slopes[node, 0] += program.amplitudes[node] * _sum(above)
            else:
                square, row = squares[node, :m], weights[slot, i]
                _leaf_reverse(program, node, above, values[node], square, row, slopes)


@kernel
def gaussian_reverse(adjoint, left, right, values):
    """`covariance_reverse` for one `RBF`, whose slopes its values (n, M) give.

    Adjoints are those given (n, M) plus left (n, T) times right (T, M), and become the weights.
    Returns the derivative by the logarithm of the amplitude.
    """
    half = values.dtype.type(-0.5)
    total = 0.0
    for i in range(values.shape[0]):
        row, value = adjoint[i], values[i]
        for t in range(left.shape[1]):
            factor, other = left[i, t], right[t]
            for j in range(row.size):
                row[j] += factor * other[j]
        for j in range(row.size):
            row[j] *= half * value[j]
        total += _sum(row)
    return -2.0 * total


@kernel
def add_moments(weights, x, centre, moments, squares):
    """In and out moments (D + 1, M) += (x - centre, 1)' weights, squares (D,) of the rows' sums.

    weights (n, M), x (n, D); squares += (x - centre)^2' weights 1. Four rows at a time.
    """
    n, n_columns = x.shape
    i = 0
    while i + 4 <= n:
        a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for k in range(n_columns + 1):
            row = moments[k]
            if k < n_columns:
                p, q = x[i, k] - centre[k], x[i + 1, k] - centre[k]
                r, s = x[i + 2, k] - centre[k], x[i + 3, k] - centre[k]
            else:
                p, q, r, s = 1.0, 1.0, 1.0, 1.0
            for j in range(row.size):
                row[j] += (p * a[j] + q * b[j]) + (r * c[j] + s * d[j])
        i += 4
    while i < n:
        a = weights[i]
        for k in range(n_columns + 1):
            row = moments[k]
            p = x[i, k] - centre[k] if k < n_columns else 1.0
            for j in range(row.size):
                row[j] += p * a[j]
        i += 1
    for i in range(n):
        total = _sum(weights[i])
        for k in range(n_columns):
            t = x[i, k] - centre[k]
            squares[k] += total * (t * t)


@kernel
def diagonal(program, x, values):
    """Out values (L, n): k(x, x) of each node, the last of which is the whole function's."""
    for node in range(program.kinds.size):
        kind, out = program.kinds[node], values[node]
        if kind <= PRODUCT:
            _combine(kind, values[program.left[node]], values[program.right[node]], out)
            continue
        amplitude = program.amplitudes[node]
        out[:] = amplitude * program.shapes[node] if kind == LINEAR else amplitude
        if kind == LINEAR:
            for d in range(x.shape[1]):
                scale = program.scales[node, d]
                for i in range(out.size):
                    t = scale * x[i, d]
                    out[i] += amplitude * (t * t)


@kernel
def diagonal_reverse(program, values, down, slopes):
    """Reverse pass of `diagonal`: in and out slopes (L, 2) float64 as in `covariance_reverse`.

    values (L, n) from `diagonal`; down (L, n), whose last row is the adjoint; the rest is scratch.
    """
    for node in range(program.kinds.size - 1, -1, -1):
        kind = program.kinds[node]
        if kind <= PRODUCT:
            p, q = program.left[node], program.right[node]
            _pass_down(kind, down[node], values[p], values[q], down[p], down[q])
            continue
        slopes[node, 0] += _dot(down[node], values[node])
        if kind == LINEAR:
            slopes[node, 1] += program.amplitudes[node] * _sum(down[node])
