"""Gaussian process classification by EP against scikit-learn's Laplace and GPy's EP.

    OMP_NUM_THREADS=1 PYTHONPATH=bench python bench/ep_gp.py [SET ...]

Prints, in one process whose models take turns: CPU seconds of the evidence, with and without its
gradient, and log losses of fits. GPy takes part where it is installed.
"""

import importlib.util
import itertools
import statistics
import sys
import time
import warnings
from collections import defaultdict

import numpy as np
from peers import gpy_ep
from peers.gpy_ep import problem
from sklearn import datasets, model_selection, preprocessing
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
    """A set of scikit-learn's, standardised.

    A name that ends in .csv is a file of rows, features first, as KEEL has the banana set.
    """
    if name.endswith(".csv"):
        *columns, y = np.loadtxt(name, delimiter=",", comments="@", unpack=True)
        return preprocessing.scale(np.stack(columns, axis=1)), y
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return preprocessing.scale(x), y


def parts(name):
    """Rows to fit and to score: five folds of a set, or 20 sets of two noisy crescents."""
    if name == "moons":
        for seed in range(20):
            x, y = datasets.make_moons(4320, noise=0.35, random_state=seed)
            x = preprocessing.scale(x)
            yield x[:320], y[:320], x[320:], y[320:]
        return
    x, y = data(name)
    folds = model_selection.StratifiedKFold(5, shuffle=True, random_state=0)
    for train, test in folds.split(x, y):
        yield x[train], y[train], x[test], y[test]


def models_for(x, y):
    """The classifiers to compare, with one length scale."""
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
    return models


def quality(name, splits=None):
    """Mean log losses of test rows, what they are above scikit-learn's, its error; CPU seconds.

    The standard error is that of rows, or of sets where there are several. All splits by default.
    """
    losses, seconds = defaultdict(list), defaultdict(list)
    for x, y, x_new, y_new in itertools.islice(parts(name), splits):
        for key, model in models_for(x, y).items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                begin = time.process_time()
                model.fit(x, y)
                seconds[key].append(time.process_time() - begin)
                proba = model.predict_proba(x_new)
            loss = -np.log(proba[y_new[:, None] == model.classes_])
            losses[key].extend([loss.mean()] if name == "moons" else loss)
    found = {}
    for key, loss in losses.items():
        gap = np.subtract(loss, losses["sklearn"])
        found[key] = np.mean(loss), gap.mean(), gap.std() / np.sqrt(len(gap)), np.mean(seconds[key])
    return found


if __name__ == "__main__":
    evidence(100, 1)  # compiles
    for n in () if sys.argv[1:] else (200, 500, 1000):
        print(n, {key: round(value, 6) for key, value in evidence(n).items()}, flush=True)
    for name in sys.argv[1:] or SETS:
        for key, (loss, gap, error, seconds) in quality(name).items():
            print(
                f"{name}, {key}: {loss:.4f} ({gap:+.4f} +- {error:.4f}), {seconds:.2f} s",
                flush=True,
            )
