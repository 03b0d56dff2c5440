"""Plans of batches: which rows, how often, with which weights."""

import numpy as np
import pytest
from cases import from_file, in_file
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from test_core import PRECISION, NormalMean, posterior

from fastvi import loop, optimizers
from fastvi.batches import (
    AdaptiveImportance,
    AdaptiveSize,
    InMemory,
    ShuffledEpochs,
    Stream,
    WithReplacement,
)
from fastvi.core import ascend
from fastvi.gradients import natural
from fastvi.models.streaming import streaming

sizes = {
    "n_rows": st.integers(1, 40),
    "batch_size": st.integers(1, 45),
    "seed": st.integers(0, 10**9),
}


def numbers(n_rows):
    return InMemory(np.arange(n_rows))


# Independent draws


@given(**sizes, share=st.floats(0.01, 1.0), zeros=st.booleans())
def test_weights_are_one_over_what_is_expected_to_be_drawn(n_rows, batch_size, seed, share, zeros):
    norms = np.random.default_rng(seed).gamma(0.3, size=n_rows) * (not zeros)
    plan = WithReplacement(numbers(n_rows), batch_size, seed, norms, share)
    p = plan.probabilities()
    assert p.sum() == pytest.approx(1.0)
    assert p.min() >= share / n_rows * (1 - 1e-12)
    batches = list(plan.epoch(0))
    assert len(batches) == -(-n_rows // batch_size)
    for rows, weights in batches:
        assert len(rows) == batch_size
        np.testing.assert_allclose(weights, 1 / (batch_size * p[rows]))
        assert weights.max() <= n_rows / (batch_size * share) * (1 + 1e-12)


@pytest.mark.parametrize("norms", [None, "skewed"])
def test_rows_are_drawn_with_their_probabilities(norms):
    """Pearson's statistic of 50,000 draws of 30 rows below the 99.9 % quantile; one seed."""
    norms = None if norms is None else np.arange(30.0) ** 2
    plan = WithReplacement(numbers(30), 1000, 5, norms)
    drawn = np.concatenate([batch.rows for epoch in range(50) for batch in plan.epoch(epoch)])
    expected = len(drawn) * plan.probabilities()
    statistic = np.sum((np.bincount(drawn, minlength=30) - expected) ** 2 / expected)
    assert statistic < chi2.ppf(0.999, 29)


@given(**sizes, skip=st.integers(0, 6))
def test_an_epoch_of_draws_entered_later_goes_on_with_the_same_batches(
    n_rows, batch_size, seed, skip
):
    for kind in (WithReplacement, AdaptiveImportance):
        plan = kind(numbers(n_rows), batch_size, seed, np.arange(1.0, n_rows + 1))
        late, whole = list(plan.epoch(2, skip)), list(plan.epoch(2))
        assert [b.rows.tolist() for b in late] == [b.rows.tolist() for b in whole[skip:]]


def test_learnt_norms_are_those_last_seen_and_scaled_bounds_for_the_rest():
    bound = np.array([1.0, 2.0, 3.0, 4.0])
    plan = AdaptiveImportance(numbers(4), 1, 0, bound)
    told = {0: 5.0, 2: 1.0}  # rows 1 and 3 are never seen
    (*_, batch) = plan.epoch(0)
    for row, norm in told.items():
        plan._last = np.array([row])
        plan.observe(batch, {"norms": np.array([norm])})
    list(plan.epoch(1))
    ratio = (5.0 + 1.0) / (1.0 + 3.0)
    np.testing.assert_allclose(plan.norms, [5.0, 2 * ratio, 1.0, 4 * ratio])
    other = AdaptiveImportance(numbers(4), 1, 0, bound)
    other.restore(from_file(in_file(plan.save())))
    for ours, theirs in zip(plan.epoch(2), other.epoch(2)):
        assert ours.rows.tolist() == theirs.rows.tolist()
        assert ours.weights.tolist() == theirs.weights.tolist()


# Sizes that follow the noise


@given(**sizes, steps=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1))
def test_an_epoch_of_any_sizes_holds_every_row_once(n_rows, batch_size, seed, steps):
    plan = AdaptiveSize(numbers(n_rows), batch_size, seed, theta=1.0)
    least, rows = min(batch_size, n_rows), []
    largest = max(n_rows // 8, least)
    for i, batch in enumerate(plan.epoch(1)):
        noise, signal = steps[i % len(steps)]
        assert batch.weights.sum() == pytest.approx(n_rows)
        assert least <= len(batch.rows) < largest + least
        rows += batch.rows.tolist()
        plan.observe(batch, {"noise": noise, "squared_norm": noise + signal, "rate": 0.1})
    assert sorted(rows) == [*range(n_rows)]


def run_normal(batches, rate, n_epochs, x):
    """Steps so short that the gradient stays as it is."""
    model = NormalMean(PRECISION)
    gradient = natural(model, noise=batches.wants_noise, squared_norm=batches.wants_squared_norm)
    algorithm = ascend(gradient, optimizers.constant(rate))
    return loop.run(
        algorithm, algorithm.init(model.zeros()), batches, n_epochs=n_epochs,
        rng=np.random.default_rng(0),
    )  # fmt: skip


def true_noise_and_signal(x):
    """Trace of the covariance of n_rows * a row's statistics, and the gradient's squared norm."""
    statistics = np.hstack((PRECISION * x, np.broadcast_to(-PRECISION / 2, x.shape)))
    variance = len(x) ** 2 * statistics.var(axis=0).sum()
    return variance, np.square(statistics.sum(axis=0)).sum()


@pytest.mark.parametrize("theta", [0.05, 0.1])
def test_sizes_reach_the_noise_that_was_asked_for(theta, rng):
    """Noise over signal of theta^2 within 20 %: running means of 5 batches of about 100 rows."""
    x = np.array([1.0, -0.5, 0.2]) + rng.standard_normal((20000, 3)) / np.sqrt(PRECISION)
    plan = AdaptiveSize(InMemory(x), 20, 1, theta=theta, largest=20000)
    _, history = run_normal(plan, 1e-9, 2, x)
    variance, signal = true_noise_and_signal(x)
    typical = np.median(history.columns["batch_size"][10:])
    assert typical == pytest.approx(variance / (theta**2 * signal), rel=0.2)
    measured = np.mean(np.multiply(history.columns["noise"], history.columns["batch_size"])[10:])
    assert measured == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("rate", [1e-9, 2e-9])
def test_coupled_sizes_grow_with_the_rate(rate, rng):
    """2 rho / (2 - rho) V / G; rates are tiny here, and so the signal is made tiny too."""
    x = rng.standard_normal((4000, 3)) / np.sqrt(PRECISION)
    plan = AdaptiveSize(InMemory(x), 1, 1, theta=None, largest=4000)
    batch = next(plan.epoch(0))
    for _ in range(50):
        plan.observe(batch, {"noise": 3.0, "squared_norm": 3.0 + 1e-7, "rate": rate})
    assert plan._state[0] == pytest.approx(rate * 3.0 / 1e-7, abs=1)
    plan.observe(batch, {"noise": np.nan, "squared_norm": 1.0, "rate": rate})  # of one row
    assert plan._state[0] == pytest.approx(rate * 3.0 / 1e-7, abs=1)


def test_sizes_saved_and_restored_go_on_alike(rng):
    x = rng.standard_normal((500, 3))
    plans = [AdaptiveSize(InMemory(x), 5, 3, theta=0.5) for _ in range(2)]
    run_normal(plans[0], 1e-9, 2, x)
    plans[1].restore(from_file(in_file(plans[0].save())))
    first, second = (next(plan.epoch(2)) for plan in plans)
    np.testing.assert_array_equal(first.rows, second.rows)
    assert len(first.rows) > 5


# Streams


def stream_of(x, size, **options):
    parts = ((x[i : i + size], np.ones(len(x[i : i + size]))) for i in range(0, len(x), size))
    return Stream(parts, **options)


@pytest.mark.parametrize(
    ("population", "weights"), [("seen", [4, 8, 10]), ("batch", [4, 4, 2]), (60.0, [60] * 3)]
)
def test_a_stream_stands_for_what_it_is_told_to(population, weights):
    batches = list(stream_of(np.arange(10), 4, population_size=population).epoch(0))
    assert [len(b.rows) for b in batches] == [4, 4, 2]
    np.testing.assert_allclose([b.weights.sum() for b in batches], weights)


def test_rows_of_a_stream_may_count_as_several():
    parts = [("a", np.array([2.0, 1.0])), ("b", np.array([1.0]))]
    seen, known = (list(Stream(parts, size).epoch(0)) for size in ("seen", 12.0))
    assert [b.weights.tolist() for b in seen] == [[1.0, 1.0], [4.0]]
    assert [b.weights.tolist() for b in known] == [[4.0, 4.0], [12.0]]


def test_a_stream_is_read_once():
    for position in ((1, 0), (0, 1)):
        with pytest.raises(ValueError, match="a stream is read once"):
            next(stream_of(np.arange(10), 4).epoch(*position))


def test_a_growing_stream_ends_at_the_posterior_of_all_it_saw(rng):
    """With its mean, and a precision that lags behind by the 1 / rho = 24 last steps of 200. The
    mean's noise is that of 1 / rho batches: five of its standard deviations.
    """
    x = np.array([2.0, -1.0, 0.3]) + rng.standard_normal((4000, 3)) / np.sqrt(PRECISION)
    model = NormalMean(PRECISION)
    algorithm = ascend(natural(model), optimizers.robbins_monro(0.0, 0.6))
    state, _ = loop.run(
        algorithm, algorithm.init(model.zeros()), stream_of(x, 20), n_epochs=1, rng=rng
    )
    mean = state.params.linear / (-2 * state.params.square)
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=5 / np.sqrt(480 * PRECISION.min()))
    n_rows = 0.0
    for t in range(1, 201):
        n_rows += t**-0.6 * (20 * t - n_rows)
    assert n_rows == pytest.approx(4000, rel=0.15)
    np.testing.assert_allclose(state.params.square, -0.5 - 0.5 * PRECISION * n_rows)


@pytest.mark.parametrize("size", [1, 7, 240])
def test_yesterdays_posterior_as_todays_prior_is_exact_where_nothing_is_local(size, rng):
    x = rng.standard_normal((240, 3))
    model = NormalMean(PRECISION)
    algorithm = streaming(model)
    stream = stream_of(x, size, population_size="batch")
    state, history = loop.run(algorithm, algorithm.init(model.zeros()), stream, n_epochs=1, rng=rng)
    for ours, want in zip(state.params, posterior(x)):
        np.testing.assert_allclose(ours, want, rtol=1e-10)
    assert state.n_batches == len(history) == -(-240 // size)
    assert max(history.columns["rounds"]) == 2  # the second finds that the first was enough
    np.testing.assert_array_equal(model.prior.square, -0.5)


def test_fading_memory_follows_a_drift(rng):
    """A sum with weights memory^age of batches: 1 / (1 - memory) of them count."""
    x = rng.standard_normal((400, 3)) + np.repeat([[0.0], [5.0]], 200, axis=0)
    model = NormalMean(PRECISION)
    algorithm = streaming(model, memory=0.5)
    state, _ = loop.run(
        algorithm, algorithm.init(model.zeros()), stream_of(x, 20, population_size="batch"),
        n_epochs=1, rng=rng,
    )  # fmt: skip
    n_rows = 20 * sum(0.5**age for age in range(20))
    np.testing.assert_allclose(state.params.square, -0.5 - 0.5 * PRECISION * n_rows)
    mean = state.params.linear / (-2 * state.params.square)
    np.testing.assert_allclose(mean, 5, atol=5 / np.sqrt(n_rows))


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WithReplacement(numbers(3), 2, 0, [1.0, -1.0, 0.0]), "norms hold negative"),
        (lambda: WithReplacement(numbers(3), 2, 0, [1.0, np.nan, 0.0]), "norms hold negative"),
        (lambda: WithReplacement(numbers(3), 2, 0, [1.0]), r"shape \(1,\); wanted \(3,\)"),
        (lambda: WithReplacement(numbers(3), 2, 0, uniform_share=0.0), "uniform_share is 0.0"),
        (lambda: AdaptiveSize(numbers(3), 2, 0, theta=0.0), "theta is 0.0"),
        (lambda: Stream([], 0), "population_size is 0; wanted a number > 0, 'seen' or 'batch'"),
        (lambda: Stream([], "all"), "population_size is 'all'"),
        (lambda: streaming(NormalMean(PRECISION), max_iter=0), "max_iter is 0"),
        (lambda: streaming(NormalMean(PRECISION), tol=-1.0), "tol is -1.0"),
        (lambda: streaming(NormalMean(PRECISION), memory=0.0), "memory is 0.0"),
        (lambda: streaming(NormalMean(PRECISION), memory=1.5), "memory is 1.5"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_norms_whose_sum_overflows():
    large = WithReplacement(numbers(3), 2, 0, [1e308, 1e308, 5e307])
    small = WithReplacement(numbers(3), 2, 0, [1.0, 1.0, 0.5])
    np.testing.assert_allclose(large.probabilities(), small.probabilities(), rtol=1e-14)


def test_an_epoch_of_nothing():
    assert list(ShuffledEpochs(numbers(0), 4, 0).epoch(0)) == []
