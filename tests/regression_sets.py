"""Data sets of regression, and what a sparse Gaussian process scored on them elsewhere."""

import numpy as np

# Published test log-likelihoods, an RBF with one length scale and M=100, mean (std) of ten splits,
# targets of variance 1: github.com/hughsalimbeni/bayesian_benchmarks @ a8fac6f,
# results/view_results.ipynb.
PUBLISHED = {
    "boston": (-0.180, 0.064),
    "concrete": (-0.353, 0.054),
    "energy": (1.227, 0.042),
    "power": (0.038, 0.036),
    "naval": (5.135, 0.015),
    "protein": (-1.090, 0.008),
}


def split(folder, name, s):
    """X, y to fit to and X, y to test on: split s of ten, standardised by the rows to fit to."""
    with np.load(folder / f"{name}.npz") as stored:
        X, y, seeds = stored["X"], stored["y"], stored["seeds"]
    X = X[:, X.std(axis=0) > 1e-9 * np.abs(X).max(axis=0)]
    order = np.random.RandomState(int(seeds[s])).permutation(len(y))
    train, test = np.split(order, [int(0.9 * len(y))])
    X = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    y = (y - y[train].mean()) / y[train].std()
    return X[train], y[train], X[test], y[test]
