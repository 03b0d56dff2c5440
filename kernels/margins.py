"""Monotone maps of one number, by which margins of a Gaussian copula depart from the normal.

D numbers of n draws are arrays (D, n), so that draws lie side by side; a row of `shapes` (D, P) has
the parameters of its map. At 0 parameters each map is the identity, and 0 stays 0:

==============  ====================================================================================
SINH_ARCSINH    (sinh(delta arcsinh x + e) - sinh e) / (delta cosh e), of e and log delta (Jones and
                Pewsey 2009, eq. 2, with slope 1 at 0)
YEO_JOHNSON     ((1 + p |x|)^(1 / p) - 1) sign x with p = 1 + t for x >= 0 and 1 - t below, where
                |t| < 0.95: the inverse of Yeo and Johnson (2000, eq. 2.1), of 2 arctanh(t / 0.95)
SPLINE          the integral of a piecewise linear slope with P equally spaced knots from -4 to 4,
                beyond which it is constant: I-splines (Ramsay 1988), of logarithms at the knots
==============  ====================================================================================
"""

import numpy as np

from ._jit import kernel
from .special import exp, log
from .vectors import dot, fill

__all__ = ["SINH_ARCSINH", "SPLINE", "YEO_JOHNSON", "invert", "pull", "transform"]

SINH_ARCSINH, YEO_JOHNSON, SPLINE = range(3)
REACH = 4.0  # of the knots
STEEPEST = 0.95  # of |t|, beyond which powers lose digits


@kernel(inline="always")
def arcsinh(x):
    """The inverse of sinh; its absolute error is that of rounding."""
    size = log(abs(x) + np.sqrt(1.0 + x * x))
    return size if x >= 0.0 else -size


@kernel
def sinh_arcsinh(shape, x, y, slope, bend):
    """As `transform`, of one number; all (n,)."""
    skew, delta = shape[0], exp(shape[1])
    high = exp(skew)
    sinh, cosh = 0.5 * (high - 1.0 / high), 0.5 * (high + 1.0 / high)
    for s in range(x.size):
        up = exp(delta * arcsinh(x[s]) + skew)
        r, down = np.sqrt(1.0 + x[s] * x[s]), 1.0 / up
        y[s] = (0.5 * (up - down) - sinh) / (delta * cosh)
        slope[s] = 0.5 * (up + down) / (r * cosh)
        bend[s] = delta * (up - down) / ((up + down) * r) - x[s] / (r * r)


@kernel
def pull_sinh_arcsinh(shape, x, y, weights, scratch, of_shape):
    """As `pull`, of one number."""
    skew, delta = shape[0], exp(shape[1])
    high = exp(skew)
    sinh, cosh = 0.5 * (high - 1.0 / high), 0.5 * (high + 1.0 / high)
    for s in range(x.size):
        up = exp(delta * arcsinh(x[s]) + skew)
        height = 0.5 * (up + 1.0 / up)
        scratch[0, s] = (height / cosh - 1.0) / delta - y[s] * sinh / cosh
        scratch[1, s] = arcsinh(x[s]) * height / cosh - y[s]
    of_shape[0] = dot(weights, scratch[0])
    of_shape[1] = dot(weights, scratch[1])


@kernel
def invert_sinh_arcsinh(shape, y, x):
    """As `invert`, of one number."""
    skew, delta = shape[0], exp(shape[1])
    high = exp(skew)
    sinh, cosh = 0.5 * (high - 1.0 / high), 0.5 * (high + 1.0 / high)
    for s in range(y.size):
        up = exp((arcsinh(y[s] * (delta * cosh) + sinh) - skew) / delta)
        x[s] = 0.5 * (up - 1.0 / up)


@kernel
def yeo_johnson(shape, x, y, slope, bend):
    """As `transform`, of one number."""
    t = STEEPEST * np.tanh(0.5 * shape[0])
    for s in range(x.size):
        sign = 1.0 if x[s] >= 0.0 else -1.0
        p = 1.0 + sign * t
        grown = 1.0 + p * abs(x[s])
        g = log(grown) / p
        y[s] = sign * (exp(g) - 1.0)
        slope[s] = exp(g * (1.0 - p))
        bend[s] = sign * (1.0 - p) / grown


@kernel
def pull_yeo_johnson(shape, x, y, weights, scratch, of_shape):
    """As `pull`, of one number."""
    half = np.tanh(0.5 * shape[0])
    t, of_t = STEEPEST * half, 0.5 * STEEPEST * (1.0 - half * half)
    for s in range(x.size):
        sign = 1.0 if x[s] >= 0.0 else -1.0
        p = 1.0 + sign * t
        grown = 1.0 + p * abs(x[s])
        scratch[0, s] = (1.0 + sign * y[s]) * (abs(x[s]) / grown - log(grown) / p) / p
    of_shape[0] = of_t * dot(weights, scratch[0])


@kernel
def invert_yeo_johnson(shape, y, x):
    """As `invert`, of one number."""
    t = STEEPEST * np.tanh(0.5 * shape[0])
    for s in range(y.size):
        sign = 1.0 if y[s] >= 0.0 else -1.0
        p = 1.0 + sign * t
        x[s] = sign * (exp(p * log(1.0 + abs(y[s]))) - 1.0) / p


@kernel(inline="always")
def rise(v):
    """The integral from 0 to v of the hat 1 - |v|."""
    m = min(abs(v), 1.0)
    area = m - 0.5 * m * m
    return area if v >= 0.0 else -area


@kernel
def spline(shape, x, y, slope, bend):
    """As `transform`, of one number."""
    h = 2.0 * REACH / (shape.size - 1)
    fill(y, 0.0)
    fill(slope, 0.0)
    fill(bend, 0.0)
    for k in range(shape.size):
        height, before = exp(shape[k]), rise(REACH / h - k)
        for s in range(x.size):
            v = (min(max(x[s], -REACH), REACH) + REACH) / h - k
            y[s] += h * height * (rise(v) - before)
            slope[s] += height * max(1.0 - abs(v), 0.0)
            turn = -height if v >= 0.0 else height
            bend[s] += turn / h if -1.0 <= v < 1.0 else 0.0
    for s in range(x.size):
        y[s] += (x[s] - min(max(x[s], -REACH), REACH)) * slope[s]
        bend[s] = bend[s] / slope[s] if abs(x[s]) < REACH else 0.0


@kernel
def pull_spline(shape, x, y, weights, scratch, of_shape):
    """As `pull`, of one number."""
    h = 2.0 * REACH / (shape.size - 1)
    for k in range(shape.size):
        before = rise(REACH / h - k)
        for s in range(x.size):
            inside = min(max(x[s], -REACH), REACH)
            v = (inside + REACH) / h - k
            beyond = (x[s] - inside) * max(1.0 - abs(v), 0.0)
            scratch[0, s] = h * (rise(v) - before) + beyond
        of_shape[k] = exp(shape[k]) * dot(weights, scratch[0])


@kernel
def invert_spline(shape, y, x):
    """As `invert`, of one number."""
    last = shape.size - 1
    h, least = 2.0 * REACH / last, 0.0
    for k in range(shape.size):  # the map at the first knot
        least -= h * exp(shape[k]) * (rise(REACH / h - k) + (0.5 if k > 0 else 0.0))
    for s in range(y.size):
        rest, k, low = y[s] - least, 0, exp(shape[0])
        high = exp(shape[1])
        while k < last - 1 and rest > 0.5 * h * (low + high):
            rest -= 0.5 * h * (low + high)
            k += 1
            low, high = high, exp(shape[k + 1])
        if rest < 0.0:
            x[s] = rest / low - REACH
        elif rest > 0.5 * h * (low + high):
            x[s] = REACH + (rest - 0.5 * h * (low + high)) / high
        else:
            root = np.sqrt(max(low * low + 2.0 * (high - low) * rest / h, 0.0))
            x[s] = k * h - REACH + 2.0 * rest / (low + root)


@kernel
def transform(kind, shapes, x, y, slope, bend):
    """Out (D, n): the maps y of x, their slopes, and the derivatives of the slopes' logarithms."""
    for i in range(x.shape[0]):
        if kind == SINH_ARCSINH:
            sinh_arcsinh(shapes[i], x[i], y[i], slope[i], bend[i])
        elif kind == YEO_JOHNSON:
            yeo_johnson(shapes[i], x[i], y[i], slope[i], bend[i])
        else:
            spline(shapes[i], x[i], y[i], slope[i], bend[i])


@kernel
def pull(kind, shapes, x, y, weights, scratch, of_shapes):
    """Out of_shapes (D, P): sums over draws of weights (D, n) times the maps' derivatives.

    y (D, n) are the maps of x, scratch (2, n).
    """
    for i in range(x.shape[0]):
        if kind == SINH_ARCSINH:
            pull_sinh_arcsinh(shapes[i], x[i], y[i], weights[i], scratch, of_shapes[i])
        elif kind == YEO_JOHNSON:
            pull_yeo_johnson(shapes[i], x[i], y[i], weights[i], scratch, of_shapes[i])
        else:
            pull_spline(shapes[i], x[i], y[i], weights[i], scratch, of_shapes[i])


@kernel
def invert(kind, shapes, y, x):
    """Out x (D, n), of which y are the maps."""
    for i in range(y.shape[0]):
        if kind == SINH_ARCSINH:
            invert_sinh_arcsinh(shapes[i], y[i], x[i])
        elif kind == YEO_JOHNSON:
            invert_yeo_johnson(shapes[i], y[i], x[i])
        else:
            invert_spline(shapes[i], y[i], x[i])
