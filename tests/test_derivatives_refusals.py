"""What cannot be derived is refused, with the line, the construct and what to write instead."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from fastvi.derivatives import NotDifferentiable, derive
from fastvi.targets.data import prepare

FROZEN = np.ones(3)


def global_array(z, data):
    return z[0] * FROZEN[0]


def handler(z, data):
    try:
        return z[0]
    except ValueError:
        return 0.0


def eigenvalue(z, data):
    return np.linalg.eigvalsh(np.outer(z, z))[0]


def comprehension(z, data):
    return sum([x * x for x in z])


def index_after_loop(z, data):
    total = 0.0
    for i in range(3):
        total += z[i]
    return total * i


def no_such_data(z, data):
    return data.nope * z[0]


def writes_to_z(z, data):
    z[0] = 1.0
    return z[0]


def growing_array(z, data):
    total, v = 0.0, 1.0
    for i in range(3):
        w = np.zeros(i + 1)
        w[0] = v
        v = v * z[i] + w[0]
        total += v
    return total


def returns_array(z, data):
    return z


def unknown_name(z, data):
    return z[0] * unknown_thing  # noqa: F821


def array_of_a_branch(z, data):
    if z[0] > 0:  # noqa: SIM108
        w = np.zeros(3)
    else:
        w = np.ones(3)
    return w[0] * z[0]


def truth_index(z, data):
    return np.sum(z[z > 0])


def whole_number(z, data):
    return z[int(z[0])]


def integer_array(z, data):
    a = np.zeros(3, np.int64)
    a[0] = z[0]
    return a[0] * z[1]


def index_assigned(z, data):
    total = 0.0
    for i in range(3):
        total += z[i]
        i = 2
    return total


def swapped(z, data):
    a, b = np.zeros(3), np.zeros(3)
    for i in range(3):
        a[i] = z[i]
        a, b = b, a
    return np.sum(a)


def written_through_index(z, data):
    a = np.zeros(3)
    a[data.g] += z[:3]
    return np.sum(a * a)


def modulo_of_a_parameter(z, data):
    return 3.0 % z[0]


REFUSED = [
    (global_array, "FROZEN is a global array", "pass it in data"),
    (handler, "try is not differentiated", "use assignments, if, for, while and return"),
    (eigenvalue, "np.linalg.eigvalsh is not differentiated", "write it in plain Python"),
    (comprehension, "for x in z] is not differentiated", "write it with loops"),
    (index_after_loop, "i, the index of a loop, is read after it", "another name in the loop"),
    (no_such_data, "data has no nope", "it has X, g"),
    (writes_to_z, "z[0] is written to", "make one by np.zeros or np.empty"),
    (growing_array, "length differs between the rounds", "make it before the loop"),
    (returns_array, "what is returned is not a number", "return the log density"),
    (unknown_name, "unknown_thing is unknown", "define it"),
    (array_of_a_branch, "made in a branch or loop and read after it", "make it before"),
    (truth_index, "z > 0 chooses by truth values", "use a loop with if"),
    (whole_number, "int() of a parameter has no derivative", "method='score'"),
    (integer_array, "a parameter is written to an array of integers", "make it of np.float64"),
    (index_assigned, "the index of a loop, is assigned in it", "use another name"),
    (swapped, "stands for another array in a branch or loop", "by a[:] = ..."),
    (written_through_index, "is written through an index array", "use a loop"),
    (modulo_of_a_parameter, "has no derivative here", "write it with +, -, *, /"),
]


@pytest.mark.parametrize(("function", "construct", "instead"), REFUSED)
def test_refusals_name_the_line_and_what_to_write(function, construct, instead):
    fields = prepare({"X": np.ones((3, 3)), "g": np.array([0, 1, 1])}).fields
    with pytest.raises(NotDifferentiable) as caught:
        derive(function, fields)
    message = str(caught.value)
    assert construct in message
    assert instead in message
    first = inspect.getsourcelines(function)[1]
    line = int(message.split("line ")[1].split(":")[0]) if "line " in message else first
    assert first <= line <= first + 8
