"""The problems of the benchmarks of latent binary features, for fastvi and its peers."""

import time

import numpy as np

BITS = (8, 16, 32)


def images(n, k=20, seed=0):
    """Rows of 36 pixels: four images (Griffiths and Ghahramani 2011) and noise; a start (n, k)."""
    rng = np.random.default_rng(seed)
    shapes = np.zeros((4, 6, 6))
    shapes[0, 0:3, 1] = shapes[0, 1, 0:3] = 1
    shapes[1, 0:3, 3:6] = 1
    shapes[1, 1, 4] = 0
    shapes[2, 3:6, 0] = shapes[2, 5, 0:3] = shapes[2, 4, 1] = 1
    shapes[3, 3:6, 4] = shapes[3, 3, 3:6] = 1
    X = (rng.uniform(size=(n, 4)) < 0.5) @ shapes.reshape(4, 36) + 0.5 * rng.normal(size=(n, 36))
    return X, rng.uniform(0.05, 0.95, (n, k))


def digits():
    """scikit-learn's digits, shuffled: 1297 rows to fit and 500 to compress."""
    from sklearn.datasets import load_digits

    X = load_digits().data
    order = np.random.default_rng(0).permutation(len(X))
    return X[order[:-500]], X[order[-500:]]


def cpu_seconds(call, repeats):
    """The median time of calls after one that warms up."""
    call()
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        call()
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds))


def relative_error(X, rebuilt, mean):
    """Root mean squared error, relative to that of the mean."""
    return float(np.sqrt(np.mean((X - rebuilt) ** 2) / np.mean((X - mean) ** 2)))
