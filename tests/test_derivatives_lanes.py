"""Derived gradients of several draws at once against those of each draw by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from derivatives_models import cases
from test_derivatives_models import Interpreted

import fastvi
from fastvi.derivatives import derive
from fastvi.kernels import lanes, lanes_functions
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
