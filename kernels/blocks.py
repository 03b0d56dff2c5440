"""Independent blocks of random variables: draws, densities, moments, divergences.

Shapes: n draws, D numbers in B blocks, P unconstrained parameters. A row of `layout` (B, 5) int64
is a block: its kind, the offset and count of its numbers in a draw, and the offset and count of its
parameters in `values` (P,):

=============  =========================================  ===================
kind           numbers                                    parameters
=============  =========================================  ===================
GAUSSIAN       z                                          mean, log sd
LOG_NORMAL     z > 0                                      mean, log sd of log z
GAMMA          z > 0                                      log shape, log mean
BETA           0 < z < 1                                  logit of mean, log of a + b
BERNOULLI      0 or 1                                     logit
CATEGORICAL    0, ..., C - 1                              C logits
POISSON        0, 1, ...                                  log rate
ONE_HOT        C numbers, one of them 1, the others 0     C logits
=============  =========================================  ===================

Shape and mean are orthogonal in the Fisher metric, and logit and a + b nearly so. `prepare` turns
parameters into the `constants` (B, 6) and `log_chances` (P,) that everything else reads.
"""

import numpy as np

from ._jit import kernel
from .special import digamma, exp, gammaln, log, trigamma

GAUSSIAN, LOG_NORMAL, GAMMA, BETA, BERNOULLI, CATEGORICAL, POISSON, ONE_HOT = range(8)
KIND, NUMBER, WIDTH, PARAMETER, SIZE = range(5)
N_CONSTANTS = 6

HALF_LOG_2PI = 0.9189385332046727
LEAST, MOST = 1e-300, 1e15  # limits of positive draws, and of parameters without nan
BELOW_ONE = 1.0 - 2.0**-53
DISPERSED = 1e-3  # tau - 1 above which a Poisson counts as overdispersed


@kernel(inline="always")
def softplus(x):
    """log(1 + exp(x))."""
    return max(x, 0.0) + np.log1p(exp(-abs(x)))


@kernel(inline="always")
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + exp(-x))


@kernel
def prepare(layout, values, log_tau, constants, log_chances):
    """Constants of each block, overdispersed by tau = exp(log_tau) (B,); out: the last two.

    The density to the power of 1 / tau (Ruiz et al. 2016, eq. 7), for Gamma and Beta relative to
    1 / z and 1 / (z (1 - z)), which keeps the mean and bounds the weights' variance at the ends of
    the range; for Poisson the negative binomial of the same mean and tau times the variance.
    """
    for b in range(layout.shape[0]):
        kind, p, size = layout[b, KIND], layout[b, PARAMETER], layout[b, SIZE]
        row, eta = constants[b], log_tau[b]
        tau = exp(eta)
        if kind <= LOG_NORMAL:
            log_sd = values[p + 1] + 0.5 * eta
            row[0], row[1], row[2] = values[p], exp(log_sd), -log_sd - HALF_LOG_2PI
        elif kind == GAMMA:
            shape, mean = exp(values[p] - eta), exp(values[p + 1])
            log_rate = values[p] - eta - values[p + 1]
            row[0], row[1] = shape, mean
            row[2] = shape * log_rate - gammaln(shape)
            row[3] = log_rate + 1.0 - digamma(shape)
        elif kind == BETA:
            total = exp(values[p + 1] - eta)
            first, second = total * sigmoid(values[p]), total * sigmoid(-values[p])
            row[0], row[1] = first, second
            row[2] = gammaln(total) - gammaln(first) - gammaln(second)
            row[3] = digamma(total) - digamma(first)
            row[4] = digamma(total) - digamma(second)
        elif kind == BERNOULLI:
            logit = values[p] / tau
            row[0], row[1] = logit, sigmoid(logit)
            row[2], row[3] = -softplus(-logit), -softplus(logit)
        elif kind == POISSON:
            rate = exp(values[p])
            row[0], row[1], row[2] = values[p], rate, tau
            row[3] = rate / (tau - 1.0) if tau - 1.0 > DISPERSED else 0.0
        else:
            log_softmax(values[p : p + size], tau, log_chances[p : p + size])


@kernel
def log_softmax(logits, tau, out):
    """Out (C,) = log softmax(logits / tau)."""
    largest = logits[0]
    for c in range(1, logits.size):
        largest = max(largest, logits[c])
    total = 0.0
    for c in range(logits.size):
        total += exp((logits[c] - largest) / tau)
    shift = log(total)
    for c in range(logits.size):
        out[c] = (logits[c] - largest) / tau - shift


@kernel
def pick(log_chances, u):
    """The category that a uniform number falls to."""
    total = 0.0
    for c in range(log_chances.size - 1):
        total += exp(log_chances[c])
        if u < total:
            return c
    return log_chances.size - 1


@kernel(inline="always")
def drawable(kind, row):
    """Whether rejection from such a Gamma, Beta or Poisson distribution comes to an end."""
    if kind == CATEGORICAL:
        return True
    return (kind == POISSON or LEAST < row[0] < MOST) and LEAST < row[1] < MOST


@kernel
def draw(layout, constants, log_chances, rng, Z):
    """Out Z (n, D): draws, one after another, each block by block."""
    for s in range(Z.shape[0]):
        for b in range(layout.shape[0]):
            kind, j, row = layout[b, KIND], layout[b, NUMBER], constants[b]
            p, size = layout[b, PARAMETER], layout[b, SIZE]
            if kind == GAUSSIAN:
                Z[s, j] = row[0] + row[1] * rng.standard_normal()
            elif kind == LOG_NORMAL:
                Z[s, j] = max(exp(row[0] + row[1] * rng.standard_normal()), LEAST)
            elif kind != BERNOULLI and kind <= POISSON and not drawable(kind, row):
                Z[s, j] = np.nan
            elif kind == GAMMA:
                Z[s, j] = max(row[1] / row[0] * rng.standard_gamma(row[0]), LEAST)
            elif kind == BETA:
                Z[s, j] = min(max(rng.beta(row[0], row[1]), LEAST), BELOW_ONE)
            elif kind == BERNOULLI:
                Z[s, j] = 1.0 if rng.random() < row[1] else 0.0
            elif kind == POISSON:
                rate = row[1]
                if row[3] > 0.0:
                    rate = (row[2] - 1.0) * rng.standard_gamma(row[3])
                Z[s, j] = float(rng.poisson(rate))
            elif kind == CATEGORICAL:
                Z[s, j] = float(pick(log_chances[p : p + size], rng.random()))
            else:
                for c in range(size):
                    Z[s, j + c] = 0.0
                Z[s, j + pick(log_chances[p : p + size], rng.random())] = 1.0


@kernel
def hot(numbers):
    """Which of the numbers (C,) is 1 while the others are 0, or -1."""
    found = -1
    for c in range(numbers.size):
        if numbers[c] == 1.0 and found < 0:
            found = c
        elif numbers[c] != 0.0:
            return -1
    return found


@kernel(inline="always")
def count_density(z, row):
    """Log of the Poisson chance of z, or of the negative binomial one."""
    if z < 0.0 or z != np.floor(z):
        return -np.inf
    if row[3] > 0.0:
        ways = gammaln(z + row[3]) - gammaln(row[3])
        return ways + z * log(1.0 - 1.0 / row[2]) - row[3] * log(row[2]) - gammaln(z + 1.0)
    return z * row[0] - row[1] - gammaln(z + 1.0)


@kernel(inline="always")
def density(kind, z, row, log_chances):
    """Log density of a block's only number, -inf where it has none."""
    if kind == GAUSSIAN:
        x = (z - row[0]) / row[1]
        return row[2] - 0.5 * x * x
    if kind == BERNOULLI:
        return row[2] if z == 1.0 else row[3] if z == 0.0 else -np.inf
    if kind == POISSON:
        return count_density(z, row)
    if kind == CATEGORICAL:
        known = 0.0 <= z < log_chances.size and z == np.floor(z)
        return log_chances[int(z)] if known else -np.inf
    if not z > 0.0 or (kind == BETA and not z < 1.0):
        return -np.inf
    if kind == LOG_NORMAL:
        x = (log(z) - row[0]) / row[1]
        return row[2] - 0.5 * x * x - log(z)
    if kind == GAMMA:
        return row[2] + (row[0] - 1.0) * log(z) - row[0] * z / row[1]
    return row[2] + (row[0] - 1.0) * log(z) + (row[1] - 1.0) * np.log1p(-z)


@kernel
def log_densities(layout, constants, log_chances, Z, out):
    """Out (n, B): log density of each block's numbers in Z (n, D)."""
    for b in range(layout.shape[0]):
        kind, j, row = layout[b, KIND], layout[b, NUMBER], constants[b]
        chances = log_chances[layout[b, PARAMETER] : layout[b, PARAMETER] + layout[b, SIZE]]
        if kind != ONE_HOT:
            for s in range(Z.shape[0]):
                out[s, b] = density(kind, Z[s, j], row, chances)
            continue
        for s in range(Z.shape[0]):
            c = hot(Z[s, j : j + chances.size])
            out[s, b] = chances[c] if c >= 0 else -np.inf


@kernel
def moments(layout, constants, log_chances, mean, variance):
    """Out: mean and variance (D,) of the numbers."""
    for b in range(layout.shape[0]):
        kind, j, row = layout[b, KIND], layout[b, NUMBER], constants[b]
        p, size = layout[b, PARAMETER], layout[b, SIZE]
        if kind == GAUSSIAN:
            mean[j], variance[j] = row[0], row[1] * row[1]
        elif kind == LOG_NORMAL:
            square = row[1] * row[1]
            mean[j] = exp(row[0] + 0.5 * square)
            variance[j] = np.expm1(square) * mean[j] * mean[j]
        elif kind == GAMMA:
            mean[j], variance[j] = row[1], row[1] * row[1] / row[0]
        elif kind == BETA:
            total = row[0] + row[1]
            mean[j] = row[0] / total
            variance[j] = row[0] * row[1] / (total * total * (total + 1.0))
        elif kind == BERNOULLI:
            mean[j], variance[j] = row[1], exp(row[2] + row[3])
        elif kind == POISSON:
            mean[j], variance[j] = row[1], row[1]
        elif kind == CATEGORICAL:
            mean[j], variance[j] = number_moments(log_chances[p : p + size])
        else:
            for c in range(size):
                mean[j + c] = exp(log_chances[p + c])
                variance[j + c] = mean[j + c] * -np.expm1(log_chances[p + c])


@kernel
def number_moments(log_chances):
    """Mean and variance of a category's number."""
    mean, variance = 0.0, 0.0
    for c in range(log_chances.size):
        mean += c * exp(log_chances[c])
    for c in range(log_chances.size):
        variance += (c - mean) * (c - mean) * exp(log_chances[c])
    return mean, variance


@kernel
def covariances(layout, mean, variance, out):
    """Out (D, D), zero at first: covariance of the numbers, given mean and variance (D,)."""
    for b in range(layout.shape[0]):
        j, width = layout[b, NUMBER], layout[b, WIDTH]
        for c in range(j, j + width):
            for d in range(j, j + width):
                out[c, d] = variance[c] if c == d else -mean[c] * mean[d]


@kernel
def information(layout, constants, log_chances, out):
    """Out (P,): diagonal of Fisher's information of the parameters."""
    for b in range(layout.shape[0]):
        kind, row = layout[b, KIND], constants[b]
        p, size = layout[b, PARAMETER], layout[b, SIZE]
        if kind <= LOG_NORMAL:
            out[p], out[p + 1] = 1.0 / (row[1] * row[1]), 2.0
        elif kind == GAMMA:
            out[p], out[p + 1] = row[0] * (row[0] * trigamma(row[0]) - 1.0), row[0]
        elif kind == BETA:
            total = row[0] + row[1]
            m, rest = row[0] / total, row[1] / total
            first, second = trigamma(row[0]), trigamma(row[1])
            out[p] = (total * m * rest) ** 2 * (first + second)
            both = m * m * first + rest * rest * second - trigamma(total)
            out[p + 1] = total * total * both
        elif kind == BERNOULLI:
            out[p] = exp(row[2] + row[3])
        elif kind == POISSON:
            out[p] = row[1]
        else:
            for c in range(size):
                chance = exp(log_chances[p + c])
                out[p + c] = chance * (1.0 - chance)


@kernel
def divergence(layout, one, other, chances, other_chances):
    """Symmetrised divergence of two members, nats; their constants (B, 6) and chances (P,).

    Of an exponential family it is the difference of natural parameters times that of means.
    """
    total = 0.0
    for b in range(layout.shape[0]):
        kind, x, y = layout[b, KIND], one[b], other[b]
        p, size = layout[b, PARAMETER], layout[b, SIZE]
        if kind <= LOG_NORMAL:
            ratio, away = x[1] / y[1], x[0] - y[0]
            total += 0.5 * (ratio - 1.0 / ratio) ** 2
            total += 0.5 * ((away / x[1]) ** 2 + (away / y[1]) ** 2)
        elif kind == GAMMA:  # E[log z] = 1 - row[3]
            total += (x[0] - y[0]) * (y[3] - x[3])
            total -= (x[0] / x[1] - y[0] / y[1]) * (x[1] - y[1])
        elif kind == BETA:
            total += (x[0] - y[0]) * (y[3] - x[3]) + (x[1] - y[1]) * (y[4] - x[4])
        elif kind in (BERNOULLI, POISSON):
            total += (x[0] - y[0]) * (x[1] - y[1])
        else:
            for c in range(p, p + size):
                away = exp(chances[c]) - exp(other_chances[c])
                total += (chances[c] - other_chances[c]) * away
    return total
