"""Robust fits by weights of rows: closed forms, outliers, and what is refused."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from toy_targets import bowl, regression

import fastvi
from fastvi.core import Batch
from fastvi.fitting.row_priors import beta, gamma
from fastvi.targets.reweighted import Reweighted


def normal(z, data, rows, weights, grad):
    """y ~ N(z, 1), z ~ N(0, 100)."""
    value = -0.005 * z[0] * z[0]
    grad[0] = -0.01 * z[0]
    for m in range(rows.size):
        away = data.y[rows[m]] - z[0]
        value -= weights[m] * (0.5 * away * away + 0.5 * math.log(2 * math.pi))
        grad[0] += weights[m] * away
    return value


def of(y):
    return fastvi.target(normal, dim=1, data={"y": y}, rows="y")


@pytest.mark.parametrize("value", [-120.0, -50.1, -49.9, -8.0, -0.5, 0.0, 3.0, 49.9, 50.1, 300.0])
@pytest.mark.parametrize(("a", "b"), [(0.1, 0.01), (2.0, 0.5), (3.0, 2.0)])
def test_beta_weights_are_the_means_of_tilted_beta_densities(value, a, b):
    """Quadrature of w^a (1 - w)^(b - 1) e^(v w), with substitutions where it is unbounded."""
    top = max(value, 0.0)

    def integral(power):
        low = quad(
            lambda u: (
                (1 - u ** (1 / power)) ** (b - 1) * math.exp(value * u ** (1 / power) - top) / power
            ),
            0,
            0.5**power,
            epsabs=0,
            epsrel=1e-11,
            limit=500,
            points=[min(0.4, 20 / max(-value, 1)) ** power],
        )[0]
        high = quad(
            lambda u: (
                (1 - u ** (1 / b)) ** (power - 1) * math.exp(value * (1 - u ** (1 / b)) - top) / b
            ),
            0,
            0.5**b,
            epsabs=0,
            epsrel=1e-11,
            limit=500,
            points=[min(0.4, 20 / max(value, 1)) ** b],
        )[0]
        return low + high

    wanted = integral(a + 1) / integral(a)
    assert beta(a, b).weights(np.array([value]))[0] == pytest.approx(wanted, rel=1e-6)


def test_gamma_weights_are_conjugate():
    prior = gamma(2.0, 3.0)
    np.testing.assert_allclose(prior.weights(np.array([-1.0, 1.0])), [0.5, 1.0])
    assert prior.mean == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match=r"rate=3 of the gamma prior .* 3\.5"):
        prior.weights(np.array([0.0, 3.5]))


def test_weights_of_rows_multiply_those_of_batches(rng):
    X = rng.normal(size=(6, 2))
    target = fastvi.target(regression, dim=2, data={"X": X, "y": X[:, 0]}, rows="X")
    weights, Z = rng.uniform(0.1, 2.0, 6), rng.normal(size=(3, 2))
    found = Reweighted(target, weights)
    np.testing.assert_allclose(found.log_prob(Z), target.log_prob(Z, Batch(np.arange(6), weights)))
    rows, of_batch = np.array([4, 1]), np.array([3.0, 0.5])
    for ours, theirs in zip(
        found.log_prob_and_grad(Z, Batch(rows, of_batch)),
        target.log_prob_and_grad(Z, Batch(rows, of_batch * weights[rows])),
    ):
        np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("name", ["beta", "gamma"])
def test_one_outlier_of_a_normal_has_the_fixed_point_in_closed_form(name):
    y = np.append(np.linspace(-1.5, 1.5, 20), 8.0)
    prior = {"beta": beta, "gamma": gamma}[name]()
    found = fastvi.reweighted_fit(of(y), prior=name, tol=1e-6, random_state=0, n_draws=2000)
    assert found.settled
    weights = np.ones(21)
    for _ in range(200):  # coordinate ascent: q(z) is normal, E log p = -(log 2 pi + a^2 + v) / 2
        variance = 1.0 / (0.01 + weights.sum())
        mean = variance * weights @ y
        values = -0.5 * (math.log(2 * math.pi) + (y - mean) ** 2 + variance)
        weights = prior.weights(values)
    np.testing.assert_allclose(found.row_weights_, weights, atol=3e-3)
    assert found.posterior.mean[0] == pytest.approx(mean, abs=5e-3)
    assert found.posterior.sd[0] == pytest.approx(math.sqrt(variance), rel=1e-2)
    assert found.row_weights_[-1] < 0.2 * found.row_weights_[:-1].min()
    assert found.posterior.verdict.word == "good"


def test_the_closed_form_is_near_the_exact_posterior():
    """Weights integrated out leave one number: p(z) prod_i M(a, a + b, log p(y_i | z))."""
    from fastvi.fitting.row_priors import _log_kummer

    y = np.append(np.linspace(-1.5, 1.5, 20), 8.0)
    grid = np.linspace(-3.0, 4.0, 2001)
    values = -0.5 * (math.log(2 * math.pi) + (y - grid[:, None]) ** 2)
    log_density = -0.005 * grid**2 + _log_kummer(0.1, 0.11, values).sum(axis=1)
    weights = np.exp(log_density - log_density.max())
    mean = weights @ grid / weights.sum()
    sd = math.sqrt(weights @ (grid - mean) ** 2 / weights.sum())
    found = fastvi.reweighted_fit(of(y), random_state=0, verdict=False)
    assert abs(found.posterior.mean[0] - mean) < 0.1 * sd
    clean = y[:-1].mean()
    assert abs(mean - clean) < 0.1 * sd < abs(y.mean() - clean)


def test_outliers_leave_the_mean_where_it_was():
    """5 % of rows at 8 standard deviations: means within 0.1 posterior sds of the clean fit."""
    rng = np.random.default_rng(4)
    y = rng.normal(size=400)
    planted = rng.permutation(400) < 20
    clean = of(y[~planted])
    y = np.where(planted, 8.0, y)
    wanted = fastvi.reweighted_fit(clean, random_state=0, verdict=False).posterior
    found = fastvi.reweighted_fit(of(y), random_state=0, verdict=False)
    assert abs(found.posterior.mean[0] - wanted.mean[0]) < 0.1 * wanted.sd[0]
    assert abs(found.posterior.mean[0] - y[~planted].mean()) < 0.1
    assert found.row_weights_[planted].max() < 0.01
    assert found.row_weights_[~planted].mean() > 0.5
    plain = fastvi.fit(of(y), random_state=0, verdict=False)
    assert abs(plain.mean[0] - y[~planted].mean()) > 0.3


def test_refusals():
    with pytest.raises(ValueError, match="takes no rows"):
        fastvi.reweighted_fit(fastvi.target(bowl, dim=2))
    target = of(np.zeros(3))
    for options, words in (
        ({"prior": "uniform"}, "prior is 'uniform'"),
        ({"tol": 0.0}, "tol"),
        ({"max_iter": 0}, "max_iter"),
    ):
        with pytest.raises(ValueError, match=words):
            fastvi.reweighted_fit(target, **options)
