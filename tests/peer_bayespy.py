"""What BayesPy finds for two small problems, as test_factors.py has it in peer_bayespy.json.

    pip install bayespy==0.6.6 "numpy<2" "scipy<1.14" && python tests/peer_bayespy.py

The model of its manual's "Principal component analysis", also with one noise precision a feature.
"""

import json
from pathlib import Path

import numpy as np

N, D, K = 30, 5, 2
SHAPE, RATE = 0.7, 0.4  # of both Gamma priors
PATH = Path(__file__).with_suffix(".json")


def problem():
    """Rows (N, D) of columns with mean 0, and factors (N, K) to start from, without a generator."""
    i, d, k = np.arange(N)[:, None], np.arange(D), np.arange(K)
    X = 3 * np.sin(0.7 * i) * (d - 1) + np.cos(1.9 * i) * (d % 3) + np.sin(37 * i * (d + 1.5))
    Z = np.cos(1.1 * i * (k + 1) + 0.3 * k)
    return X - X.mean(axis=0), Z


def solve(per_feature, n_iter):
    """Bounds after each pass (C, tau, alpha, X), and posterior means after the last."""
    from bayespy.inference import VB
    from bayespy.nodes import Gamma, GaussianARD, SumMultiply

    rows, start = problem()
    factors = GaussianARD(0, 1, shape=(K,), plates=(1, N))
    alpha = Gamma(SHAPE, RATE, plates=(K,))
    loadings = GaussianARD(0, alpha, shape=(K,), plates=(D, 1))
    tau = Gamma(SHAPE, RATE, plates=(D, 1) if per_feature else ())
    data = GaussianARD(SumMultiply("d,d->", loadings, factors), tau)
    data.observe(rows.T)
    factors.initialize_from_parameters(start[None], np.ones((1, N, K)))
    engine = VB(data, loadings, tau, alpha, factors)
    bounds = []
    for _ in range(n_iter):
        for node in (loadings, tau, alpha, factors):
            engine.update(node, repeat=1, verbose=False)
        bounds.append(float(engine.compute_lowerbound()))
    mean = loadings.get_moments()[0][:, 0]
    return {
        "bounds": [*bounds[:20], bounds[-1]],
        "tau": np.ravel(tau.get_moments()[0]).tolist(),
        "alpha": alpha.get_moments()[0].tolist(),
        "outer": (mean @ mean.T).tolist(),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps({"pca": solve(False, 2000), "fa": solve(True, 2000)}) + "\n")
