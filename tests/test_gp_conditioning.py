"""Sparse variational Gaussian processes where low noise meets covariances close to singular."""

import mpmath
import numpy as np
import pytest
from scipy.linalg import solve_triangular
from scipy.special import gammaln
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import fastvi
from fastvi import SVGP, SparseGPRegressor
from fastvi.base import tree
from fastvi.core import Batch
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.likelihoods import Gaussian, Poisson, Softmax
from fastvi.models.gp.model import Hyper, Params, SparseVariational
from fastvi.models.gp.rows import Points, Sites
from fastvi.models.gp.units import between

pytestmark = pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning")

X = np.linspace(0, 10, 300)[:, None]
KEPT = {"learn_inducing_points": False, "learn_kernel": False, "random_state": 0}
LATENT = ConstantKernel(1.5) * RBF(1.1)


def grid(m):
    return np.linspace(0, 10, m)[:, None]


def noisy(noise, offset=0.0):
    return offset + np.sin(X[:, 0]) + np.sqrt(noise) * np.random.default_rng(0).normal(size=300)


def fixed(variance, noise=None):
    kernel = ConstantKernel(variance, "fixed") * RBF(1.0, "fixed")
    return kernel if noise is None else kernel + WhiteKernel(noise, "fixed")


def exact_bound(y, z, variance, noise):
    """Titsias's bound in 60 digits, without jitter."""
    with mpmath.workdps(60):
        v, s = mpmath.mpf(variance), mpmath.mpf(noise)

        def covariances(a, b):
            return mpmath.matrix(
                [
                    [v * mpmath.exp(-((mpmath.mpf(p) - mpmath.mpf(q)) ** 2) / 2) for q in b]
                    for p in a
                ]
            )

        lower = mpmath.cholesky(covariances(z, z))
        rows = []
        for column in covariances(X[:, 0], z).tolist():
            solved = []
            for i in range(len(z)):
                rest = mpmath.fdot(zip(lower[i, :i].tolist()[0], solved)) if i else 0
                solved.append((column[i] - rest) / lower[i, i])
            rows.append(solved)
        columns = list(zip(*rows))
        targets = [mpmath.mpf(t) for t in y]
        inner = mpmath.matrix(
            [[mpmath.fdot(zip(a, b)) / s for b in columns] for a in columns]
        ) + mpmath.eye(len(z))
        linear = mpmath.matrix([mpmath.fdot(zip(a, targets)) / s for a in columns])
        root = mpmath.cholesky(inner)
        fit = mpmath.fdot(zip(linear, mpmath.lu_solve(inner, linear)))
        log_det = 2 * sum(mpmath.log(root[i, i]) for i in range(len(z)))
        explained = sum(mpmath.fdot(zip(a, a)) for a in columns)
        n = len(y)
        value = -n * mpmath.log(2 * mpmath.pi * s) - log_det + fit
        value -= (mpmath.fdot(zip(targets, targets)) + n * v - explained) / s
        return float(value / 2)


@pytest.mark.parametrize(
    ("offset", "variance", "noise"), [(0, 1, 1e-6), (0, 1, 1e-4), (100, 1e4, 1e-2)]
)
def test_the_gaussian_bound_in_60_digits(offset, variance, noise):
    """Jitter of 1e-12 of the norm takes less than 0.01 nats away from it, and adds none."""
    y, z = noisy(noise, offset), grid(17)
    model = SVGP(fixed(variance, noise), inducing_points=z, **KEPT, max_iter=20).fit(X, y)
    want = exact_bound(y, z[:, 0], variance, noise)
    assert want - 0.01 < model.elbo_ < want + 1e-4


@pytest.mark.parametrize("m", [10, 17, 25])
@pytest.mark.parametrize("noise", 10.0 ** -np.arange(9))
def test_the_gaussian_bound_is_the_collapsed_one(noise, m):
    """Whatever the units: the jitter of plain ones may cost 1e-5 nats a row."""
    y, options = noisy(noise), {"inducing_points": grid(m), **KEPT}
    model = SVGP(fixed(1.0, noise), max_iter=1, **options).fit(X, y)
    exact = SparseGPRegressor(fixed(1.0, noise), **options).fit(X, y)
    assert model.elbo_ == pytest.approx(exact.elbo_, abs=1e-5 * len(X) + 1e-3)
    mean, deviation = model.predict(X[::7] + 0.01, return_std=True)
    want_mean, want_deviation = exact.predict(X[::7] + 0.01, return_std=True)
    np.testing.assert_allclose(mean, want_mean, atol=1e-3 * np.sqrt(noise))
    np.testing.assert_allclose(deviation, want_deviation, rtol=1e-3)


def poisson_bound(y, z, kernel):
    """The bound of the optimal q(u), by damped Newton steps on whitened dual parameters."""
    k = kernel(z)
    lower = np.linalg.cholesky(k + 1e-12 * np.abs(k).sum(axis=1).max() * np.eye(len(z)))
    v = solve_triangular(lower, kernel(z, X), lower=True)
    left = np.maximum(kernel.diag(X) - np.square(v).sum(axis=0), 0)
    precision, linear = (v * (y + 0.5)) @ v.T, v @ ((y + 0.5) * np.log(y + 0.5))
    last = -np.inf
    for _ in range(200):
        root = np.linalg.cholesky(np.eye(len(z)) + precision)
        inverse = solve_triangular(root, np.eye(len(z)), lower=True)
        mean = inverse.T @ (inverse @ linear)
        f, spread = v.T @ mean, left + np.square(inverse @ v).sum(axis=0)
        rate = np.exp(f + spread / 2)
        divergence = np.square(inverse).sum() - len(z) + mean @ mean
        divergence = 0.5 * divergence + np.log(root.diagonal()).sum()
        bound = np.sum(y * f - rate - gammaln(y + 1)) - divergence
        if abs(bound - last) < 1e-7:
            return bound
        last = bound
        precision = precision + 0.7 * ((v * rate) @ v.T - precision)
        linear = linear + 0.7 * (v @ (y - rate + rate * f) - linear)
    raise AssertionError("the reference did not converge")


@pytest.mark.parametrize("top", [30, 300, 3e3, 3e4, 3e5, 1e6])
@pytest.mark.parametrize("learns", [False, True])
def test_the_bound_of_counts_up_to_a_million(top, learns):
    """To 0.01 nats of a dense iteration, at the kernel and inducing inputs of the fit."""
    y = np.random.default_rng(1).poisson(top * np.exp(0.5 * np.sin(X[:, 0]) - 0.5)).astype(float)
    options = {"random_state": 0} if learns else {"kernel": fixed(np.log(top) ** 2), **KEPT}
    z = 25 if learns else grid(25)
    model = SVGP(likelihood="poisson", inducing_points=z, max_iter=200, **options).fit(X, y)
    want = poisson_bound(y, model.inducing_points_, model.kernel_)
    assert model.elbo_ == pytest.approx(want, abs=0.01)
    np.testing.assert_allclose(model.predict(X).sum(), y.sum(), rtol=0.02)


def problem(rng, likelihood, n=40, m=8):
    x = rng.normal(size=(n, 1))
    y = rng.integers(0, 3, n).astype(float)
    kernel = LATENT + WhiteKernel(0.1) if likelihood.is_noisy else LATENT
    model = SparseVariational(Covariance(kernel, 1), likelihood, np.zeros(1))
    params = model.start(x[:m])
    batch = Batch(Points(x, y, np.ones(n)), np.full(n, 1.5))
    sites = model.at(params.hyper).local(params.sites, batch, None, rng).statistics
    return model, params._replace(sites=sites), batch


def whitened(model, params):
    old, new = model.at(params.hyper), model.at(params.hyper, True)
    return Params(between(old.inducing, new.inducing)(params.sites), params.hyper, True)


@pytest.mark.parametrize("likelihood", [Gaussian(), Poisson(), Softmax(3)], ids=lambda x: x.name)
def test_units_change_nothing_where_all_is_well_conditioned(likelihood, rng):
    """Bound, gradient, statistics and predictions, as far as the jitters allow."""
    model, plain, batch = problem(rng, likelihood, m=4)
    white = whitened(model, plain)
    seed = lambda: np.random.default_rng(3)  # noqa: E731
    _, first = model.evaluate(plain, batch, seed(), gradient=True)
    _, second = model.evaluate(white, batch, seed(), gradient=True)
    assert second.bound == pytest.approx(first.bound, abs=1e-3)
    for a, b in zip(first.gradient, second.gradient):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3 * np.abs(a).max(initial=1.0))
    lower = model.at(plain.hyper, True).inducing.factor
    got = lower @ second.local.statistics.precision @ lower.T
    want = first.local.statistics.precision
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    pairs = zip(
        model.at(plain.hyper).posterior(plain.sites),
        model.at(white.hyper, True).posterior(white.sites),
    )
    for one, other in pairs:
        for a, b in zip(one.predict(batch.rows.x), other.predict(batch.rows.x)):
            np.testing.assert_allclose(b, a, atol=1e-5 * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize("n", [9, 40])
def test_gradients_in_whitened_units(n, rng):
    """With the dual parameters of plain units held: central differences, to 1e-5 of the largest."""
    model, plain, batch = problem(rng, Gaussian(), n=n, m=4)
    params = whitened(model, plain)
    theta, z, own = plain.hyper

    def value(theta, z):
        there = model.at(Hyper(theta, z, own), True)
        lower = there.inducing.factor
        half = np.linalg.solve(lower, plain.sites.precision[0])
        precision = np.linalg.solve(lower, half.T)[None]
        sites = Sites(np.linalg.solve(lower, plain.sites.linear[0])[None], precision)
        return there.evaluate(sites, batch, rng, gradient=False).bound

    got = model.evaluate(params, batch, rng, gradient=True)[1].gradient
    size, h = max(np.abs(got.theta).max(), np.abs(got.z).max()), 1e-4
    for i, unit in enumerate(h * np.eye(len(theta))):
        want = (value(theta + unit, z) - value(theta - unit, z)) / (2 * h)
        assert abs(got.theta[i] - want) < 1e-5 * size
    for i, unit in enumerate(h * np.eye(len(z))):
        want = (value(theta, z + unit[:, None]) - value(theta, z - unit[:, None])) / (2 * h)
        assert abs(got.z[i, 0] - want) < 1e-5 * size


def test_whitened_units_are_kept_by_files_and_streams(rng, tmp_path):
    """A model that ends in them goes on in them, wherever it comes from."""
    y = noisy(1e-6)
    model = SVGP(fixed(1.0, 1e-6), inducing_points=grid(25), **KEPT, max_iter=20).fit(X, y)
    assert model._state.params.whitened
    model.save(tmp_path / "model")
    again = fastvi.load(tmp_path / "model")
    for part, other in zip(tree.leaves(model._state.params), tree.leaves(again._state.params)):
        np.testing.assert_array_equal(part, other)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for each in (model, again):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_allclose(model.predict(X), np.sin(X[:, 0]), atol=5e-3)


def test_optimizers_that_average_follow_the_units():
    """The mean of q(u)'s iterates is in the units of the last."""
    y = noisy(1e-4)
    rate = fastvi.optimizers.averaged(fastvi.optimizers.constant(0.2), burn_in=5)
    options = {"inducing_points": 20, "natural_learning_rate": rate, "random_state": 0}
    model = SVGP(RBF(1.0) + WhiteKernel(1e-4), max_iter=60, **options).fit(X, y)
    assert model._state.params.whitened
    assert np.abs(model.predict(X) - np.sin(X[:, 0])).max() < 0.02
