"""The nouns and the loop, on a model small enough to solve by hand: a normal mean.

Rows x_i ~ N(mean, 1 / precision) with the precisions known and mean ~ N(0, 1). In natural
parameters the posterior is the prior plus the sums of precision * x and of -precision / 2.
"""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastvi import loop, optimizers
from fastvi.base import tree
from fastvi.batches import Everything, InMemory, ShuffledEpochs
from fastvi.core import Algorithm, Batch, LazyTable, Local, RowGradient, add, ascend, scale
from fastvi.gradients.natural import natural


class Pair(NamedTuple):
    first: np.ndarray
    second: np.ndarray


class Natural(NamedTuple):
    """Natural parameters of independent normals, (d,) each."""

    linear: np.ndarray  # mean / variance
    square: np.ndarray  # -1 / (2 variance)


class NormalMean:
    """x (n, d) with known precision (d,)."""

    def __init__(self, precision):
        self.precision = precision
        self.prior = Natural(np.zeros(len(precision)), np.full(len(precision), -0.5))
        self.n_calls = 0

    def local(self, params, batch, start, rng, *, norms=False):
        self.n_calls += 1
        total = batch.weights.sum()
        linear = self.precision * (batch.weights @ batch.rows)
        statistics = Natural(linear, np.full(len(linear), -0.5) * self.precision * total)
        lengths = np.sqrt(((self.precision * batch.rows) ** 2 + self.precision**2 / 4).sum(axis=1))
        return Local(statistics, 0.0, None, lengths if norms else None)

    def global_bound(self, params):
        return 0.0

    def zeros(self):
        return Natural(np.zeros(len(self.precision)), np.full(len(self.precision), -0.5))


PRECISION = np.array([0.5, 4.0, 1.0])


@pytest.fixture
def data(rng):
    x = np.array([2.0, -1.0, 0.3]) + rng.standard_normal((240, 3)) / np.sqrt(PRECISION)
    x.flags.writeable = False
    return InMemory(x)


def posterior(x):
    linear = PRECISION * x.sum(axis=0)
    return Natural(linear, -0.5 - 0.5 * PRECISION * len(x))


def run(model, batches, optimizer, rng, n_epochs=1, **options):
    algorithm = ascend(natural(model), optimizer)
    return loop.run(
        algorithm, algorithm.init(model.zeros()), batches, n_epochs=n_epochs, rng=rng, **options
    )


def distance(params, want):
    return max(
        np.abs(params.linear / want.linear - 1).max(), np.abs(params.square / want.square - 1).max()
    )


def test_a_step_of_rate_one_on_everything_is_the_posterior(data, rng):
    state, history = run(NormalMean(PRECISION), Everything(data), optimizers.constant(), rng)
    assert distance(state.params, posterior(data.rows)) < 1e-12
    assert history.columns["rate"] == [1.0]
    state, _ = run(NormalMean(PRECISION), Everything(data), optimizers.constant(), rng, 5)
    assert distance(state.params, posterior(data.rows)) < 1e-12


def test_a_batch_of_every_row_is_the_whole(data, rng):
    """S = M: in another order, so to rounding."""
    batches = ShuffledEpochs(data, data.n_rows, 3)
    state, _ = run(NormalMean(PRECISION), batches, optimizers.constant(), rng)
    assert distance(state.params, posterior(data.rows)) < 1e-12
    state, _ = run(NormalMean(PRECISION), batches, optimizers.robbins_monro(0.0, 1.0), rng)
    assert distance(state.params, posterior(data.rows)) < 1e-12


@pytest.mark.thorough
@pytest.mark.parametrize("batch_size", [1, 8, 7])
def test_robbins_monro_converges_to_the_posterior(data, batch_size, rng):
    """Rates 1 / (1 + t) average the batches seen; the last batches of an epoch weigh the same.

    The noise of a batch's mean is sd * sqrt(M (1/S - 1/M)) of the sum, that of the average over
    whole epochs is less than that of the average of the last epoch's: well below 1 %.
    """
    batches = ShuffledEpochs(data, batch_size, seed=20240607)
    optimizer = optimizers.robbins_monro(delay=1.0, exponent=1.0)
    state, history = run(NormalMean(PRECISION), batches, optimizer, rng, n_epochs=40)
    n_steps = 40 * -(-data.n_rows // batch_size)
    want = posterior(data.rows)
    noise = np.sqrt(PRECISION * data.n_rows * data.n_rows / batch_size / n_steps)
    assert np.all(
        np.abs(state.params.linear - want.linear) < 4 * noise + abs(want.linear) / n_steps
    )
    np.testing.assert_allclose(state.params.square, want.square, rtol=2 / n_steps)
    assert len(history) == n_steps
    rates = [(1.0 + t) ** -1.0 for t in range(1, n_steps + 1)]
    np.testing.assert_allclose(history.columns["rate"], rates)


def test_weights_temper(data, rng):
    """A power posterior is a matter of weights only."""
    half = Algorithm(*ascend(natural(NormalMean(PRECISION)), optimizers.constant()))
    batch = Batch(data.rows, np.full(data.n_rows, 0.5))
    state, _ = half.step(half.init(NormalMean(PRECISION).zeros()), batch, rng)
    want = posterior(data.rows)
    np.testing.assert_allclose(state.params.linear, want.linear / 2)
    np.testing.assert_allclose(state.params.square, -0.5 + (want.square + 0.5) / 2)


class Stubborn:
    """A model whose bound is what it is told, to see when a local step is taken back."""

    prior = np.zeros(2)

    def __init__(self, bounds):
        self.bounds, self.starts = iter(bounds), []

    def local(self, params, batch, start, rng, *, norms=False):
        self.starts.append(start)
        return Local(np.ones(2), next(self.bounds), len(self.starts))

    def global_bound(self, params):
        return 100.0


def test_a_remembering_gradient_goes_back_only_if_the_bound_would_fall():
    model = Stubborn([-5.0, -3.0, -4.0, -2.9, -7.0, -2.9])
    gradient = natural(model, remember=True)
    state = gradient.init(np.zeros(2))
    bounds = []
    for _ in range(4):
        direction, state, info = gradient.estimate(state, np.full(2, 0.25), Batch(None, None), None)
        bounds.append(info["elbo"])
        np.testing.assert_array_equal(direction, 0.75)
    assert bounds == [95.0, 97.0, 97.1, 97.1]
    # calls 3 and 5 fell: each was followed by one that starts from the locals of 2 and 4
    assert model.starts == [None, None, None, 2, None, 4]


def test_bounds_of_batches_are_reported_as_they_are():
    gradient = natural(Stubborn([-5.0]))
    _, _, info = gradient.estimate(None, np.zeros(2), Batch(None, None), None)
    assert info["local_elbo"] == -5.0
    assert info["local"].variables == 1


def test_scale_and_add_go_through_the_parts():
    gradient = Natural(np.array([1.0, 2.0]), np.array([3.0]))
    double = scale(gradient, 2.0)
    assert isinstance(double, Natural)
    assert [double.linear.tolist(), double.square.tolist()] == [[2.0, 4.0], [6.0]]
    assert gradient.linear.tolist() == [1.0, 2.0]
    params = Natural(np.zeros(2), np.ones(1))
    added = add(params, double)
    assert added.linear is params.linear  # in place
    assert add(Natural(1.0, params.square), Natural(0.5, np.zeros(1))).linear == 1.5
    assert [params.linear.tolist(), params.square.tolist()] == [[2.0, 4.0], [7.0]]
    rows = RowGradient(np.array([0]), np.ones((1, 2)), np.zeros(2), 1.0, 3.0)
    assert scale(rows, 0.5).factor == 1.5
    assert rows.factor == 3.0


@pytest.mark.parametrize("delay", [0.0, 1.0, 64.0])
@pytest.mark.parametrize("exponent", [0.51, 0.7, 1.0])
def test_robbins_monro_rates(delay, exponent):
    optimizer = optimizers.robbins_monro(delay, exponent)
    state = optimizer.init(None)
    for t in range(1, 6):
        step, state, rate = optimizer.update(np.ones(1), state, None)
        assert rate == (delay + t) ** -exponent
        assert step.tolist() == [rate]
        assert rate <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 0.7), "delay is -1.0; wanted a number >= 0"),
        ((np.nan, 0.7), "delay is nan"),
        ((1.0, 0.5), "exponent is 0.5"),
        ((1.0, 1.1), "exponent is 1.1"),
        ((1.0, np.nan), "exponent is nan"),
    ],
)
def test_robbins_monro_refuses_what_does_not_converge(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimizers.robbins_monro(*arguments)


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 10**9), st.integers(0, 3))
def test_an_epoch_holds_every_row_once(n_rows, batch_size, seed, number):
    source = InMemory(np.arange(n_rows))
    batches = list(ShuffledEpochs(source, batch_size, seed).epoch(number))
    assert sorted(np.concatenate([batch.rows for batch in batches]).tolist()) == [*range(n_rows)]
    sizes = [len(batch.rows) for batch in batches]
    assert len(sizes) == -(-n_rows // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    for batch in batches:
        assert batch.weights.shape == batch.rows.shape
        assert batch.weights.sum() == pytest.approx(n_rows)
        assert len(set(batch.weights.tolist())) == 1


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 10**9), st.integers(0, 6))
def test_an_epoch_entered_later_goes_on_with_the_same_batches(n_rows, batch_size, seed, skip):
    plan = ShuffledEpochs(InMemory(np.arange(n_rows)), batch_size, seed)
    late, whole = list(plan.epoch(2, skip)), list(plan.epoch(2))
    assert [batch.rows.tolist() for batch in late] == [b.rows.tolist() for b in whole[skip:]]


def test_orders_differ_by_epoch_and_by_seed():
    def order(seed, number):
        (batch,) = ShuffledEpochs(InMemory(np.arange(50)), 50, seed).epoch(number)
        return batch.rows.tolist()

    orders = [order(seed, number) for seed in (0, 1) for number in (0, 1)]
    assert len({tuple(o) for o in orders}) == 4
    assert order(0, 1) == orders[1]


def test_everything_is_one_batch_an_epoch(data):
    plan = Everything(data)
    for number in (0, 7):
        (batch,) = plan.epoch(number)
        assert batch.rows is data.rows
        np.testing.assert_array_equal(batch.weights, np.ones(data.n_rows))
    assert list(plan.epoch(0, skip=1)) == []


def counting():
    """An algorithm whose state counts its steps and whose info says so."""

    def step(state, batch, rng):
        return [*state, int(batch.rows[0])], {"n": len(state) + 1.0}

    return Algorithm(list, step)


PLAN = ShuffledEpochs(InMemory(np.arange(10)), 4, 9)  # three steps an epoch


def test_the_loop_calls_hooks_with_the_next_position(rng):
    steps, epochs = [], []
    state, history = loop.run(
        counting(), [], PLAN, n_epochs=2, rng=rng,
        after_step=lambda state, position, history: steps.append((position, len(history))),
        after_epoch=lambda state, position, history: epochs.append((position, len(state))),
    )  # fmt: skip
    assert len(state) == 6
    assert steps == [((0, 1), 1), ((0, 2), 2), ((0, 3), 3), ((1, 1), 4), ((1, 2), 5), ((1, 3), 6)]
    assert epochs == [((1, 0), 3), ((2, 0), 6)]
    assert history.columns["epoch"] == [0, 0, 0, 1, 1, 1]
    assert history.columns["n"] == [1, 2, 3, 4, 5, 6]
    seconds = history.columns["seconds"]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0


@pytest.mark.parametrize("stop_after", range(1, 7))
def test_a_stopped_loop_resumes_where_it_stood(stop_after, rng):
    whole, full = loop.run(counting(), [], PLAN, n_epochs=2, rng=rng)
    places, epochs = [], []

    def hook(state, position, history):
        places.append(position)
        return len(history) == stop_after

    def epoch_hook(state, position, history):
        epochs.append(position)

    state, history = loop.run(
        counting(), [], PLAN, n_epochs=2, rng=rng, after_step=hook, after_epoch=epoch_hook
    )
    assert state == whole[:stop_after]
    state, history = loop.run(
        counting(), state, PLAN, n_epochs=2, rng=rng, position=places[-1], history=history,
        after_epoch=epoch_hook,
    )  # fmt: skip
    assert state == whole
    assert history.columns["epoch"] == full.columns["epoch"]
    assert history.columns["seconds"] == sorted(history.columns["seconds"])
    assert epochs == [(1, 0), (2, 0)]  # once each, also when stopped after the epoch's last step


def test_a_hook_after_an_epoch_stops_too(rng):
    state, history = loop.run(
        counting(), [], PLAN, n_epochs=9, rng=rng,
        after_epoch=lambda state, position, history: position.epoch == 2,
    )  # fmt: skip
    assert len(state) == len(history) == 6


def test_no_epochs_are_no_steps(rng):
    state, history = loop.run(counting(), [], PLAN, n_epochs=0, rng=rng)
    assert state == []
    assert len(history) == 0
    assert history.arrays() == {}


def test_time_spent_before_the_first_step_counts_once(rng):
    _, history = loop.run(counting(), [], PLAN, n_epochs=1, rng=rng, seconds=50.0)
    assert 50 <= history.columns["seconds"][0] < 60
    _, history = loop.run(
        counting(), [], PLAN, n_epochs=2, rng=rng, position=loop.Position(1), history=history,
        seconds=50.0,
    )  # fmt: skip
    assert history.columns["seconds"][-1] < 60


def test_history_fills_gaps_with_nan():
    history = loop.History()
    history.append(a=1)
    history.append(a=2, b=5)
    history.append(b=6, c=np.float32(0.5))
    assert len(history) == 3
    arrays = history.arrays()
    np.testing.assert_array_equal(arrays["a"], [1, 2, np.nan])
    np.testing.assert_array_equal(arrays["b"], [np.nan, 5, 6])
    np.testing.assert_array_equal(arrays["c"], [np.nan, np.nan, 0.5])
    assert {array.dtype for array in arrays.values()} == {np.dtype(float)}


def test_what_was_none_in_the_template_comes_back_whole():
    """An array, a tuple with None in it, a tuple of names, tuples of tuples, or None."""
    pair = Pair(np.arange(3), np.arange(2.0))
    state = (np.ones(2), (None, np.zeros(3)), pair, None, (pair, (np.arange(4), 2.5)))
    template = (None,) * len(state)
    for name in ("", "s"):
        again = tree.restore(template, tree.save(state, name), name)
        array, (nothing, zeros), named, none, ((first, second), (four, number)) = again
        assert array.tolist() == [1.0, 1.0]
        assert nothing is None
        assert zeros.tolist() == [0.0, 0.0, 0.0]
        assert none is None
        assert named._fields == Pair._fields
        for ours in (named, (first, second)):
            np.testing.assert_array_equal(ours[0], pair[0])
            np.testing.assert_array_equal(ours[1], pair[1])
        assert four.tolist() == [0, 1, 2, 3]
        assert number == 2.5


class Ladder(NamedTuple):
    """A state with everything a state may hold."""

    values: np.ndarray
    n: int
    rate: float
    started: bool
    late: object
    table: LazyTable


def ladder(late=None, n_rows=4):
    table = LazyTable(np.ones((n_rows, 2)), np.ones(()))
    return Ladder(np.arange(3.0), 4, 0.5, True, late, table)


def test_a_saved_tree_is_restored_whole():
    state = ladder((np.arange(2), LazyTable(np.zeros((2, 2)), np.ones(2))))
    again = tree.restore(ladder(), tree.save(state, "s"), "s")
    assert isinstance(again, Ladder)
    assert (again.n, again.rate, again.started) == (4, 0.5, True)
    assert again.late[0].tolist() == [0, 1]
    assert again.late[1].anchor.tolist() == [1, 1]
    assert again.table.values.tolist() == state.table.values.tolist()


@pytest.mark.parametrize("name", ["s.values", "s.n", "s.table.values", "s.table.clock"])
@pytest.mark.parametrize("change", [lambda a: np.append(a, a), lambda a: a.astype("f4")])
def test_arrays_of_other_sizes_are_refused(name, change):
    arrays = tree.save(ladder(), "s")
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=f"{name} is .* wanted"):
        tree.restore(ladder(), arrays, "s")
