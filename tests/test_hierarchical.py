"""Mixtures over an auxiliary number: bounds, gradients, densities, and what they can follow."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import fastvi
from fastvi.families import VGP, Hierarchical, blocks, hierarchical, vgp

FORMS = {
    "reverse": hierarchical(n_hidden=3, n_reverse=4, n_extra=0),
    "semi-implicit": hierarchical(n_hidden=3, n_reverse=0, n_extra=3),
    "importance": hierarchical(n_hidden=3, n_reverse=4, n_extra=2),
    "process": vgp(5, n_reverse=3, n_extra=2),
}
every_form = pytest.mark.parametrize("form", FORMS)
COV = np.array([[2.0, 0.9], [0.9, 0.7]])


def member_of(form, rng, size=0.3):
    """Away from where fits begin."""
    q = FORMS[form](np.array([1.0, -2.0]), COV)
    free = [leaf + size * rng.standard_normal(leaf.shape) for leaf in q.free()]
    return q.from_free(tuple(free))


@every_form
def test_gradients_are_those_of_differences(form, rng):
    """Of a weighted sum of f(z) - log q, with the noise held fixed; nothing is left out."""
    q, h = member_of(form, rng), 1e-6
    noise, weights, a = q.noise(6, rng), rng.random(6), rng.normal(size=2)
    draws = q.at(noise)
    got = q.pullback(draws, np.cos(draws.points @ a)[:, None] * a, -1.0, weights)

    def loss(free):
        p = q.from_free(free)
        draws = p.at(noise)
        return weights @ (np.sin(draws.points @ a) - p.log_prob_of(draws))

    for i, leaf in enumerate(q.free()):
        for place in range(leaf.size):
            ends = []
            for sign in (h, -h):
                free = [part.copy() for part in q.free()]
                free[i][place] += sign
                ends.append(loss(tuple(free)))
            slope = (ends[0] - ends[1]) / (2 * h)
            np.testing.assert_allclose(got[i][place], slope, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["bernoulli", "poisson"])
def test_gradients_of_discrete_numbers_are_unbiased(kind, rng):
    """Of the bound with a quadratic f, against differences of its mean over many draws."""
    q = hierarchical(kind, 2, n_hidden=2, n_reverse=2, n_extra=1)
    q = q.from_free(tuple(leaf + 0.1 * rng.standard_normal(leaf.shape) for leaf in q.free()))
    n, h, a = 200_000, 0.02, np.array([1.0, -0.5])

    def f(Z):
        return -0.1 * (Z @ a - 0.5) ** 2

    draws = q.draw(n, rng)
    got = q.auxiliary_pullback(draws, f(draws.points) - q.log_prob_of(draws))
    along = [rng.standard_normal(leaf.shape) for leaf in q.free()]
    ends = []
    for sign in (h, -h):
        p = q.from_free(tuple(x + sign * d for x, d in zip(q.free(), along)))
        draws = p.draw(n, np.random.default_rng(0))  # the same noise
        ends.append(f(draws.points) - p.log_prob_of(draws))
    slopes = (ends[0] - ends[1]) / (2 * h)
    slope, error = slopes.mean(), slopes.std() / np.sqrt(n)
    found = sum(np.vdot(g, d) for g, d in zip(got, along))
    assert abs(found - slope) < 5.0 * error + 0.03 * abs(slope)


@pytest.mark.parametrize("G", [0, 1])
def test_bounds_fall_with_more_draws_to_the_density(G):
    """E log q's bound of K = 0, 1, 2 in one dimension by quadrature over all noise."""
    bounds, variance = [], 0.8**2 + 0.6**2
    wanted = -0.5 * np.log(2.0 * np.pi * np.e * variance)
    for K in range(3):
        q = hierarchical(n_hidden=0, n_reverse=1, n_extra=K, n_auxiliary=1)(np.zeros(1), np.eye(1))
        q = q._replace(forward=np.array([0.8, 0.1, 0.0, np.log(0.6)]))
        sizes, backward = q.sizes.copy(), q.backward + 0.2
        if G == 0:
            sizes[4], backward = 0, np.empty(0)
        q = q._replace(sizes=sizes, backward=backward)
        points, shares = np.polynomial.hermite_e.hermegauss(24 if K < 2 else 18)
        shares = shares / shares.sum()
        noise = np.stack(np.meshgrid(*[points] * (2 + K), indexing="ij"), axis=-1)
        weights = np.stack(np.meshgrid(*[shares] * (2 + K), indexing="ij"), axis=-1).prod(axis=-1)
        draws = q.at(np.ascontiguousarray(noise.reshape(-1, 2 + K)))
        bounds.append(float(weights.ravel() @ q.log_prob_of(draws)))
    if G == 0:
        bounds = bounds[1:]  # without a reverse network or a draw there is no bound
    assert np.all(np.diff(bounds) < 0.0)
    assert bounds[-1] > wanted


@every_form
def test_densities_integrate_and_moments_are_those_of_draws(form, rng):
    q, n = member_of(form, rng, 0.1), 100_000
    Z = q.draw(n, rng).points
    np.testing.assert_allclose(q.mean, Z.mean(axis=0), atol=6.0 * q.sd.max() / np.sqrt(n) + 0.01)
    np.testing.assert_allclose(q.sd, Z.std(axis=0), rtol=0.03)
    line = np.linspace(-7.0, 7.0, 281)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(q.log_prob(q.mean + grid * q.sd)).sum() * np.prod(q.sd) * 0.05**2
    assert mass == pytest.approx(1.0, abs=0.03)


def test_fits_begin_near_the_gaussian(rng):
    for near in (*FORMS.values(), vgp()):
        q = near(np.array([1.0, -2.0]), COV)
        np.testing.assert_allclose(q.mean, [1.0, -2.0], atol=0.2)
        np.testing.assert_allclose(q.sd, np.sqrt(np.diag(COV)), rtol=0.25)
        assert 0.3 < q.cov[0, 1] < 1.2


@fastvi.target(dim=2)
def banana(z):
    bend = z[1] + 0.5 * z[0] ** 2
    return -0.25 * z[0] ** 2 - 2.0 * bend * bend


@fastvi.target(dim=2)
def ring(z):
    away = np.sqrt(z[0] ** 2 + z[1] ** 2 + 1e-12) - 2.0
    return -8.0 * away * away


@fastvi.target(dim=2)
def correlated(z):
    return -0.5 * (z[0] ** 2 + z[1] ** 2 - 1.8 * z[0] * z[1]) / 0.19


@fastvi.target(dim=2)
def skewed(z):
    away = z[1] - 0.6 * z[0]
    return z[0] - np.exp(z[0]) + 2.0 * away - np.exp(away)


@fastvi.target(dim=2)
def logistic(z):
    total = -0.05 * (z[0] ** 2 + z[1] ** 2)
    for i in range(4):
        eta = z[0] + z[1] * (i - 1.0)
        total += (i > 1) * eta - np.log1p(np.exp(eta))
    return total


@pytest.mark.thorough
@pytest.mark.parametrize("family", [hierarchical(), vgp()], ids=["network", "process"])
@pytest.mark.parametrize(
    "target", [banana, ring, correlated, skewed, logistic], ids=lambda target: target.name
)
def test_bounds_are_at_least_those_of_mean_field(target, family):
    one = fastvi.fit(target, family, random_state=0, verdict=False)
    least = fastvi.fit(target, "meanfield", random_state=0, verdict=False)
    slack = 3.0 * (one.elbo_error + least.elbo_error)
    assert one.elbo > least.elbo - slack
    if target in (banana, ring):
        assert one.elbo > least.elbo + 0.2


def test_steps_in_machine_code_are_those_of_python(rng):
    from test_kernels_drivers import algorithms, compare, target_of

    for edge in (np.inf, 0.8):
        for form in ("importance", "process"):
            q = member_of(form, rng, 0.1).mapped(np.array([-1.0, 2.0]), np.full(2, 0.8))
            compare(*algorithms(target_of(rng, 2, edge), q, 7, 0.03, 6, False), 6, 5)


def spins(z):
    """Two numbers that are mostly the same."""
    return 1.5 * (2.0 * z[0] - 1.0) * (2.0 * z[1] - 1.0) + 0.3 * z[0]


def counts(z):
    """Two counts with means 1 and 8, or 8 and 1."""
    both = np.logaddexp(z[0] * math.log(8.0), z[1] * math.log(8.0))
    return both - math.lgamma(z[0] + 1.0) - math.lgamma(z[1] + 1.0)


def enumerated(values, log_p, member):
    """KL(member || target) over all points."""
    Z = np.stack(np.meshgrid(values, values, indexing="ij"), axis=-1).reshape(-1, 2).astype(float)
    logs = np.array([log_p(z) for z in Z])
    logs -= logsumexp(logs)
    log_q = member.log_prob(Z)
    return float(np.sum(np.exp(log_q) * (log_q - logs)))


@pytest.mark.parametrize(
    ("kind", "log_p", "values"),
    [("bernoulli", spins, range(2)), ("poisson", counts, range(40))],
    ids=["bernoulli", "poisson"],
)
def test_discrete_posteriors_are_closer_than_by_mean_field(kind, log_p, values):
    target = fastvi.target(log_p, dim=2)
    options = {"random_state": 0, "verdict": False}
    one = fastvi.fit(target, hierarchical(kind, 2), **options)
    least = fastvi.fit(target, blocks(**{kind: 2}), **options)
    found, flat = (enumerated(values, log_p, p.member) for p in (one, least))
    assert -1e-3 < found < 0.5 * flat


def test_files_hold_everything(tmp_path):
    posterior = fastvi.fit(correlated, FORMS["importance"], random_state=0, max_iter=300)
    posterior.save(tmp_path / "q.npz")
    again = fastvi.Posterior.load(tmp_path / "q.npz", correlated)
    for a, b in zip(again.member, posterior.member):
        np.testing.assert_array_equal(a, b)
    arrays = again.member.save()
    with pytest.raises(ValueError, match="sizes"):
        Hierarchical.load({**arrays, "sizes": np.array([9, 2, 2, 3, 4, 2, 0])}, 2)
    with pytest.raises(ValueError, match="sizes"):
        VGP.load(arrays, 2)


def test_a_linear_network_is_exact_on_gaussians():
    family = hierarchical(n_hidden=0, n_reverse=1, n_extra=5)
    posterior = fastvi.fit(correlated, family, random_state=0, verdict=False)
    Z = posterior.sample(2000, 1)
    wanted = multivariate_normal(np.zeros(2), [[1.0, 0.9], [0.9, 1.0]]).logpdf(Z)
    assert abs(np.mean(posterior.log_prob(Z) - wanted)) < 0.02


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hierarchical("binary"), "kind"),
        (lambda: hierarchical("poisson"), "dim is None"),
        (lambda: hierarchical(n_reverse=0, n_extra=0), "leave no bound"),
        (lambda: vgp(21), "at most 20"),
        (lambda: vgp()(np.zeros(4), np.eye(4)), "at most 3 numbers; the target has 4"),
        (lambda: fastvi.fit(correlated, "hierarchical", method="auxiliary"), "auxiliary"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
