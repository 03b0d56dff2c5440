"""Mixtures of Gaussians as approximations: published optima, closed forms, files, refusals."""

import numpy as np
import pytest
from lazily import lazily

import fastvi
from fastvi.families import GaussianMixture
from fastvi.fitting.polished import divergence_of, noise_of

MIXTURE = {"family": "mixture", "random_state": 0}


@lazily(dim=2)
def banana(z):
    u = z[1] + 0.1 * z[0] ** 2 - 10.0
    return -(z[0] ** 2) / 200.0 - 0.5 * u * u - np.log(20.0 * np.pi)


@lazily(dim=1)
def cauchy(z):
    return -np.log(np.pi * (1.0 + z[0] ** 2))


@lazily(dim=2)
def four_modes(z):
    """Equal, at +-3 on the axes, of variance 0.5."""
    east = -((z[0] - 3.0) ** 2) - z[1] ** 2
    west = -((z[0] + 3.0) ** 2) - z[1] ** 2
    north = -(z[0] ** 2) - (z[1] - 3.0) ** 2
    south = -(z[0] ** 2) - (z[1] + 3.0) ** 2
    both = np.logaddexp(np.logaddexp(east, west), np.logaddexp(north, south))
    return both - np.log(4.0 * np.pi)


@lazily(dim=3)
def gaussian(z):
    return -0.5 * (z[0] ** 2 + (z[1] - z[0]) ** 2 + 4.0 * (z[2] + z[1] - 2.0) ** 2)


def divergence(posterior, n=40_000):
    """KL(q || p) in nats, and its standard error."""
    Z = posterior.sample(n, 1)
    away = posterior.member.log_prob(Z) - posterior.target.attempt(Z, with_gradient=False)[0]
    return away.mean(), away.std() / np.sqrt(n)


# Least divergences of K components by quadrature and BFGS; 5 % or 0.003 nats are allowed.
@pytest.mark.parametrize(
    ("target", "K", "least"),
    [
        (banana, 2, 0.7097),
        (banana, 4, 0.2892),
        (cauchy, 2, 0.04994),
        (cauchy, 4, 0.00439),
        (four_modes, 4, 0.0),
    ],
    ids=["banana 2", "banana 4", "Cauchy 2", "Cauchy 4", "four modes"],
)
def test_joint_fits_come_near_the_least_divergence(target, K, least):
    posterior = fastvi.fit(target(), n_components=K, verdict=False, **MIXTURE)
    assert posterior.settled
    assert posterior.member.n_components == K
    found, error = divergence(posterior)
    assert found < max(1.05 * least, least + 0.003) + 3.0 * error
    assert found > least - 0.003 - 3.0 * error


def test_components_are_added_while_they_gain():
    alone = fastvi.fit(gaussian(), verdict=False, **MIXTURE)
    assert alone.member.n_components == 1  # a Gaussian needs no more
    Z = alone.sample(100, 0)
    log_p = gaussian().attempt(Z, with_gradient=False)[0] + alone.history["elbo"][-1] * -1.0
    np.testing.assert_allclose(alone.member.log_prob(Z), log_p, atol=1e-3)


@pytest.mark.thorough
def test_boosting_gains_with_each_component():
    bounds = [
        divergence(
            fastvi.fit(banana(), n_components=K, method="boosting", verdict=False, **MIXTURE)
        )
        for K in (1, 2, 4)
    ]
    (one, a), (two, b), (four, c) = bounds
    assert one > two + 3.0 * (a + b)
    assert two > four + 3.0 * (b + c)


def test_a_mixture_that_still_gains_is_not_trusted(tmp_path):
    """Two components on a banana pass all tests by importance weights, and a third one gains."""
    posterior = fastvi.fit(banana(), n_components=2, **MIXTURE)
    assert posterior.verdict.word == "undecided"
    assert posterior.verdict.figures["last_gain"] > 0.3
    posterior.save(tmp_path / "q.npz")
    again = fastvi.Posterior.load(tmp_path / "q.npz", banana())
    assert again.verdict.word == "undecided"


def test_polished_gradients_are_those_of_differences(rng):
    q, h = small_mixture(), 1e-6
    eps = noise_of(2, 8, 2, 0)
    got = divergence_of(banana(), 0.7, q, eps)[1]
    for i, leaf in enumerate(q.free()):
        for place in np.ndindex(leaf.shape):
            if i == 2 and place[2] > place[1]:
                continue
            ends = []
            for sign in (h, -h):
                free = [part.copy() for part in q.free()]
                free[i][place] += sign
                ends.append(divergence_of(banana(), 0.7, q.from_free(tuple(free)), eps)[0])
            slope = (ends[0] - ends[1]) / (2 * h)
            np.testing.assert_allclose(got[i][place], slope, rtol=1e-4, atol=1e-4)


def test_a_mixture_of_modes_is_trusted():
    posterior = fastvi.fit(four_modes(), n_components=4, **MIXTURE)
    assert posterior.verdict.word == "good"
    np.testing.assert_allclose(posterior.mean, 0.0, atol=0.15)
    np.testing.assert_allclose(posterior.sd, np.sqrt(5.0), rtol=0.05)


def small_mixture():
    roots = np.array([[[1.0, 0.0], [0.5, 0.2]], [[2.0, 0.0], [-1.0, 1.0]]])
    return GaussianMixture(np.log([0.3, 0.7]), np.array([[0.0, 1.0], [4.0, -2.0]]), roots)


def test_moments_are_those_of_draws():
    q, n = small_mixture(), 100_000
    Z = q.draw(n, np.random.default_rng(0)).points
    np.testing.assert_allclose(q.mean, Z.mean(axis=0), atol=5.0 * q.sd.max() / np.sqrt(n))
    np.testing.assert_allclose(q.cov, np.cov(Z.T), atol=10.0 * q.sd.max() ** 2 / np.sqrt(n))
    np.testing.assert_allclose(q.sd, np.sqrt(np.diag(q.cov)))
    again = GaussianMixture.from_free(q.free())
    np.testing.assert_allclose(again.log_prob(Z[:9]), q.log_prob(Z[:9]), rtol=1e-12)
    assert q.divergence(q) == 0.0
    assert q.divergence(q._replace(means=q.means + 1.0)) > 0.1


def test_files_hold_all_components(tmp_path):
    posterior = fastvi.fit(four_modes(), n_components=3, verdict=False, **MIXTURE)
    posterior.save(tmp_path / "q.npz")
    again = fastvi.Posterior.load(tmp_path / "q.npz", four_modes())
    for a, b in zip(again.member, posterior.member):
        np.testing.assert_array_equal(a, b)
    broken = small_mixture()._replace(log_weights=np.zeros(2)).save()
    with pytest.raises(ValueError, match="log_weights must be"):
        GaussianMixture.load(broken, 2)


def test_resumed_fits_have_the_same_bits(tmp_path):
    """Also across the addition of components."""
    options = {"n_components": 3, "verdict": False, "random_state": 3, "family": "mixture"}
    whole = fastvi.fit(cauchy(), **options)
    path = tmp_path / "state.npz"
    kept = {"checkpoint": path, "checkpoint_interval": 0.0, **options}
    fastvi.fit(cauchy(), callback=lambda state: state.params.n_components > 1, **kept)
    resumed = fastvi.fit(cauchy(), resume=True, **kept)
    assert resumed.n_iter == whole.n_iter
    for a, b in zip(resumed.member, whole.member):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"n_components": 2, "family": "fullrank"}, "wanted family='mixture'"),
        ({"objective": "iwae"}, "wanted the ELBO"),
        ({"method": "joint", "family": "meanfield"}, "components"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fastvi.fit(gaussian(), **{**MIXTURE, **options})
