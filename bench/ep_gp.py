"""Gaussian process classification by EP against scikit-learn's Laplace and GPy's EP.

    OMP_NUM_THREADS=1 PYTHONPATH=bench python bench/ep_gp.py [SET ...]

Prints, in one process whose models take turns: CPU seconds of the evidence, with and without its
gradient, and log losses of fits over five splits. GPy takes part where it is installed.
"""

import importlib.util
import statistics
import sys
import time
import warnings

import numpy as np
from peers import gpy_ep
from peers.gpy_ep import problem
from sklearn import datasets, metrics, model_selection, preprocessing
from sklearn.gaussian_process import GaussianProcessClassifier as Peer
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from fastvi import GaussianProcessClassifier
from fastvi.base.parallel import single_threaded_blas

SETS = ("iris", "wine", "breast_cancer", "moons")


def evidence(n, repeats=5):
    """Median CPU seconds, by EP and Laplace, scikit-learn's and GPy's."""
    x, y = problem(n)
    kernel = ConstantKernel(4.0) * RBF(1.5)
    models = {
        "ep": GaussianProcessClassifier(kernel, optimizer=None),
        "laplace": GaussianProcessClassifier(
            kernel, optimizer=None, solver="laplace", link="logit"
        ),
        "sklearn": Peer(kernel, optimizer=None),
    }
    found, has_gpy = {}, importlib.util.find_spec("GPy") is not None
    with single_threaded_blas():
        for model in models.values():
            model.fit(x, y)
        for gradient in (False, True):
            times = {name: [] for name in models}
            for _ in range(repeats):
                for name, model in models.items():
                    begin = time.process_time()
                    model.log_marginal_likelihood(kernel.theta, gradient)
                    times[name].append(time.process_time() - begin)
                if has_gpy and not gradient:
                    times.setdefault("gpy", []).append(gpy_ep.evidence(n)["seconds"])
            for name, seconds in times.items():
                found[f"{name}{', gradient' if gradient else ''}"] = statistics.median(seconds)
    found["log evidence"] = models["ep"].log_marginal_likelihood_value_
    return found


def data(name):
    """A set of scikit-learn's, standardised; `moons` are two noisy crescents."""
    if name == "moons":
        x, y = datasets.make_moons(400, noise=0.35, random_state=0)
    else:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return preprocessing.scale(x), y


def quality(name, splits=5):
    """Mean log losses of test rows, with one length scale, and CPU seconds of fits."""
    x, y = data(name)
    kernel = ConstantKernel(1.0) * RBF(np.sqrt(x.shape[1]))
    models = {
        "ep": GaussianProcessClassifier(kernel),
        "ep, logit": GaussianProcessClassifier(kernel, link="logit"),
        "laplace": GaussianProcessClassifier(kernel, solver="laplace", link="logit"),
        "sklearn": Peer(kernel),
    }
    if len(np.unique(y)) > 2:
        models |= {
            "pairs": GaussianProcessClassifier(kernel, multi_class="one_vs_one"),
            "probit": GaussianProcessClassifier(kernel, multi_class="multinomial_probit"),
            "softmax": GaussianProcessClassifier(kernel, solver="laplace", multi_class="softmax"),
        }
    losses, times = ({model: [] for model in models} for _ in range(2))
    folds = model_selection.StratifiedKFold(splits, shuffle=True, random_state=0)
    for train, test in folds.split(x, y):
        for key, model in models.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                begin = time.process_time()
                model.fit(x[train], y[train])
                times[key].append(time.process_time() - begin)
                proba = model.predict_proba(x[test])
            losses[key].append(metrics.log_loss(y[test], proba))
    return {key: (np.mean(losses[key]), np.mean(times[key])) for key in models}


if __name__ == "__main__":
    evidence(100, 1)  # compiles
    for n in () if sys.argv[1:] else (200, 500, 1000):
        print(n, {key: round(value, 6) for key, value in evidence(n).items()}, flush=True)
    for name in sys.argv[1:] or SETS:
        found = quality(name).items()
        print(name, {key: (round(a, 4), round(b, 2)) for key, (a, b) in found}, flush=True)
