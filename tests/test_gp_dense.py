"""`fastvi.GaussianProcessClassifier`: expectation propagation and Laplace's approximation."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naive import propagation as naive
from scipy.special import log_ndtr
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier as Peer
from sklearn.gaussian_process.kernels import (
    RBF,
    CompoundKernel,
    ConstantKernel,
    Matern,
    PairwiseKernel,
    WhiteKernel,
)
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import GaussianProcessClassifier
from fastvi.models.gp.ep import propagate
from fastvi.models.gp.laplace import laplace
from fastvi.models.gp.search import Height, Objective
from fastvi.models.gp.softmax import laplace_of_classes
from fastvi.propagation import tilted

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 2))
F = np.sin(2.0 * X[:, 0]) + X[:, 1]
y = F + 0.5 * RNG.normal(size=60) > 0
THREE = np.digitize(F, [-0.6, 0.6])
KERNEL = ConstantKernel(2.0) * RBF([1.0, 1.5])
THETA = np.log([1.5, 0.8, 1.2])


@parametrize_with_checks(
    [GaussianProcessClassifier(optimizer=None)],
    expected_failed_checks=lambda estimator: {
        "check_non_transformer_estimators_n_iter": "without an optimizer there are no iterations"
    },
)
def test_scikit_learn_agrees(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


def test_a_link_set_later_does_not_change_predictions() -> None:
    model = GaussianProcessClassifier(KERNEL, optimizer=None).fit(X, y)
    before = model.predict_proba(X[:3])
    model.set_params(link="logit")
    np.testing.assert_array_equal(model.predict_proba(X[:3]), before)


# The fixed points


@pytest.mark.parametrize(("weight", "variance"), [(0.5, 4.0), (0.1, 100.0)])
def test_weights_below_one_are_powers_of_the_likelihood(weight: float, variance: float) -> None:
    f = np.sqrt(variance) * np.linspace(-12.0, 12.0, 20001)
    p = np.exp(-0.5 * f * f / variance + weight * log_ndtr(f))
    p /= p.sum()
    K = np.array([[variance]])
    found = propagate(K, np.ones(1), np.full(1, weight), tilted.probit, tol=1e-10)
    mean, left = found.latents(K, K[0])
    assert mean[0, 0] == pytest.approx(p @ f, abs=1e-6)
    assert left[0, 0, 0] == pytest.approx(p @ (f - p @ f) ** 2, rel=1e-6)


@pytest.mark.parametrize(
    ("rho", "same", "other"),
    [
        (0.0, -1.386294, -1.386294),
        (0.5, -1.154410, -1.689704),
        (0.9, -0.981502, -2.101326),
        (0.99, -0.941399, -2.256025),
    ],
)
def test_evidence_of_two_points(rho: float, same: float, other: float) -> None:
    """Orthant probabilities: log(1/4 + asin(4 rho / 5) / (2 pi)), and what EP makes of them."""
    K, ones = 4.0 * np.array([[1.0, rho], [rho, 1.0]]), np.ones(2)
    exact = np.log(0.25 + np.arcsin(0.8 * rho) / (2.0 * np.pi))
    found = propagate(K, ones, ones, tilted.probit).value
    assert found == pytest.approx(same, abs=1e-6)
    assert found == pytest.approx(exact, abs=0.015)
    assert propagate(K, np.array([1.0, -1.0]), ones, tilted.probit).value == pytest.approx(
        other, abs=1e-6
    )


@pytest.mark.parametrize(
    ("n", "variance", "off"), [(5, 1.0, 0.005), (10, 25.0, 0.1), (15, 25.0, 0.15)]
)
def test_evidence_of_more_points(n: int, variance: float, off: float) -> None:
    """Orthant probabilities, and the fixed point that sequential EP finds one site at a time."""
    rng = np.random.default_rng(n)
    x, y = rng.uniform(-2.0, 2.0, (n, 1)), rng.choice([-1.0, 1.0], n)
    K = variance * np.exp(-0.5 * np.square(x - x.T)) + 1e-6 * np.eye(n)
    found = propagate(K, y, np.ones(n), tilted.probit, tol=1e-9)
    *_, wanted = naive.regression(log_ndtr, np.linalg.cholesky(K), y, np.ones(n), n_sweeps=40)
    assert found.value == pytest.approx(wanted, abs=1e-6)
    turned = y[:, None] * (K + np.eye(n)) * y
    exact = multivariate_normal(cov=turned, maxpts=500_000, seed=0).cdf(np.zeros(n))
    assert found.value == pytest.approx(np.log(exact), abs=off)


@pytest.mark.parametrize(
    ("n", "variance", "rho", "off"),
    [(5, 1.0, 0.5, 0.001), (15, 25.0, 0.9, 0.1), (60, 4.0, 0.3, 0.01)],
)
def test_evidence_of_exchangeable_points(n: int, variance: float, rho: float, off: float) -> None:
    """All sites are alike: EP has two unknowns, and the orthant probability is one integral."""
    K, ones = variance * (rho * np.ones((n, n)) + (1.0 - rho) * np.eye(n)), np.ones(n)
    found = propagate(K, ones, ones, tilted.probit, tol=1e-9)
    wanted, tau, nu = exchangeable(n, variance, rho)
    np.testing.assert_allclose(found.memory[:, 0], [tau, nu], rtol=1e-8)
    assert found.value == pytest.approx(wanted, abs=1e-9)
    u = np.linspace(-9.0, 9.0, 4001)
    weights = np.exp(-0.5 * u * u)
    z = u * np.sqrt(variance * rho / (1.0 + variance * (1.0 - rho)))
    exact = np.log(weights @ np.exp(n * log_ndtr(z)) / weights.sum())
    assert found.value == pytest.approx(exact, abs=off)


def exchangeable(n: int, variance: float, rho: float) -> tuple[float, float, float]:
    """Log evidence and site of EP for n labels 1 under an exchangeable covariance, by scalars."""
    common, single = variance * (1.0 + (n - 1) * rho), variance * (1.0 - rho)  # eigenvalues of K
    tau = nu = 0.0
    for _ in range(20000):
        along, across = common / (1.0 + tau * common), single / (1.0 + tau * single)
        v, m = (along + (n - 1) * across) / n, along * nu
        cavity = 1.0 / (1.0 / v - tau)
        mean = cavity * (m / v - nu)
        z = mean / np.sqrt(1.0 + cavity)
        log_z = log_ndtr(z)
        hazard = np.exp(-0.5 * z * z - log_z) / np.sqrt(2.0 * np.pi)
        curvature = hazard * (z + hazard) / (1.0 + cavity)  # of minus log Z
        tau = curvature / (1.0 - cavity * curvature)
        nu = tau * mean + (1.0 + tau * cavity) * hazard / np.sqrt(1.0 + cavity)
    grown = 1.0 + tau * cavity
    own = log_z - 0.5 * ((nu * (nu * cavity + 2.0 * mean) - tau * mean**2) / grown - np.log(grown))
    whole = 0.5 * n * nu * m - 0.5 * (np.log1p(tau * common) + (n - 1) * np.log1p(tau * single))
    return float(whole + n * own), tau, nu


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    f = 2.0 * np.sin(2.0 * x[:, 0]) + x[:, 1] * x[:, 2]
    return x, np.where(f + 0.5 * rng.normal(size=n) > 0, 1.0, -1.0)


def problem(n: int) -> tuple[np.ndarray, np.ndarray]:
    x, target = rows(n)
    squares = np.square((x[:, None] - x) / 1.5).sum(axis=-1)
    return 4.0 * np.exp(-0.5 * squares), target


# GPy 1.15.0, EP, RBF of variance 4 and length 1.5, by `bench/peers/gpy_ep.py` with epsilon=1e-18.
# With its default of 1e-6 GPy stops up to 2e-6 from there, depending on the order of its sites.
GPY = [(200, -91.649699188876), (500, -190.641086022258)]


@pytest.mark.parametrize(("n", "value"), GPY)
def test_evidence_is_that_of_gpy(n: int, value: float) -> None:
    K, target = problem(n)
    found = propagate(K, target, np.ones(n), tilted.probit)
    assert found.value == pytest.approx(value, abs=1e-7)
    assert found.n_iter < 8
    fine = propagate(K, target, np.ones(n), tilted.probit, tol=1e-9)
    assert fine.value == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("link", [tilted.probit, tilted.logit])
@pytest.mark.parametrize(("variance", "length"), [(1.0, 1.5), (1e3, 3.0), (1e4, 1e3)])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_sweeps_from_nothing_and_from_elsewhere_end_at_one_point(
    variance: float, length: float, is_weighted: bool, link: tilted.Site
) -> None:
    x, target = rows(100)
    K = variance * np.exp(-0.5 * np.square((x[:, None] - x) / length).sum(axis=-1))
    counts = np.random.default_rng(0).choice([0.3, 1.0, 3.0], 100) if is_weighted else np.ones(100)
    near = propagate(1.5 * K, target, counts, link, tol=1e-9)
    again = propagate(K, target, counts, link, near.memory, tol=1e-9)
    found = propagate(K, target, counts, link, tol=1e-9)
    assert found.converged
    assert again.converged
    assert max(found.n_iter, near.n_iter) < 30
    assert again.value == pytest.approx(found.value, rel=1e-9)


def test_a_gaussian_likelihood_is_exact_in_one_sweep() -> None:
    K, _ = problem(30)
    target = np.random.default_rng(0).normal(size=30)
    found = propagate(K, target, np.ones(30), tilted.gaussian(0.3))
    exact = multivariate_normal.logpdf(target, cov=K + 0.3 * np.eye(30))
    assert found.n_iter == 1
    assert found.value == pytest.approx(exact, rel=1e-10)


SOLVERS = {
    "ep, probit": lambda K, c, **o: propagate(K, SIGNS, c, tilted.probit, **o),
    "ep, logit": lambda K, c, **o: propagate(K, SIGNS, c, tilted.logit, **o),
    "laplace, probit": lambda K, c, **o: laplace(K, SIGNS, c, "probit", **o),
    "laplace, logit": lambda K, c, **o: laplace(K, SIGNS, c, "logit", **o),
    "softmax": lambda K, c, **o: laplace_of_classes(K, LEVELS, 3, c, **o),
}
SIGNS = np.where(y, 1.0, -1.0)[:25]
LEVELS = THREE[:25]
COV = 3.0 * np.exp(-0.5 * np.square(X[:25, None] - X[:25]).sum(axis=-1)) + 1e-6 * np.eye(25)
COUNTS = np.where(np.arange(25) % 3, 1.0, 2.0)


@pytest.mark.parametrize("name", SOLVERS)
def test_slopes_meet_finite_differences(name: str) -> None:
    side = np.random.default_rng(0).normal(size=(25, 3))
    step = 0.01 * (COV + 0.1 * side @ side.T)
    found = SOLVERS[name](COV, COUNTS, slope=True, tol=1e-10)
    near = [SOLVERS[name](COV + s * step, COUNTS, tol=1e-10).value for s in (-2, -1, 1, 2)]
    wanted = np.dot([1.0, -8.0, 8.0, -1.0], near) / 12.0  # of fourth order
    assert (found.by_k * step).sum() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", SOLVERS)
def test_counts_are_duplicated_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = np.concatenate((np.arange(25), np.flatnonzero(COUNTS == 2.0)))
    wanted = SOLVERS[name](COV, COUNTS, tol=1e-9).value
    monkeypatch.setitem(globals(), "SIGNS", SIGNS[both])
    monkeypatch.setitem(globals(), "LEVELS", LEVELS[both])
    found = SOLVERS[name](COV[np.ix_(both, both)], np.ones(len(both)), tol=1e-9).value
    assert found == pytest.approx(wanted, abs=1e-6)


def test_softmax_of_two_is_a_logit_of_twice_the_covariance() -> None:
    joint = laplace_of_classes(COV, (SIGNS > 0).astype(int), 2, COUNTS).value
    assert joint == pytest.approx(laplace(2.0 * COV, SIGNS, COUNTS, "logit").value, abs=1e-7)


# The estimator


def test_laplace_is_that_of_scikit_learn() -> None:
    ours = GaussianProcessClassifier(KERNEL, solver="laplace", link="logit", optimizer=None)
    peer = Peer(KERNEL, optimizer=None).fit(X, y)
    ours.fit(X, y)
    assert ours.log_marginal_likelihood_value_ == pytest.approx(peer.log_marginal_likelihood_value_)
    np.testing.assert_allclose(
        ours.log_marginal_likelihood(THETA, True)[1],
        peer.log_marginal_likelihood(THETA, True)[1],
        rtol=1e-4,
    )
    # scikit-learn integrates the logistic function by five error functions
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=2e-3)


@pytest.mark.parametrize("kernel", [KERNEL, KERNEL * Matern(nu=1.5) + WhiteKernel(0.1)])
@pytest.mark.parametrize("options", [{}, {"link": "logit"}, {"solver": "laplace"}])
def test_gradients_meet_finite_differences(kernel: Any, options: dict[str, str]) -> None:
    model = GaussianProcessClassifier(kernel, optimizer=None, **options).fit(X, y)
    theta = kernel.theta + 0.1
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == model.log_marginal_likelihood(theta)
    for j in range(len(theta)):
        wanted = difference(model, theta, j)
        assert gradient[j] == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def difference(model: GaussianProcessClassifier, theta: np.ndarray, j: int) -> float:
    """Of fourth order, in the hyperparameter j."""
    step = 0.01 * np.eye(len(theta))[j]
    near = [model.log_marginal_likelihood(theta + s * step) for s in (-2, -1, 1, 2)]
    return float(np.dot([1.0, -8.0, 8.0, -1.0], near) / 0.12)


@pytest.mark.parametrize(("n", "value"), GPY)
def test_the_evidence_of_a_kernel_is_that_of_gpy(n: int, value: float) -> None:
    x, target = rows(n)
    kernel = ConstantKernel(1.0) * RBF(1.0)
    model = GaussianProcessClassifier(kernel, optimizer=None).fit(x, target > 0)
    found = model.log_marginal_likelihood(np.log([4.0, 1.5]))
    assert found == pytest.approx(value, abs=1e-9)
    model.log_marginal_likelihood(np.log([4.0, 1.5]), clone_kernel=False)
    np.testing.assert_allclose(model.kernel_.theta, np.log([4.0, 1.5]))


@pytest.mark.parametrize("options", [{}, {"solver": "laplace", "link": "logit"}])
def test_fits_find_a_maximum(options: dict[str, str]) -> None:
    model = GaussianProcessClassifier(KERNEL, **options).fit(X, y)
    value, gradient = model.log_marginal_likelihood(model.kernel_.theta, eval_gradient=True)
    assert model.converged_
    assert value == pytest.approx(model.elbo_)
    assert value > model.log_marginal_likelihood(KERNEL.theta)
    assert np.all(np.abs(gradient) < 1e-3)
    assert model.history_["elbo"][-1] == pytest.approx(value, abs=1e-6)
    assert model.score(X, y) > 0.8


def test_sample_weight_is_a_number_of_rows() -> None:
    options = {"kernel": KERNEL, "optimizer": None}
    weights = np.where(np.arange(60) % 4, 1.0, 2.0)
    weights[5] = 0.0
    again = np.repeat(np.arange(60), weights.astype(int))
    ours = GaussianProcessClassifier(**options).fit(X, y, sample_weight=weights)
    wanted = GaussianProcessClassifier(**options).fit(X[again], y[again])
    assert ours.elbo_ == pytest.approx(wanted.elbo_, abs=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), wanted.predict_proba(X), atol=1e-6)


def test_other_kernels_are_called() -> None:
    kernel = ConstantKernel() * PairwiseKernel(metric="laplacian", pairwise_kernels_kwargs=None)
    model = GaussianProcessClassifier(kernel, optimizer=None).fit(X, y)
    assert model.score(X, y) > 0.8


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("x", "labels"),
    {
        "duplicates": (np.repeat(X[:10], 6, axis=0), np.arange(60) % 3 > 0),
        "separable": (X, X[:, 0] > 0),
        "rare": (X, np.arange(60) == 7),
        "constant column": (np.column_stack((X[:, 0], np.ones(60))), y),
    }.values(),
)
@pytest.mark.parametrize("solver", ["ep", "laplace"])
def test_hard_data(x: np.ndarray, labels: np.ndarray, solver: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = GaussianProcessClassifier(solver=solver).fit(x, labels)
    proba = model.predict_proba(x)
    assert np.all((proba >= 0) & (proba <= 1))
    assert np.isfinite(model.elbo_)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("variance", [1e-4, 1e4])
@pytest.mark.parametrize("link", ["probit", "logit"])
def test_extreme_hyperparameters_converge(scale: float, variance: float, link: str) -> None:
    kernel = ConstantKernel(variance) * RBF(scale)
    model = GaussianProcessClassifier(kernel, link=link, optimizer=None).fit(X, X[:, 0] > 0)
    assert model.converged_
    assert np.isfinite(model.elbo_)


@pytest.mark.parametrize("link", [tilted.probit, tilted.logit])
def test_separable_and_rare_labels_converge(link: tilted.Site) -> None:
    """20 data sets under functions that hardly change between rows: sweeps go astray at first."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(4, 120)), int(rng.integers(1, 5))
        x = rng.normal(size=(n, d))
        score = x @ rng.normal(size=d)
        rank = np.argsort(np.argsort(-score))
        labels = np.where(rank < (1 + seed % 4 if seed % 2 else n // 2), 1.0, -1.0)
        K = np.exp(-0.5 * np.square((x[:, None] - x) / 100.0).sum(axis=-1))
        for variance in (100.0, 1e4):
            found = propagate(variance * K, labels, np.ones(n), link)
            assert found.converged
            assert found.n_iter < 50
            assert n * np.log(0.5) - 50.0 < found.value < 0.0


def test_sites_that_have_not_settled_are_no_evidence() -> None:
    """The second point has the highest evidence, of sites on their way to somewhere else."""

    class Unsettled(Objective):
        def bound(self, point: np.ndarray, gradient: bool) -> Height:
            away = float(point[0]) - 1.0
            value = 100.0 if abs(away) > 0.9 else 0.0
            return Height(value - away**2, np.array([-2.0 * away]), abs(away) < 0.9)

    objective = Unsettled(np.array([0.3]), np.array([0.3]))
    assert objective(np.array([0.3]))[0] == pytest.approx(0.49)
    assert objective(np.array([2.0]))[0] > 1000.0
    first = Unsettled(np.array([2.0]), np.array([2.0]))  # the start has to do
    assert first(np.array([2.0]))[0] == pytest.approx(-99.0)
    assert first(np.array([2.5]))[0] > 1000.0


@pytest.mark.parametrize("solver", ["ep", "laplace"])
def test_fits_that_have_not_settled_say_so(solver: str) -> None:
    model = GaussianProcessClassifier(KERNEL, solver=solver, optimizer=None, max_iter_predict=1)
    with pytest.warns(ConvergenceWarning, match="not settled after 1 sweeps.*max_iter_predict"):
        model.fit(X, y)
    assert not model.converged_


def test_warm_starts_go_on_from_the_last_fit() -> None:
    cold = GaussianProcessClassifier(KERNEL).fit(X, y)
    warm = GaussianProcessClassifier(KERNEL, warm_start=True).fit(X, y)
    assert warm.n_iter_ == cold.n_iter_ > 3
    warm.fit(X, y)
    assert warm.n_iter_ < 3
    np.testing.assert_allclose(warm.kernel_.theta, cold.kernel_.theta, atol=1e-3)
    warm.fit(X[:50], THREE[:50])  # other rows and classes
    assert warm.n_classes_ == 3


def test_rows_are_copied_unless_told_otherwise() -> None:
    x = X.copy()
    model = GaussianProcessClassifier(KERNEL, optimizer=None).fit(x, y)
    alias = GaussianProcessClassifier(KERNEL, optimizer=None, copy_X_train=False).fit(x, y)
    before = model.predict_proba(X)
    np.testing.assert_array_equal(alias.predict_proba(X), before)
    x[:] = 0.0
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert not np.array_equal(alias.predict_proba(X), before)


def test_class_weights_multiply_sample_weights() -> None:
    options = {"kernel": KERNEL, "optimizer": None}
    weights = np.where(np.arange(60) % 4, 1.0, 2.0)
    ours = GaussianProcessClassifier(**options, class_weight={True: 3.0}).fit(X, y, weights)
    wanted = GaussianProcessClassifier(**options).fit(X, y, weights * np.where(y, 3.0, 1.0))
    np.testing.assert_array_equal(ours.predict_proba(X), wanted.predict_proba(X))
    rare = np.arange(60) % 10 == 0
    even = GaussianProcessClassifier(**options, class_weight="balanced").fit(X, rare)
    plain = GaussianProcessClassifier(**options).fit(X, rare)
    assert even.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.2


def test_files(tmp_path: Path) -> None:
    for options in (
        {"class_weight": {0: 2.0}},
        {"solver": "laplace", "multi_class": "softmax"},
        {"multi_class": "one_vs_one"},
        {"multi_class": "multinomial_probit"},
    ):
        model = GaussianProcessClassifier(KERNEL, max_iter=3, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, THREE)
        model.save(tmp_path / "model.npz")
        found = fastvi.load(tmp_path / "model.npz")
        np.testing.assert_allclose(found.predict_proba(X), model.predict_proba(X), rtol=1e-9)
        theta = model.kernel_.theta
        assert found.log_marginal_likelihood(theta) == model.log_marginal_likelihood(theta)
        np.testing.assert_array_equal(model.compiled()(X), model.predict_proba(X))


def test_fits_go_on_where_they_stopped(tmp_path: Path) -> None:
    """Evaluations start from the sites of the last one, which the checkpoint keeps."""
    path = tmp_path / "fit.npz"
    whole = GaussianProcessClassifier(KERNEL).fit(X, THREE, checkpoint=tmp_path / "other.npz")
    model = GaussianProcessClassifier(KERNEL)
    model.fit(X, THREE, checkpoint=path, callback=lambda state: state.n_steps == 9)
    assert model.n_iter_ == 9
    model.fit(X, THREE, checkpoint=path, resume=True)
    np.testing.assert_array_equal(model.kernel_.theta, whole.kernel_.theta)
    np.testing.assert_array_equal(model.predict_proba(X), whole.predict_proba(X))


def test_held_out_scores() -> None:
    model = GaussianProcessClassifier(KERNEL).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    assert model.history_["held_out"][-1] == pytest.approx(model.score(X[40:], y[40:]))


def test_messages() -> None:
    for options, message in (
        ({"solver": "vb"}, "solver is 'vb'"),
        ({"link": "cauchit"}, "link is 'cauchit'"),
        ({"multi_class": "one"}, "multi_class is 'one'"),
        ({"optimizer": "adam"}, "optimizer is 'adam'"),
        ({"kernel": CompoundKernel([RBF()])}, "kernel cannot be a CompoundKernel"),
        ({"max_iter_predict": 0}, "max_iter_predict is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            GaussianProcessClassifier(**options).fit(X, y)
    with pytest.raises(ValueError, match="wanted 'laplace'"):
        GaussianProcessClassifier(multi_class="softmax").fit(X, THREE)
    with pytest.raises(ValueError, match="only one class"):
        GaussianProcessClassifier().fit(X, np.ones(60))
    with pytest.raises(ValueError, match="NaN"):
        GaussianProcessClassifier().fit(np.full((60, 2), np.nan), y)
    with pytest.raises(ValueError, match="early_stopping is 3"):
        GaussianProcessClassifier().fit(X, y, X_val=X, y_val=y, early_stopping=3)
    model = clone(GaussianProcessClassifier(KERNEL, optimizer=None)).fit(X, y)
    with pytest.raises(ValueError, match="theta has shape"):
        model.log_marginal_likelihood(np.zeros(2))
    with pytest.raises(ValueError, match="Gradient can only"):
        model.log_marginal_likelihood(eval_gradient=True)
