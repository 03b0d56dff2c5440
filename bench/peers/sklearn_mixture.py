"""scikit-learn's BayesianGaussianMixture."""

import warnings
from functools import partial

import evaluation as ev
import numpy as np
from mixture_data import Iterations, blobs, model_of, predict
from sklearn.mixture import BayesianGaussianMixture

Hooked = ev.hooked(BayesianGaussianMixture, "_compute_lower_bound")  # after each iteration


def iteration(n, d, k, dtype="float64", iterations=4, **options):
    """CPU seconds of an EM iteration, lower bound included."""
    X = blobs(n, d, k, dtype)
    model = model_of(Hooked, k, iterations, **options)
    model.hook = Iterations()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    weights = np.sort(model.weights_.astype(float))[::-1].round(6).tolist()
    return model.hook.result() | {"weights": weights}


if __name__ == "__main__":
    ev.main(iteration, predict=partial(predict, Hooked))
