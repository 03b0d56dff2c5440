"""What cannot be derived is refused, with the line, the construct and what to write instead."""

from __future__ import annotations

import ast
import inspect
import traceback
from pathlib import Path

import numpy as np
import pytest
from written import module_of

from fastvi import derivatives
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


# Bodies of densities, in one line or several, each with the construct and what to write instead.
TEXTS = [
    ("return math.exp(z)[0, 0, 0]", "too many indices for 1 axes", "leave some out"),
    ("return np.sum(np.zeros(z))", "np.zeros(z) is not a number", "use a number here"),
    ("return z[0] * data.X[data.g, data.g][0]", "several index arrays", "use a loop"),
    ("return np.sum(z[::data.n])", "step of a slice is not a literal", "use a loop"),
    ("return np.sum(z[4:1:-1])", "ends and a negative step", "or [::-1]"),
    ("return np.sum(z[:data.X[0, 0]])", "the end of a slice, is not an integer", "use int()"),
    ("return z[data.X[0, 0]]", "data.X[0, 0] is not an integer", "use int()"),
    ("return np.sum(z[data.X])", "data.X is not a vector of integers", "use a loop"),
    ("return np.sum(data.T @ z)", "a product of 3 and 1 axes", "over single elements"),
    ("a = np.zeros(3)\na[:] = data.X\nreturn z[0]", "2 axes are put into 1", "index some away"),
    ("a = b = np.zeros(3)\nreturn z[0]", "several names for one array", "one by one"),
    ("data.X = z\nreturn z[0]", "data.X is assigned to", "use names, elements and slices"),
    ("a, b = z[0], z[1], z[2]\nreturn a", "parts of (a, b) do not fit", "as many names"),
    ("a = z[0]\na = z\nreturn a[0]", "a is a number and then something else", "two names"),
    ("a = (z[0], z[1])\nif z[0] > 0:\n    a = (z[1], z[0])\nreturn a[0]",
     "a stands for something else in a branch", "use two names"),
    ("a = z * 2.0\na = z[0]\nreturn a", "an array or tuple and then a number", "two names"),
    ("a = (z[0], z[1])\na += 1.0\nreturn a[0]", "a is not a number or an array", "two names"),
    ("a = z\na += 1.0\nreturn a[0]", "a is not a local array", "make one by np.zeros"),
    ("return np.sum(z, where=True)", "arguments that are not differentiated", "with loops"),
    ("return np.exp(z[0], out=z)", "np.exp(z[0], out=z) is not differentiated", "with loops"),
    ("return math.exp(z[0], z[1])", "has 2 arguments", "give 1"),
    ("return np.sum(z[0] @ z)", "a number where an array is wanted", "give an array"),
    ("return np.sum(z, axis=data.n)", "the axis is not a literal", "with loops"),
    ("return {0: z[0]}[0]", "{0: z[0]} is not differentiated", "with loops"),
    ("a = np.zeros(3)\ndef f(b):\n    b[0] = z[0]\n    return b[0]\nreturn a[0] * f(a)",
     "writes to an array that the same expression reads", "a statement of its own"),
    ("if z[0] > 0:\n    return early\nearly = z[0]\nreturn early", "early has no value yet",
     "assign it before"),
    ("return z.real[0]", "z.real is not differentiated", "what the manual lists"),
    ("a = (*z,)\nreturn a[0]", "* in a tuple", "write the parts"),
    ("a = (z[0], z[1])\nreturn a[data.n]", "the index of a tuple is not a literal", "a number"),
    ("a = (z[0], z[1])\nreturn a[2]", "the tuple has 2 parts", "use one of them"),
    ("return z[0][1]", "is an index of what is not an array", "use an array"),
    ("return z[0] * (~data.g)[0]", "~", "use not, or a loop"),
    ("return z[0] if z[0] in z else z[1]", "z[0] in z is not", "compare numbers by <, >, =="),
    ("return z[0] if z is data else z[1]", "z is data is not", "only with None by is"),
    ("return z[0] if (1, 2) else z[1]", "(1, 2) is not a truth value", "compare numbers"),
    ("return z[0] if z > 0 else z[1]", "is an array of truth values", "np.any or np.all"),
    ("return math.exp(*z)", "* in a call", "write the arguments"),
    ("def f(a):\n    return f(a)\nreturn f(z[0])", "nested more than 30 deep", "write a loop"),
    ("return starred(z[0])", "starred has * among its arguments", "name them"),
    ("return (lambda a, b=1: a)(z[0])", "lambda has *, / or defaults", "leave them out"),
    ("f = lambda a, b: a\nreturn f(z[0])", "does not fit the arguments of lambda", "give a, b"),
    ("return np.sum(np.zeros(3, 'c16')) * z[0]", "this dtype", "np.float64, np.int64"),
    ("return np.sum(np.arange(0.0, 2.0)) * z[0]", "of floats or of a variable step", "linspace"),
    ("return np.sum(np.array([data.X, data.X])) * z[0]", "more than two axes", "by loops"),
    ("return np.sum(np.diff(data.X)) * z[0]", "np.diff(data.X) of 2 axes", "use a loop"),
    ("return np.sum(np.outer(data.X, z))", "of 2 and 1 axes", "give vectors"),
    ("return solve_triangular(data.X, z, lower=data.n)[0]", "are not literals", "True or False"),
    ("return np.linalg.det(z)", "np.linalg.det(z) of 1 axes", "give a matrix"),
    ("return np.sum(np.cumsum(data.X)) * z[0]", "np.cumsum(data.X) of 2 axes", "use a loop"),
    ("def f(a):\n    if a > 0:\n        return a, a\n    return a\nreturn f(z[0])",
     "returns of different kinds", "the same number of values"),
    ("def f(a):\n    if z[0] > 0:\n        return a\n    return a\nreturn f(z)[0]",
     "an array is returned from one of several places", "return that at the end"),
    ("for i in range(3):\n    pass\nelse:\n    pass\nreturn z[0]", "a loop with else", "a flag"),
    ("while z[0] > 3:\n    pass\nelse:\n    pass\nreturn z[0]", "a loop with else", "a flag"),
    ("for i, x in enumerate(z, 1):\n    pass\nreturn z[0]", "enumerate with a start", "range"),
    ("for x in zip(z, z):\n    pass\nreturn z[0]", "zip into another number", "as many names"),
    ("for i in range():\n    pass\nreturn z[0]", "range without 1 to 3", "write range(start"),
    ("for i in range(2.0):\n    pass\nreturn z[0]", "range(2.0) of floats", "use int()"),
    ("for i in range(0, 3, data.n):\n    pass\nreturn z[0]", "step of range is not", "in the loop"),
    ("for i, j in range(3):\n    pass\nreturn z[0]", "(i, j) as the index", "use one name"),
    ("for i in range(3):\n    for i in range(2):\n        pass\nreturn z[0]",
     "index of a loop around this one", "use another name"),
    ("z[0]\nreturn z[0]", "z[0] is not differentiated", "with loops"),
    ("@numba.njit\ndef f(a):\n    return a\nreturn f(z[0])", "f has a decorator", "outside"),
    ("return densities.normal(z, 0.0)", "normal(z, 0.0) does not fit", "give x, mean, sd"),
    ("return densities.categorical(data.X, z)", "given matrices of numbers", "a row for each"),
    ("return round(z[0], 2)", "round(z[0], 2)", "with loops"),
    ("return scipy.special.polygamma(2, z[0])", "polygamma is not differentiated", "plain Python"),
    ("a, b, c, d, e, f, g, h, i, j = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0\nfor k in range(9):\n"
     "    a = b\n    b = c\n    c = d\n    d = e\n    e = f\n    f = g\n    g = h\n    h = i\n"
     "    i = j\n    j = z[k]\nreturn a",
     "names that stand for integers and for floats", "use float literals such as 1.0"),
    ("return special.trigamma(z[0])", "trigamma has no derivative here", "leave it out"),
]  # fmt: skip
HEAD = """import math
import numba
import numpy as np
import scipy.special
from scipy.linalg import solve_triangular
from fastvi import densities
from fastvi.kernels import special
def starred(*a):
    return a[0]
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A module with a density for each of the texts."""
    lines = [HEAD]
    for k, (body, _, _) in enumerate(TEXTS):
        lines += [f"def f{k}(z, data):", *(f"    {line}" for line in body.split("\n"))]
    return module_of(lines, tmp_path_factory.mktemp("refusals"), "refused")


def refused(function, construct, instead):
    """Where the refusal was raised: file and line of each of its frames."""
    data = {"X": np.ones((3, 3)), "g": np.array([0, 1, 1]), "n": 2, "T": np.ones((2, 2, 2))}
    with pytest.raises(NotDifferentiable) as caught:
        derive(function, prepare(data).fields)
    message = str(caught.value)
    assert construct in message
    assert instead in message
    first = inspect.getsourcelines(function)[1]
    line = int(message.split("line ")[1].split(":")[0]) if "line " in message else first
    assert first <= line <= first + 8
    return frames(caught.value)


def frames(error):
    """Files and lines of a traceback, and of the error that it was made from."""
    found = [(Path(t.filename).name, t.lineno) for t in traceback.extract_tb(error.__traceback__)]
    return found + (frames(error.__context__) if error.__context__ else [])


@pytest.mark.parametrize(("function", "construct", "instead"), REFUSED)
def test_refusals_name_the_line_and_what_to_write(function, construct, instead):
    refused(function, construct, instead)


@pytest.mark.parametrize("k", range(len(TEXTS)), ids=[t[1] for t in TEXTS])
def test_each_refusal(written, k):
    refused(getattr(written, f"f{k}"), *TEXTS[k][1:])


scope = {}
exec("def unread(z): return z[0]", scope)
WITHOUT_DEF = [
    (scope["unread"], "the source of unread cannot be read", "define it with def in a file"),
    (lambda z: z[0], "is not defined by def", "write it as a function of its own"),
]


def no_def(function, construct, instead):
    with pytest.raises(NotDifferentiable, match=construct) as caught:
        derive(function)
    assert instead in str(caught.value)
    return frames(caught.value)


@pytest.mark.parametrize(("function", "construct", "instead"), WITHOUT_DEF)
def test_functions_without_a_definition(function, construct, instead):
    no_def(function, construct, instead)


def sites():
    """File, first and last line of each place that refuses."""
    for path in Path(derivatives.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            if (is_call and ast.unparse(node.value.func) == "self.refuse") or (
                isinstance(node, ast.Raise)
                and node.exc
                and "NotDifferentiable(" in ast.unparse(node)
            ):
                yield path.name, node.lineno, node.end_lineno


def test_no_message_is_left_out(written):
    texts = [(getattr(written, f"f{k}"), *t[1:]) for k, t in enumerate(TEXTS)]
    found = {place for case in [*REFUSED, *texts] for place in refused(*case)}
    found |= {place for case in WITHOUT_DEF for place in no_def(*case)}
    missing = [s for s in sites() if not any((s[0], n) in found for n in range(s[1], s[2] + 1))]
    assert not missing
