"""What every Gaussian process benchmark is run on, by fastvi and its peers alike."""

import evaluation as ev
import numpy as np

D = 8
LENGTH, VARIANCE, NOISE = 2.0, 1.0, 0.1


def rows(n, m):
    """Rows (n, D), targets (n,) and inducing inputs (m, D)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, D))
    return x, np.sin(x.sum(axis=1)) + 0.3 * rng.normal(size=n), rng.normal(size=(m, D))


def repeat(function, least=2.0):
    """Milliseconds of CPU a call: the median of calls that take `least` seconds together."""
    function()
    times = []
    while sum(times) < least or len(times) < 5:
        with ev.Stopwatch() as watch:
            function()
        times.append(watch.cpu)
    return {"ms": 1e3 * float(np.median(times)), "calls": len(times)}


def regression(name, split=0):
    """Training and test rows of a set under FASTVI_TEST_DATA/regression, standardised."""
    with np.load(ev.data_folder().parent / "regression" / f"{name}.npz") as stored:
        x, y, seeds = stored["X"], stored["y"], stored["seeds"]
    x = x[:, x.std(axis=0) > 1e-9 * np.abs(x).max(axis=0)]
    order = np.random.RandomState(int(seeds[split])).permutation(len(y))
    train, test = np.split(order, [int(0.9 * len(y))])
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    y = (y - y[train].mean()) / y[train].std()
    return x[train], y[train], x[test], y[test]


def scores(mean, std, y):
    """Root mean square error and mean log-likelihood."""
    error = y - mean
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "log_likelihood": float(
            np.mean(-0.5 * np.log(2 * np.pi * std**2) - 0.5 * np.square(error / std))
        ),
    }
