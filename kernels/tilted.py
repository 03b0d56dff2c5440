"""Likelihoods of one latent number times a Gaussian: evidence, and its derivatives by the mean.

Z = integral of N(f; m, v) p(y | f)^power df, of a cavity N(m, v). d log Z / dm and its second
derivative give the moments of the tilted distribution (Rasmussen and Williams 2006, section 3.6).
In closed form where there is one; elsewhere by the trapezoidal rule on a grid around the mode of
the integrand, which converges geometrically for analytic functions on the whole line (Trefethen
and Weideman 2014). Where the cavity is much wider than the likelihood's own scale, the grid is
f = c + b sinh(t), fine about the likelihood's step at c. Shapes: n rows.
"""

import math

import numpy as np

from ._jit import kernel
from .likelihoods import HALF_LOG_2PI, LOGIT, PROBIT, STUDENT, _log_normal_cdf
from .special import exp, gammaln, log

GAUSSIAN, POISSON, ORDINAL = 3, 4, 5
NEGLIGIBLE = -41.0  # logarithm of a density relative to its mode
FAR = 12.0  # standard deviations of the cavity, for a likelihood of heavy tails
PER_WIDTH = 0.8  # of a step, relative to the width of a Gaussian
SINH_STEP = 0.2  # largest step of t
MOST_NODES = 5000  # in a direction


@kernel
def _step(kind, low, high, f):
    """(g, g', g'', dg/dlow, dg/dhigh), g = log(Phi(high - f) - Phi(low - f)); `PROBIT`: low = -inf.

    The difference is taken in the tail of both.
    """
    if kind == PROBIT:
        z = high - f
        value, hazard = _log_normal_cdf(z)
        return value, -hazard, -hazard * (z + hazard), 0.0, hazard
    a, b, sign = high - f, low - f, 1.0
    if b > 0.0:
        a, b, sign = -b, -a, -1.0
    upper, above = _log_normal_cdf(a)
    share, below = 0.0, 0.0
    if b > -1e300:
        lower, below = _log_normal_cdf(b)
        share = exp(lower - upper)
        below *= share
    rest = 1.0 - share
    p_a, p_b = above / rest, below / rest
    slope = -(p_a - p_b)
    curved = -(a * p_a if p_a > 0.0 else 0.0) + (b * p_b if p_b > 0.0 else 0.0)
    by_low, by_high = (-p_b, p_a) if sign > 0.0 else (-p_a, p_b)
    return upper + log(rest), sign * slope, curved - slope * slope, by_low, by_high


@kernel
def _site(kind, y, f, p, q):
    """(g, g', g'', derivatives by the two parameters) of g = log p(y | f), without constants.

    p, q: `STUDENT` df times noise, df; `ORDINAL` the cut points below and above. Derivatives:
    `STUDENT` by log noise; `ORDINAL` by p and q.
    """
    if kind == LOGIT:
        sign = 1.0 if y > 0 else -1.0
        a = sign * f
        small = exp(-abs(a))
        other = (small if a > 0 else 1.0) / (1.0 + small)
        curvature = small / ((1.0 + small) * (1.0 + small))
        return min(a, 0.0) - math.log1p(small), sign * other, -curvature, 0.0, 0.0
    if kind == PROBIT:
        sign = 1.0 if y > 0 else -1.0
        value, slope, curvature, _, _ = _step(PROBIT, 0.0, 0.0, -sign * f)
        return value, -sign * slope, curvature, 0.0, 0.0
    if kind == POISSON:
        rate = exp(f)
        return y * f - rate, y - rate, -rate, 0.0, 0.0
    if kind == ORDINAL:
        return _step(ORDINAL, p, q, f)
    r = y - f
    total = p + r * r
    by_noise = 0.5 * ((q + 1.0) * (r * r) / total - 1.0)
    value = -0.5 * (q + 1.0) * math.log1p(r * r / p) - 0.5 * log(p / q)
    slope = (q + 1.0) * r / total
    return value, slope, (q + 1.0) * (r * r - p) / (total * total), by_noise, 0.0


@kernel
def _residual(kind, y, f, p, q, mean, variance, power):
    """Derivative of the integrand's logarithm, and the second one."""
    _, slope, curvature, _, _ = _site(kind, y, f, p, q)
    return power * slope - (f - mean) / variance, power * curvature - 1.0 / variance


@kernel
def _mode(kind, y, p, q, mean, variance, power):
    """(mode, width) of the integrand of a log-concave likelihood, to a hundredth of its width."""
    slope, curvature = _residual(kind, y, mean, p, q, mean, variance, power)
    low = high = f = mean
    stride = np.sqrt(variance) if slope > 0.0 else -np.sqrt(variance)
    for _ in range(60):  # a bracket
        far = f + stride
        other, _ = _residual(kind, y, far, p, q, mean, variance, power)
        low, high = min(f, far), max(f, far)
        if (other > 0.0) != (slope > 0.0):
            break
        f = far
        stride *= 2.0
    for k in range(100):
        slope, curvature = _residual(kind, y, f, p, q, mean, variance, power)
        low, high = (f, high) if slope > 0.0 else (low, f)
        there = f - slope / curvature
        close = abs(there - f) < 0.01 / np.sqrt(-curvature)
        if not low <= there <= high or (k % 4 == 3 and not close):  # exp makes Newton's steps short
            there = 0.5 * (low + high)
        f = there
        if close:
            break
    return f, 1.0 / np.sqrt(-curvature)


@kernel
def _grid(kind, y, p, q, mean, variance, power):
    """(centre c, scale b or 0 for an even grid, start, step) of the nodes.

    Even nodes are f = start + k step, others f = c + b sinh(start + k step).
    """
    deviation = np.sqrt(variance)
    if kind == STUDENT:
        width = 1.0 / np.sqrt(1.0 / variance + power * (q + 1.0) / p)
        b, c, mode = np.sqrt(p), y, mean
        even = min(PER_WIDTH * width, 0.22 * b)
        wide = deviation > 2.0 * b
        width = deviation
    else:
        mode, width = _mode(kind, y, p, q, mean, variance, power)
        finest = 0.7 if kind == LOGIT else (0.3 if kind == POISSON else 0.4)
        even = min(PER_WIDTH * width, finest)
        b, c = 5.0 * finest, 0.0
        if kind == POISSON:
            c = log(y + 0.5 / power)
        elif kind == ORDINAL:
            c = p if abs(p - mode) < abs(q - mode) else q
        wide = deviation > 10.0
    if not wide:
        return c, 0.0, mode, even
    distance = abs(mode - c)
    step = SINH_STEP if kind != POISSON else 0.5 * SINH_STEP  # exp(exp) is harder
    step = min(step, PER_WIDTH * deviation / (distance + 4.0 * deviation))
    step = min(step, PER_WIDTH * width / np.sqrt(b * b + distance * distance))
    return c, b, math.asinh((mode - c) / b), step


@kernel
def _integrate(kind, y, p, q, mean, variance, power):
    """(log Z, tilted mean minus m, tilted variance, expected derivatives by the parameters)."""
    c, b, start, step = _grid(kind, y, p, q, mean, variance, power)
    centre = start if b == 0.0 else c + b * math.sinh(start)
    value, _, _, _, _ = _site(kind, y, centre, p, q)
    d = centre - mean
    largest = power * value - 0.5 * d * d / variance
    reach = FAR * np.sqrt(variance)
    w0, w1, w2, w3, w4 = 0.0, 0.0, 0.0, 0.0, 0.0
    for direction in range(2):
        for k in range(direction, MOST_NODES):
            t = start + (k * step if direction == 0 else -k * step)
            f, stretch = t, 1.0
            if b > 0.0:
                f, stretch = c + b * math.sinh(t), b * math.cosh(t)
            value, _, _, by_first, by_second = _site(kind, y, f, p, q)
            d = f - mean
            height = power * value - 0.5 * d * d / variance - largest
            if (abs(d) > reach) if kind == STUDENT else (height < NEGLIGIBLE):
                break
            weight, d = stretch * exp(height), f - centre
            w0 += weight
            w1 += weight * d
            w2 += weight * d * d
            w3 += weight * by_first
            w4 += weight * by_second
    shift = w1 / w0
    log_z = largest + log(w0 * step) - 0.5 * log(variance) - HALF_LOG_2PI
    return log_z, shift + (centre - mean), w2 / w0 - shift * shift, w3 / w0, w4 / w0


@kernel
def _gaussian(y, noise, mean, variance, power):
    """(log Z, slope, curvature, expected derivative by log noise) of y ~ N(f, noise)."""
    total = variance + noise / power
    r = y - mean
    constant = 0.5 * (1.0 - power) * log(2.0 * math.pi * noise) - 0.5 * log(power)
    log_z = constant - HALF_LOG_2PI - 0.5 * log(total) - 0.5 * r * r / total
    left, spread = r * (noise / power) / total, variance * (noise / power) / total
    return log_z, r / total, -1.0 / total, 0.5 * ((left * left + spread) / noise - 1.0)


@kernel
def _constant(kind, y, df):
    """What `_site` leaves out of g."""
    if kind == STUDENT:
        return gammaln(0.5 * (df + 1.0)) - gammaln(0.5 * df) - 0.5 * log(df * math.pi)
    return -gammaln(y + 1.0) if kind == POISSON else 0.0


@kernel
def tilted(kind, y, p, q, mean, variance, power, out):
    """Out (5, n): log Z, d log Z / dm, its second derivative, and what two parameters expect.

    y, p, q, mean, variance, power (n,); p and q as in `_site`, `GAUSSIAN`: noise. The last
    two are means of the derivatives of log p(y | f) under the tilted distribution.
    """
    for i in range(mean.size):
        m, v, first, second, exponent = mean[i], variance[i], p[i], q[i], power[i]
        if kind == GAUSSIAN:
            out[0, i], out[1, i], out[2, i], out[3, i] = _gaussian(y[i], first, m, v, exponent)
            out[4, i] = 0.0
        elif exponent == 1.0 and kind in (PROBIT, ORDINAL):
            c = 1.0 / np.sqrt(1.0 + v)
            value, slope, curvature, low, high = _site(kind, y[i], c * m, c * first, c * second)
            out[0, i], out[1, i], out[2, i] = value, c * slope, c * c * curvature
            out[3, i], out[4, i] = c * low, c * high
        else:
            log_z, shift, spread, by_first, by_second = _integrate(
                kind, y[i], first, second, m, v, exponent
            )
            out[0, i], out[1, i] = log_z + exponent * _constant(kind, y[i], second), shift / v
            out[2, i], out[3, i], out[4, i] = (spread - v) / (v * v), by_first, by_second
