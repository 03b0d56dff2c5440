"""The problem for fastvi and its twins: a whole corpus, with the same start and prior."""

from typing import NamedTuple

import evaluation as ev
import numpy as np
import scipy.sparse as sp

A, A_PRIME, B_PRIME = 0.3, 0.3, 1.0  # of rows and of columns alike


class Start(NamedTuple):
    """q(beta_ik) = Gamma(shapes_ik, E[eta_i] + rates_k), q(eta_i) of rate popularity_i."""

    shapes: np.ndarray  # (V, K) float32
    popularity: np.ndarray  # (V,) float64
    rates: np.ndarray  # (K,) float64


def counts(corpus):
    """All documents of a corpus, (D, V) float32 CSR with int32 indices."""
    with np.load(ev.data_folder() / f"{corpus}.npz") as f:
        X = sp.csr_matrix((f["data"], f["indices"], f["indptr"]), shape=tuple(f["shape"]))
    X.sort_indices()
    return X.astype(np.float32)


def start(X, k, seed=0):
    """Columns' shares, perturbed, at a scale that fits the mean count."""
    rng = np.random.default_rng(seed)
    totals = np.asarray(X.sum(axis=0)).ravel()
    mean = A / B_PRIME
    scale = np.sqrt(totals.sum(dtype=float) / (X.shape[0] * X.shape[1] * k * mean**2))
    shapes = A + totals[:, None] / k * rng.gamma(100, 0.01, (X.shape[1], k))
    popularity = np.full(X.shape[1], A_PRIME / B_PRIME + k * mean * scale)
    return Start(shapes.astype(np.float32), popularity, np.full(k, X.shape[0] * mean * scale))


def timing(run, X, iterations, repeats=5):
    """CPU seconds of each of `repeats` calls of `run()`, after one that is not counted."""
    run()
    watches = []
    for _ in range(repeats):
        with ev.Stopwatch() as watch:
            run()
        watches.append(watch)
    cpu = [w.cpu for w in watches]
    median = float(np.median(cpu))
    return {
        "entries": X.nnz,
        "cpu": median,
        "all_cpu": cpu,
        "wall": float(np.median([w.wall for w in watches])),
        "updates_per_s": X.nnz * iterations / median,
    }
