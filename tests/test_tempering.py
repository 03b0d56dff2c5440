"""Tempered fits: better optima, inferred temperatures in closed form, refusals."""

import numpy as np
import pytest
from lazily import lazily

import fastvi
from fastvi.fitting import row_priors

Y = np.append(np.random.default_rng(5).normal(1.0, 1.0, 30), 12.0)
PEAK = -0.5 * np.log(2.0 * np.pi)
LEVELS = row_priors.LEVELS


@lazily(dim=2)
def unequal(z):
    """A mode with 2 % of the mass, and the others' at the opposite corner."""
    a = np.log(0.02) - 0.5 * ((z[0] + 5.0) ** 2 + (z[1] + 5.0) ** 2)
    b = np.log(0.98) - 0.5 * ((z[0] - 5.0) ** 2 + (z[1] - 5.0) ** 2)
    return np.logaddexp(a, b) - np.log(2.0 * np.pi)


@lazily(dim=1, data={"y": Y}, rows="y")
def normal(z, data, rows, weights):
    value = -0.5 * z[0] ** 2 / 100.0
    for i in range(rows.size):
        away = data.y[rows[i]] - z[0]
        value -= weights[i] * 0.5 * (away * away + np.log(2.0 * np.pi))
    return value


def test_annealing_finds_the_better_optimum_from_most_starts(rng):
    better = 0
    for seed, start in enumerate(rng.uniform(-7.0, -3.0, (10, 2))):
        options = {"start": start, "n_starts": 1, "random_state": seed, "verdict": False}
        plain = fastvi.fit(unequal(), **options)
        cooled = fastvi.fit(unequal(), tempering="anneal", **options)
        assert cooled.settled
        better += cooled.elbo > plain.elbo + 1.0
        np.testing.assert_allclose(cooled.sd, 1.0, atol=0.05)
    assert better > 8


def fixed_point(shared):
    """Mean-field updates by hand: q(mu) = N(m, v), and shares of temperatures."""
    inverse = 1.0 / np.array(LEVELS)
    weights = np.full(len(Y), inverse.min() if shared else 1.0)
    for _ in range(500):
        v = 1.0 / (0.01 + weights.sum())
        m = v * (weights @ Y)
        square = 0.5 * ((Y - m) ** 2 + v)
        logits = -square[:, None] * inverse + 0.5 * np.log(inverse)
        if shared:
            logits = np.tile(logits.sum(axis=0), (len(Y), 1))
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights = shares @ inverse / shares.sum(axis=1)
    return m, np.sqrt(v), weights


@pytest.mark.parametrize("shared", [False, True])
def test_temperatures_of_a_normal_mean_are_in_closed_form(shared):
    prior = row_priors.temperatures(shared=shared, peak=PEAK)
    found = fastvi.reweighted_fit(normal(), prior=prior, n_draws=4000, random_state=0)
    mean, sd, weights = fixed_point(shared)
    assert found.settled
    np.testing.assert_allclose(found.posterior.mean, mean, atol=0.05 * sd)
    np.testing.assert_allclose(found.posterior.sd, sd, rtol=0.05)
    np.testing.assert_allclose(found.row_weights_, weights, atol=0.02)
    if not shared:
        assert found.row_weights_[-1] < 0.03


def test_the_outlier_is_left_out_as_by_quadrature():
    """Of the exact posterior, in which rows are mixtures over temperatures."""
    prior = row_priors.temperatures(peak=PEAK)
    found = fastvi.reweighted_fit(normal(), prior=prior, random_state=0, verdict=False).posterior
    line, scales = np.linspace(-5.0, 8.0, 20_001), np.sqrt(np.array(LEVELS))
    log_p = -0.005 * line**2
    for y in Y:
        white = (y - line)[:, None] / scales
        log_p += np.log(np.mean(np.exp(-0.5 * white**2) / scales, axis=1))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ line
    sd = np.sqrt(p @ line**2 - mean**2)
    assert abs(found.mean[0] - mean) < 0.3 * sd
    assert abs(np.mean(Y) - mean) > 1.0 * sd  # as the plain fit has it


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fastvi.fit(unequal(), tempering="hot"), "tempering"),
        (lambda: fastvi.fit(unequal(), tempering="variational"), "reweighted_fit"),
        (lambda: fastvi.fit(unequal(), tempering="anneal", method="laplace"), "takes? steps"),
        (lambda: fastvi.fit(unequal(), tempering="anneal", checkpoint="q.npz"), "checkpoint"),
        (lambda: row_priors.temperatures([0.5]), "levels"),
        (lambda: row_priors.temperatures([]), "levels is empty"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def factorial_mixture(seed, n=300):
    """Rows that are sums of some of eight images, with known noise."""
    rng = np.random.default_rng(seed)
    images, present = rng.normal(size=(8, 16)), rng.random((n, 8)) < 0.4
    return present @ images + 0.5 * rng.normal(size=(n, 16))


@pytest.mark.thorough
def test_tempered_starts_of_factorial_mixtures_end_at_better_optima():
    """At those of plain starts or better ones, in more than 8 of 10; inferred ones in most."""
    as_good = {"anneal": 0, "variational": 0}
    for X in map(factorial_mixture, (1, 2, 3)):
        for seed in range(10):
            options = {"noise_variance": 0.25, "feature_variance": 1.0, "n_init": 1}
            bounds = {
                tempering: fastvi.BetaBernoulliFeatures(
                    8, alpha=4.0, tempering=tempering, random_state=seed, **options
                ).fit(X).elbo_
                for tempering in (None, "anneal", "variational")
            }  # fmt: skip
            for name in as_good:
                as_good[name] += bounds[name] >= bounds[None] - 0.1
    assert as_good["anneal"] > 24
    assert as_good["variational"] > 15


def test_tempered_features_need_a_known_noise():
    X = factorial_mixture(0, 50)
    with pytest.raises(ValueError, match="without noise_variance"):
        fastvi.BetaBernoulliFeatures(3, tempering="anneal").fit(X)
    with pytest.raises(ValueError, match="tempering"):
        fastvi.BetaBernoulliFeatures(3, tempering="hot", noise_variance=0.25).fit(X)
    fits = [
        fastvi.BetaBernoulliFeatures(
            8, tempering="anneal", noise_variance=0.25, n_init=1, random_state=0, n_jobs=n
        ).fit(X)
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(fits[0].components_, fits[1].components_)
