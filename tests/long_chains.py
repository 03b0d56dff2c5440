"""Posteriors of linear models by long Markov chains: prints `long_chains.json`.

Random-walk Metropolis in plain NumPy, 200 chains at once. Steps have the covariance at the mode,
times 2.4^2 / D (Gelman, Roberts and Gilks 1996). Standard errors are those of the means over
chains, which are independent of each other. It takes two minutes:
`python tests/long_chains.py > tests/long_chains.json`.
"""

import json
import sys
from typing import NamedTuple

import numpy as np
from scipy.special import log_expit, log_ndtr

N_CHAINS, SEED = 200, 0
LINKS = {"logit": log_expit, "probit": log_ndtr}


class Problem(NamedTuple):
    """Sizes, link, variance of the prior, and how many rows have the first label.

    These are the rows of the highest scores; without a number labels are drawn.
    """

    n: int
    d: int
    link: str
    variance: float = 1.0
    n_first: int | None = None


PROBLEMS = {
    "10 D, logit": Problem(50, 5, "logit"),
    "10 D, probit": Problem(50, 5, "probit"),
    "100 D, logit": Problem(500, 5, "logit"),
    "100 D, probit": Problem(500, 5, "probit"),
    "separable, logit": Problem(20, 2, "logit", 10.0, 10),
    "rare, logit": Problem(300, 2, "logit", 10.0, 3),
}


def problem(name):
    """Rows, of which the first column is 1, and labels; from a generator whose numbers stay."""
    n, d, _, variance, n_first = PROBLEMS[name]
    rng = np.random.RandomState(7)
    X = rng.normal(size=(n, d))
    X[:, 0] = 1.0
    score = X @ (rng.normal(size=d) * 2.0 / np.sqrt(d))
    if n_first is None:
        return X, rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-score)), variance
    y = np.zeros(n, bool)
    y[np.argsort(-score)[:n_first]] = True
    return X, y, variance


def log_posterior(W, X, signs, variance, link):
    """Log densities (n,) of coefficients W (n, D), up to a constant."""
    return LINKS[link]((W @ X.T) * signs).sum(axis=1) - 0.5 * np.square(W).sum(axis=1) / variance


def mode_and_covariance(f, d):
    """By Newton's method on differences."""
    w, step = np.zeros(d), 1e-4
    for _ in range(50):
        shifts = step * np.eye(d)
        pairs = w + np.array([a * s + b * t for s in shifts for t in shifts
                              for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))])  # fmt: skip
        values = f(pairs).reshape(d, d, 4) @ np.array([1.0, -1.0, -1.0, 1.0]) / (4 * step**2)
        slope = (f(w + shifts) - f(w - shifts)) / (2 * step)
        cov = np.linalg.inv(-values)
        move = cov @ slope
        w = w + move * (2.0 / max(2.0, np.abs(move).max()))
    return w, cov


def long_run(name, n_steps):
    """Means and standard deviations of coefficients, and their standard errors."""
    X, y, variance = problem(name)
    link, d = PROBLEMS[name].link, X.shape[1]

    def f(W):
        return log_posterior(W, X, np.where(y, 1.0, -1.0), variance, link)

    rng = np.random.default_rng(SEED)
    mode, cov = mode_and_covariance(f, d)
    root = np.linalg.cholesky(cov) * 2.4 / np.sqrt(d)
    W = mode + rng.normal(size=(N_CHAINS, d)) @ root.T
    here, sums, squares, n_kept = f(W), np.zeros_like(W), np.zeros_like(W), 0
    for step in range(n_steps):
        there = W + rng.normal(size=W.shape) @ root.T
        found = f(there)
        taken = np.log(rng.uniform(size=N_CHAINS)) < found - here
        W, here = np.where(taken[:, None], there, W), np.where(taken, found, here)
        if step >= n_steps // 10:
            sums, squares, n_kept = sums + W, squares + W * W, n_kept + 1
    means = sums / n_kept
    mean = means.mean(axis=0)
    variances = squares / n_kept - 2 * mean * means + mean**2  # about the mean of all chains
    sd, error = np.sqrt(variances.mean(axis=0)), np.sqrt(N_CHAINS)
    return {
        "mean": mean.round(5).tolist(),
        "sd": sd.round(5).tolist(),
        "error of mean": float(np.max(means.std(axis=0) / error / sd).round(5)),  # in sd
        "error of sd": float(np.max(variances.std(axis=0) / error / (2 * sd**2)).round(5)),
    }


if __name__ == "__main__":
    steps = int(sys.argv[1]) if sys.argv[1:] else 10_000
    lines = (f"  {json.dumps(name)}: {json.dumps(long_run(name, steps))}" for name in PROBLEMS)
    print("{\n" + ",\n".join(lines) + "\n}")
