"""The logistic regression for timing gradients of fastvi and its twins."""

import evaluation as ev
import numpy as np


def problem(n, d, seed=0):
    """X (n, d), y (n,) of 0 and 1, and a mean-field q near the posterior: mean, sd (d,)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    w = rng.normal(size=d) / np.sqrt(d)
    y = (rng.random(n) < 1 / (1 + np.exp(-X @ w))).astype(float)
    return X, y, w, np.full(d, 2 / np.sqrt(n))


def milliseconds(run, least=0.5, most=50):
    """Median CPU milliseconds of `run()`, after one call that is not counted."""
    run()
    times = _seconds(run, least, most)
    return {"ms": 1e3 * float(np.median(times)), "calls": len(times)}


def _seconds(run, least, most):
    """CPU seconds of each of at least 3 calls."""
    times = []
    while len(times) < 3 or (sum(times) < least and len(times) < most):
        with ev.Stopwatch() as watch:
            run()
        times.append(watch.cpu)
    return times


SCHOOLS = {
    "y": np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
    "sigma": np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
}


def a_step(run, n_steps, least=1.0, most=20):
    """Median CPU milliseconds per step of `run()`, of `n_steps` steps, without its first call."""
    with ev.Stopwatch() as first:
        run()
    times = _seconds(run, least, most)
    return {"ms": 1e3 * float(np.median(times)) / n_steps, "first": first.wall, "steps": n_steps}
