"""Data of the mixture benchmarks, the same for every library."""

import evaluation as ev
import numpy as np


def blobs(n, d, k, dtype="float64", seed=0):
    """Rows (n, d) of k overlapping Gaussian clusters with covariances of their own."""
    rng = np.random.default_rng(seed)
    means = 2.0 * rng.normal(size=(k, d))
    mixing = np.eye(d) + 0.3 * rng.normal(size=(k, d, d)) / np.sqrt(d)
    z = rng.integers(k, size=n)
    X = rng.normal(size=(n, d))
    for j in range(k):
        X[z == j] = X[z == j] @ mixing[j].T + means[j]
    return X.astype(dtype)


class Iterations:
    """CPU seconds of each iteration: call it at the end of every one."""

    def __init__(self):
        self.times = []

    def __call__(self):
        self.times.append(ev.cpu_seconds())

    def result(self):
        """The median and the least; the first iteration, which may compile, does not count."""
        seconds = np.diff(self.times)
        return {"cpu": float(np.median(seconds)), "least": float(seconds.min())}
