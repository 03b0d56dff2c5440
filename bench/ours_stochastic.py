"""fastvi's side of the remaining stochastic benchmarks."""

import warnings

import evaluation as ev
import numpy as np
from mixture_data import blobs

from fastvi import BayesianGaussianMixture, loop, optimizers
from fastvi.batches import ShuffledEpochs
from fastvi.core import Local, ascend
from fastvi.gradients import natural


class Nothing:
    """A conjugate model and a source of rows that cost almost nothing."""

    prior = np.zeros(4)
    n_rows = 4000

    def all(self):
        return None

    def take(self, rows):
        return None

    def local(self, params, batch, start, rng, *, norms=False):
        return Local(self.prior, 0.0, None)


def overhead(n_steps=4000):
    """Microseconds per step of the loop, with empty steps."""
    model = Nothing()
    algorithm = ascend(natural(model), optimizers.robbins_monro())
    batches = ShuffledEpochs(model, 10, 0)
    n_epochs = n_steps // (model.n_rows // 10)

    def run():
        state = algorithm.init(np.zeros(4))
        loop.run(algorithm, state, batches, n_epochs=n_epochs, rng=np.random.default_rng(0))

    _, watch = ev.timed(run, 1.0)
    return {"microseconds": 1e6 * watch.cpu / n_steps}


def mixture_curve(n, seed=0, options=None, d=20, k=32, passes=(1, 2, 3, 5, 10, 20, 50)):
    """Held-out log density (nats per row) of every tenth row after the given passes."""
    X = blobs(n, d, k)
    X = X[np.random.default_rng([20, seed]).permutation(n)]
    train, test = X[n // 10 :], X[: n // 10]
    common = {"init_params": "random_from_data", "tol": 0.0, "random_state": seed}
    points = []

    def fitted(max_iter, rows):
        model = BayesianGaussianMixture(
            n_components=k, max_iter=max_iter, **common, **(options or {})
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(rows)

    fitted(1, train[:4000])  # compiles
    for n_passes in passes:  # fits anew: scores are of what the public fit gives
        watch = ev.Stopwatch()
        with watch:
            model = fitted(n_passes, train)
        points.append({
            "passes": n_passes, "cpu": watch.cpu, "wall": watch.wall, "score": model.score(test),
        })  # fmt: skip
    return {"points": points}


if __name__ == "__main__":
    ev.main(overhead, mixture_curve)
