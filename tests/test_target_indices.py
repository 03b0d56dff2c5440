"""Indices that are out of bounds: literal ones at once, others by `fastvi.check`."""

from __future__ import annotations

import numba
import numpy as np
import pytest

import fastvi
from fastvi.transforms import positive


def literal(z):
    return -(z[0] ** 2) - z[7]


def literal_of_data(z, data):
    value = 0.0
    for i in range(3):
        value += data.X[i, -4] * z[i]
    return value


def batched(Z, values):
    for s in range(Z.shape[0]):
        values[s, 0] = Z[s, 5]


def guarded(z):
    if z.size > 7:
        return z[7]
    return -(z[0] ** 2)


def after_a_choice(z, data):
    return -(z[0] ** 2) if data.n < 9 else z[8]


@numba.njit
def helper(y, i):
    return y[i + 1]


def in_a_helper(z, data):
    value = -0.5 * z[0] ** 2
    for i in range(data.y.size):
        value -= (helper(data.y, i) - z[0]) ** 2
    return value


def beyond_the_end(z, data):
    value = 0.0
    for i in range(data.y.size + 1):
        value -= (data.y[i] - z[0]) ** 2
    return value - z[1]


def writes(z, grad):
    for i in range(z.size + 1):
        grad[i] = -z[0]
    return -0.5 * z[0] ** 2


Y = {"y": np.arange(4.0), "X": np.ones((3, 3)), "n": 3}


@pytest.mark.parametrize(
    ("function", "data", "words"),
    [
        (
            literal,
            None,
            r"line \d+: z\[7\] is out of bounds: axis 0 of z has length 5",
        ),
        (
            literal_of_data,
            Y,
            r"X\[i, -4\] is out of bounds: axis 1 of data.X has length 3",
        ),
        (batched, None, r"Z\[s, 5\] is out of bounds: axis 1 of Z has length 5"),
    ],
)
def test_literal_indices_are_refused_at_once(function, data, words):
    with pytest.raises(ValueError, match=words):
        fastvi.target(function, data=data, dim=5)
    if data is not None:
        with pytest.raises(ValueError, match=words):
            fastvi.target(function).bind(data, dim=5)


@pytest.mark.parametrize(("function", "data"), [(guarded, None), (after_a_choice, Y)])
def test_what_may_not_be_reached_is_not_refused(function, data):
    target = fastvi.target(function, data=data, dim=5, gradient=None)
    assert target.log_prob(np.ones(5)) == -1.0
    assert fastvi.check(target) == 0.0


@pytest.mark.jit
@pytest.mark.parametrize(
    ("function", "data", "words"),
    [
        (
            in_a_helper,
            Y,
            r"helper, line \d+: index 4 is out of bounds for axis 0 with size 4",
        ),
        (beyond_the_end, Y, r"line \d+: index 4 is out of bounds for axis 0 with size 4"),
        (writes, None, r"writes, line \d+: index 2 is out of bounds for axis 0 with size 2"),
    ],
)
def test_check_finds_indices(function, data, words):
    target = fastvi.target(function, data=data, names={"a": (), "b": positive()})
    with pytest.raises(IndexError, match=words):
        fastvi.check(target)


def test_check_of_a_right_target():
    def model(z, data):
        return -np.sum((data.y - z[0]) ** 2) - z[1] ** 2

    target = fastvi.target(model, data=Y, names={"a": (), "b": positive()})
    assert 0.0 < fastvi.check(target, random_state=1) < 1e-6
    with pytest.raises(ValueError, match="target is"):
        fastvi.check(model)
