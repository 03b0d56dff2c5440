"""Plain twins of hidden chains: every path on its own, and one step at a time in logs."""

import itertools
import math

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal


def log_of(p):
    return math.log(p) if p > 0 else -math.inf


def path_logs(logs, start, transitions):
    """Every path of one sequence, and the log of its weight."""
    n, k = len(logs), len(start)
    for path in itertools.product(range(k), repeat=n):
        total = log_of(start[path[0]]) + logs[0][path[0]]
        for t in range(1, n):
            total += log_of(transitions[path[t - 1]][path[t]]) + logs[t][path[t]]
        yield path, total


def enumerated(logs, start, transitions):
    """Log norm, posteriors (n, K), sums over pairs (K, K) and the first best path."""
    n, k = len(logs), len(start)
    paths = list(path_logs(logs, start, transitions))
    norm = logsumexp([total for _, total in paths])
    posterior, pairs = np.zeros((n, k)), np.zeros((k, k))
    for path, total in paths:
        share = math.exp(total - norm)
        for t in range(n):
            posterior[t, path[t]] += share
            if t:
                pairs[path[t - 1], path[t]] += share
    return norm, posterior, pairs, max(paths, key=lambda pair: pair[1])[0]


def viterbi(logs, start, transitions):
    """The best path of one sequence, step by step; of equal states the lowest."""
    with np.errstate(divide="ignore"):
        log_start, moves = np.log(start), np.log(transitions)
    best, came = log_start + logs[0], []
    for row in logs[1:]:
        paths = best[:, None] + moves
        came.append(paths.argmax(axis=0))
        best = paths.max(axis=0) + row
    path = [int(best.argmax())]
    for origin in reversed(came):
        path.append(int(origin[path[-1]]))
    return path[::-1]


def gaussian_step(X, posterior, means_weight=0.0, covars_prior=1e-2, covars_weight=1.0):
    """Means and full covariances that follow from posteriors, one row at a time."""
    k, d = posterior.shape[1], X.shape[1]
    means, covars = np.zeros((k, d)), np.zeros((k, d, d))
    for j in range(k):
        count = sum(posterior[:, j])
        means[j] = sum(p * x for p, x in zip(posterior[:, j], X)) / (means_weight + count)
        scatter = sum(p * np.outer(x - means[j], x - means[j]) for p, x in zip(posterior[:, j], X))
        scatter = scatter + means_weight * np.outer(means[j], means[j])
        covars[j] = (covars_prior + scatter) / (max(covars_weight - d, 0) + count)
    return means, covars


def in_logs(logs, start, transitions, first):
    """Log norm, sums of first states (K,) and of pairs (K, K), and posteriors (n, K), by rows."""
    with np.errstate(divide="ignore"):
        log_start, moves = np.log(start), np.log(transitions)
    n, k = logs.shape
    alpha, norms = np.empty((n, k)), np.empty(n)  # alpha is relative to its sum
    posterior, pairs = np.empty((n, k)), np.zeros((k, k))
    begins = np.zeros(n, bool)
    begins[first] = True
    for t in range(n):
        before = log_start if begins[t] else _log_sum(alpha[t - 1][:, None] + moves, axis=0)
        alpha[t] = before + logs[t]
        norms[t] = _log_sum(alpha[t])
        alpha[t] -= norms[t] if np.isfinite(norms[t]) else 0.0
    possible = np.repeat(np.isfinite(np.add.reduceat(norms, first)), np.diff([*first, n]))
    beta = np.zeros(k)
    for t in range(n - 1, -1, -1):
        if not possible[t]:
            posterior[t], beta = 0.0, np.zeros(k)
            continue
        posterior[t] = _shares(alpha[t] + beta)
        if t and not begins[t]:
            ahead = logs[t] + beta - norms[t]
            pairs += _shares(alpha[t - 1][:, None] + moves + ahead)
            beta = _log_sum(moves + ahead, axis=1)
        else:
            beta = np.zeros(k)
    return float(norms.sum()), posterior[first].sum(axis=0), pairs, posterior


def _shares(logs):
    found = np.exp(logs - logs.max())
    return found / found.sum()


def _log_sum(logs, axis=None):
    """Several times as fast on small arrays as SciPy's."""
    top = np.maximum(logs.max(axis=axis), -1e300)
    shift = top if axis is None else np.expand_dims(top, axis)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(logs - shift).sum(axis=axis)) + top


def matrices(covars, kind, k, d):
    """Covariances (K, D, D), whatever their type."""
    if kind == "full":
        return covars
    if kind == "tied":
        return np.stack([covars] * k)
    return np.stack([np.diag(np.broadcast_to(c, d)) for c in covars])


def marginals(X, means, covars):
    """Log densities (n, K) of what is there of each row; 0 where there is nothing."""
    found = np.zeros((len(X), len(means)))
    for t, row in enumerate(X):
        there = ~np.isnan(row)
        for j in range(len(means)) if there.any() else ():
            covariance = covars[j][np.ix_(there, there)]
            found[t, j] = multivariate_normal.logpdf(row[there], means[j][there], covariance)
    return found


def completed(X, posterior, means, covars):
    """Sums (K,), (K, D), (K, D, D) of rows and products, expected given what is there of them.

    Rows with nothing are passed over.
    """
    k, d = means.shape
    counts, sums, products = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    for row, shares in zip(X, posterior):
        there = ~np.isnan(row)
        for j in range(k) if there.any() else ():
            slope = covars[j][:, there] @ np.linalg.inv(covars[j][np.ix_(there, there)])
            mean = means[j] + slope @ (row[there] - means[j][there])
            spread = covars[j] - slope @ covars[j][there]
            counts[j] += shares[j]
            sums[j] += shares[j] * mean
            products[j] += shares[j] * (np.outer(mean, mean) + spread)
    return counts, sums, products


def pair(logs, start, transitions, t):
    """Posterior of the states of rows t - 1 and t, over every path."""
    paths = list(path_logs(logs, start, transitions))
    norm = logsumexp([total for _, total in paths])
    found = np.zeros((len(start), len(start)))
    for path, total in paths:
        found[path[t - 1], path[t]] += math.exp(total - norm)
    return found
