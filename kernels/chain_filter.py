"""Filtered probabilities of a hidden chain's states, one row at a time."""

import math

import numpy as np

from ._jit import kernel
from .chain_emissions import LINEAR, PRODUCTS
from .special import logsumexp

NO_BASE, POISSON, MULTINOMIAL = 0, 1, 2


@kernel
def _logits(row, form, centre, factor, coefficients, out):
    """Coefficients (K, F) @ features of a row (D,); see `chain_emissions`."""
    n_features, n = row.shape[0], coefficients.shape[1]
    linear = n - n_features - 1
    for k in range(out.shape[0]):
        c = coefficients[k]
        total, f = c[n - 1], 0
        for i in range(n_features):
            x = (row[i] - centre[i]) * factor[i]
            total += c[linear + i] * x
            if form != LINEAR:
                for j in range(i, n_features if form == PRODUCTS else i + 1):
                    total += c[f] * x * (row[j] - centre[j]) * factor[j]
                    f += 1
        out[k] = total


@kernel
def _marginal_logits(row, form, centre, factor, coefficients, out):
    """The same where some numbers of the row are NaN, over which densities are integrated.

    With z = (x, 1) each is exp(z' m z), and its integral over x_h is sqrt(pi / -m_hh) times the
    same with m - m_h m_h' / m_hh.
    """
    n_features, n = row.shape[0], coefficients.shape[1]
    linear = n - n_features - 1
    m, z = np.zeros((n_features + 1, n_features + 1)), np.ones(n_features + 1)
    for i in range(n_features):
        z[i] = (row[i] - centre[i]) * factor[i]
    for k in range(out.shape[0]):
        c, f = coefficients[k], 0
        m[n_features, n_features] = c[n - 1]
        for i in range(n_features):
            m[i, n_features] = m[n_features, i] = 0.5 * c[linear + i]
            for j in range(i, n_features if form == PRODUCTS else i + 1):
                m[i, j] = m[j, i] = c[f] if i == j else 0.5 * c[f]
                f += 1
        total = 0.0
        for h in range(n_features):
            if row[h] != row[h]:
                total += 0.5 * math.log(math.pi / -m[h, h]) - math.log(factor[h])
                for i in range(n_features + 1):
                    share = m[i, h] / m[h, h]
                    for j in range(n_features + 1):
                        if i != h and j != h:
                            m[i, j] -= share * m[h, j]
        for i in range(n_features + 1):
            for j in range(n_features + 1):
                if z[i] == z[i] and z[j] == z[j]:
                    total += z[i] * m[i, j] * z[j]
        out[k] = total


@kernel
def _seen(row):
    """How many numbers of a row are not NaN."""
    n = 0
    for i in range(row.shape[0]):
        n += row[i] == row[i]
    return n


@kernel
def _log_densities(row, n_seen, form, centre, factor, coefficients, out):
    """Of a row of which n_seen numbers are there."""
    if n_seen < row.shape[0] and form != LINEAR:
        _marginal_logits(row, form, centre, factor, coefficients, out)
    else:
        _logits(row, form, centre, factor, coefficients, out)


@kernel
def _mixture_logits(row, n_seen, form, centre, factor, coefficients, out):
    """Of states (K,) with one component, or the logs of sums over components."""
    n = coefficients.shape[0]
    n_mix = n // out.shape[0]
    if n_mix == 1:
        _log_densities(row, n_seen, form, centre, factor, coefficients, out)
        return
    parts = np.empty(n)
    _log_densities(row, n_seen, form, centre, factor, coefficients, parts)
    for k in range(out.shape[0]):
        out[k] = logsumexp(parts[k * n_mix : (k + 1) * n_mix])


@kernel
def _base(row, kind):
    """Log of what a row's likelihoods have in common."""
    total, base = 0.0, 0.0
    for i in range(row.shape[0]):
        total += row[i]
        base -= math.lgamma(row[i] + 1)
    if kind == MULTINOMIAL:
        base += math.lgamma(total + 1)
    return base if kind != NO_BASE else 0.0


@kernel
def filter_step(
    row, form, base, centre, factor, coefficients, table, start, transitions, before, out
):
    """Out (K,): probabilities of states given a row (D,) and those before; its log density, nats.

    before (K,), or empty at the beginning of a sequence. Rows of symbols have a table (V, K) of log
    probabilities instead of coefficients (K, F), or (K M, F) if states have M components. A
    row of NaN is missing; other rows with NaN have the density of what is there if it is Gaussian.
    """
    n_states = out.shape[0]
    if before.shape[0]:
        for j in range(n_states):
            total = 0.0
            for i in range(n_states):
                total += before[i] * transitions[i, j]
            out[j] = total
    else:
        for j in range(n_states):
            out[j] = start[j]
    n_seen = _seen(row)
    if n_seen == 0:
        return 0.0
    logits = np.empty(n_states)
    if table.shape[0]:
        for k in range(n_states):
            logits[k] = table[int(row[0]), k]
    else:
        _mixture_logits(row, n_seen, form, centre, factor, coefficients, logits)
    top = -np.inf
    for k in range(n_states):
        if out[k] > 0 and logits[k] > top:
            top = logits[k]
    if top == -np.inf:
        return top
    for k in range(n_states):
        out[k] *= math.exp(logits[k] - top) if out[k] > 0 else 0.0
    norm = 0.0
    for k in range(n_states):
        norm += out[k]
    for k in range(n_states):
        out[k] /= norm
    return math.log(norm) + top + _base(row, base)
