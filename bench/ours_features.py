"""fastvi's side of the benchmarks of latent binary features."""

import evaluation as ev
import features_problem as problem
import numpy as np

import fastvi
from fastvi.base.parallel import single_threaded_blas
from fastvi.core import Batch
from fastvi.models.features.model import BetaBernoulli
from fastvi.models.features.priors import FinitePrior
from fastvi.models.features.pruning import ascended
from fastvi.models.features.rows import rows_of
from fastvi.models.features.start import at_random


def iteration(n, k=20, repeats=50):
    """CPU seconds of a pass of coordinate ascent and its bound."""
    X, _ = problem.images(n, k)
    model = BetaBernoulli(k, X.shape[1], FinitePrior(1.0, k))
    batch = Batch(rows_of(X, np.zeros(X.shape[1])), np.ones(n))
    state = at_random(model, batch, np.random.default_rng(0), (None, None))

    def one():
        nonlocal state
        state, _ = ascended(model, state, batch)

    with single_threaded_blas():
        return {"seconds": problem.cpu_seconds(one, repeats), "bound": state.bound}


def digits(bits, seed=0):
    """Relative error of held-out digits whose features are rounded to 0 or 1: one bit each."""
    train, test = problem.digits()
    model = fastvi.BetaBernoulliFeatures(bits, fit_intercept=True, random_state=seed).fit(train)
    Z = np.round(model.transform(test))
    error = problem.relative_error(test, model.inverse_transform(Z), train.mean(axis=0))
    return {"error": error, "features": model.n_components_, "bits": bits}


if __name__ == "__main__":
    ev.main(iteration, digits)
