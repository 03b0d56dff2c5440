"""fastvi's side of the mixture benchmarks: every call of fastvi is in this file."""

import warnings
from functools import partial

import evaluation as ev
import numpy as np
from mixture_data import Iterations, blobs, model_of, predict

from fastvi import BayesianGaussianMixture


def iteration(n, d, k, dtype="float64", iterations=8, **options):
    """CPU seconds of an iteration over all rows, E and M step and bound."""
    X = blobs(n, d, k, dtype)
    model = model_of(BayesianGaussianMixture, k, iterations, **options)
    watch = Iterations()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, callback=lambda state: state.step == 0 and watch())
    return watch.result() | {"bound": model.lower_bound_, "weights": sorted_weights(model)}


def sorted_weights(model):
    return np.sort(model.weights_.astype(float))[::-1].round(6).tolist()


if __name__ == "__main__":
    ev.main(iteration, predict=partial(predict, BayesianGaussianMixture))
