"""Pair copulas: distributions, gradients, exact Gaussians, and dependence that Gaussians lack."""

import numpy as np
import pytest
from lazily import lazily
from scipy import integrate, stats

import fastvi
from fastvi.families import PairCopula, copula
from fastvi.families.pairs import PAIRS

every_pair = pytest.mark.parametrize("name", PAIRS)
CORRELATION = np.array([[1.0, 0.7, -0.3], [0.7, 1.0, 0.2], [-0.3, 0.2, 1.0]])


@every_pair
@pytest.mark.parametrize("angle", [-0.6, 0.0, 0.4])
def test_pairs_are_distributions(name, angle, rng):
    """h is the integral of c, its inverse inverts it, and c has uniform margins."""
    pair, v = PAIRS[name], 0.3

    def density(u, v):
        return float(np.exp(pair.slopes(np.array([u]), np.array([v]), angle).log_c[0]))

    u = np.array([0.05, 0.4, 0.9])
    h = pair.h(u, np.full(3, v), angle)
    np.testing.assert_allclose(pair.inverse(h, np.full(3, v), angle), u, rtol=1e-7)
    for one, found in zip(u, h):
        total = integrate.quad(lambda x: density(x, v), 0.0, one, points=[0.01, 0.1])[0]
        assert found == pytest.approx(total, abs=1e-6)
    margin = integrate.quad(lambda x: density(0.4, x), 0.0, 1.0, points=[0.01, 0.5, 0.99])[0]
    assert margin == pytest.approx(1.0, abs=1e-6)


@every_pair
@pytest.mark.parametrize("angle", [-0.6, 0.4])
def test_slopes_are_those_of_differences(name, angle, rng):
    pair, (u, v), d = PAIRS[name], rng.uniform(0.02, 0.98, (2, 50)), 1e-6
    found = pair.slopes(u, v, angle)

    def log_c(u, v):
        return pair.slopes(u, v, angle).log_c

    def differs(got, high, low):
        np.testing.assert_allclose(got, (high - low) / (2 * d), rtol=1e-4, atol=1e-5)

    differs(np.exp(found.log_c), pair.h(u + d, v, angle), pair.h(u - d, v, angle))
    differs(found.h_v, pair.h(u, v + d, angle), pair.h(u, v - d, angle))
    differs(found.h_angle, pair.h(u, v, angle + d), pair.h(u, v, angle - d))
    differs(found.of_u, log_c(u + d, v), log_c(u - d, v))
    differs(found.of_v, log_c(u, v + d), log_c(u, v - d))


def bent(name, rng, D=3):
    q = copula("sinh-arcsinh", pairs=name)(rng.normal(size=D), np.eye(D) + 0.4 * np.ones((D, D)))
    angles = np.tril(rng.uniform(-0.5, 0.5, (D, D)), -1)
    return q._replace(shapes=0.3 * rng.normal(size=q.shapes.shape), angles=angles)


@every_pair
def test_densities_are_those_of_draws(name, rng):
    """log_prob and log_prob_of agree; the density integrates to 1; moments are those of draws."""
    q, n = bent(name, rng), 100_000
    draws = q.draw(n, rng)
    few = draws.kept(slice(200))
    np.testing.assert_allclose(q.log_prob(few.points), q.log_prob_of(few), rtol=1e-6, atol=1e-6)
    error = q.sd / np.sqrt(n)
    assert np.all(np.abs(draws.points.mean(axis=0) - q.mean) < 6.0 * error)
    np.testing.assert_allclose(q.cov, np.cov(draws.points.T), atol=0.05 * q.sd.max() ** 2)
    wide = stats.multivariate_t(q.mean, 4.0 * np.diag(q.sd**2), df=3, seed=1)
    Z = wide.rvs(400_000)
    ratios = np.exp(q.log_prob(Z) - wide.logpdf(Z))
    assert abs(ratios.mean() - 1.0) < 5.0 * ratios.std() / np.sqrt(len(Z))


@every_pair
def test_gradients_are_those_of_differences(name, rng):
    """Of a weighted sum of f(z) - log q(z), with the noise and q's parameters in log q held."""
    q, h = bent(name, rng), 1e-6
    draws, weights, a = q.draw(4, rng), rng.random(4), rng.normal(size=3)
    of_points = np.cos(draws.points @ a)[:, None] * a
    got = q.pullback(draws, of_points, -1.0, weights)

    def loss(free):
        Z = q.from_free(free).at(draws.noise).points
        return weights @ (np.sin(Z @ a) - q.log_prob(Z))

    for i, leaf in enumerate(q.free()):
        for place in np.ndindex(leaf.shape):
            ends = []
            for sign in (h, -h):
                free = [part.copy() for part in q.free()]
                free[i][place] += sign
                ends.append(loss(tuple(free)))
            slope = (ends[0] - ends[1]) / (2 * h)
            np.testing.assert_allclose(got[i][place], slope, rtol=1e-4, atol=1e-6)


def test_gaussian_pairs_are_a_gaussian(rng):
    mean = np.array([0.0, 5.0, -2.0])
    q = copula(pairs="gaussian")(mean, CORRELATION)
    Z = q.draw(500, rng).points
    wanted = stats.multivariate_normal(mean, CORRELATION).logpdf(Z)
    np.testing.assert_allclose(q.log_prob(Z), wanted, atol=1e-8)
    again = q.standard().mapped(q.mean, q.units)
    noise = q.noise(5, rng)
    np.testing.assert_allclose(again.at(noise).points, q.at(noise).points, atol=1e-12)


PRECISION = np.linalg.inv(CORRELATION)


@lazily(dim=3, data={"P": PRECISION, "m": np.array([0.0, 5.0, -2.0])})
def gaussian(z, data):
    away = z - data.m
    return -0.5 * away @ (data.P @ away)


@pytest.mark.thorough
def test_gaussian_targets_are_exact():
    family = copula(pairs="gaussian")
    posterior = fastvi.fit(gaussian(), family, random_state=0, verdict=False)
    wanted = stats.multivariate_normal([0.0, 5.0, -2.0], CORRELATION)
    Z = posterior.sample(1000, 1)
    np.testing.assert_allclose(posterior.log_prob(Z), wanted.logpdf(Z), atol=1e-5)


@lazily(dim=2)
def clayton(z):
    """Log-logistic numbers with dependence in the lower tail: a Clayton copula of parameter 2."""
    a, b = np.log1p(np.exp(-z[0])), np.log1p(np.exp(-z[1]))  # minus log u, v
    inner = np.exp(2.0 * a) + np.exp(2.0 * b) - 1.0
    margins = -z[0] - 2.0 * a - z[1] - 2.0 * b
    return np.log(3.0) + 3.0 * (a + b) - 2.5 * np.log(inner) + margins


@pytest.mark.thorough
def test_tails_that_depend_are_followed():
    """The divergence is a tenth of that of a Gaussian copula with the same margins."""
    found = {}
    for pairs in (None, "clayton", "upper-clayton"):
        posterior = fastvi.fit(clayton(), copula("spline", pairs=pairs), random_state=0)
        Z = posterior.sample(40_000, 1)
        log_p = clayton().attempt(Z, with_gradient=False)[0]
        found[pairs] = float(np.mean(posterior.log_prob(Z) - log_p))
    assert found["clayton"] < 0.1 * found[None] < 0.1 * found["upper-clayton"]


def test_files_and_threads(tmp_path):
    options = {"random_state": 3, "verdict": False, "max_iter": 400}
    fits = [fastvi.fit(clayton(), copula(pairs="frank"), n_jobs=n, **options) for n in (1, 2)]
    fits[0].save(tmp_path / "q.npz")
    again = fastvi.Posterior.load(tmp_path / "q.npz", clayton())
    assert type(again.member) is PairCopula
    for a, b, c in zip(again.member, *(fit.member for fit in fits)):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(b, c)
    arrays = again.member.save()
    for change in (
        {"pairs": np.full((2, 2), 9)}, {"order": np.zeros(2, np.int64)}, {"scale": -np.ones(2)},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"pairs|order|scale"):
            PairCopula.load({**arrays, **change}, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: copula(pairs="student"), "pairs"),
        (lambda: copula(rank=1, pairs="frank"), "wanted None for one of them"),
        (lambda: copula(pairs="frank")(np.zeros(6), np.eye(6)), "wanted up to 5"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
