"""How `fastvi.GaussianProcessClassifier` tells several classes apart."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier as Peer
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from fastvi import GaussianProcessClassifier
from fastvi.models.gp.multiclass import coupled

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 2))
F = np.sin(2.0 * X[:, 0]) + X[:, 1]
THREE = np.digitize(F, [-0.6, 0.6])
KERNEL = ConstantKernel(2.0) * RBF([1.0, 1.5])


def test_pairs_are_those_of_scikit_learn() -> None:
    options = {"multi_class": "one_vs_one", "optimizer": None}
    ours = GaussianProcessClassifier(KERNEL, solver="laplace", link="logit", **options)
    peer = Peer(KERNEL, **options).fit(X, THREE)
    ours.fit(X, THREE)
    assert ours.elbo_ == pytest.approx(peer.log_marginal_likelihood_value_)
    theta = KERNEL.theta + 0.2
    wanted = peer.log_marginal_likelihood(theta)
    assert ours.log_marginal_likelihood(theta) == pytest.approx(wanted, rel=1e-6)
    assert len(ours.kernel_.theta) == len(peer.kernel_.theta) == 9
    assert (ours.predict(X) == peer.predict(X)).mean() > 0.95


def test_coupling_finds_probabilities_that_agree_and_the_nearest_where_none_do() -> None:
    p = RNG.dirichlet(np.ones(4), 5)
    wins = p[:, :, None] / (p[:, :, None] + p[:, None, :])
    np.testing.assert_allclose(coupled(wins), p, atol=1e-10)
    r = np.triu(RNG.random((3, 3)), 1)
    r += np.tril(1.0 - r.T, -1)

    def off(x: np.ndarray) -> float:
        q = np.exp(x) / np.exp(x).sum()
        return float(np.square(np.triu(r.T * q[:, None] - r * q, 1)).sum())

    best = minimize(off, np.zeros(3), tol=1e-14).x
    np.testing.assert_allclose(coupled(r[None])[0], np.exp(best) / np.exp(best).sum(), atol=1e-5)
    np.testing.assert_allclose(coupled(np.triu(np.ones((1, 3, 3))))[0], [1.0, 0.0, 0.0], atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"multi_class": "softmax", "solver": "laplace"},
        {"solver": "laplace"},
        {"multi_class": "one_vs_one"},
    ],
)
def test_three_classes(options: dict[str, str]) -> None:
    model = GaussianProcessClassifier(KERNEL, **options).fit(X, THREE)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert model.score(X, THREE) > 0.8
    mean, variance = model.latent_mean_and_variance(X)
    assert mean.shape == variance.shape == (60, 3)
    assert np.all(variance > 0)
    theta = model.kernel_.theta
    assert len(theta) == (3 if model.multi_class == "softmax" else 9)
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == pytest.approx(model.log_marginal_likelihood())
    assert gradient.shape == theta.shape
    step = 1e-3 * np.eye(len(theta))[1]
    theta = theta + 0.2
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    up, down = (model.log_marginal_likelihood(theta + s * step) for s in (1, -1))
    assert gradient[1] == pytest.approx((up - down) / 2e-3, rel=1e-3)


def test_a_rare_class_has_its_pairs() -> None:
    labels = np.where(np.arange(60) == 7, 3, THREE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = GaussianProcessClassifier(multi_class="one_vs_one", max_iter=5).fit(X, labels)
    proba = model.predict_proba(X)
    assert model.n_classes_ == proba.shape[1] == 4
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
