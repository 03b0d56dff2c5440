"""Gaussian copulas: densities, moments, gradients, exact fits, and what they can follow."""

import numpy as np
import pytest
from lazily import lazily
from scipy import stats
from scipy.special import gammainc, gammaincc, gammaln, ndtri
from test_kernels_margins import bent_member

import fastvi
from fastvi.families import Copula, FactorCopula, copula
from fastvi.families.margins import MARGINS
from fastvi.transforms import positive

every_form = pytest.mark.parametrize("rank", [None, 2])
every_map = pytest.mark.parametrize("name", MARGINS)
CORRELATION = np.array([[1.0, 0.7, -0.3], [0.7, 1.0, 0.2], [-0.3, 0.2, 1.0]])


@every_form
@every_map
def test_densities_integrate_and_moments_are_those_of_draws(name, rank, rng):
    """5 standard errors; on a grid in one dimension."""
    q, n = bent_member(name, rng, 3, rank), 100_000
    Z = q.draw(n, rng).points
    assert np.all(np.abs(Z.mean(axis=0) - q.mean) < 5.0 * q.sd / np.sqrt(n))
    products = (Z - q.mean)[:, :, None] * (Z - q.mean)[:, None]
    error = products.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(products.mean(axis=0) - q.cov) < 5.0 * error)
    one = bent_member(name, rng, 1, None if rank is None else 1)
    grid = np.linspace(one.mean - 40.0 * one.sd, one.mean + 40.0 * one.sd, 200_001)
    total = np.exp(one.log_prob(grid)).sum() * (grid[1, 0] - grid[0, 0])
    assert total == pytest.approx(1.0, abs=1e-5)


@every_form
@every_map
def test_gradients_are_those_of_differences(name, rank, rng):
    """Of a weighted sum of f(z) - log q(z), with the noise and q's parameters in log q held."""
    q, h = bent_member(name, rng, 3, rank), 1e-6
    q = q.standard().mapped(rng.normal(size=3), rng.uniform(0.5, 2.0, 3))
    draws, weights, a = q.draw(4, rng), rng.random(4), rng.normal(size=3)
    of_points = np.cos(draws.points @ a)[:, None] * a
    got = q.pullback(draws, of_points, -1.0, weights)

    def loss(free):
        Z = q.from_free(free).at(draws.noise).points
        return weights @ (np.sin(Z @ a) - q.log_prob(Z))

    for i, leaf in enumerate(q.free()):
        for place in np.ndindex(leaf.shape):
            if rank is None and i == 1 and place[1] > place[0]:
                assert got[i][place] == 0.0
                continue
            ends = []
            for sign in (h, -h):
                free = [part.copy() for part in q.free()]
                free[i][place] += sign
                ends.append(loss(tuple(free)))
            slope = (ends[0] - ends[1]) / (2 * h)
            np.testing.assert_allclose(got[i][place], slope, rtol=1e-5, atol=1e-7)


@every_form
def test_members_in_other_units_are_mapped(rank, rng):
    q = bent_member("sinh-arcsinh", rng, 3, rank)
    again = q.standard().mapped(q.mean, q.units)
    noise = q.noise(5, rng)
    np.testing.assert_allclose(again.at(noise).points, q.at(noise).points, atol=1e-12)
    np.testing.assert_allclose(q.standard().mean, 0.0, atol=1e-12)
    np.testing.assert_allclose(q.standard().sd, 1.0)
    same = q.from_free(q.free())
    np.testing.assert_allclose(same.at(noise).points, q.at(noise).points, atol=1e-12)


def divergence(posterior, log_p, n=40_000):
    """KL(q || p) in nats, and its standard error."""
    Z = posterior.sample(n, 1)
    away = posterior.member.log_prob(Z) - log_p(Z)
    return away.mean(), away.std() / np.sqrt(n)


PRECISION = np.linalg.inv(CORRELATION)


@lazily(dim=3, data={"P": PRECISION, "m": np.array([0.0, 5.0, -2.0])})
def gaussian(z, data):
    away = z - data.m
    return -0.5 * away @ (data.P @ away)


@every_form
@every_map
def test_gaussians_are_exact(name, rank):
    posterior = fastvi.fit(gaussian(), copula(name, rank), random_state=0, verdict=False)
    wanted = stats.multivariate_normal([0.0, 5.0, -2.0], CORRELATION)
    if rank is None:
        Z = posterior.sample(1000, 1)
        np.testing.assert_allclose(posterior.log_prob(Z), wanted.logpdf(Z), atol=1e-5)
    found, error = divergence(posterior, wanted.logpdf)
    assert abs(found) < 1e-3 + 3.0 * error
    assert posterior.settled


@lazily(names={"x": positive(3)}, data={"P": PRECISION})
def lognormal(z, data):
    """Their logarithms are normal with this precision."""
    y = np.log(z)
    return -0.5 * y @ (data.P @ y) - np.sum(y)


def test_lognormal_margins_are_exact():
    posterior = fastvi.fit(lognormal(), "copula", random_state=0)
    Z = posterior.sample(1000, 1)
    wanted = stats.multivariate_normal(np.zeros(3), CORRELATION).logpdf(Z)
    np.testing.assert_allclose(posterior.log_prob(Z), wanted, atol=1e-5)
    assert posterior.verdict.word == "good"


def gamma_margins(shapes, correlation):
    """(log p, gradient) of logarithms of Gamma variables, whose normal scores are correlated."""
    excess = np.linalg.inv(correlation) - np.eye(len(shapes))
    constant = -0.5 * np.linalg.slogdet(correlation)[1] - gammaln(shapes).sum()

    def log_p(Z):
        x = np.exp(Z)
        lower, upper = gammainc(shapes, x), gammaincc(shapes, x)
        scores = np.where(lower < 0.5, ndtri(lower), -ndtri(upper))
        along = scores @ excess
        log_p = np.sum(shapes * Z - x, axis=-1) + constant - 0.5 * np.sum(scores * along, axis=-1)
        steep = np.exp(shapes * Z - x - gammaln(shapes) + 0.5 * scores**2) * np.sqrt(2.0 * np.pi)
        return log_p, shapes - x - along * steep

    return log_p


@pytest.mark.parametrize(
    ("name", "shapes"), [("spline", [2.0, 5.0, 1.0]), ("yeo-johnson", [8.0, 10.0, 12.0])]
)
def test_gamma_margins_are_followed(name, shapes):
    log_p = gamma_margins(np.array(shapes), CORRELATION)
    target = fastvi.targets.from_callable(log_p, dim=3)
    posterior = fastvi.fit(target, copula(name), random_state=0, verdict=False)
    found, error = divergence(posterior, lambda Z: log_p(Z)[0])
    assert found < 1e-3 + 3.0 * error
    assert found > -3.0 * error


@lazily(dim=12)
def exponential(z):
    """Independent logarithms of exponential variables."""
    value = 0.0
    for i in range(z.size):
        value += z[i] - np.exp(z[i])
    return value


def test_factors_follow_skewness_in_many_dimensions():
    """Better than any Gaussian."""
    fits = [
        fastvi.fit(exponential(), family, random_state=0, verdict=False)
        for family in (copula(rank=1), "meanfield")
    ]
    assert -3.0 * fits[0].elbo_error < -fits[0].elbo < 0.2 * -fits[1].elbo


@every_form
def test_files_and_threads(rank, tmp_path):
    fits = [
        fastvi.fit(lognormal(), copula("spline", rank), random_state=3, n_jobs=n, verdict=False)
        for n in (1, 2)
    ]
    fits[0].save(tmp_path / "q.npz")
    again = fastvi.Posterior.load(tmp_path / "q.npz", lognormal())
    assert type(again.member) is (Copula if rank is None else FactorCopula)
    for a, b, c in zip(again.member, *(fit.member for fit in fits)):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(b, c)
    arrays = again.member.save()
    for change in ({"kind": np.array([7])}, {"shapes": np.zeros((3, 1))}):
        with pytest.raises(ValueError, match=r"kind|shapes"):
            type(again.member).load({**arrays, **change}, 3)


def test_resumed_fits_have_the_same_bits(tmp_path):
    options = {"verdict": False, "random_state": 3, "family": "copula"}
    whole = fastvi.fit(lognormal(), **options)
    kept = {"checkpoint": tmp_path / "state.npz", "checkpoint_interval": 0.0, **options}
    fastvi.fit(lognormal(), callback=lambda state: state.step > 300, **kept)
    resumed = fastvi.fit(lognormal(), resume=True, **kept)
    assert resumed.n_iter == whole.n_iter
    for a, b in zip(resumed.member, whole.member):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: copula("normal"), "margins"),
        (lambda: copula(rank=0), "rank"),
        (lambda: fastvi.fit(gaussian(), "copula", method="natural"), "natural gradients"),
        (
            lambda: fastvi.fit(gaussian(), "copula", verdict=False).error_bounds(),
            "Gaussian families",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
