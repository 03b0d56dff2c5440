"""Reverse passes of covariance functions: from adjoints of K(X, Z) to sums for gradients.

Shapes and symbols as in `covariance.py`; S nodes read inputs.
"""

import numpy as np

from ._jit import kernel
from .covariance import (
    CONSTANT,
    LINEAR,
    MATERN12,
    MATERN32,
    MATERN52,
    NEAR,
    PERIODIC,
    PI,
    PRODUCT,
    RATIONAL,
    RBF,
    ROOT3,
    ROOT5,
    SUM,
    _combine,
    _half_turn,
    _leaf,
)
from .special import exp, log
from .vectors import dot, sum_of


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
def _leaf_reverse(program, node, adjoint, value, square, row, slopes):
    """Out row (M,), the weights of a leaf; adds to its slopes."""
    kind, amplitude, shape = program.kinds[node], program.amplitudes[node], program.shapes[node]
    slopes[node, 0] += dot(adjoint, value)
    if kind == LINEAR:
        for j in range(row.size):
            row[j] = amplitude * adjoint[j]
        slopes[node, 1] += sum_of(row)
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
    values, squares, down = scratch[0], scratch[1], scratch[2]
    for i in range(x.shape[0]):
        for node in range(last + 1):
            if program.kinds[node] > PRODUCT:
                _leaf(program, node, x[i : i + 1], zt, squares[node], values[node, :m])
            elif node < last:  # the last is not an operand
                a, b = values[program.left[node], :m], values[program.right[node], :m]
                _combine(program.kinds[node], a, b, values[node, :m])
        for node in range(last, -1, -1):
            kind, slot = program.kinds[node], program.slots[node]
            above = adjoint[i] if node == last else down[node, :m]
            if kind <= PRODUCT:
                p, q = program.left[node], program.right[node]
                a, b = values[p, :m], values[q, :m]
                _pass_down(kind, above, a, b, down[p, :m], down[q, :m])
            elif kind == CONSTANT:
                slopes[node, 0] += program.amplitudes[node] * sum_of(above)
            else:
                value, square, row = values[node, :m], squares[node, :m], weights[slot, i]
                _leaf_reverse(program, node, above, value, square, row, slopes)


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
        total += sum_of(row)
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
        total = sum_of(weights[i])
        for k in range(n_columns):
            t = x[i, k] - centre[k]
            squares[k] += total * (t * t)
