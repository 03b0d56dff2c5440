"""Plain twins of `fastvi.kernels.supervised`: bounds of one document, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import gammaln, logsumexp, psi


def label_bound(m: Any, length: float, label: int, coefficients: Any) -> float:
    """Lower bound on E[log softmax(coefficients z)[label]], z the mean of `length` assignments."""
    inner = [length * np.log(np.sum(m * np.exp(b / length))) for b in coefficients]
    return float(coefficients[label] @ m - logsumexp(inner))


def number_bound(m: Any, length: float, y: float, b: Any, variance: float) -> float:
    """Lower bound on E[log N(y | b'z, variance)]."""
    mean = b @ m
    square = (y - mean) ** 2 + np.sum(m * (b - mean) ** 2) / length
    return float(-0.5 * (square / variance + np.log(2 * np.pi * variance)))


def document(
    words: Any, counts: Any, weights: Any, shift: Any, alpha: Any, response: Any, u: Any,
    share: float, max_iter: int,
) -> tuple[float, Any, Any]:  # fmt: skip
    """Fit a document: its bound, E[z] and log h.

    ``response(m, length)`` returns the response's part of the bound and its gradient by a word's
    assignment. `share` is how far log h moves in an iteration.
    """
    length = counts.sum()
    for i in range(max_iter):
        phi = np.exp(u) * weights[words]
        phi /= phi.sum(axis=1, keepdims=True)
        m = counts @ phi / length
        value, slope = response(m, length)
        gamma = alpha + length * m
        logs = psi(gamma) - psi(gamma.sum())
        if i + 1 < max_iter:
            u = (1 - share) * u + share * (logs + slope)
    bound = value + np.sum(counts[:, None] * phi * (logs + np.log(weights[words]) - np.log(phi)))
    bound += counts @ shift[words]
    prior = gammaln(alpha.sum()) - gammaln(alpha).sum() + (alpha - 1) @ logs
    own = gammaln(gamma.sum()) - gammaln(gamma).sum() + (gamma - 1) @ logs
    return float(bound + prior - own), m, u
