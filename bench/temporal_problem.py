"""An irregular series with noise, the same for all, and how calls are timed."""

import time

import numpy as np


def series(n, seed=0):
    """Times (n,) and targets (n,)."""
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.exponential(size=n))
    return t, np.sin(t / 5.0) + 0.3 * rng.normal(size=n)


SD, LENGTH, NOISE = 1.1, 10.0, 0.1  # of the function, its scale in time, variance of the noise


def timed(function, repeats=7):
    """CPU seconds of a call, the median after the first, and what it returns."""
    found = function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        found = function()
        times.append(time.process_time() - start)
    return float(np.median(times)), found
