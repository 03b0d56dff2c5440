"""Data and settings of the mixture benchmarks, the same for both libraries."""

import warnings

import evaluation as ev
import numpy as np


def blobs(n, d, k, dtype="float64", seed=0):
    """Rows (n, d) of k overlapping Gaussian clusters with different covariances."""
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
        """Return the median and the least, without the first iteration, which may compile."""
        seconds = np.diff(self.times)
        return {"cpu": float(np.median(seconds)), "least": float(seconds.min())}


def model_of(kind, k, iterations, covariance_type="full", weights="dirichlet_process", **options):
    """A mixture of the class `kind`, fastvi's or scikit-learn's."""
    return kind(
        n_components=k,
        covariance_type=covariance_type,
        weight_concentration_prior_type=weights,
        init_params="random",
        max_iter=iterations,
        tol=0.0,
        random_state=0,
        **options,
    )


def predict(kind, n, d, k, dtype="float64", covariance_type="full"):
    """CPU seconds of `predict` and `score_samples` for all rows."""
    X = blobs(n, d, k, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = model_of(kind, k, 2, covariance_type).fit(X)
    _, labels = ev.timed(lambda: model.predict(X))
    _, scores = ev.timed(lambda: model.score_samples(X))
    return {"predict": labels.cpu, "score_samples": scores.cpu}
