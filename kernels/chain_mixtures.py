"""Rows of a hidden chain whose states are mixtures; shapes as in `chain_emissions`.

A state has M components, and the logits of the K M components are linear in the rows' features.
"""

import numpy as np

from ._jit import kernel
from .chain_emissions import _features, _relative
from .special import exp, log


@kernel
def _mixed(parts, n_mix, total, out):
    """Logs of sums of components: from parts (K M, W) to out (K, W); total (W,) is scratch."""
    n_states, width = out.shape
    for k in range(n_states):
        row, first = out[k], parts[k * n_mix]
        for c in range(width):
            row[c] = first[c]
            total[c] = 0
        for m in range(1, n_mix):
            part = parts[k * n_mix + m]
            for c in range(width):
                row[c] = part[c] if part[c] > row[c] else row[c]
        for c in range(width):
            row[c] = row[c] if row[c] > -1e300 else -1e300
        for m in range(n_mix):
            part = parts[k * n_mix + m]
            for c in range(width):
                total[c] += exp(part[c] - row[c])
        for c in range(width):
            row[c] += log(total[c]) if total[c] > 0 else 0.0


@kernel
def mixture_likelihoods(form, X, centre, factor, coefficients, seen, counted, logs, out):
    """Of components with logits coefficients (K M, F) @ features; X (Q W, D), out (Q, K, W)."""
    n_strips, n_states, width = out.shape
    n_parts = coefficients.shape[0]
    features, parts = np.empty((coefficients.shape[1], width)), np.empty((n_parts, width))
    top, scratch = np.empty(width), np.empty(width)
    total = 0.0
    for q in range(n_strips):
        _features(form, X, centre, factor, q * width, features)
        np.dot(coefficients, features, parts)
        _mixed(parts, n_parts // n_states, scratch, out[q])
        total += _relative(out[q], seen[q], counted[q], top, logs)
    return total


@kernel
def mixture_sums(form, X, centre, factor, coefficients, posterior, counted, out):
    """Add features of counted rows, weighted by posteriors of components, to out (K M, F).

    posterior (Q, K, W) is that of states.
    """
    n_strips, n_states, width = posterior.shape
    n_parts = coefficients.shape[0]
    n_mix = n_parts // n_states
    features, parts = np.empty((coefficients.shape[1], width)), np.empty((n_parts, width))
    scratch, logs, product = np.empty(width), np.empty((n_states, width)), np.empty(out.shape)
    for q in range(n_strips):
        _features(form, X, centre, factor, q * width, features)
        np.dot(coefficients, features, parts)
        _mixed(parts, n_mix, scratch, logs)
        weights = counted[q]
        for p in range(n_parts):
            row, total, share = parts[p], logs[p // n_mix], posterior[q, p // n_mix]
            for c in range(width):
                row[c] = exp(row[c] - total[c]) * share[c] * weights[c]
        np.dot(parts, features.T, product)
        for p in range(n_parts):
            for f in range(out.shape[1]):
                out[p, f] += product[p, f]
