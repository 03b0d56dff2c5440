"""Plain twins of `fastvi.kernels.kalman`: the joint Gaussian of all states of a sequence."""

import numpy as np


def joint(mean, covariance, transition, noise, drift):
    """Mean (T K,) and covariance (T K, T K) of the states of a sequence; drift (T, K)."""
    k, n = len(mean), len(drift)
    means, own = [mean], [covariance]
    for row in drift[1:]:
        means.append(transition @ means[-1] + row)
        own.append(transition @ own[-1] @ transition.T + noise)
    whole = np.zeros((n * k, n * k))
    for s in range(n):
        block = own[s]
        for t in range(s, n):
            whole[t * k : (t + 1) * k, s * k : (s + 1) * k] = block
            whole[s * k : (s + 1) * k, t * k : (t + 1) * k] = block.T
            block = transition @ block
    return np.concatenate(means), whole


def conditioned(means, whole, loadings, noise, rest):
    """Log density of rows rest (T, D), NaN where missing, and states given them.

    Means (T, K), covariances (T, K, K) and those with the next state (T - 1, K, K).
    """
    n, k = len(rest), loadings.shape[1]
    seen = ~np.isnan(rest).ravel()
    big = np.kron(np.eye(n), loadings)[seen]
    spread = big @ whole @ big.T + np.kron(np.eye(n), noise)[np.ix_(seen, seen)]
    away = rest.ravel()[seen] - big @ means
    log_det = np.linalg.slogdet(spread)[1] if len(away) else 0.0
    log_density = -0.5 * (len(away) * np.log(2 * np.pi) + log_det)
    log_density -= 0.5 * away @ np.linalg.solve(spread, away)
    gain = whole @ big.T @ np.linalg.inv(spread)
    means, whole = means + gain @ away, whole - gain @ big @ whole
    blocks = whole.reshape(n, k, n, k)
    at = np.arange(n)
    return log_density, means.reshape(n, k), blocks[at, :, at], blocks[at[1:], :, at[:-1]]


def smoothed(params, X, inputs):
    """The same for a `Linear` system and one sequence."""
    noise = params.rows_noise
    noise = np.diag(noise) if noise.ndim == 1 else noise
    drift = inputs @ params.inputs.T
    means, whole = joint(params.mean, params.covariance, params.transition, params.noise, drift)
    rest = X - np.hstack((np.ones((len(X), 1)), inputs)) @ params.offsets.T
    return conditioned(means, whole, params.loadings, noise, rest)


def observations(params, X, inputs):
    """The rows' loadings, offsets and noise of largest expected density, for one sequence.

    From the joint Gaussian of states and rows, given the numbers that are there; rows without any
    count for nothing.
    """
    noise, (n, d), k = params.rows_noise, X.shape, len(params.mean)
    noise = np.diag(noise) if noise.ndim == 1 else noise
    drift, constant = inputs @ params.inputs.T, np.hstack((np.ones((n, 1)), inputs))
    means, whole = joint(params.mean, params.covariance, params.transition, params.noise, drift)
    big = np.kron(np.eye(n), params.loadings)
    both = np.block([[whole, whole @ big.T], [big @ whole, big @ whole @ big.T]])
    both[n * k :, n * k :] += np.kron(np.eye(n), noise)
    mean = np.concatenate((means, big @ means + (constant @ params.offsets.T).ravel()))
    at = n * k + np.flatnonzero(~np.isnan(X).ravel())
    gain = np.linalg.solve(both[np.ix_(at, at)], both[at]).T
    mean = mean + gain @ (X.ravel()[at - n * k] - mean[at])
    both = both - gain @ both[at]
    gram, cross, squares, count = 0.0, 0.0, 0.0, 0
    for t in np.flatnonzero(~np.isnan(X).all(axis=1)):
        own, row = slice(t * k, t * k + k), slice(n * k + t * d, n * k + t * d + d)
        z, x = np.append(mean[own], constant[t]), mean[row]
        spread = np.zeros((len(z), len(z)))
        spread[:k, :k] = both[own, own]
        mixed = np.zeros((d, len(z)))
        mixed[:, :k] = both[row, own]
        gram, cross = gram + np.outer(z, z) + spread, cross + np.outer(x, z) + mixed
        squares, count = squares + np.outer(x, x) + both[row, row], count + 1
    found = np.linalg.solve(gram, cross.T).T
    return found[:, :k], found[:, k:], (squares - found @ cross.T) / count
