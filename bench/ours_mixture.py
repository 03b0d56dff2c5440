"""fastvi's side of the mixture benchmarks: every call of fastvi is in this file."""

import warnings

import evaluation as ev
import numpy as np
from mixture_data import Iterations, blobs

from fastvi import BayesianGaussianMixture


def model_of(k, iterations, covariance_type="full", weights="dirichlet_process", **options):
    return BayesianGaussianMixture(
        n_components=k,
        covariance_type=covariance_type,
        weight_concentration_prior_type=weights,
        init_params="random",
        max_iter=iterations,
        tol=0.0,
        random_state=0,
        **options,
    )


def iteration(n, d, k, dtype="float64", iterations=8, **options):
    """CPU seconds of an iteration over all rows, E and M step and bound."""
    X = blobs(n, d, k, dtype)
    model = model_of(k, iterations, **options)
    watch = Iterations()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, callback=lambda state: state.step == 0 and watch())
    return watch.result() | {"bound": model.lower_bound_, "weights": sorted_weights(model)}


def sorted_weights(model):
    return np.sort(model.weights_.astype(float))[::-1].round(6).tolist()


def predict(n, d, k, dtype="float64", covariance_type="full"):
    """CPU seconds of `predict` and `score_samples` for all rows."""
    X = blobs(n, d, k, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = model_of(k, 2, covariance_type).fit(X)
    _, labels = ev.timed(lambda: model.predict(X))
    _, scores = ev.timed(lambda: model.score_samples(X))
    return {"predict": labels.cpu, "score_samples": scores.cpu}


if __name__ == "__main__":
    ev.main(iteration=iteration, predict=predict)
