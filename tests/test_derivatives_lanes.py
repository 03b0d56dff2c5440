"""Derived gradients of several draws at once against those of each draw by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from derivatives_models import cases
from test_derivatives_models import Interpreted

import fastvi
from fastvi import densities
from fastvi.derivatives import derive
from fastvi.derivatives.front import lower
from fastvi.derivatives.joining import join_loops
from fastvi.kernels import lanes, lanes_functions
from fastvi.targets.data import prepare
from fastvi.targets.python import SEVERAL

CASES = cases(300)


@pytest.mark.parametrize("name", sorted(CASES))
def test_models_give_what_each_draw_gives(name):
    function, _, data, z = CASES[name]
    ours = Interpreted(function, data, first=1)
    if "np.linalg" in name:  # LAPACK takes one matrix at a time
        assert ours.several is None
        return
    if name.startswith("logistic, "):
        data = {n: array[:40] for n, array in data.items()}
    Z = z * (1.0 + 0.1 * np.random.default_rng(0).random(size=(lanes.LANES + 2, z.size)))
    values, grads = ours.side_by_side(Z)
    for k in (0, 3, lanes.LANES + 1):
        value, grad = ours(Z[k])
        assert values[k] == pytest.approx(value, rel=1e-11)
        np.testing.assert_allclose(grads[k], grad, atol=1e-11 * np.abs(grad).max())


def sum_of_few(z, data):
    value = 0.0
    for j in range(1, z.size):
        value -= z[j] * data.y[j]
    for j in range(data.n):
        value += z[0] * data.y[j] ** 3 + np.where(z[1] > 0.0, j, z[2] ** -2)
    return value


@pytest.mark.parametrize("n", [0, 1, 4, 5, 7])
def test_long_sums_are_split_whatever_their_length(n):
    ours = Interpreted(sum_of_few, {"y": np.linspace(0.5, 2.0, 9), "n": n})
    Z = np.random.default_rng(n).normal(size=(3, 9))
    values, grads = ours.side_by_side(Z)
    for k, z in enumerate(Z):
        value, grad = ours(z)
        assert values[k] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(grads[k], grad, rtol=1e-12)


def of_two_products(z, data):
    value = 0.0
    for i in range(2, data.n):
        mean = z[8]
        for j in range(4):
            mean += data.X[i, j] * z[j]
        sd, slope = 0.0, data.y[i] + i
        for j in range(4, 8):
            sd -= data.X[i, j] * z[j]
        value -= (slope - mean) ** 2 * math.exp(0.1 * sd) + data.X[i, 0] * sd
    return value


def keeps_a_column(z, data):
    value, last = 0.0, 0.0
    scaled = np.empty(data.n)
    for i in range(data.n):
        mean = 0.0
        for j in range(8):
            mean += data.X[i, j] * z[j]
        scaled[i] = math.exp(0.1 * mean)
        last = mean
    for i in range(data.n):
        value += scaled[i] * scaled[i - 1]
    return value + last


def of_a_class(z, data):
    value = 0.0
    for i in range(1, data.n):
        k = data.g[i] + 1
        total = 1.0
        for j in range(3):
            total += data.X[i, j] * z[j]
        value += math.tanh(total) * z[k] if data.g[i] > 0 else total * data.X[i, k]
    return value


def carries_over_rows(z, data):
    value, a = 0.0, z[0]
    for i in range(data.n):
        for j in range(8):
            a += 0.1 * data.X[i, j] * z[j]
        value += math.sin(a)
    return value


@pytest.mark.parametrize("n", [0, 1, 4, 6, 9])
@pytest.mark.parametrize(
    "function", [of_two_products, keeps_a_column, of_a_class, carries_over_rows]
)
def test_rows_may_be_taken_in_blocks(function, n, rng):
    data = {"X": rng.normal(size=(9, 8)), "y": rng.normal(size=9), "g": rng.integers(-1, 3, 9)}
    ours = Interpreted(function, data | {"n": n})
    Z = rng.normal(size=(3, 9))
    values, grads = ours.side_by_side(Z)
    for k, z in enumerate(Z):
        value, grad = ours(z)
        assert values[k] == pytest.approx(value, rel=1e-12, abs=1e-14)
        np.testing.assert_allclose(grads[k], grad, rtol=1e-11, atol=1e-13)


def test_only_rows_without_dependence_are_taken_in_blocks(rng):
    data = {"X": rng.normal(size=(9, 8)), "y": rng.normal(size=9), "g": rng.integers(-1, 3, 9)}
    fields = prepare(data | {"n": 9}).fields
    functions = of_two_products, of_a_class, carries_over_rows
    found = ["last_i__r" in derive(f, fields).lanes_source for f in functions]
    assert found == [True, False, False]


def of_a_product(z, data):
    mean = data.X @ z[:8]
    return np.sum(-((data.y - mean) ** 2)) * z[8]


def of_products(z, data):
    sd = np.exp(0.1 * (data.X @ z[1:]))
    mean = data.X @ z[:8] + 1.0
    return densities.normal(data.y, mean, sd)


def reads_twice(z, data):
    mean = data.X @ z[:8]
    return np.sum(mean * data.y) - np.sum(mean**2)


def reads_the_row_before(z, data):
    value, mean = 0.0, data.X @ z[:8]
    for i in range(data.y.size):
        value -= mean[i] * mean[i - 1]
    return value


def changes_what_it_read(z, data):
    w = np.zeros(9)
    for j in range(9):
        w[j] = z[j]
    mean = data.X @ w[:8]
    value = 0.0
    for i in range(data.y.size):
        w[i % 8] = 0.5
        value += mean[i] * data.y[i] * w[3]
    return value


@pytest.mark.parametrize(
    ("function", "joined"),
    [(of_a_product, True), (of_products, True), (reads_twice, False),
     (reads_the_row_before, False), (changes_what_it_read, False)],
)  # fmt: skip
def test_a_loop_is_joined_with_the_only_one_that_reads_its_array(function, joined, rng):
    data = {"X": rng.normal(size=(9, 8)), "y": rng.normal(size=9)}
    program = lower(function, prepare(data).fields)
    assert join_loops(program) == joined
    ours = Interpreted(function, data)
    Z = rng.normal(size=(3, 9))
    values, grads = ours.side_by_side(Z)
    for k, z in enumerate(Z):
        value, grad = ours(z)
        assert values[k] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(grads[k], grad, rtol=1e-11, atol=1e-13)


def chooses(z):
    return np.where(z[1] > 0.0 and z[0] < 1.0, -z[0], z[0] ** 2)


def asks_a_parameter(z):
    value = 0.0
    if z[0] > 0.0:
        value -= z[0]
    return value - z[1] ** 2


def leaves_by_a_parameter(z):
    value = -(z[1] ** 2)
    while value > z[0]:
        value *= 2.0
    return value


def guards_an_index(z, data):
    return data.y[data.n] * z[1] if z[0] > 0.0 and data.n < 3 else z[0]


@pytest.mark.parametrize("function", [asks_a_parameter, leaves_by_a_parameter, guards_an_index])
def test_draws_that_need_other_statements_go_one_by_one(function):
    data = {"y": np.ones(3), "n": 7} if function is guards_an_index else None
    assert Interpreted(function, data).several is None
    assert derive(chooses).lanes is not None  # both values are computed, and one is taken


def many_functions(z, data):
    value = 0.0
    a, b = z[0], abs(z[1]) + 0.1
    for i in range(data.y.size):
        x = a * data.y[i] + 0.2
        value += math.sin(x) * math.exp(-b) + math.log1p(x * x) - max(x, b) + min(a, 0.3)
        value -= math.log(b) * math.sqrt(b) + math.lgamma(b) + math.erf(x) + x**3
        value += np.where(x > 0.5 or (a < 0.0 and not b > 1.0), x, -x) * np.sign(b) + b**1.5
        value += np.logaddexp(x, b) + np.maximum(x, a) * math.atan2(x, b) + math.tanh(x) ** -2
    return value


def test_functions_of_each_draw():
    ours = Interpreted(many_functions, {"y": np.linspace(-1.0, 1.0, 5)})
    Z = np.random.default_rng(1).normal(size=(4, 2))
    values, grads = ours.side_by_side(Z)
    for k, z in enumerate(Z):
        value, grad = ours(z)
        assert values[k] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(grads[k], grad, rtol=1e-10)


def many_numbers(z, data):
    value = 0.0
    for i in range(data.y.size):
        x = z[0] * data.y[i] + 0.2
        value += math.erf(x) - math.log1p(math.exp(-abs(x))) - max(x, z[1]) + x**3
    return value


@pytest.mark.thorough
@pytest.mark.jit
def test_compiled_for_many_numbers_of_data():
    data = {"y": np.linspace(-1.0, 1.0, SEVERAL)}
    target = fastvi.target(many_numbers, data=data, dim=2)
    Z = np.random.default_rng(1).normal(size=(lanes.LANES + 2, 2))
    values, grads = target.log_prob_and_grad(Z)
    alone = [target.log_prob_and_grad(z) for z in Z]
    np.testing.assert_allclose(values, [v for v, _ in alone], rtol=1e-12)
    np.testing.assert_allclose(grads, [g for _, g in alone], rtol=1e-10)
    same = values == [v for v, _ in alone]
    assert same[lanes.LANES :].all()  # so few go one by one
    assert not same.all()
    few = fastvi.target(target.source.plain, data={"y": data["y"][:9]}, dim=2)
    assert few.log_prob_and_grad(Z)[0][0] == few.log_prob_and_grad(Z[0])[0]


@pytest.mark.jit
@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("exp", np.r_[np.linspace(-708.0, 709.0, 61), -math.inf, math.inf, math.nan]),
        ("log", np.r_[np.logspace(-300, 300, 60), 0.0, -1.0, math.inf, math.nan]),
        ("log1p", np.r_[np.logspace(-16, 300, 58), -np.logspace(-16, -1e-9, 2), -0.5, -1.0,
                        math.inf, math.nan]),
    ],
)  # fmt: skip
def test_functions_of_lanes(name, x):
    import numba

    function, at, put = lanes_functions.FUNCTIONS[name], lanes.at, lanes.put
    rows = x.reshape(-1, lanes.LANES)
    found = np.empty_like(rows)

    @numba.njit(error_model="numpy")
    def each(rows, found):
        for i in range(rows.shape[0]):
            put(found, (i,), function(at(rows, (i,))))

    each(rows, found)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found, getattr(np, name)(rows), rtol=5e-16)
