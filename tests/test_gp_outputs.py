"""SVGP of several targets: what as many fits of one give."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import fastvi
from fastvi import SVGP

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning"),
]
LATENT = ConstantKernel(1.5) * RBF([0.8, 1.3])
FIXED = {"learn_kernel": False, "learn_inducing_points": False}
LIKELIHOODS = ["gaussian", "student-t", "poisson", "bernoulli-logit"]


def data(rng, likelihood="gaussian", n=60):
    X = rng.uniform(-2, 2, (n, 2))
    f = np.column_stack((np.sin(2 * X[:, 0]), 0.5 * X[:, 1], 3.0 + X[:, 0]))
    if likelihood == "poisson":
        return X, rng.poisson(np.exp(0.5 * f)).astype(float)
    if likelihood == "bernoulli-logit":
        return X, (f > rng.normal(size=f.shape)).astype(float)
    return X, f + 0.2 * rng.normal(size=f.shape)


def estimator(likelihood, X, **options):
    kernel = LATENT + WhiteKernel(0.1) if likelihood in LIKELIHOODS[:2] else LATENT
    return SVGP(
        kernel, likelihood=likelihood, inducing_points=X[:10], batch_size=20, max_iter=12,
        random_state=0, **options,
    )  # fmt: skip


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_independent_fits_are_the_same(likelihood, rng, tmp_path):
    X, Y = data(rng, likelihood)
    scales = {"normalize_y": True} if likelihood in LIKELIHOODS[:2] else {}
    model = estimator(likelihood, X, **FIXED, **scales)
    ours = clone(model).fit(X, Y)
    singles = [clone(model).fit(X, y) for y in Y.T]
    assert ours.elbo_ == pytest.approx(sum(each.elbo_ for each in singles), rel=1e-5)
    rtol = 1e-6 if likelihood in LIKELIHOODS[:2] else 2e-3  # how far the last steps on all rows go
    new = rng.uniform(-2, 2, (7, 2))
    want = [each.predict(new, return_std=True) for each in singles]
    ours.save(tmp_path / "gp.npz")
    for model in (ours, fastvi.load(tmp_path / "gp.npz")):
        for found in (model.predict(new, return_std=True), model.compiled()(new)):
            for i, part in enumerate(found):
                assert part.shape == (7, 3)
                np.testing.assert_allclose(part, np.stack([w[i] for w in want], 1), rtol=rtol)
        latents = [each.latent_mean_and_variance(new) for each in singles]
        for i, part in enumerate(model.latent_mean_and_variance(new)):
            np.testing.assert_allclose(part, np.stack([w[i] for w in latents], 1), rtol=rtol)
        assert model.sample_y(new, 5, random_state=0).shape == (7, 3, 5)
        assert model.predict(new).shape == (7, 3)
    if likelihood == "bernoulli-logit":
        return
    mean, covariance = ours.predict(new, return_cov=True)
    assert mean.shape == (7, 3)
    for t, each in enumerate(singles):
        single = each.predict(new, return_cov=True)
        np.testing.assert_allclose(mean[:, t], single[0], rtol=rtol)
        np.testing.assert_allclose(covariance[..., t], single[1], rtol=rtol, atol=rtol)


def test_shapes_and_streams(rng):
    X, Y = data(rng)
    model = estimator("gaussian", X)
    one = clone(model).fit(X, Y[:, :1])
    assert one.predict(X[:4]).shape == (4,)
    np.testing.assert_array_equal(one.predict(X), clone(model).fit(X, Y[:, 0]).predict(X))
    stream = clone(model).partial_fit(X, Y)
    assert stream.partial_fit(X, Y).predict(X[:4]).shape == (4, 3)
    with pytest.raises(ValueError, match="y has 2 columns; wanted 3, as before"):
        stream.partial_fit(X, Y[:, :2])


def test_they_learn_a_common_kernel_and_weights_count(rng):
    """Also from default kernels, whose targets have means and scales of their own."""
    X, Y = data(rng)
    weights = rng.integers(0, 3, len(X))
    model = SVGP(inducing_points=X[:10], batch_size=1000, max_iter=10, random_state=0)
    ours = clone(model).fit(X, Y, weights)
    want = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(Y, weights, axis=0))
    assert ours.elbo_ == pytest.approx(want.elbo_)
    np.testing.assert_allclose(ours.predict(X), want.predict(X), rtol=1e-5)
