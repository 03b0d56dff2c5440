"""fastvi's score-function gradient, timed; the target is what a user would write."""

import evaluation as ev
import numpy as np
import regression

import fastvi
from fastvi.families import blocks, gaussian
from fastvi.gradients.score import score
from fastvi.gradients.score_variance import centred, controlled, overdispersed
from fastvi.kernels.special import exp, log

ROWS = 128  # of a block of logits, which stays in the second-level cache
TOOLS = {"control": controlled, "baseline": centred, "overdispersion": overdispersed}


@fastvi.target(fastmath=True)
def logistic(Z, data, values):
    """A standard normal prior and the likelihood of all rows, K vectors at once."""
    K, D = Z.shape
    n = data.X.shape[0]
    for k in range(K):
        linear = 0.0
        for j in range(D):
            linear += (data.moment[j] - 0.5 * Z[k, j]) * Z[k, j]
        values[k, 0] = linear
    columns, logits, product = np.ascontiguousarray(Z.T), np.empty((ROWS, K)), np.empty(K)
    for i in range(0, n, ROWS):
        m = min(ROWS, n - i)
        np.dot(data.X[i : i + m], columns, logits[:m])
        product[:] = 1.0  # of factors from 1 to 2, so that a block needs one logarithm
        for r in range(m):
            for k in range(K):
                a = logits[r, k]
                values[k, 0] -= max(a, 0.0)
                product[k] *= 1.0 + exp(-abs(a))
        for k in range(K):
            values[k, 0] -= log(product[k])


def estimator(n, d, n_draws, tools):
    """(gradient, parameters) of the problem."""
    X, y, mean, sd = regression.problem(n, d)
    target = logistic.bind({"X": X, "moment": X.T @ y}, dim=d)
    q = blocks(gaussian(mean, sd))
    gradient = score(target, n_draws=n_draws, family=q)
    for tool in tools:
        gradient = TOOLS[tool](gradient)
    return gradient, q.free()


def gradient(n=10_000, d=50, n_draws=100, tools=("control",)):
    estimate, params = estimator(n, d, n_draws, tools)
    state, rng = estimate.init(params), np.random.default_rng(0)
    return regression.milliseconds(lambda: estimate.estimate(state, params, None, rng))


if __name__ == "__main__":
    ev.main(gradient)
