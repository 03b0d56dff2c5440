"""Targets of Gaussian processes far from 0, constant ones, and their units."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import fastvi
from fastvi import SVGP, SparseGPRegressor
from fastvi.models.gp.start import target_variance

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning"),
]
FEW = {"inducing_points": 20, "random_state": 0}


def data(rng, offset=0.0, n=500):
    X = rng.uniform(0, 10, (n, 1))
    return X, offset + np.sin(X[:, 0]) + 0.1 * rng.normal(size=n)


@pytest.mark.filterwarnings("ignore:the fit ended with:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "offset", [*(pytest.param(offset, marks=pytest.mark.slow) for offset in (0.0, 100.0)), 1000.0]
)
def test_defaults_are_as_good_wherever_the_targets_are(offset, few, rng):
    """The truth's mean log-likelihood is 0.88; crowded inducing inputs are moved as well."""
    X, y = data(rng, offset)
    new, target = data(rng, offset)
    models = SVGP(max_iter=1000, **FEW), SparseGPRegressor(**FEW)
    for model in models if few else [SVGP(max_iter=1000, random_state=0)]:
        mean, deviation = model.fit(X, y).predict(new, return_std=True)
        assert norm.logpdf(target, mean, deviation).mean() > 0.8
        assert isinstance(model, SparseGPRegressor) or model.kernel_.k2.noise_level < 0.05


def test_starts_do_not_depend_on_the_offset(rng):
    """Kernels and bounds to begin with; floating point leaves 1e-9 of an offset of 1e6."""
    X, y = data(rng)
    kernels = []
    for offset in (0.0, 1e6):
        model = SparseGPRegressor(**FEW, learn_kernel=False, learn_inducing_points=False)
        kernels.append(model.fit(X, y + offset).kernel_)
    np.testing.assert_allclose(kernels[0].theta, kernels[1].theta, atol=1e-9)
    np.testing.assert_allclose(kernels[0].bounds, kernels[1].bounds, atol=1e-9)
    assert target_variance(y) == pytest.approx(y.var())
    assert target_variance(np.full(7, 0.1)) == 1.0
    assert target_variance(np.column_stack((y, 3 * y))) == pytest.approx(5 * y.var())


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:L-BFGS stopped:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:the fit ended with:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("value", [0.0, -1e5])
def test_constant_targets_leave_no_doubt(value, rng):
    """Rounding is in the way where the noise nears its bound, on some processors."""
    X = rng.uniform(0, 10, (200, 1))
    for model in (SVGP(max_iter=1000, **FEW), SparseGPRegressor(**FEW)):
        mean, deviation = model.fit(X, np.full(200, value)).predict(X[:5], return_std=True)
        np.testing.assert_allclose(mean, value, rtol=1e-3, atol=1e-3)
        assert np.all(deviation < 0.02 + 1e-6 * abs(value))


def test_normalised_targets_are_those_normalised_by_hand(rng, tmp_path):
    """Whatever is predicted, also by files, compiled predictors and streams."""
    X, y = data(rng, 30.0)
    y *= 7.0
    kernel = ConstantKernel(1.0) * RBF(1.0) + WhiteKernel(0.1)
    options = {"max_iter": 30, **FEW}
    model = SVGP(kernel, normalize_y=True, **options).fit(X, y)
    scale, centre = y.std(), y.mean()
    by_hand = SVGP(kernel, **options).fit(X, (y - centre) / scale)
    model.save(tmp_path / "model")
    assert model.elbo_ == pytest.approx(by_hand.elbo_)
    new = X[:6] + 0.01
    mean, covariance = by_hand.predict(new, return_cov=True)
    draws = by_hand.sample_y(new, 3, random_state=1)
    for each in (model, fastvi.load(tmp_path / "model")):
        for got in (each.predict(new, return_std=True), each.compiled()(new)):
            np.testing.assert_allclose(got[0], mean * scale + centre, rtol=1e-7)
            np.testing.assert_allclose(got[1], np.sqrt(covariance.diagonal()) * scale, rtol=1e-7)
        np.testing.assert_allclose(each.predict(new, return_cov=True)[1], covariance * scale**2)
        got = each.sample_y(new, 3, random_state=1)
        np.testing.assert_allclose(got, draws * scale + centre, rtol=1e-7)
        each.partial_fit(X[:50], y[:50])
    by_hand.partial_fit(X[:50], (y[:50] - centre) / scale)
    np.testing.assert_allclose(model.predict(new), by_hand.predict(new) * scale + centre, rtol=1e-7)


def test_counts_are_not_normalised(rng):
    X, y = rng.uniform(size=(20, 1)), np.arange(20) % 3
    with pytest.raises(ValueError, match="normalize_y is True, but likelihood is 'poisson'"):
        SVGP(likelihood="poisson", normalize_y=True).fit(X, y)
    with pytest.raises(ValueError, match="normalize_y is"):
        SVGP(normalize_y="yes").fit(X, y)
