"""A stream of Gaussian rows from a hidden chain, and where fits to it begin: the same for all."""

import numpy as np


def problem(n, k, d, kind="full", length=None, seed=0):
    """Rows (n, d), lengths, and the true start, transitions, means and covariances."""
    rng = np.random.default_rng(seed)
    moves = 0.1 * rng.dirichlet(np.full(k, 0.5), k) + 0.9 * np.eye(k)
    means, steps, states = rng.normal(0, 2, (k, d)), moves.cumsum(axis=1), np.zeros(n, int)
    for t, u in enumerate(rng.random(n - 1)):
        states[t + 1] = min(np.searchsorted(steps[states[t]], u), k - 1)
    X = means[states] + rng.normal(size=(n, d))
    lengths = [n] if length is None else [length] * (n // length)
    covars = {"full": np.tile(1.1 * np.eye(d), (k, 1, 1)), "diag": np.full((k, d), 1.1)}[kind]
    return X, lengths, np.full(k, 1.0 / k), moves, means, covars


def begin(model, start, moves, means, covars, n):
    """Set what a fit by expectation maximisation, or by variational Bayes, begins with."""
    k, d = means.shape
    if hasattr(model, "beta_prior"):
        count = n / k
        model.startprob_prior_, model.transmat_prior_ = np.full(k, 1 / k), np.full((k, k), 1 / k)
        model.startprob_posterior_, model.transmat_posterior_ = start + 0.1, count * moves + 0.1
        model.means_prior_, model.beta_prior_ = np.zeros((k, d)), np.ones(k)
        model.means_posterior_, model.beta_posterior_ = means, np.full(k, count)
        model.dof_prior_, model.dof_posterior_ = np.full(k, float(d)), np.full(k, count)
        matrices = covars.ndim == 3
        model.scale_prior_ = np.broadcast_to(1e-3 * (np.eye(d) if matrices else 1.0), covars.shape)
        model.scale_posterior_ = covars * count
    else:
        model.startprob_, model.transmat_, model.means_, model.covars_ = start, moves, means, covars
    return model
