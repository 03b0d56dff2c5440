"""Sparse variational Gaussian processes where low noise meets covariances close to singular."""

import mpmath
import numpy as np
import pytest
from scipy.linalg import solve_triangular
from scipy.special import gammaln
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from thoroughly import mostly_thorough

import fastvi
from fastvi import SVGP, SparseGPRegressor
from fastvi.base import tree

pytestmark = pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning")

X = np.linspace(0, 10, 300)[:, None]
KEPT = {"learn_inducing_points": False, "learn_kernel": False, "random_state": 0}


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


@pytest.mark.parametrize("m", mostly_thorough([17, 10, 25]))
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


@pytest.mark.thorough
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


def test_files_and_streams_lose_no_digits(rng, tmp_path):
    y = noisy(1e-6)
    model = SVGP(fixed(1.0, 1e-6), inducing_points=grid(25), **KEPT, max_iter=20).fit(X, y)
    model.save(tmp_path / "model")
    again = fastvi.load(tmp_path / "model")
    for part, other in zip(tree.leaves(model._state.params), tree.leaves(again._state.params)):
        np.testing.assert_array_equal(part, other)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for each in (model, again):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_allclose(model.predict(X), np.sin(X[:, 0]), atol=5e-3)


def test_iterates_of_dual_parameters_may_be_averaged():
    y = noisy(1e-4)
    rate = fastvi.optimizers.averaged(fastvi.optimizers.constant(0.2), burn_in=5)
    options = {"inducing_points": 20, "natural_learning_rate": rate, "random_state": 0}
    model = SVGP(RBF(1.0) + WhiteKernel(1e-4), max_iter=60, **options).fit(X, y)
    assert np.abs(model.predict(X) - np.sin(X[:, 0])).max() < 0.02
