"""Pareto-smoothed importance sampling."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import genpareto

from fastvi.posteriors.psis import _pareto, psis


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3, 0.7, 1.0])
def test_shape_of_pareto_samples(shape, rng):
    """The estimator's standard error is near (1 + k) / sqrt(n), the prior pulls by 5 / (n + 10)."""
    n = 4000
    x = np.sort(genpareto(shape, scale=2.5).rvs(n, random_state=rng))
    khat, sigma = _pareto(x)
    assert abs(khat - shape) < 4 * max(1 + shape, 0.5) / np.sqrt(n) + 0.003
    assert sigma == pytest.approx(2.5, rel=0.15)


@pytest.mark.parametrize("power", [0.3, 0.8])
def test_khat_of_heavy_ratios(power, rng):
    """w = u^-k has a Pareto tail of shape k; 3 sqrt(n) draws are in the tail, so 4 errors."""
    n = 40_000
    log_w = -power * np.log(rng.random(n))
    khat = psis(log_w).khat
    assert abs(khat - power) < 4 * (1 + power) / np.sqrt(3 * np.sqrt(n))


def test_weights_are_normalised_and_only_the_tail_changes(rng):
    log_w = rng.normal(size=1000) * 3
    smooth = psis(log_w)
    np.testing.assert_allclose(logsumexp(smooth.log_weights), 0, atol=1e-12)
    order = np.argsort(log_w)
    rest = order[: -int(3 * np.sqrt(1000))]
    shift = smooth.log_weights[rest] - log_w[rest]
    np.testing.assert_allclose(shift, shift[0], atol=1e-10)
    assert np.all(np.diff(smooth.log_weights[order]) >= -1e-12)
    assert np.isfinite(smooth.log_mean)


def test_log_mean_is_the_evidence_of_an_easy_target(rng):
    """Draws of N(0, 1.2^2) for exp(3) N(0, 1): 4 standard errors of the plain estimate."""
    z = 1.2 * rng.standard_normal(5000)
    log_w = 3 - 0.5 * z**2 + 0.5 * (z / 1.2) ** 2 + np.log(1.2)
    smooth = psis(log_w)
    error = np.std(np.exp(log_w - 3)) / np.sqrt(5000)
    assert abs(smooth.log_mean - 3) < 4 * error
    assert smooth.khat < 0.5


@pytest.mark.parametrize(
    ("log_w", "khat"),
    [
        (np.zeros(100), -np.inf),
        (np.array([0.0, np.nan] * 50), np.inf),
        (np.array([0.0, np.inf] * 50), np.inf),
        (np.full(100, -np.inf), np.inf),
        (np.zeros(5), np.inf),
        (183.8 + 2.8e-14 * (np.arange(1000) % 11), -np.inf),
        (np.zeros(0), np.inf),
    ],
)
def test_edges(log_w, khat):
    smooth = psis(log_w)
    assert smooth.khat == khat
    assert len(smooth.log_weights) == len(log_w)
    assert np.all(np.isfinite(smooth.log_weights))


def test_a_tail_of_a_few_values():
    """Of 80 in the tail the largest is just three times the quartile: 0 is in the fit's grid."""
    ratios = np.ones(1000)
    ratios[-80:] = np.repeat([1.5, 2.0, 2.5], [40, 30, 10])
    log_w = np.log(ratios[np.random.default_rng(0).permutation(1000)])
    assert np.isfinite(psis(log_w).khat)


def test_ratios_of_zero_weigh_nothing(rng):
    log_w = np.concatenate((rng.normal(size=200), np.full(50, -np.inf)))
    weights = np.exp(psis(log_w).log_weights)
    assert np.all(weights[200:] == 0)
    np.testing.assert_allclose(weights.sum(), 1)


def test_the_argument_is_not_written_to(rng):
    log_w = rng.normal(size=100)
    log_w.flags.writeable = False
    psis(log_w)
