"""Sparse variational Gaussian processes: gradients, the Gaussian optimum, likelihoods."""

import numpy as np
import pytest
from scipy.special import gammaln
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, WhiteKernel

from fastvi import optimizers
from fastvi.base import tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.batches import Everything, InMemory
from fastvi.core import Batch
from fastvi.loop import run
from fastvi.models.fits import fit_conjugate
from fastvi.models.gp import likelihoods
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.learner import HyperMoves, LearnSettings, learn
from fastvi.models.gp.likelihood import Values
from fastvi.models.gp.likelihoods import Bernoulli, Gaussian, Poisson, Softmax, StudentT
from fastvi.models.gp.model import Hyper, SparseVariational
from fastvi.models.gp.rows import Points, Sites
from fastvi.models.gp.sgpr import SparseRegression

KERNEL = ConstantKernel(1.5) * RBF([0.9, 1.3]) + WhiteKernel(0.1)
LATENT = ConstantKernel(1.5) * Matern(1.1, nu=1.5) + DotProduct(0.5)
LIKELIHOODS = {
    "gaussian": Gaussian(),
    "student": StudentT(4.0),
    "poisson": Poisson(),
    "logit": Bernoulli("logit"),
    "probit": Bernoulli("probit"),
    "softmax": Softmax(3),
}
every_likelihood = pytest.mark.parametrize("name", LIKELIHOODS)


def problem(rng, name="gaussian", n=40, m=7):
    x = rng.normal(size=(n, 2))
    f = np.sin(2 * x[:, 0]) + 0.5 * x[:, 1]
    y = {
        "poisson": lambda: rng.poisson(np.exp(f)).astype(float),
        "logit": lambda: (rng.random(n) < 1 / (1 + np.exp(-3 * f))).astype(float),
        "probit": lambda: (rng.normal(size=n) < f).astype(float),
        "softmax": lambda: np.digitize(f, [-0.5, 0.5]).astype(float),
    }.get(name, lambda: f + 0.3 * rng.normal(size=n))()
    kernel = LATENT if not LIKELIHOODS[name].is_noisy else LATENT + WhiteKernel(0.1)
    covariance = Covariance(kernel, 2)
    model = SparseVariational(covariance, LIKELIHOODS[name], x.mean(axis=0))
    prepared = model.at(model.start(x[:m] + 0.01).hyper)
    return prepared, Batch(Points(x, y, np.ones(n)), np.full(n, 1.5))


def some_sites(model, batch, rng):
    """After two steps of rate 1/2, so that nothing is at an optimum."""
    sites = model.prior
    for _ in range(2):
        new = model.local(sites, batch, None, rng).statistics
        sites = Sites(*(0.5 * (a + b) for a, b in zip(sites, new)))
    return sites


@pytest.mark.jit
@pytest.mark.parametrize(
    ("name", "form"),
    [(name, "thin") for name in LIKELIHOODS]
    + [(name, "tall") for name in LIKELIHOODS if name != "softmax"],
)
def test_gradients_by_hyperparameters(name, form, rng, monkeypatch):
    """Dual parameters and random numbers held: central differences, to 1e-5 of the largest.

    For softmax E[g''] / 2 is another expectation than what a difference sees, and both have the
    error of 40000 draws, 1 %.
    """
    monkeypatch.setattr(likelihoods, "N_DRAWS", 40_000)
    tolerance = 2e-2 if name == "softmax" else 1e-5
    n = 10 if form == "thin" else 13 if name == "softmax" else 40
    model, batch = problem(rng, name, n=n)
    sites = some_sites(model, batch, rng)
    theta, z, own = model.hyper

    def value(theta, z):
        there = model.model.at(Hyper(theta, z, own))
        return there.evaluate(sites, batch, np.random.default_rng(3), gradient=False).bound

    result = model.evaluate(sites, batch, np.random.default_rng(3)).gradient
    h = 1e-4
    size = max(np.abs(result.theta).max(), np.abs(result.z).max())
    for i in range(len(theta)):
        step = h * np.eye(len(theta))[i]
        want = (value(theta + step, z) - value(theta - step, z)) / (2 * h)
        assert abs(result.theta[i] - want) < tolerance * size
    for index in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[index] = h
        want = (value(theta, z + step) - value(theta, z - step)) / (2 * h)
        assert abs(result.z[index] - want) < tolerance * size


def test_one_natural_step_is_the_gaussian_optimum(rng):
    """Rate 1, all rows: the bound of the collapsed form, from wherever it begins."""
    x = rng.normal(size=(60, 2))
    y = np.sin(2 * x[:, 0]) + 0.3 * rng.normal(size=60)
    covariance = Covariance(KERNEL, 2)
    theta, z = covariance.theta, x[:9]
    model = SparseVariational(covariance, Gaussian(), np.zeros(2))
    model = model.at(model.start(z).hyper)
    batch = Batch(Points(x, y, np.ones(60)), np.ones(60))
    collapsed = SparseRegression(covariance, x, y[:, None]).bound(theta, z)
    sites = model.local(some_sites(model, batch, rng), batch, None, rng).statistics
    again = model.local(sites, batch, None, rng).statistics
    for a, b in zip(sites, again):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    result = model.evaluate(sites, batch, rng)
    assert result.bound == pytest.approx(collapsed.value, abs=1e-5)
    assert model.local(sites, batch, None, rng).bound + model.global_bound(sites) == result.bound
    # at the optimum the gradient is the collapsed bound's
    gradient = result.gradient
    np.testing.assert_allclose(gradient.theta, collapsed.by_theta, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient.z, collapsed.by_z, rtol=1e-3, atol=1e-3)
    new = rng.normal(size=(5, 2))
    mean, variance = model.posterior(sites)[0].predict(new)
    want = collapsed.posterior.predict(new)
    np.testing.assert_allclose(mean, want[0], atol=1e-5)
    np.testing.assert_allclose(variance, want[1], atol=1e-6)


@pytest.mark.jit
@every_likelihood
def test_natural_gradients_raise_the_bound(name, rng):
    """Through the common loop; softmax and its random draws to within their noise."""
    model, batch = problem(rng, name)
    source = InMemory(batch.rows)
    fit = fit_conjugate(model, source, tree.copy(model.prior), n_epochs=40, optimizer=0.5)
    bounds = fit.history["elbo"]
    noise = 2.0 if name == "softmax" else 1e-7 * abs(bounds[-1])
    assert np.all(np.diff(bounds) > -noise)
    assert bounds[-1] > bounds[0] + 5
    assert abs(bounds[-1] - bounds[-5]) < max(noise, 1e-3 * abs(bounds[-1]))


@pytest.mark.jit
def test_mini_batches_come_near(rng):
    """Within a nat of the optimum's bound, on all rows."""
    model, batch = problem(rng, "logit", n=400)
    source = InMemory(batch.rows)
    everything = Batch(batch.rows, np.ones(400))

    def bound(sites):
        return model.local(sites, everything, None, rng).bound + model.global_bound(sites)

    best = fit_conjugate(model, source, tree.copy(model.prior), n_epochs=30).params
    for options in ({}, {"variance_reduction": "svrg", "optimizer": 0.2}, {"sampling": "adaptive"}):
        fit = fit_conjugate(
            model, source, tree.copy(model.prior), n_epochs=30, batch_size=40, **options
        )
        assert bound(best) - 1 < bound(fit.params) < bound(best) + 1e-3


@every_likelihood
def test_statistics_are_weighted_sums_over_rows(name, rng):
    model, batch = problem(rng, name, n=9)
    sites = some_sites(model, batch, rng)
    weights = rng.random(9)
    if name == "softmax":
        return  # its draws differ from row to row
    whole = model.local(sites, Batch(batch.rows, weights), None, rng, norms=True)
    source = InMemory(batch.rows)
    linear, precision, bound = 0.0, 0.0, 0.0
    for i in range(9):
        part = model.local(sites, Batch(source.take([i]), np.ones(1)), None, rng)
        size = sum(np.square(leaf).sum() for leaf in part.statistics)
        assert whole.norms[i] == pytest.approx(np.sqrt(size))
        linear += weights[i] * part.statistics.linear
        precision += weights[i] * part.statistics.precision
        bound += weights[i] * part.bound
    np.testing.assert_allclose(whole.statistics.linear, linear, atol=1e-10)
    np.testing.assert_allclose(whole.statistics.precision, precision, atol=1e-10)
    assert whole.bound == pytest.approx(bound)


@pytest.mark.jit
def test_learning_raises_the_bound_near_the_collapsed_optimum(rng):
    """Adam on hyperparameters and inducing inputs, rate 1 on q(u): q(u) lags a step behind."""
    x = rng.normal(size=(100, 2))
    y = np.sin(2 * x[:, 0]) + 0.1 * rng.normal(size=100)
    covariance = Covariance(KERNEL, 2)
    model = SparseVariational(covariance, Gaussian(), np.zeros(2))
    bounds = np.tile([np.log(1e-3), np.log(1e3)], (4, 1))
    settings = LearnSettings(optimizers.constant(1.0), optimizers.adam(0.03))
    algorithm = learn(model, settings, HyperMoves(np.ones(2), bounds))
    batches = Everything(InMemory(Points(x, y, np.ones(len(x)))))
    state = algorithm.init(model.start(x[:10]))
    with single_threaded_blas():
        state, history = run(algorithm, state, batches, n_epochs=400, rng=rng)
    bound = history.arrays()["elbo"]
    collapsed = SparseRegression(covariance, x, y[:, None])
    result = collapsed.bound(state.params.hyper.theta, state.params.hyper.z)
    assert bound[-1] == pytest.approx(result.value, abs=1.0)
    assert bound[-1] > bound[1] + 20


# Likelihoods


@pytest.mark.jit
@every_likelihood
def test_expectations_against_monte_carlo(name, rng):
    """200000 draws, tolerance five standard errors; derivatives by differences where exact."""
    likelihood = LIKELIHOODS[name]
    t = likelihood.n_latents
    n, noise = 6, 0.3
    mean, variance = rng.normal(size=(t, n)).T, rng.uniform(0.05, 1.0, (t, n)).T  # as models do
    y = rng.integers(0, 2, n).astype(float)
    f = mean + np.sqrt(variance) * rng.normal(size=(200_000, n, t))
    g = log_density(name, y, f, noise)
    got = likelihood.expect(y, mean, variance, Values(noise), np.random.default_rng(1))
    error = g.std(axis=0) / np.sqrt(len(g))
    draws = 0.5 if name == "softmax" else 0.0
    assert np.all(np.abs(got.value - g.mean(axis=0)) < 5 * error + 1e-7 + draws)

    def value(dm=0.0, dv=0.0, dn=0.0):
        generator = np.random.default_rng(1)
        values = Values(noise * np.exp(dn))
        return likelihood.expect(y, mean + dm, variance + dv, values, generator).value

    h = 1e-5
    for k in range(t):
        unit = h * np.eye(t)[k]
        by_mean = (value(dm=unit) - value(dm=-unit)) / (2 * h)
        np.testing.assert_allclose(got.by_mean[:, k], by_mean, rtol=1e-6, atol=1e-7)
        by_variance = (value(dv=unit) - value(dv=-unit)) / (2 * h)
        if name == "softmax":  # the second derivative's draws, not the root's
            assert np.all(np.abs(got.by_variance[:, k] - by_variance) < 0.5)
            assert np.all(got.by_variance <= 0)
        else:
            np.testing.assert_allclose(got.by_variance[:, k], by_variance, rtol=1e-6, atol=1e-7)
    by_noise = (value(dn=h) - value(dn=-h)) / (2 * h)
    np.testing.assert_allclose(got.by_log_noise, by_noise, rtol=1e-5, atol=1e-7)


def log_density(name, y, f, noise):
    """Log p(y | f) of rows, f (..., n, T)."""
    if name == "softmax":
        top = f.max(axis=-1, keepdims=True)
        total = np.log(np.exp(f - top).sum(axis=-1)) + top[..., 0]
        return np.take_along_axis(f, y.astype(int)[None, :, None], -1)[..., 0] - total
    f = f[..., 0]
    if name == "poisson":
        return y * f - np.exp(f) - gammaln(y + 1)
    from scipy import stats

    if name == "gaussian":
        return stats.norm.logpdf(y, f, np.sqrt(noise))
    if name == "student":
        return stats.t.logpdf(y, 4.0, f, np.sqrt(noise))
    sign = 2 * y - 1
    return stats.logistic.logcdf(sign * f) if name == "logit" else stats.norm.logcdf(sign * f)


def test_the_probit_function_far_out():
    """Where the distribution function underflows, and where its two forms meet."""
    from scipy.special import log_ndtr

    from fastvi.kernels.likelihoods import _log_normal_cdf

    for x in (-1e4, -50.0, -8.0, -3.0000001, -2.9999999, 0.0, 5.0, 40.0):
        value, hazard = _log_normal_cdf(x)
        assert value == pytest.approx(log_ndtr(x), rel=1e-12, abs=1e-16)
        want = np.exp(-0.5 * x * x - 0.5 * np.log(2 * np.pi) - log_ndtr(x)) if x > -30 else -x
        assert hazard == pytest.approx(want, rel=1e-3 if x <= -30 else 1e-10)


@pytest.mark.parametrize("name", ["gaussian", "student", "poisson", "logit", "probit"])
def test_predictions_against_monte_carlo(name, rng):
    """400000 draws; means to five standard errors, standard deviations to 5 %."""
    likelihood = LIKELIHOODS[name]
    mean, variance, noise = np.array([[0.3], [-1.0]]), np.array([[0.2], [0.7]]), 0.3
    f = mean + np.sqrt(variance) * rng.normal(size=(2, 400_000))
    y = {
        "gaussian": lambda: f + np.sqrt(noise) * rng.normal(size=f.shape),
        "student": lambda: f + np.sqrt(noise) * rng.standard_t(4.0, size=f.shape),
        "poisson": lambda: rng.poisson(np.exp(f)),
        "logit": lambda: rng.random(f.shape) < 1 / (1 + np.exp(-f)),
        "probit": lambda: rng.normal(size=f.shape) < f,
    }[name]()
    got, spread = likelihood.predict(mean, variance, Values(noise))
    assert np.all(np.abs(got - y.mean(axis=1)) < 5 * np.sqrt(spread / f.shape[1]))
    np.testing.assert_allclose(np.sqrt(spread), y.std(axis=1), rtol=0.05)
