"""What Gaussian processes say of a fit: hyperparameters on bounds."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from fastvi import SVGP, SparseGPClassifier, SparseGPRegressor
from fastvi.models.gp.estimator import on_bounds


@pytest.mark.parametrize(
    ("estimator", "options"),
    [
        (SparseGPRegressor, {}),
        (SVGP, {"max_iter": 60, "learning_rate": 0.1, "tol": 0}),
        (SparseGPClassifier, {"max_iter": 60, "learning_rate": 0.1, "tol": 0}),
    ],
)
def test_hyperparameters_on_bounds_are_named(estimator, options, rng):
    X = rng.uniform(-3, 3, (150, 2)) * [1.0, 0.01]
    y = np.sin(3 * X[:, 0]) + 0.1 * rng.normal(size=150)
    kernel = RBF([2.0, 2.0], [(1.95, 10.0), (1e-3, 1e3)])
    if estimator is SparseGPClassifier:
        y = y > 0
    else:
        kernel += WhiteKernel(0.1)
    model = estimator(kernel, inducing_points=15, random_state=0, **options)
    name = "length_scale" if estimator is SparseGPClassifier else "k1__length_scale"
    wanted = rf"{name}\[0\] on its lower bound 1.95.*; a kernel with wider bounds may fit better"
    with pytest.warns(ConvergenceWarning, match=wanted) as caught:
        model.fit(X, y)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(kernel=model.kernel_, learn_kernel=False).fit(X, y)


def test_columns_that_say_nothing_are_no_reason_to_warn(rng):
    """Their length scales end on the upper bound, beyond which nothing is gained."""
    X = rng.normal(size=(200, 3))
    y = X[:, 0] + 0.1 * rng.normal(size=200)
    model = SparseGPRegressor(inducing_points=15, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    assert any("upper" in each.text for each in on_bounds(model.kernel_))
