"""Latent binary features: probabilities that rows have them, by coordinate ascent.

A row's bound is quadratic in its features z. With their probabilities nu it is

    sum_k nu_k (prior_k + beta (evidence_k - gram_kk / 2)) - beta sum_{l < k} nu_k nu_l gram_kl

plus the entropy of nu, so that nu_k = sigma(prior_k + beta (evidence_k - gram_kk / 2 -
sum_{l != k} nu_l gram_kl)) is best for it (Doshi-Velez et al. 2009, section 3, in Gram form). A
beta below 1 tempers the data's part.

Shapes: n rows lie side by side; of K features the first J are updated, and the others keep what
they have (an intercept is a feature of all rows). Pairs (k, l), l <= k, are packed in place
k (k + 1) / 2 + l of P = K (K + 1) / 2.
"""

import numpy as np

from ._jit import kernel
from .logistic import curvature
from .special import exp, log

LANES = 128  # rows at a time, whose numbers stay in the first cache
LEAST = 1e-18  # smaller probabilities are 0
TINY = 1e-300


@kernel
def _move(u, prior, beta, nu, moved):
    """In and out: nu (n,) of one feature, and moved (n,), the largest changes; u is overwritten.

    Three loops take half the time of one, which runs out of registers.
    """
    for i in range(nu.size):
        u[i] = prior + beta * u[i]
    for i in range(nu.size):
        new = 1.0 / (1.0 + exp(-u[i]))
        u[i] = new if new > LEAST else 0.0
    for i in range(nu.size):
        moved[i] = max(abs(u[i] - nu[i]), moved[i])
        nu[i] = u[i]


@kernel
def _settled(moved, tol):
    largest = 0.0
    for i in range(moved.size):
        largest = moved[i] if moved[i] > largest else largest
    return largest <= tol


@kernel
def update_alike(evidence, gram, prior, betas, tol, nu):
    """Coordinate ascent for rows with the same gram (K, K).

    evidence (J, n), prior (J,), betas (S,) of one sweep each; a block of rows ends early in a sweep
    with the same beta as the last if no probability changes by more than tol; in and out: nu
    (K, n).
    """
    n_features, n_rows = nu.shape
    scratch, changes = np.empty(LANES), np.empty(LANES)
    for start in range(0, n_rows, LANES):
        stop = min(start + LANES, n_rows)
        n = stop - start
        u, moved = scratch[:n], changes[:n]
        for s in range(betas.size):
            for i in range(n):
                moved[i] = 0.0
            for k in range(prior.size):
                own, given, row = gram[k], evidence[k, start:stop], nu[k, start:stop]
                for i in range(n):
                    u[i] = given[i] + own[k] * (row[i] - 0.5)
                for l in range(0, n_features - 3, 4):
                    g0, g1, g2, g3 = own[l], own[l + 1], own[l + 2], own[l + 3]
                    v0, v1 = nu[l, start:stop], nu[l + 1, start:stop]
                    v2, v3 = nu[l + 2, start:stop], nu[l + 3, start:stop]
                    for i in range(n):
                        u[i] -= g0 * v0[i] + g1 * v1[i] + g2 * v2[i] + g3 * v3[i]
                for l in range(n_features // 4 * 4, n_features):
                    g0, v0 = own[l], nu[l, start:stop]
                    for i in range(n):
                        u[i] -= g0 * v0[i]
                _move(u, prior[k], betas[s], row, moved)
            if s and betas[s] == betas[s - 1] and _settled(moved, tol):
                break


@kernel
def update_each(evidence, grams, prior, betas, tol, nu):
    """As `update_alike` for rows with a gram each, grams (P, n), packed."""
    n_features, n_rows = nu.shape
    scratch, changes = np.empty(LANES), np.empty(LANES)
    for start in range(0, n_rows, LANES):
        stop = min(start + LANES, n_rows)
        n = stop - start
        u, moved = scratch[:n], changes[:n]
        for s in range(betas.size):
            for i in range(n):
                moved[i] = 0.0
            for k in range(prior.size):
                given, own = evidence[k, start:stop], grams[k * (k + 3) // 2, start:stop]
                for i in range(n):
                    u[i] = given[i] - 0.5 * own[i]
                for l in range(n_features):
                    high, low = max(k, l), min(k, l)
                    if high == low:
                        continue
                    g, v = grams[high * (high + 1) // 2 + low, start:stop], nu[l, start:stop]
                    for i in range(n):
                        u[i] -= g[i] * v[i]
                _move(u, prior[k], betas[s], nu[k, start:stop], moved)
            if s and betas[s] == betas[s - 1] and _settled(moved, tol):
                break


@kernel
def entropy(nu, weights):
    """Sum of the entropies of nu (J, n) in nats, of rows with weights (n,)."""
    total = 0.0
    for k in range(nu.shape[0]):
        row = nu[k]
        for i in range(nu.shape[1]):
            p, q = row[i], 1.0 - row[i]
            total -= weights[i] * (p * log(max(p, TINY)) + q * log(max(q, TINY)))
    return total


@kernel
def pairs(nu, out):
    """Out (P, n): E[z_k z_l] of nu (K, n)."""
    for k in range(nu.shape[0]):
        first = k * (k + 1) // 2
        v, last = nu[k], out[first + k]
        for l in range(k):
            w, row = nu[l], out[first + l]
            for i in range(nu.shape[1]):
                row[i] = v[i] * w[i]
        for i in range(nu.shape[1]):
            last[i] = v[i]


@kernel
def bound_logits(squares, seen, totals):
    """Jaakkola and Jordan's (2000) bound of log sigma, at the best xi^2 = squares (D, n).

    In and out: squares, which become 2 lambda(xi), or 0 where seen (D, n) is 0; totals (n,) +=
    log sigma(xi) - xi / 2 + lambda(xi) xi^2 of those seen.
    """
    for d in range(squares.shape[0]):
        row, there = squares[d], seen[d]
        for i in range(squares.shape[1]):
            square = max(row[i], 0.0)
            xi = np.sqrt(square)
            lam = curvature(xi)
            totals[i] += there[i] * (lam * square - 0.5 * xi - log(1.0 + exp(-xi)))
            row[i] = 2.0 * there[i] * lam
