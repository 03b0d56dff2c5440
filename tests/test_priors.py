"""Newton steps on Dirichlet priors, against finite differences, scipy.optimize and the truth."""

import numpy as np
import pytest
from naive import dirichlet as naive
from scipy.optimize import minimize, minimize_scalar
from scipy.special import psi
from thoroughly import mostly_thorough

from fastvi.models.topics import priors as topics_priors

PRIORS = [
    [0.1, 0.1, 0.1],
    [0.02, 0.5, 3.0, 40.0],
    [1e-3, 1e-2],
    [5.0],
    list(np.geomspace(1e-3, 10, 12)),
]


def maximise(objective, start):
    """The maximum over positive parameters, in logarithms."""
    result = minimize(
        lambda logs: -objective(np.exp(logs)), np.log(start), method="BFGS", options={"gtol": 1e-9}
    )
    return np.exp(result.x)


@pytest.mark.parametrize("start", [1e-4, 0.3, 100.0])
@pytest.mark.parametrize("truth", PRIORS)
def test_dirichlet_finds_the_maximum(truth, start):
    """At mean logs of the very Dirichlet, the maximum is its parameter."""
    truth = np.array(truth)
    mean_log = psi(truth) - psi(truth.sum())
    if len(truth) == 1:
        return  # one topic: any prior is as good
    found = topics_priors.dirichlet(np.full(len(truth), start), mean_log)
    np.testing.assert_allclose(found, truth, rtol=1e-6)


@pytest.mark.parametrize("start", [1e-4, 0.3, 100.0])
@pytest.mark.parametrize("size", [2, 50, 10_000])
@pytest.mark.parametrize("truth", [0.003, 0.1, 30.0])
def test_symmetric_dirichlet_finds_the_maximum(truth, size, start):
    mean_log = float(psi(truth) - psi(size * truth))
    found = topics_priors.symmetric_dirichlet(start, mean_log, size)
    assert found == pytest.approx(truth, rel=1e-6)


def test_dirichlet_recovers_the_prior_of_simulated_proportions(rng):
    truth = np.array([0.2, 0.7, 1.5, 4.0])
    theta = rng.dirichlet(truth, 20_000)
    found = topics_priors.dirichlet(np.ones(4), np.log(theta).mean(axis=0))
    np.testing.assert_allclose(found, truth, rtol=0.03)  # 3 sd or more at 20,000 draws
    best = maximise(lambda a: naive.dirichlet_likelihood(a, np.log(theta).mean(axis=0)), np.ones(4))
    np.testing.assert_allclose(found, best, rtol=1e-4)


def soft_counts(rng, prior, n_rows, length, spread):
    """Means of counts (n, K): multinomial counts smeared a little over the other columns."""
    theta = rng.dirichlet(prior, n_rows)
    counts = np.array([rng.multinomial(length, row) for row in theta])
    return (1 - spread) * counts + spread * length * rng.dirichlet(np.ones(len(prior)), n_rows)


def with_prior(means, prior):
    """What the solvers hold: means plus prior, padded to a multiple of 8 columns."""
    n = means.shape[1]
    out = np.zeros((len(means), (n + 7) // 8 * 8))
    out[:, :n] = means + prior
    return out


@pytest.mark.jit
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spread", mostly_thorough([0.05, 0.0]))
@pytest.mark.parametrize("start", mostly_thorough([1e-3, 20.0, 0.5], 2))
@pytest.mark.parametrize("truth", PRIORS[:2] + PRIORS[4:])
def test_polya_steps_end_at_the_maximum(truth, start, spread, weighted, rng):
    means = soft_counts(rng, np.array(truth), 300, 60, spread)
    weights = rng.gamma(3.0, 1.0, 300) if weighted else None
    prior = np.full(len(truth), start)
    for _ in range(60):
        last, prior = prior, topics_priors.polya(prior, with_prior(means, prior), 1, weights)
    np.testing.assert_allclose(prior, last, rtol=1e-6)

    def of_logs(logs):
        return naive.polya_likelihood(np.exp(logs), means, weights)

    x = np.log(prior)
    h = 1e-5 * np.eye(len(prior))
    slope = np.array([(of_logs(x + dx) - of_logs(x - dx)) / 2e-5 for dx in h])
    slope[(prior <= topics_priors.SMALLEST) & (slope < 0)] = 0  # at the bound, and wants beyond
    np.testing.assert_allclose(slope, 0, atol=2e-3)  # of a likelihood of some thousands
    best = maximise(lambda a: naive.polya_likelihood(a, means, weights), prior * 1.5)
    assert of_logs(x) >= of_logs(np.log(best)) - 1e-6 * abs(of_logs(np.log(best)))


@pytest.mark.jit
@pytest.mark.parametrize("start", [1e-5, 0.3, 50.0])
@pytest.mark.parametrize("truth", [0.05, 1.0])
def test_symmetric_polya_steps_end_at_the_maximum(truth, start, rng):
    n_topics, size = 5, 40
    means = soft_counts(rng, np.full(size, truth), n_topics, 400, 0.01).T.copy()
    prior = start
    for _ in range(60):
        counts = with_prior(means, prior)
        totals = counts.sum(axis=0)[:n_topics]
        last, prior = prior, topics_priors.symmetric_polya(prior, counts, totals, n_topics)
    assert prior == pytest.approx(last, rel=1e-6)
    result = minimize_scalar(
        lambda log: -naive.polya_likelihood(np.full(size, np.exp(log)), means.T),
        (np.log(prior) - 1, np.log(prior) + 1),
        options={"xtol": 1e-10},
    )
    assert prior == pytest.approx(np.exp(result.x), rel=1e-5)


@pytest.mark.jit
def test_polya_recovers_the_prior_of_simulated_counts(rng):
    """Long rows: a count is either none or large, and its mean says all."""
    truth = np.array([0.3, 0.6, 1.5])
    means = soft_counts(rng, truth, 4000, 3000, 0.0)
    prior = np.ones(3)
    for _ in range(30):
        prior = topics_priors.polya(prior, with_prior(means, prior))
    np.testing.assert_allclose(prior, truth, rtol=0.06)


@pytest.mark.jit
def test_polya_of_columns_that_nothing_is_in(rng):
    """A dead topic's prior falls to the least there is, and does not disturb the others."""
    means = soft_counts(rng, np.array([0.5, 2.0, 1.0]), 500, 50, 0.0)
    without = np.full(3, 0.7)
    prior = np.full(5, 0.7)
    dead = np.zeros((500, 5))
    dead[:, [0, 2, 4]] = means
    for _ in range(40):
        without = topics_priors.polya(without, with_prior(means, without))
        prior = topics_priors.polya(prior, with_prior(dead, prior))
    assert prior[[1, 3]].tolist() == [topics_priors.SMALLEST] * 2
    np.testing.assert_allclose(prior[[0, 2, 4]], without, rtol=1e-4)


def test_rows_that_are_all_alike_give_a_finite_prior():
    """The likelihood has its maximum at infinity; in float32, as the solvers hold counts."""
    prior, eta = np.full(4, 0.25), 0.25
    for _ in range(100):
        counts = np.zeros((30, 8), np.float32)
        counts[:, :4] = 10 + prior
        prior = topics_priors.polya(prior, counts)
        counts[:, :4] = 10 + eta
        totals = counts.sum(axis=0)[:4].astype(np.float64)
        eta = topics_priors.symmetric_polya(eta, counts, totals, 4)
    assert np.isfinite(prior).all()
    assert prior.max() <= topics_priors.LARGEST
    assert eta <= topics_priors.LARGEST
    mean_log = np.log(np.full(4, 0.25))
    assert topics_priors.dirichlet(np.full(4, 0.25), mean_log).max() <= topics_priors.LARGEST


@pytest.mark.jit
@pytest.mark.parametrize("n_threads", [2, 8])
def test_sums_have_the_same_bits_for_any_number_of_threads(n_threads, rng):
    values = rng.gamma(1.0, 2.0, (40_000, 8)).astype(np.float32)
    weights = rng.random(40_000)
    for prior in (None, np.full(5, 0.1)):
        call = {"row_weights": weights}
        if prior is None:
            one = topics_priors.column_sums(values, 5, 1, **call)
            more = topics_priors.column_sums(values, 5, n_threads, **call)
        else:
            one = topics_priors.polya(prior, values, 1, weights)
            more = topics_priors.polya(prior, values, n_threads, weights)
        np.testing.assert_array_equal(one, more)
