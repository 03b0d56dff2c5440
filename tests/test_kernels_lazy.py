"""Rows that catch up when they are read equal a table every row of which takes every step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive.lazy import DenseTable

from fastvi import optimizers
from fastvi.core import Gradient, LazyTable, Optimizer, RowGradient, add, ascend, scale
from fastvi.kernels import lazy as kernels

DTYPES = [np.float32, np.float64]
SEEDS = st.integers(0, 2**32 - 1)
RATES = [1e-12, 1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-9, 1.0]


def tolerance(dtype, decay=0.0):
    """The running sum of logs, which is -800 or less after a rate of 1, rounds in float64."""
    eps = 100 * np.finfo(dtype).eps + 4 * np.finfo(np.float64).eps * abs(decay)
    return {"rtol": eps, "atol": eps}


def random_step(rng, table, anchor):
    """A step on a few rows, of any rate that a lazy table takes."""
    n_rows, width = table.values.shape
    rows = np.sort(rng.choice(n_rows, rng.integers(0, n_rows + 1), replace=False))
    values = rng.gamma(1.0, 3.0, (len(rows), width)).astype(table.values.dtype)
    rate = rng.choice(RATES)
    coefficient = rng.choice([1.0, 0.5, 0.25])
    gradient = RowGradient(rows.astype(np.int32), values, anchor, coefficient)
    return gradient.scaled(rate if coefficient == 1.0 else rate * rng.random())


def apply(twin, step):
    twin.add(step.rows, step.values, step.anchor, step.factor * step.coefficient, step.factor)


def random_anchor(rng, shape, dtype):
    """Each form that broadcasts to the table: one number, a row, a column, a whole table."""
    form = [(), shape[1:], (1, shape[1]), (shape[0], 1), shape][rng.integers(5)]
    return np.asarray(rng.gamma(1.0, 1.0, form), dtype)


def random_table(rng, dtype):
    shape = tuple(rng.integers(1, 9, 2))
    anchor = random_anchor(rng, shape, dtype)
    return LazyTable(rng.gamma(2.0, 1.0, shape).astype(dtype), anchor), anchor


@given(SEEDS, st.sampled_from(DTYPES), st.integers(1, 40))
def test_a_lazy_table_equals_a_dense_one(seed, dtype, n_steps):
    rng = np.random.default_rng(seed)
    table, anchor = random_table(rng, dtype)
    twin = DenseTable(table.values, anchor)
    for _ in range(n_steps):
        if rng.random() < 0.1:
            anchor = random_anchor(rng, table.values.shape, dtype)
        step = random_step(rng, table, anchor)
        table.add(step)
        apply(twin, step)
    limits = tolerance(dtype, table.decay)
    np.testing.assert_allclose(table.dense(), twin.values, **limits)
    np.testing.assert_allclose(table.column_sums, twin.values.sum(axis=0), **limits)
    rows = rng.integers(0, len(twin.values), 5).astype(np.int32)
    np.testing.assert_array_equal(table.read(rows), table.dense()[rows])


@pytest.mark.thorough
def test_a_hundred_thousand_steps():
    """Rows seen seldom: the running sum of logs is long, the sums are a long recursion."""
    rng = np.random.default_rng(11)
    prior = np.float32(0.02)
    table = LazyTable(rng.gamma(100.0, 0.01, (50, 8)).astype(np.float32), prior)
    twin = table.values.astype(np.float64)
    for t in range(100_000 if hasattr(kernels.add_rows, "signatures") else 2000):
        rate = (10.0 + t) ** -0.7
        rows = np.array([t % 50], np.int32)
        values = rng.random((1, 8), np.float32)
        table.add(RowGradient(rows, values, prior).scaled(rate))
        twin += rate * (prior - twin)
        twin[rows] += rate * values
    np.testing.assert_allclose(table.dense(), twin, rtol=1e-5)
    np.testing.assert_allclose(table.column_sums, twin.sum(axis=0), rtol=1e-6)


@given(SEEDS, st.sampled_from(DTYPES))
def test_reading_never_changes_later_bits(seed, dtype):
    rng = np.random.default_rng(seed)
    first, anchor = random_table(rng, dtype)
    second = LazyTable(first.values.copy(), anchor)
    for _ in range(8):
        step = random_step(rng, first, anchor)
        first.dense()
        first.read(np.arange(len(first.values), dtype=np.int32)[::-1].copy())
        step.dense(first)
        first.save()
        first.add(step)
        second.add(step)
    assert first.values.tobytes() == second.values.tobytes()
    assert first.dense().tobytes() == second.dense().tobytes()
    assert first.column_sums.tobytes() == second.column_sums.tobytes()


@given(SEEDS, st.sampled_from(DTYPES))
def test_a_restored_table_goes_on_with_the_same_bits(seed, dtype):
    rng = np.random.default_rng(seed)
    table, anchor = random_table(rng, dtype)
    for _ in range(5):
        table.add(random_step(rng, table, anchor))
    saved = {name: array.copy() for name, array in table.save().items()}
    restored = LazyTable.restore(saved)
    later = [random_step(rng, table, anchor) for _ in range(5)]
    for step in later:
        table.add(step)
        restored.add(step)
    assert table.dense().tobytes() == restored.dense().tobytes()
    assert table.column_sums.tobytes() == restored.column_sums.tobytes()
    assert table.decay == restored.decay


def test_moving_the_anchor_changes_no_value():
    rng = np.random.default_rng(5)
    table = LazyTable(rng.gamma(2.0, 1.0, (6, 3)), np.asarray(0.1))
    for _ in range(4):
        table.add(random_step(rng, table, table.anchor))
    before, sums = table.dense(), table.column_sums.copy()
    table.move_anchor(np.full((6, 1), 7.0))
    np.testing.assert_allclose(table.dense(), before, **tolerance(np.float64))
    np.testing.assert_array_equal(table.column_sums, sums)
    table.add(RowGradient(np.empty(0, np.int32), np.empty((0, 3)), table.anchor))  # rate 1
    np.testing.assert_array_equal(table.dense(), np.full((6, 3), 7.0))
    np.testing.assert_allclose(table.column_sums, 42.0)


@pytest.mark.parametrize("rate", [-0.1, 1.1, np.nan])
def test_rates_out_of_range_are_refused_and_change_nothing(rate):
    table = LazyTable(np.ones((3, 2)), np.asarray(0.5))
    step = RowGradient(np.array([1], np.int32), np.ones((1, 2)), table.anchor)
    with pytest.raises(ValueError, match="rates from 0 to 1"):
        table.add(step.scaled(rate))
    np.testing.assert_array_equal(table.dense(), np.ones((3, 2)))
    np.testing.assert_array_equal(table.column_sums, [3.0, 3.0])


@given(SEEDS, st.sampled_from(DTYPES))
def test_a_row_gradient_made_dense_is_what_finite_arithmetic_says(seed, dtype):
    rng = np.random.default_rng(seed)
    table, anchor = random_table(rng, dtype)
    table.add(random_step(rng, table, anchor))
    step = random_step(rng, table, anchor)
    scattered = np.zeros(table.values.shape)
    for row, value in zip(step.rows, step.values):
        scattered[row] += value
    now = table.dense().astype(np.float64)
    want = step.factor * (step.coefficient * (np.float64(anchor) - now) + scattered)
    dense = step.dense(table)
    assert dense.dtype == dtype
    size = abs(step.factor) * 40
    np.testing.assert_allclose(dense / size, want / size, **tolerance(dtype))
    moved = now + dense
    table.add(step)
    np.testing.assert_allclose(table.dense(), moved, **tolerance(dtype, table.decay))


def constant_dense(rate):
    """A constant rate that knows nothing of rows."""

    def update(gradient, state, params):
        assert isinstance(gradient, np.ndarray)
        return scale(gradient, rate), state, rate

    return Optimizer(lambda params: None, update, takes_rows=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_optimizers_that_need_dense_gradients_step_to_the_same_place(dtype):
    rng = np.random.default_rng(3)
    anchor = np.asarray(0.3, dtype)
    start = rng.gamma(2.0, 1.0, (7, 4)).astype(dtype)
    steps = [random_step(rng, LazyTable(start, anchor), anchor) for _ in range(10)]
    steps = [step._replace(coefficient=1.0, factor=1.0) for step in steps]
    results = []  # the same ten gradients for both
    for optimizer in (optimizers.constant(0.25), constant_dense(0.25)):
        gradient = Gradient(
            lambda params: iter(steps),
            lambda state, params, batch, rng: (next(state), state, {}),
        )
        algorithm = ascend(gradient, optimizer)
        state = algorithm.init(LazyTable(start.copy(), anchor))
        for _ in steps:
            state, info = algorithm.step(state, None, rng)
        assert info["rate"] == 0.25
        results.append((state.params.dense(), state.params.column_sums))
    for lazy, dense in zip(*results):
        np.testing.assert_allclose(lazy, dense, **tolerance(dtype))


def test_add_takes_dense_steps_for_a_lazy_table():
    table = LazyTable(np.ones((3, 2)), np.asarray(0.5))
    table.add(RowGradient(np.array([1], np.int32), np.ones((1, 2)), table.anchor).scaled(0.5))
    before = table.dense()
    change = np.arange(6.0).reshape(3, 2)
    assert add(table, change) is table
    np.testing.assert_allclose(table.dense(), before + change)
    np.testing.assert_allclose(table.column_sums, (before + change).sum(axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_of_the_rows_can_be_read_and_written_apart(dtype):
    """The kernels take a range of rows, so that threads could share them."""
    rng = np.random.default_rng(8)
    values, clock = rng.random((5, 3)).astype(dtype), -rng.random(5)
    anchor = rng.random((5, 3)).astype(dtype)
    rows, step = np.array([4, 0, 2], np.int32), rng.random((3, 3)).astype(dtype)
    out = np.full((3, 3), np.nan, dtype)
    kernels.read_rows(values, clock, -1.5, anchor, rows, 1, 3, out)
    assert np.isnan(out[0]).all()
    factor = np.exp(-1.5 - clock[rows])[:, None]
    now = anchor[rows] + (values[rows] - anchor[rows]) * factor
    np.testing.assert_allclose(out[1:], now[1:], **tolerance(dtype))
    before = values.copy()
    kernels.add_rows(values, clock, -1.5, anchor, rows, step, 2.0, 0, 2)
    np.testing.assert_array_equal(values[[1, 2, 3]], before[[1, 2, 3]])
    np.testing.assert_allclose(values[rows[:2]], (now + 2 * step)[:2], **tolerance(dtype))
    assert clock[rows].tolist() == [-1.5, -1.5, clock[2]]
