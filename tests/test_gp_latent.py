"""What Gaussian processes say of the latent function."""

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from fastvi import SVGP, SparseGPClassifier, SparseGPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning")


def test_the_latent_function(rng):
    X = rng.uniform(-3, 3, (80, 1))
    y = 50 + 4 * np.sin(X[:, 0]) + 0.5 * rng.normal(size=80)
    kernel = RBF() + WhiteKernel(0.1)
    for estimator in (SparseGPRegressor, SVGP):
        model = estimator(
            kernel, normalize_y=True, learn_kernel=False, inducing_points=10, max_iter=300,
            random_state=0,
        ).fit(X, y)  # fmt: skip
        mean, variance = model.latent_mean_and_variance(X)
        expected, deviation = model.predict(X, return_std=True)
        noise = 0.1 * y.var()
        np.testing.assert_allclose(mean, expected)
        np.testing.assert_allclose(variance + noise, np.square(deviation))
    several = SparseGPRegressor(kernel, learn_kernel=False, inducing_points=10, random_state=0)
    mean, variance = several.fit(X, np.column_stack((y, -y))).latent_mean_and_variance(X)
    assert mean.shape == variance.shape == (80, 2)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_latent_functions_of_classes(n_classes, rng):
    X = rng.uniform(-3, 3, (90, 1))
    y = np.digitize(X[:, 0], [0.0, 1.5][: n_classes - 1])
    model = SparseGPClassifier(inducing_points=8, max_iter=20, random_state=0).fit(X, y)
    mean, variance = model.latent_mean_and_variance(X)
    assert mean.shape == variance.shape == ((90,) if n_classes == 2 else (90, 3))
    assert np.all(variance > 0)
    if n_classes == 2:
        np.testing.assert_array_equal(model.predict(X), mean > 0)
    else:
        np.testing.assert_array_equal(model.predict(X), mean.argmax(axis=1))
