"""How `fastvi.GaussianProcessClassifier` tells several classes apart."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import ndtr
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier as Peer
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from fastvi import GaussianProcessClassifier
from fastvi.models.gp.ep import propagate
from fastvi.models.gp.multiclass import coupled
from fastvi.models.gp.multinomial_probit import propagate_classes
from fastvi.models.gp.orthants import probabilities_of_largest
from fastvi.propagation import tilted

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
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 5)
    wins = p[:, :, None] / (p[:, :, None] + p[:, None, :])
    np.testing.assert_allclose(coupled(wins), p, atol=1e-10)
    r = np.triu(rng.random((3, 3)), 1)
    r += np.tril(1.0 - r.T, -1)

    def off(x: np.ndarray) -> float:
        q = np.exp(x) / np.exp(x).sum()
        return float(np.square(np.triu(r.T * q[:, None] - r * q, 1)).sum())

    best = minimize(off, np.zeros(3), tol=1e-14).x
    np.testing.assert_allclose(coupled(r[None])[0], np.exp(best) / np.exp(best).sum(), atol=1e-5)
    np.testing.assert_allclose(coupled(np.triu(np.ones((1, 3, 3))))[0], [1.0, 0.0, 0.0], atol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"multi_class": "softmax", "solver": "laplace"},
        {"solver": "laplace"},
        {"multi_class": "one_vs_one"},
        {"multi_class": "multinomial_probit"},
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
    assert len(theta) == (3 if model.multi_class in ("softmax", "multinomial_probit") else 9)
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


# The multinomial probit

COV = 3.0 * np.exp(-0.5 * np.square(X[:25, None] - X[:25]).sum(axis=-1)) + 1e-6 * np.eye(25)
CODES = THREE[:25]
COUNTS = np.where(np.arange(25) % 3, 1.0, 2.0)


@pytest.mark.parametrize(
    ("n", "variance", "off"), [(1, 1e-6, 0.002), (3, 1.0, 0.01), (4, 4.0, 0.02)]
)
def test_evidence_of_the_multinomial_probit(n: int, variance: float, off: float) -> None:
    """That each row's own number is the largest is an orthant of all differences."""
    rng = np.random.default_rng(n)
    x, codes = rng.uniform(-2.0, 2.0, (n, 1)), rng.integers(3, size=n)
    K = variance * np.exp(-0.5 * np.square(x - x.T)) + 1e-8 * np.eye(n)
    rows = []
    for i, own in enumerate(codes):
        for other in {0, 1, 2} - {own}:
            row = np.zeros((3, n))
            row[own, i], row[other, i] = 1.0, -1.0
            rows.append(row.ravel())
    A = np.array(rows)
    cov = A @ (np.kron(np.eye(3), K) + np.eye(3 * n)) @ A.T
    exact = multivariate_normal(cov=cov, maxpts=500_000, seed=0).cdf(np.zeros(2 * n))
    found = propagate_classes(K, codes, 3, np.ones(n), tol=1e-10)
    assert found.converged
    assert found.value == pytest.approx(np.log(exact), abs=off)


def test_the_multinomial_probit_of_two_classes_is_the_probit() -> None:
    positive = CODES > 0
    joint = propagate_classes(COV, positive.astype(int), 2, COUNTS, tol=1e-10)
    single = propagate(COV, np.where(positive, 1.0, -1.0), COUNTS, tilted.probit, tol=1e-10)
    assert joint.value == pytest.approx(single.value, abs=1e-7)  # f_1 - f_0 + e_1 - e_0 is twice it
    mean, variance = joint.latents(COV, COV.diagonal())
    proba = probabilities_of_largest(mean, variance + np.eye(2))
    mean, variance = single.latents(COV, COV.diagonal())
    wanted = ndtr(mean[:, 0] / np.sqrt(1.0 + variance[:, 0, 0]))
    np.testing.assert_allclose(proba[:, 1], wanted, atol=1e-7)


def test_slopes_of_the_multinomial_probit_meet_finite_differences() -> None:
    side = np.random.default_rng(0).normal(size=(25, 3))
    step = 1e-4 * (COV + 0.1 * side @ side.T)
    found = propagate_classes(COV, CODES, 3, COUNTS, slope=True, tol=1e-10)
    up, down = (propagate_classes(COV + s * step, CODES, 3, COUNTS, tol=1e-10) for s in (1, -1))
    assert (found.by_k * step).sum() == pytest.approx((up.value - down.value) / 2.0, rel=1e-6)
    both = np.concatenate((np.arange(25), np.flatnonzero(COUNTS == 2.0)))
    again = propagate_classes(
        COV[np.ix_(both, both)], CODES[both], 3, np.ones(len(both)), tol=1e-10
    )
    assert found.value == pytest.approx(again.value, abs=1e-7)


def test_probabilities_of_the_largest() -> None:
    rng = np.random.default_rng(0)
    for n_classes in (2, 3, 5):
        mean = rng.normal(size=(4, n_classes))
        root = rng.normal(size=(4, n_classes, n_classes))
        cov = root @ root.transpose(0, 2, 1) + np.eye(n_classes)
        found = probabilities_of_largest(mean, cov)
        for t in range(n_classes):
            A = np.eye(n_classes)[np.arange(n_classes) != t] - np.eye(n_classes)[t]
            for m, S, p in zip(mean, cov, found[:, t]):
                exact = multivariate_normal(A @ m, A @ S @ A.T, seed=0).cdf(np.zeros(n_classes - 1))
                assert p == pytest.approx(exact, abs=1e-3)
    far = probabilities_of_largest(np.array([[50.0, 0.0, -50.0]]), np.eye(3)[None])
    np.testing.assert_allclose(far, [[1.0, 0.0, 0.0]], atol=1e-12)


def test_what_the_multinomial_probit_takes() -> None:
    options = {"multi_class": "multinomial_probit", "optimizer": None}
    with pytest.raises(ValueError, match=r"solver is 'laplace'.*wanted 'ep'"):
        GaussianProcessClassifier(solver="laplace", **options).fit(X, THREE)
    with pytest.raises(ValueError, match=r"go down to 0.5.*at least 1"):
        GaussianProcessClassifier(**options).fit(X, THREE, np.full(60, 0.5))
    model = GaussianProcessClassifier(KERNEL, **options).fit(X, THREE, COUNTS[np.arange(60) % 25])
    assert model.converged_
