"""Filters and smoothers of Gaussian processes in time against dense matrices."""

import itertools

import numpy as np
import pytest
from naive import temporal as naive

from fastvi.kernels import temporal, temporal_evidence, temporal_slopes, temporal_small
from fastvi.kernels import temporal_predict as kernels

# (order, rate, turn, a, b)
TERMS = {
    "one": [(1, 0.5, 0.0, 1.2, 0.0)],
    "two": [(2, 0.7, 0.0, 0.8, 0.0)],
    "three": [(3, 0.9, 0.0, 1.1, 0.0)],
    "oscillator": [(1, 0.2, 1.5, 0.9, 0.1)],
    "constant": [(1, 0.0, 0.0, 1.0, 0.0)],
    "short": [(1, 0.2, 0.0, 0.9, 0.0), (2, 0.6, 0.0, 0.5, 0.0)],
    "all": [
        (3, 0.7, 0.0, 1.2, 0.0), (2, 0.3, 2.1, 0.8, 0.0), (1, 0.2, 1.5, 0.5, 0.05),
        (3, 0.4, 0.6, 0.3, 0.0), (1, 0.0, 3.0, 0.2, 0.0),
    ],
}  # fmt: skip
POLYNOMIALS = {1: [1.0], 2: [1.0, 1.0], 3: [1.0, 1.0, 2.0 / 3.0]}
every_kind = pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)


def packed(terms):
    orders, rates, turns, a, b = (np.array(column) for column in zip(*terms))
    turning = (turns > 0).astype(np.int64)
    q = [
        np.kron(POLYNOMIALS[n], [a[i], b[i]] if turning[i] else [a[i]])
        for i, n in enumerate(orders)
    ]
    return (orders.astype(np.int64), turning, rates, turns), np.concatenate(q)


def problem(rng, n=30):
    times = np.sort(rng.uniform(0, 12, n))
    times[4:] += 1e-9 - (times[4] - times[3])  # a tiny gap
    times[20:] += 1e4  # a huge one
    linear, precision = rng.normal(size=n), rng.gamma(2.0, 1.0, n)
    linear[5], precision[5] = 0.0, 0.0  # missing
    precision[7] = -0.05
    return times, linear, precision


def run(terms, times, linear, precision, n_parts=1, *, general=False):
    """Moments, sums, slopes, and what predictions take, in so many parts."""
    terms, q = packed(terms)
    d, n, b = len(q), len(times), len(terms[0])
    gains, means, states = np.empty((n, d + 3)), np.empty((n, d)), np.empty((n, d, d))
    mean, state = np.zeros(d), np.zeros((d, d))
    filters = temporal_small if d <= temporal_small.MOST and not general else temporal
    edges = [i * n // n_parts for i in range(n_parts + 1)]
    parts, sums = list(itertools.pairwise(edges)), np.zeros(2)
    given = times, linear, precision
    for start, stop in parts:
        kept = means[start:stop], states[start:stop]
        sums += filters.filter_sites(terms, q, *given, start, stop, mean, state, gains, *kept)
    mean[:], state[:] = 0.0, 0.0
    out, slopes, later = np.empty((2, n)), np.zeros(2 * b + d), np.empty((n, d, d + 1))
    for start, stop in reversed(parts):
        filters.smooth_sites(
            terms, *given, start, stop, mean, state, gains, means[start:stop], states[start:stop],
            out, slopes, np.arange(n), later,
        )  # fmt: skip
    return out, sums, slopes, (terms, q, *given, gains, means, states, later)


@every_kind
@pytest.mark.parametrize(("n_parts", "general"), [(1, False), (4, False), (2, True)])
def test_moments_are_those_of_dense_matrices(rng, terms, n_parts, general):
    times, linear, precision = problem(rng)
    out, (log_sum, squares), *_ = run(terms, times, linear, precision, n_parts, general=general)
    k = naive.covariance(terms, times[:, None] - times)
    value, mean, cov = naive.posterior(k, linear, precision)
    given = precision != 0
    ours = -0.5 * (log_sum + squares) + 0.5 * np.sum(linear[given] ** 2 / precision[given])
    np.testing.assert_allclose(ours, value, rtol=1e-10)
    np.testing.assert_allclose(out[0], mean, atol=1e-9)
    np.testing.assert_allclose(out[1], cov.diagonal(), atol=1e-9)


@every_kind
@pytest.mark.parametrize("general", [False, True])
def test_slopes_are_those_of_finite_differences(rng, terms, general):
    times, linear, precision = problem(rng)
    times[20:] -= 1e4
    lags = times[:, None] - times
    (orders, turning, *_), _ = packed(terms)
    slopes = run(terms, times, linear, precision, 3, general=general)[2]
    by_rate, by_turn, by_q = np.split(slopes, [len(terms), 2 * len(terms)])

    def difference(i, j):
        values = []
        for step in (1e-5, -1e-5):
            moved = [list(term) for term in terms]
            moved[i][j] += step
            values.append(naive.posterior(naive.covariance(moved, lags), linear, precision)[0])
        return (values[0] - values[1]) / 2e-5

    first = 0
    for i, order in enumerate(orders):
        width = order * (1 + turning[i])
        part = by_q[first : first + width].reshape(order, -1)
        first += width
        wanted = {3: part[:, 0] @ POLYNOMIALS[order]}
        if terms[i][1] > 0:
            wanted[1] = by_rate[i]
        if turning[i]:
            wanted |= {2: by_turn[i], 4: part[:, 1] @ POLYNOMIALS[order]}
        for j, slope in wanted.items():
            np.testing.assert_allclose(slope, difference(i, j), rtol=1e-6, atol=1e-6)


@every_kind
def test_predictions_between_before_and_after(rng, terms):
    times, linear, precision = problem(rng)
    given = run(terms, times, linear, precision)[3]
    x = np.concatenate((rng.uniform(-5, 20, 20), times[[0, 4, 5, 29]], [2e3, 3e4]))
    out = np.empty((2, len(x)))
    kernels.predict_at(*given, x, np.searchsorted(times, x, "right") - 1, out)
    together = np.concatenate((times, x))
    nothing = np.zeros(len(x))
    k = naive.covariance(terms, together[:, None] - together)
    sites = np.concatenate((linear, nothing)), np.concatenate((precision, nothing))
    _, mean, cov = naive.posterior(k, *sites)
    np.testing.assert_allclose(out[0], mean[len(times) :], atol=1e-9)
    np.testing.assert_allclose(out[1], cov.diagonal()[len(times) :], atol=1e-9)


@every_kind
def test_covariances(rng, terms):
    times, linear, precision = problem(rng)
    packed_terms, _, _, _, _, gains, _, _, later = run(terms, times, linear, precision)[3]
    chosen = np.array([0, 3, 4, 5, 12, 29])
    out = np.empty((6, 6))
    kernels.covariances(packed_terms, times, precision, gains, later[chosen], chosen, out)
    k = naive.covariance(terms, times[:, None] - times)
    cov = naive.posterior(k, linear, precision)[2]
    np.testing.assert_allclose(out, cov[np.ix_(chosen, chosen)], atol=1e-9)


@every_kind
@pytest.mark.parametrize("spread", [True, False])
def test_draws_are_a_linear_map_of_noise_with_the_posterior_covariance(rng, terms, spread):
    """The map is read off from draws with unit vectors as noise, so nothing is left to chance."""
    times, linear, precision = problem(rng)
    times = times if spread else 0.01 * np.arange(30)
    packed_terms, _, _, _, _, gains, *_ = run(terms, times, linear, precision)[3]
    k = naive.covariance(terms, times[:, None] - times)
    _, mean, cov = naive.posterior(k, linear, precision)
    for chosen in (np.arange(30), np.array([0, 3, 4, 5, 12, 29])):
        n = len(chosen)
        noise, out = np.hstack((np.zeros((n, 1)), np.eye(n))), np.empty((n, n + 1))
        given = packed_terms, times, linear, precision, gains, chosen
        kernels.draw_back(*given, noise, out)
        np.testing.assert_allclose(out[:, 0], mean[chosen], atol=1e-9)
        of_noise = out[:, 1:] - out[:, :1]
        np.testing.assert_allclose(of_noise @ of_noise.T, cov[np.ix_(chosen, chosen)], atol=1e-9)


@pytest.mark.parametrize("name", ["one", "two", "three", "constant"])
def test_the_evidence_of_one_term_is_that_of_the_filter(rng, name):
    times, linear, precision = problem(rng, 150)
    terms, q = packed(TERMS[name])
    gains, rest = np.empty((150, len(q) + 3)), (np.empty((0, 0)), np.empty((0, 0, 0)))
    state = np.zeros(len(q)), np.zeros((len(q), len(q)))
    expected = temporal.filter_sites(
        terms, q, times, linear, precision, 0, 150, *state, gains, *rest
    )
    found = temporal_evidence.matern_evidence(terms[2][0], q, times, linear, precision)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["one", "two", "three", "constant"])
def test_slopes_of_one_term_are_those_of_finite_differences(rng, name):
    """By the logarithms of the rate and of the noise, to which sites are inversely proportional."""
    times, linear, precision = problem(rng, 150)
    times[20:] -= 1e4
    lags, ((order, rate, _, a, _),) = times[:, None] - times, TERMS[name]
    (_, _, rates, _), q = packed(TERMS[name])
    sums = np.empty(6)
    temporal_slopes.matern_slopes(rates[0], q, times, linear, precision, sums)
    evidence = temporal_evidence.matern_evidence(rates[0], q, times, linear, precision)
    np.testing.assert_allclose(sums[:2], evidence, rtol=1e-12)

    def value(log_rate, log_noise):
        k = naive.covariance([(order, rate * np.exp(log_rate), 0.0, a, 0.0)], lags)
        sites = linear * np.exp(-log_noise), precision * np.exp(-log_noise)
        seen = precision != 0
        alone = np.sum(sites[0][seen] ** 2 / sites[1][seen])
        return alone - 2.0 * naive.posterior(k, *sites)[0]

    h = 1e-5
    by_rate = (value(h, 0.0) - value(-h, 0.0)) / (2 * h)
    by_noise = (value(0.0, h) - value(0.0, -h)) / (2 * h)
    np.testing.assert_allclose(sums[2] + sums[3], by_rate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(sums[4] + sums[5], by_noise, rtol=1e-6, atol=1e-6)
