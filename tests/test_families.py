"""Families: densities, moments, and gradients against closed forms and differences."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import fastvi
from fastvi.families import (
    FAMILIES,
    FullRank,
    GaussianMixture,
    LowRank,
    MeanField,
    blocks,
    copula,
    flow,
    gaussian,
    hierarchical,
    is_member,
    load,
    lowrank,
    name_of,
    vgp,
)
from fastvi.families.gaussians import FARTHEST, Step, antithetic, retraction
from fastvi.targets.standardised import guided

D = 4


@fastvi.target(dim=D)
def normal(z):
    return -0.5 * np.sum(z * z)


def member(name, rng, d=D):
    A = rng.normal(size=(d, d))
    covariance = A @ A.T + 0.5 * np.eye(d)
    if name == "lowrank":
        return LowRank(rng.normal(size=d), rng.normal(size=(d, 2)), 0.5 + rng.random(d))
    if name == "meanfield":
        return MeanField(rng.normal(size=d), 0.5 + rng.random(d))
    return FullRank.of(rng.normal(size=d), covariance)


GAUSSIANS = ["fullrank", "meanfield", "lowrank"]
ANNEALED = ["hamiltonian", "langevin"]
FLOWS = ["planar", "radial", "realnvp", "iaf", "maf", "nsf"]
every_family = pytest.mark.parametrize("name", GAUSSIANS)
with_natural = pytest.mark.parametrize("name", ["fullrank", "meanfield"])


@every_family
@pytest.mark.parametrize("d", [1, 4])
def test_log_density_is_scipys(name, d, rng):
    q = member(name, rng, d)
    Z = rng.normal(size=(7, d))
    np.testing.assert_allclose(
        q.log_prob(Z), multivariate_normal(q.mean, q.cov).logpdf(Z), rtol=1e-10
    )
    draws = q.draw(3, rng)
    np.testing.assert_allclose(q.log_prob_of(draws), q.log_prob(draws.points), rtol=1e-10)
    np.testing.assert_array_equal(q.at(draws.noise).points, draws.points)
    np.testing.assert_allclose(q.log_det, 0.5 * np.linalg.slogdet(q.cov)[1], rtol=1e-10)
    np.testing.assert_allclose(q.sd, np.sqrt(np.diag(q.cov)))


@every_family
def test_draws_have_the_moments(name, rng):
    """5 standard errors; 200,000 draws in pairs, so that the mean has no noise."""
    q = member(name, rng)
    Z = q.draw(200_000, rng).points
    np.testing.assert_allclose(Z.mean(axis=0), q.mean, atol=1e-10)
    error = np.sqrt((np.outer(q.sd**2, q.sd**2) + q.cov**2) / 100_000)
    assert np.all(np.abs(np.cov(Z.T) - q.cov) < 5 * error)


@every_family
def test_score_is_the_gradient_of_the_density(name, rng):
    q, h = member(name, rng), 1e-5
    draws = q.draw(3, rng)
    Z = draws.points
    shifts = h * np.eye(D)
    wanted = np.column_stack([(q.log_prob(Z + s) - q.log_prob(Z - s)) / (2 * h) for s in shifts])
    np.testing.assert_allclose(q.score(draws), wanted, rtol=1e-6, atol=1e-8)


@every_family
def test_free_parameters_there_and_back(name, rng):
    q = member(name, rng)
    again = type(q).from_free(q.free())
    for a, b in zip(q, again):
        np.testing.assert_allclose(a, b, rtol=1e-14)


@every_family
def test_plain_gradients_are_those_of_finite_differences(name, rng):
    """Of sum_k w_k f(draw_k) for a cubic f, with the noise held fixed."""
    q, h = member(name, rng), 1e-6
    draws, weights = q.draw(5, rng), rng.random(5)
    a = rng.normal(size=D)

    def f(free):
        return weights @ ((type(q).from_free(free).at(draws.noise).points @ a) ** 3 / 3)

    Z = draws.points
    got = q.pullback(draws, ((Z @ a) ** 2)[:, None] * a, 0.0, weights)
    for i, leaf in enumerate(q.free()):
        for place in np.ndindex(leaf.shape):
            if name == "fullrank" and leaf.ndim == 2 and place[1] > place[0]:
                assert got[i][place] == 0
                continue
            up, down = ([part.copy() for part in q.free()] for _ in range(2))
            up[i][place] += h
            down[i][place] -= h
            slope = (f(tuple(up)) - f(tuple(down))) / (2 * h)
            np.testing.assert_allclose(got[i][place], slope, rtol=1e-5, atol=1e-7)


@every_family
def test_mapped_members_are_mapped_draws(name, rng):
    q = member(name, rng)
    back = q.standard().mapped(q.mean, q.units)
    for a, b in zip(q, back):
        np.testing.assert_allclose(a, b, atol=1e-12)
    eps = q.noise(3, rng)
    x = q.standard().at(eps).points
    z = q.mean + (x * q.units if q.units.ndim == 1 else x @ q.units.T)
    np.testing.assert_allclose(q.at(eps).points, z, atol=1e-12)


@with_natural
def test_a_step_of_unit_rate_solves_a_gaussian(name, rng):
    """The target's slopes are linear, and 2 D antithetic draws of a spherical design are exact."""
    mean, sd = rng.normal(size=D), 0.5 + rng.random(D)
    q = FAMILIES[name].near(mean + 0.5, np.diag(1.3 * sd**2))
    eps = np.sqrt(D) * np.concatenate((np.eye(D), -np.eye(D)))
    weights = np.full(2 * D, 1 / (2 * D))
    draws = q.at(eps)
    step = q.natural(draws, -(draws.points - mean) / sd**2, -1.0, weights)
    away = (mean - q.mean) / q.sd
    np.testing.assert_allclose(step.mean, away / 1.0 * (q.sd / sd) ** 2, rtol=1e-10)
    spread = step.spread if step.spread.ndim == 1 else np.diag(step.spread)
    np.testing.assert_allclose(spread, 1 - (q.sd / sd) ** 2, rtol=1e-10)
    for _ in range(12):
        draws = q.at(eps)
        q = q.moved(q.natural(draws, -(draws.points - mean) / sd**2, -1.0, weights))
    np.testing.assert_allclose(q.mean, mean, rtol=1e-7)
    np.testing.assert_allclose(q.sd, sd, rtol=1e-7)


@with_natural
def test_natural_gradients_are_plain_ones_over_the_fisher_matrix(name, rng):
    """The directional derivative of a function along a natural step is its Fisher norm: |mean|^2 +
    |spread|^2 / 2 in the frame; here for E[f] of a quadratic f, whose gradients have closed forms.
    """
    q = member(name, rng)
    A = rng.normal(size=(D, D))
    A = -A @ A.T

    def expected(p):
        return 0.5 * np.sum(A * p.cov) + 0.5 * p.mean @ A @ p.mean

    eps = np.sqrt(D) * np.concatenate((np.eye(D), -np.eye(D)))
    weights = np.full(2 * D, 1 / (2 * D))
    draws = q.at(eps)
    step = q.natural(draws, draws.points @ A, 0.0, weights)
    if name == "fullrank":
        wanted = q.root.T @ A @ q.root
        np.testing.assert_allclose(step.spread, wanted, rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_allclose(step.spread, np.diag(A) * q.sd**2, rtol=1e-9)
    h = 1e-6 / max(1.0, float(np.abs(step.spread).max()), float(np.abs(step.mean).max()))
    slope = expected(q.moved(Step(h * step.mean, h * step.spread))) - expected(q)
    np.testing.assert_allclose(slope / h, step.gain(), rtol=1e-4)


@with_natural
def test_any_step_stays_in_the_domain(name, rng):
    q = member(name, rng)
    for size in (1e-3, 1.0, 1e3, 1e9):
        spread = rng.normal(size=D) if name == "meanfield" else rng.normal(size=(D, D))
        spread = spread if spread.ndim == 1 else spread + spread.T
        moved = q.moved(Step(size * rng.normal(size=D), size * spread))
        assert np.all(np.isfinite(moved.mean))
        assert np.linalg.eigvalsh(moved.cov).min() > 0
        if name == "fullrank":
            assert np.array_equal(np.tril(moved.root), moved.root)
            assert np.diag(moved.root).min() > 0


def test_retraction_shortens_only_long_steps(rng):
    short = Step(np.full(D, 0.1), 0.1 * np.eye(D))
    for a, b in zip(retraction(short), short):
        np.testing.assert_array_equal(a, b)
    mean, spread = retraction(Step(np.full(D, 1e3), 1e3 * np.eye(D)))
    assert np.sqrt(mean @ mean / D) == pytest.approx(FARTHEST)
    assert np.linalg.norm(spread, 2) == pytest.approx(1.0)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_antithetic_noise_comes_in_pairs(n, rng):
    eps = antithetic(n, 3, rng)
    assert eps.shape == (n, 3)
    half = n // 2
    np.testing.assert_array_equal(eps[n - half :], -eps[:half])


@every_family
def test_entropy_gradients(name, rng):
    q, h = member(name, rng), 1e-6
    assert q.entropy() == pytest.approx(multivariate_normal(q.mean, q.cov).entropy())
    for i, leaf in enumerate(q.free()):
        gradient = q.entropy_pullback()[i]
        for place in np.ndindex(leaf.shape):
            if name == "fullrank" and leaf.ndim == 2 and place[1] > place[0]:
                continue
            up, down = ([part.copy() for part in q.free()] for _ in range(2))
            up[i][place] += h
            down[i][place] -= h
            kind = type(q)
            slope = kind.from_free(tuple(up)).log_det - kind.from_free(tuple(down)).log_det
            np.testing.assert_allclose(gradient[place], slope / (2 * h), atol=1e-8)
    if name == "lowrank":
        return
    step = q.natural_entropy()
    rise = q.moved(Step(h * step.mean, h * step.spread)).log_det - q.log_det
    np.testing.assert_allclose(rise / h, 0.5 * D, rtol=1e-4)


def test_nearest_members(rng):
    A = rng.normal(size=(D, D))
    covariance = A @ A.T + np.eye(D)
    mean = rng.normal(size=D)
    np.testing.assert_allclose(FullRank.of(mean, covariance).cov, covariance, rtol=1e-12)
    sd = MeanField.of(mean, covariance).sd
    np.testing.assert_allclose(sd, 1 / np.sqrt(np.diag(np.linalg.inv(covariance))))
    low = LowRank.of(mean, covariance, rank=D)
    np.testing.assert_allclose(low.sd, np.sqrt(np.diag(covariance)), rtol=0.02)


# What every family in the table offers


def members(rng):
    yield from (member(name, rng) for name in GAUSSIANS)
    yield GaussianMixture.of(np.ones(D), np.eye(D)).with_component(0.3, np.zeros(D), 2 * np.eye(D))
    for rank in (None, 2):
        q = copula("yeo-johnson", rank)(np.ones(D), np.eye(D) + 0.5)
        yield q._replace(shapes=0.5 * rng.normal(size=q.shapes.shape))
    yield copula("yeo-johnson", pairs="frank")(np.ones(3), np.eye(3) + 0.5)
    for name in FLOWS:
        q = flow(name, n_layers=2)(np.ones(D), np.eye(D) + 0.5)
        yield q.from_free((q.params + 0.1 * rng.normal(size=len(q.params)),))
    for name in ANNEALED:
        yield guided(FAMILIES[name].near(np.ones(D), np.eye(D)), normal)
    yield hierarchical(n_hidden=3)(np.ones(D), np.eye(D))
    yield vgp(4)(np.ones(3), np.eye(3))
    yield blocks(gaussian(0.3, 2.0), gamma=1, categorical=3, one_hot=2)
    yield blocks(gaussian=2, bernoulli=1, one_hot=3)


def test_every_family_of_the_table_is_tested(rng):
    assert {name_of(q) for q in members(rng)} == set(FAMILIES)


@pytest.mark.thorough
def test_members_offer_what_the_protocol_says(rng):
    for q in members(rng):
        assert is_member(q)
        draws = q.draw(5, rng)
        assert draws.points.shape == (5, q.dim)
        assert q.mean.shape == q.sd.shape == (q.dim,)
        np.testing.assert_allclose(np.diag(q.cov), q.sd**2)
        by_draws = [*FLOWS, *ANNEALED, "hierarchical", "vgp"]
        assert q.powers.moments == ("draws" if name_of(q) in by_draws else "exact")
        densities = dict.fromkeys(ANNEALED, "none") | {"hierarchical": "bound", "vgp": "bound"}
        assert q.powers.density == densities.get(name_of(q), "exact")
        if q.powers.density == "exact":
            np.testing.assert_allclose(q.log_prob_of(draws), q.log_prob(draws.points))
        some = draws.kept(np.array([True, False, False, True, False]))
        np.testing.assert_array_equal(q.log_prob_of(some), q.log_prob_of(draws)[[0, 3]])
        again = q.from_free(q.free())
        slack = 1e-10 if q.powers.density == "exact" else 0.5
        assert q.divergence(again) == pytest.approx(0.0, abs=slack)
        np.testing.assert_array_equal(q.draw(3, np.random.default_rng(1)).points,
                                      q.draw(3, np.random.default_rng(1)).points)  # fmt: skip


def test_members_come_back_from_files(rng):
    for q in members(rng):
        arrays = q.save()
        again = load(name_of(q), arrays, q.dim)
        assert type(again) is type(q)
        for name, array in arrays.items():
            np.testing.assert_array_equal(again.save()[name], array)
        with pytest.raises(ValueError, match=f"{q.dim}|{q.dim + 1}"):
            load(name_of(q), arrays, q.dim + 1)
        for name in arrays:
            with pytest.raises(KeyError):
                load(name_of(q), {k: x for k, x in arrays.items() if k != name}, q.dim)


def test_powers_are_the_families_own(rng):
    powers = {name: member(name, rng).powers for name in GAUSSIANS}
    assert [name for name in GAUSSIANS if powers[name].natural] == ["fullrank", "meanfield"]
    assert [name for name in GAUSSIANS if powers[name].full_covariance] == ["fullrank"]
    assert [name for name in GAUSSIANS if powers[name].score] == ["meanfield"]
    form = powers["meanfield"].score
    q = form.back(form.product)
    np.testing.assert_allclose(q.cov, form.product.cov)
    mixed, soft = (q.powers for q in list(members(rng))[-2:])
    assert mixed.discrete
    assert mixed.relaxed is None
    assert soft.relaxed is not None
    assert not blocks(gaussian=1).powers.discrete
    assert mixed.pathwise is None


def test_low_rank_is_a_recipe():
    covariance = np.eye(4) + 0.5
    assert lowrank(rank=2)(np.zeros(4), covariance).factors.shape == (4, 2)
    with pytest.raises(ValueError, match="rank is 0"):
        lowrank(rank=0)
