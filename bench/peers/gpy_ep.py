"""GPy's expectation propagation; `bench/ep_gp.py` has our side and tells how to run this."""

import sys
import time

import numpy as np


def problem(n):
    """Rows (n, 4) and labels, 0 and 1, of a noisy function."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    f = 2.0 * np.sin(2.0 * x[:, 0]) + x[:, 1] * x[:, 2]
    return x, (f + 0.5 * rng.normal(size=n) > 0).astype(int)


def evidence(n):
    """CPU seconds and the value."""
    import GPy

    inference = GPy.inference.latent_function_inference.expectation_propagation.EP()
    x, y = problem(n)
    begin = time.process_time()
    model = GPy.core.GP(
        x, y[:, None].astype(float), kernel=GPy.kern.RBF(4, variance=4.0, lengthscale=1.5),
        likelihood=GPy.likelihoods.Bernoulli(), inference_method=inference,
    )  # fmt: skip
    value = float(model.log_likelihood())
    return {"seconds": time.process_time() - begin, "log evidence": value}


if __name__ == "__main__":
    for n in map(int, sys.argv[1:] or (200, 500, 1000)):
        print(n, evidence(n), flush=True)
