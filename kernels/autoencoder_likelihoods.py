"""Log likelihoods of rows given the decoder's outputs, and their slopes in place of these.

Shapes: R = n K draws, K of each of n rows, one after another; E entries of a row, as the decoder
sees them. Arrays are flat: x (n E), out (R E), or (R 2 E) where the decoder finds the noise. Sums
over CHUNK numbers are in float32, and those of chunks in float64.
"""

import numpy as np

from ._jit import kernel
from ._pointers import array_at, call_target
from .networks import ONE, ZERO
from .special import exp, log
from .targets import INTEGER, REAL, SUCCESS, address_of

BERNOULLI, GAUSSIAN, POISSON, CATEGORICAL = range(4)
N_LEVELS, N_ENTRIES, N_OUT, NOISE = range(4)  # of the table
SINGLE = np.dtype(np.float32)
CHUNK = 64  # exp(-|x|) + 1 is at most 2, so that products of 64 do not overflow
HALF, TWO = np.float32(0.5), np.float32(2.0)
HALF_LOG_2PI = np.float32(0.5 * np.log(2.0 * np.pi))


@kernel
def _bernoulli_value(x, logits, small):
    """Sum of x logit - log(1 + exp(logit)); small (E,) is exp(-|logit|)."""
    total = 0.0
    for a in range(0, x.size, CHUNK):
        linear, factors = ZERO, ONE
        for j in range(a, min(a + CHUNK, x.size)):
            linear += x[j] * logits[j] - max(logits[j], ZERO)
        for j in range(a, min(a + CHUNK, x.size)):
            factors *= ONE + small[j]
        total += linear - log(factors)
    return total


@kernel
def bernoulli(x, logits, small, values):
    """Out: values (R,); logits (R E) become slopes. Of x in [0, 1]; small (E,) is scratch."""
    width = small.size
    n_draws = values.size // (x.size // width)
    for r in range(values.size):
        row, target = logits[r * width : (r + 1) * width], x[r // n_draws * width :][:width]
        for j in range(width):
            small[j] = exp(-abs(row[j]))
        values[r] = _bernoulli_value(target, row, small)
        for j in range(width):
            row[j] = target[j] - (ONE if row[j] >= ZERO else small[j]) / (ONE + small[j])


@kernel
def _gaussian_value(x, means, precisions):
    """Sum of precision (x - mean)^2 / 2."""
    total = 0.0
    for a in range(0, x.size, CHUNK):
        part = ZERO
        for j in range(a, min(a + CHUNK, x.size)):
            away = x[j] - means[j]
            part += HALF * precisions[j] * away * away
        total += part
    return total


@kernel
def _sum_single(x):
    """Sum of float32 numbers."""
    total = 0.0
    for a in range(0, x.size, CHUNK):
        part = ZERO
        for j in range(a, min(a + CHUNK, x.size)):
            part += x[j]
        total += part
    return total


@kernel
def gaussian(x, means, log_sd, precisions, values):
    """Out: values (R,); means (R E) become slopes. The noise (E,) is that of all rows."""
    width = log_sd.size
    n_draws = values.size // (x.size // width)
    constant = _sum_single(log_sd) + width * HALF_LOG_2PI
    for r in range(values.size):
        row, target = means[r * width : (r + 1) * width], x[r // n_draws * width :][:width]
        values[r] = -constant - _gaussian_value(target, row, precisions)
        for j in range(width):
            row[j] = precisions[j] * (target[j] - row[j])


@kernel
def gaussian_by_network(x, out, precisions, values):
    """Out: values (R,); out (R 2 E), means and log standard deviations of each draw, become
    slopes. precisions (E,) is scratch.
    """
    width = precisions.size
    n_draws = values.size // (x.size // width)
    for r in range(values.size):
        means, target = out[2 * r * width :][:width], x[r // n_draws * width :][:width]
        log_sd = out[(2 * r + 1) * width :][:width]
        for j in range(width):
            precisions[j] = exp(-TWO * log_sd[j])
        constant = _sum_single(log_sd) + width * HALF_LOG_2PI
        values[r] = -constant - _gaussian_value(target, means, precisions)
        for j in range(width):
            away = target[j] - means[j]
            means[j] = precisions[j] * away
            log_sd[j] = precisions[j] * away * away - ONE


@kernel
def _poisson_value(x, log_rates, rates):
    """Sum of x log rate - rate."""
    total = 0.0
    for a in range(0, x.size, CHUNK):
        part = ZERO
        for j in range(a, min(a + CHUNK, x.size)):
            part += x[j] * log_rates[j] - rates[j]
        total += part
    return total


@kernel
def poisson(x, log_rates, rates, values):
    """Out: values (R,) without log x!; log rates (R E) become slopes. rates (E,) is scratch."""
    width = rates.size
    n_draws = values.size // (x.size // width)
    for r in range(values.size):
        row, target = log_rates[r * width : (r + 1) * width], x[r // n_draws * width :][:width]
        for j in range(width):
            rates[j] = exp(row[j])
        values[r] = _poisson_value(target, row, rates)
        for j in range(width):
            row[j] = target[j] - rates[j]


@kernel
def _largest(x):
    most = x[0]
    for j in range(1, x.size):
        most = max(most, x[j])
    return most


@kernel
def _dot_single(x, y):
    """Sum of x y of float32 numbers."""
    total = 0.0
    for a in range(0, x.size, CHUNK):
        part = ZERO
        for j in range(a, min(a + CHUNK, x.size)):
            part += x[j] * y[j]
        total += part
    return total


@kernel
def categorical(x, logits, chances, n_levels, values):
    """Out: values (R,); logits (R E) become slopes. Of counts in groups of so many levels each,
    without the numbers of ways; chances (E,) is scratch.
    """
    width = chances.size
    n_draws = values.size // (x.size // width)
    for r in range(values.size):
        row, target = logits[r * width : (r + 1) * width], x[r // n_draws * width :][:width]
        value = 0.0
        for a in range(0, width, n_levels):
            group, counts = row[a : a + n_levels], target[a : a + n_levels]
            share = chances[a : a + n_levels]
            most = _largest(group)
            for j in range(n_levels):
                share[j] = exp(group[j] - most)
            total, n = np.float32(_sum_single(share)), np.float32(_sum_single(counts))
            value += _dot_single(counts, group) - n * (most + log(total))
            factor = n / total
            for j in range(n_levels):
                group[j] = counts[j] - factor * share[j]
        values[r] = value


@kernel
def log_likelihoods(kind, n_levels, x, out, noise, values, table):
    """Call the log likelihoods at the address `kind`, so that others are not compiled.

    Out: values (R,), and slopes in place of the decoder's outputs; noise (2 E) holds logs of
    standard deviations and precisions if the noise is Gaussian and not by the network. `table`
    (9,) int64 is overwritten.
    """
    table[N_LEVELS], table[N_ENTRIES], table[N_OUT] = n_levels, noise.size // 2, out.size
    table[NOISE] = address_of(noise)
    return call_target(
        kind, values.size, x.size, address_of(x), address_of(table), address_of(values),
        address_of(out),
    )  # fmt: skip


@kernel
def _given(k, n, x, data, values, out):
    """Arrays at the addresses that `log_likelihoods` hands over, and the number of levels."""
    table = array_at(data, (9,), INTEGER)
    width = table[N_ENTRIES]
    noise = array_at(table[NOISE], (2 * width,), SINGLE)
    return (
        array_at(x, (n,), SINGLE), array_at(out, (table[N_OUT],), SINGLE), noise[:width],
        noise[width:], array_at(values, (k,), REAL), table[N_LEVELS],
    )  # fmt: skip


def bernoulli_at(k, n, x, data, values, out):
    """As `bernoulli`, of the signature `TARGET`, as are the others below."""
    seen, logits, _, small, found, _ = _given(k, n, x, data, values, out)
    bernoulli(seen, logits, small, found)
    return SUCCESS


def gaussian_at(k, n, x, data, values, out):
    """As `gaussian`."""
    seen, means, log_sd, precisions, found, _ = _given(k, n, x, data, values, out)
    gaussian(seen, means, log_sd, precisions, found)
    return SUCCESS


def gaussian_by_network_at(k, n, x, data, values, out):
    """As `gaussian_by_network`."""
    seen, both, _, precisions, found, _ = _given(k, n, x, data, values, out)
    gaussian_by_network(seen, both, precisions, found)
    return SUCCESS


def poisson_at(k, n, x, data, values, out):
    """As `poisson`."""
    seen, log_rates, _, rates, found, _ = _given(k, n, x, data, values, out)
    poisson(seen, log_rates, rates, found)
    return SUCCESS


def categorical_at(k, n, x, data, values, out):
    """As `categorical`."""
    seen, logits, _, chances, found, n_levels = _given(k, n, x, data, values, out)
    categorical(seen, logits, chances, n_levels, found)
    return SUCCESS
