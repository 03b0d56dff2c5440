"""BayesPy's mixture of Gaussians with Wishart precisions and Dirichlet weights."""

import evaluation as ev
import numpy as np
from bayespy.inference import VB
from bayespy.nodes import Categorical, Dirichlet, Gaussian, Mixture, Wishart
from mixture_data import Iterations, blobs


def model_of(X, k, rng):
    """The model of BayesPy's own example, its responsibilities begun at random."""
    n, d = X.shape
    weights = Dirichlet(np.full(k, 1 / k), name="weights")
    z = Categorical(weights, plates=(n,), name="z")
    means = Gaussian(X.mean(axis=0), np.linalg.inv(np.atleast_2d(np.cov(X.T))), plates=(k,))
    precisions = Wishart(d, np.atleast_2d(np.cov(X.T)), plates=(k,), name="precisions")
    rows = Mixture(z, Gaussian, means, precisions, name="rows")
    z.initialize_from_value(rng.integers(k, size=n))
    rows.observe(X)
    return VB(rows, means, precisions, z, weights)


def iteration(n, d, k, iterations=8, seed=0):
    """CPU seconds of a sweep over all nodes, lower bound included."""
    hook = Iterations()
    inference = model_of(blobs(n, d, k), k, np.random.default_rng(seed))
    for _ in range(iterations):
        inference.update(repeat=1, tol=None, verbose=False)
        hook()
    return hook.result()


if __name__ == "__main__":
    ev.main(iteration)
