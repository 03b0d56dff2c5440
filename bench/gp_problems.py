"""Problems of the Gaussian process benchmarks, for fastvi and its peers."""

import sys
from pathlib import Path

import evaluation as ev
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import regression_sets

PUBLISHED = regression_sets.PUBLISHED  # of each set

D = 8
LENGTH, VARIANCE, NOISE = 2.0, 1.0, 0.1


def rows(n, m):
    """Rows (n, D), targets (n,) and inducing inputs (m, D)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, D))
    return x, np.sin(x.sum(axis=1)) + 0.3 * rng.normal(size=n), rng.normal(size=(m, D))


def repeat(function, least=2.0):
    """Median CPU milliseconds per call, over calls that take `least` seconds together."""
    function()
    times = []
    while sum(times) < least or len(times) < 5:
        with ev.Stopwatch() as watch:
            function()
        times.append(watch.cpu)
    return {"ms": 1e3 * float(np.median(times)), "calls": len(times)}


def regression(name, split=0):
    """Standardised training and test rows of a data set under FASTVI_TEST_DATA/regression."""
    return regression_sets.split(ev.data_folder().parent / "regression", name, split)


def centres(x, m, seed):
    """Inducing inputs (m, D) to start from: centres of k-means."""
    from sklearn.cluster import KMeans

    return KMeans(m, n_init=1, random_state=seed).fit(x[:10_000]).cluster_centers_


def scores(mean, std, y):
    """Root mean square error and mean log-likelihood."""
    error = y - mean
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "log_likelihood": float(
            np.mean(-0.5 * np.log(2 * np.pi * std**2) - 0.5 * np.square(error / std))
        ),
    }
