"""fastvi's Stein variational gradient descent, timed on a standard normal target."""

import evaluation as ev
import numpy as np
import regression

import fastvi
from fastvi.base.parallel import single_threaded_blas
from fastvi.core import Batch, ascend
from fastvi.gradients.stein import Interaction, stein
from fastvi.optimizers import adagrad


@fastvi.target(fastmath=True)
def normal(Z, values, grads):
    """All vectors at once, as the peers' densities are."""
    for k in range(Z.shape[0]):
        square = 0.0
        for j in range(Z.shape[1]):
            square += Z[k, j] * Z[k, j]
        values[k, 0] = -0.5 * square
        for j in range(Z.shape[1]):
            grads[k, j] = -Z[k, j]


def iteration(n, d, dtype="float32", kernel="rbf"):
    """A step: scores, bandwidth, direction, AdaGrad."""
    algorithm = ascend(stein(normal.bind(dim=d), Interaction(kernel)), adagrad(0.01))
    rng, batch = np.random.default_rng(0), Batch(None, np.empty(0))
    state = algorithm.init(rng.normal(size=(n, d)).astype(dtype))

    def step():
        nonlocal state
        state, _ = algorithm.step(state, batch, rng)

    with single_threaded_blas():
        return regression.milliseconds(step, least=1.0, most=2000)


def direction(n, d, dtype="float32", kernel="rbf"):
    """Sums over pairs alone, and the peak of a matrix product, in Gflop/s."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)).astype(dtype)
    interaction, weights = Interaction(kernel, "median", 1, 0), np.ones(n, dtype)
    a, b = rng.normal(size=(2, 2048, 2048)).astype(dtype)
    out = np.empty_like(a)
    with single_threaded_blas():
        found = regression.milliseconds(lambda: interaction.field(x, -x, weights), least=1.0)
        peak = regression.milliseconds(lambda: np.matmul(a, b, out=out), least=1.0)
    return found | {"peak": 2e-6 * 2048**3 / peak["ms"], "rate": 4e-6 * n * n * d / found["ms"]}


if __name__ == "__main__":
    ev.main(iteration, direction)
