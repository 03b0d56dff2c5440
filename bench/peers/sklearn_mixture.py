"""scikit-learn's BayesianGaussianMixture."""

import warnings

import evaluation as ev
import numpy as np
from mixture_data import Iterations, blobs
from sklearn.mixture import BayesianGaussianMixture


class Hooked(BayesianGaussianMixture):
    """The public `fit`, with a call after every EM iteration."""

    hook = None

    def _compute_lower_bound(self, *args, **kwargs):
        bound = super()._compute_lower_bound(*args, **kwargs)
        if self.hook is not None:
            self.hook()
        return bound


def model_of(k, iterations, covariance_type="full", weights="dirichlet_process"):
    return Hooked(
        n_components=k,
        covariance_type=covariance_type,
        weight_concentration_prior_type=weights,
        init_params="random",
        max_iter=iterations,
        tol=0.0,
        random_state=0,
    )


def iteration(n, d, k, dtype="float64", iterations=4, **options):
    """CPU seconds of an EM iteration, lower bound included."""
    X = blobs(n, d, k, dtype)
    model = model_of(k, iterations, **options)
    model.hook = Iterations()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    weights = np.sort(model.weights_.astype(float))[::-1].round(6).tolist()
    return model.hook.result() | {"weights": weights}


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
