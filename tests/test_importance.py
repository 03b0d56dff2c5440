"""Proposals of importance sampling: densities, draws and weights."""

import numpy as np
import pytest
from naive import proposals as naive
from toy_targets import normal_of

import fastvi
from fastvi import families
from fastvi.families import bernoulli, blocks, categorical, gamma, gaussian, one_hot
from fastvi.posteriors.flips import Flips
from fastvi.posteriors.importance import Mixture, Sampling, weigh
from fastvi.posteriors.modes import Mode
from fastvi.posteriors.moments import moments_of
from fastvi.posteriors.psis import psis, shapes

COV = np.array([[1.0, 0.6], [0.6, 0.8]])
MODES = (
    Mode(np.array([0.3, 0.2]), 0.0, np.array([[0.5, -0.1], [-0.1, 0.3]]), -1.0, 0.3),
    Mode(np.array([4.0, 2.0]), 0.0, 2.0 * COV, 0.0, 0.7),
)


def mixtures():
    for modes in ((), MODES[:1], MODES):
        yield Mixture(families.FullRank.of(np.array([0.5, -1.0]), COV), modes)
        yield Mixture(families.MeanField(np.array([0.5, -1.0]), np.array([1.0, 0.5])), modes)


@pytest.mark.parametrize("mixture", list(mixtures()))
def test_densities_integrate_to_one_and_draws_follow_them(mixture, rng):
    """On a grid of equal steps in sinh, for tails of up to 60 standard deviations."""
    u = np.linspace(-6.0, 6.0, 301)
    steps = (u[1] - u[0]) * np.cosh(u)
    x = np.stack(np.meshgrid(np.sinh(u), np.sinh(u), indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(mixture.log_probs(x).proposals) * np.outer(steps, steps).ravel()
    assert mass.sum() == pytest.approx(1.0, abs=0.01)
    Z = mixture.draw(20_000, rng)
    for low, high in ((-1.0, 1.0), (0.0, 99.0), (3.0, 6.0)):
        share = mass @ np.all((x > low) & (x < high), axis=1)
        drawn = np.all((low < Z) & (high > Z), axis=1).mean()
        assert drawn == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("n_modes", range(3))
def test_densities_are_those_of_all_parts(n_modes, rng):
    mean, Z = np.array([0.5, -1.0]), 3.0 * rng.standard_normal((20, 2))
    known = [(mode.place, mode.cov) for mode in MODES[:n_modes]]
    mixture = Mixture(families.FullRank.of(mean, COV), MODES[:n_modes])
    found = mixture.log_probs(Z)
    wanted = [naive.log_mixture(z, mean, COV, known) for z in Z]
    np.testing.assert_allclose(found.proposals, wanted, rtol=1e-10)
    np.testing.assert_allclose(found.own, [naive.log_normal(z, mean, COV) for z in Z], rtol=1e-10)


def test_weights_give_known_moments():
    mean = np.array([1.0, -2.0])
    target = normal_of(mean, COV, height=3.0)
    sampling = Sampling(target, Mixture(families.MeanField(np.zeros(2), np.ones(2)), ()), 1000, 0)
    sampling.draw_on(1000)
    found = sampling.weighted()
    assert len(found.points) == 2000
    error = 4.0 / np.sqrt(found.size)
    np.testing.assert_allclose(found.mean, mean, atol=error)
    np.testing.assert_allclose(found.sd, np.sqrt(np.diag(COV)), rtol=error)


def test_what_the_approximation_explains_has_no_noise():
    """Moments of q are found where q is the target, and better than without elsewhere."""
    member = families.FullRank.of(np.zeros(2), np.eye(2))
    for k, far in ((1.0, 1e-3), (1.2, 0.1)):
        target = normal_of(np.full(2, k - 1.0), k * k * np.eye(2))
        sampling = Sampling(target, Mixture(member, ()), 400, 0)
        found = sampling.weighted()
        plain, better = moments_of(found, None), moments_of(found, sampling.of_own)
        for moments in (plain, better):
            assert np.all(np.abs(moments.mean - (k - 1.0)) < 4.0 * moments.mean_error + 1e-9)
            assert np.all(np.abs(moments.sd - k) < 4.0 * moments.sd_error + 1e-9)
        np.testing.assert_allclose(plain.mean, found.mean)
        np.testing.assert_allclose(plain.sd, found.sd)
        assert np.all(better.mean_error < 0.7 * plain.mean_error)
        assert np.all(np.abs(better.mean - (k - 1.0)) < far)


def test_no_weight_where_there_is_no_density():
    found = weigh(np.zeros((3, 1)), np.full(3, -np.inf))
    assert found.size == 0
    assert found.khat == np.inf


def test_shapes_of_many_tails_are_those_of_each(rng):
    values = np.abs(rng.standard_t(3, (1000, 4)))
    values[:, 1] = 2.0
    values[:900, 2] = 0.0
    found = shapes(values)
    assert found[1] == -np.inf
    with np.errstate(divide="ignore"):
        wanted = [psis(np.log(column)).khat for column in values.T]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert shapes(values[:20]).tolist() == [np.inf] * 4


# Products of parts


def products():
    yield blocks(bernoulli([0.2, 0.9, 0.5]), categorical([0.2, 0.3, 0.5]))
    yield blocks(one_hot([0.1, 0.6, 0.3]), bernoulli([1e-12, 0.5]))
    yield blocks(bernoulli([0.3, 0.6]), gaussian(0.5, 2.0))


def table(z):
    return 0.7 * z[0] - 2.0 * z[1] * z[2] + 0.3 * z[3]


def test_listed_combinations_give_exact_moments():
    member = blocks(bernoulli([0.2, 0.9, 0.5]), categorical([0.2, 0.3, 0.5]))
    target = fastvi.target(table, dim=4)
    found = Sampling(target, Flips(member, target, 0), 1000, 0).weighted()
    assert len(found.points) == 24
    assert found.size == np.inf
    assert found.mean[0] == pytest.approx(1 / (1 + np.exp(-0.7)))


@pytest.mark.parametrize("member", list(products())[:2])
def test_probabilities_of_flips_sum_to_one_and_draws_follow_them(member, rng, monkeypatch):
    target = fastvi.target(table, dim=member.dim)  # a fifth number is free
    everything = Flips(member, target, 0).everything()
    monkeypatch.setattr("fastvi.posteriors.flips.MOST_LISTED", 1)
    flips = Flips(member, target, 0)
    assert flips.everything() is None
    chances = np.exp(flips.log_probs(everything).proposals)
    assert chances.sum() == pytest.approx(1.0)
    parts = [each.block_log_prob(everything) for each in (member, flips._wider, flips._flat)]
    optima = [flips._log_around(best, everything, parts[0]) for best in flips._optima]
    wanted = [
        naive.log_flips(*(part[i] for part in parts), [log[i] for log in optima])
        for i in range(len(everything))
    ]
    np.testing.assert_allclose(np.log(chances), wanted, rtol=1e-10)
    Z = flips.draw(20_000, rng)
    counts = np.array([np.all(point == Z, axis=1).sum() for point in everything])
    assert counts.sum() == len(Z)
    np.testing.assert_allclose(counts / len(Z), chances, atol=0.02)


def test_flips_among_numbers_that_are_not_discrete(rng):
    member = list(products())[2]
    flips = Flips(member, fastvi.target(lambda z: z[0] - z[2] ** 2, dim=3), 0)
    Z = flips.draw(4000, rng)
    assert np.isfinite(flips.log_probs(Z).proposals).all()
    found = np.exp(member.log_prob(Z) - flips.log_probs(Z).proposals)
    assert found.mean() == pytest.approx(1.0, abs=0.1)
    positive = blocks(gamma(2.0, 1.0))
    alone = Flips(positive, fastvi.target(lambda z: -z[0], dim=1), 0)
    Z = alone.draw(4000, rng)
    assert np.exp(positive.log_prob(Z) - alone.log_probs(Z).proposals).mean() == pytest.approx(
        1.0, abs=0.1
    )
