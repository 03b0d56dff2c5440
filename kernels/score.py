"""Score-function gradients of blocks: scores, gathering with control variates, dispersion.

Shapes as in `blocks.py`; n draws. Equations: Ranganath, Gerrish and Blei (2014), "Black box
variational inference"; Ruiz, Titsias and Blei (2016), "Overdispersed black-box variational
inference".
"""

import numpy as np

from ._jit import kernel
from .blocks import (
    BERNOULLI,
    BETA,
    CATEGORICAL,
    GAMMA,
    KIND,
    LOG_NORMAL,
    NUMBER,
    ONE_HOT,
    PARAMETER,
    POISSON,
    SIZE,
    WIDTH,
    hot,
)
from .special import digamma, exp, log

ALONE = 1e-10  # least share of squares in other draws for a usable coefficient


@kernel(inline="always")
def pair(kind, z, row):
    """Scores of the two parameters of a block of such a kind at its number z."""
    if kind <= LOG_NORMAL:
        x = ((log(z) if kind == LOG_NORMAL else z) - row[0]) / row[1]
        return x / row[1], x * x - 1.0
    if kind == GAMMA:
        ratio = z / row[1]
        return row[0] * (row[3] + log(z) - ratio), row[0] * (ratio - 1.0)
    first, second = log(z) + row[3], np.log1p(-z) + row[4]
    return (
        row[0] * row[1] / (row[0] + row[1]) * (first - second),
        row[0] * first + row[1] * second,
    )


@kernel(inline="always")
def category(kind, numbers):
    """Which category the numbers of a block stand for."""
    return int(numbers[0]) if kind == CATEGORICAL else hot(numbers)


@kernel
def scores(kind, numbers, row, log_chances, out):
    """Out (size, n): gradients of a block's log density, numbers (n, width), by its parameters."""
    n = numbers.shape[0]
    if kind in (BERNOULLI, POISSON):
        for s in range(n):
            out[0, s] = numbers[s, 0] - row[1]
    elif kind <= BETA:
        for s in range(n):
            out[0, s], out[1, s] = pair(kind, numbers[s, 0], row)
    else:
        for c in range(log_chances.size):
            chance = exp(log_chances[c])
            for s in range(n):
                out[c, s] = -chance
        for s in range(n):
            out[category(kind, numbers[s]), s] += 1.0


@kernel
def mean_product(h, f, controlled):
    """Mean of h (f - a) over draws (n,), for h of mean zero.

    `controlled`: with the coefficient of least variance, a = E[h^2 f] / E[h^2] (Ranganath et al.
    2014, section 3.2), from the other draws for each, so that the mean stays unbiased.
    """
    n = h.size
    total = 0.0
    if not controlled:
        for s in range(n):
            total += h[s] * f[s]
        return total / n
    product, square, level = 0.0, 0.0, 0.0
    for s in range(n):
        product += h[s] * h[s] * f[s]
        square += h[s] * h[s]
        level += f[s]
    for s in range(n):
        own = h[s] * h[s]
        rest = square - own
        if rest > ALONE * square:
            a = (product - own * f[s]) / rest
        else:
            a = (level - f[s]) / (n - 1) if n > 1 else 0.0
        total += h[s] * (f[s] - a)
    return total / n


@kernel(inline="always")
def column(array, b):
    """Column b of (n, B), or the only one of (n, 1)."""
    return array[:, b if array.shape[1] > 1 else 0]


@kernel
def gather(
    layout, constants, log_chances, Z, weights, signals, controlled, scratch, gradient
):  # fmt: skip
    """Out gradient (P,): means of weight x signal x score over the draws Z (n, D).

    weights, signals (n, B), or (n, 1) for all blocks; scratch (largest size, n); `controlled` as
    in `mean_product`.
    """
    n = Z.shape[0]
    for b in range(layout.shape[0]):
        j, p, size = layout[b, NUMBER], layout[b, PARAMETER], layout[b, SIZE]
        numbers, weight = Z[:, j : j + layout[b, WIDTH]], column(weights, b)
        scores(layout[b, KIND], numbers, constants[b], log_chances[p : p + size], scratch)
        for k in range(size):
            h = scratch[k]
            for s in range(n):
                h[s] *= weight[s]
            gradient[p + k] = mean_product(h, column(signals, b), controlled)


@kernel
def lengths(
    layout, constants, log_chances, Z, weights, signals, controlled, units, scratch, out
):  # fmt: skip
    """Out (n,): a draw's squared share of the gradient, in the parameters' units (P,).

    Their mean is n times the variance that `gather` is left with; arguments as there.
    """
    n = Z.shape[0]
    for s in range(n):
        out[s] = 0.0
    for b in range(layout.shape[0]):
        j, p, size = layout[b, NUMBER], layout[b, PARAMETER], layout[b, SIZE]
        numbers, weight = Z[:, j : j + layout[b, WIDTH]], column(weights, b)
        f = column(signals, b)
        scores(layout[b, KIND], numbers, constants[b], log_chances[p : p + size], scratch)
        for k in range(size):
            h = scratch[k]
            product, square = 0.0, 0.0
            for s in range(n):
                own = (weight[s] * h[s]) ** 2
                product += own * f[s]
                square += own
            a = product / square if controlled and square > 0.0 else 0.0
            for s in range(n):
                out[s] += (units[p + k] * weight[s] * h[s] * (f[s] - a)) ** 2


@kernel(inline="always")
def dispersion(kind, z, row):
    """Derivative by log tau of the log density of a dispersed block without categories."""
    if kind <= LOG_NORMAL:
        return 0.5 * pair(kind, z, row)[1]
    if kind == GAMMA:
        return -pair(kind, z, row)[0]
    if kind == BETA:
        return -pair(kind, z, row)[1]
    if kind == BERNOULLI:
        return -row[0] * (z - row[1])
    return count_dispersion(z, row)


@kernel(inline="always")
def count_dispersion(z, row):
    """The same for the negative binomial of a Poisson block, by a series where tau is 1."""
    rate, tau, size = row[1], row[2], row[3]
    if not size > 0.0:
        return ((z - rate) ** 2 - z) / (2.0 * rate)
    of_size = digamma(z + size) - digamma(size) - log(tau)
    slope = -size / (tau - 1.0)
    return tau * of_size * slope + z / (tau - 1.0) - size


@kernel
def dispersions(layout, constants, log_chances, Z, out):
    """Out (n, B): derivatives of the dispersed log densities of Z (n, D) by log tau (B,)."""
    for b in range(layout.shape[0]):
        kind, j, p = layout[b, KIND], layout[b, NUMBER], layout[b, PARAMETER]
        if kind != CATEGORICAL and kind != ONE_HOT:
            for s in range(Z.shape[0]):
                out[s, b] = dispersion(kind, Z[s, j], constants[b])
            continue
        mean = 0.0
        for c in range(p, p + layout[b, SIZE]):
            mean += exp(log_chances[c]) * log_chances[c]
        for s in range(Z.shape[0]):
            c = category(kind, Z[s, j : j + layout[b, WIDTH]])
            out[s, b] = mean - log_chances[p + c]
