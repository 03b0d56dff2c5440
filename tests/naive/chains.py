"""Plain twins of hidden chains: every path on its own, and one step at a time in logs."""

import itertools
import math

import numpy as np
from scipy.special import logsumexp


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
