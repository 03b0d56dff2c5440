"""Indices out of bounds are found at the first evaluation, by what they depend on alone."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives_models import cases
from test_derivatives_fuzz import DATA, programs
from test_derivatives_models import as_tuple
from test_target_indices import in_a_helper

import fastvi
from fastvi import densities
from fastvi.derivatives import index_checks
from fastvi.targets.data import prepare
from fastvi.transforms import positive

SHORT = [
    DATA | {"y": DATA["y"][:4]}, DATA | {"g": DATA["g"] + 2}, DATA | {"n": 6},
    DATA | {"g": -2 * DATA["g"], "y": DATA["y"][:5]},
]  # fmt: skip


def raises(function, *arguments):
    """Whether it raises IndexError; None if it raises something else."""
    try:
        function(*arguments)
    except IndexError:
        return True
    except (ValueError, ArithmeticError):
        return None
    return False


def check(seed, count, folder):
    fields = prepare(DATA).fields
    rng = np.random.default_rng(seed)
    wrong, n_outside = [], 0
    with np.errstate(all="ignore"):
        for k, function in enumerate(programs(seed, count, folder)):
            found = index_checks(function, fields)
            for size, data in [(5, DATA), (4, DATA), *((5, d) for d in SHORT)]:
                arguments = rng.normal(size=size), as_tuple(data)
                wanted = raises(function, *arguments)
                n_outside += wanted is True
                ours = found is not None and raises(found, *arguments)
                if wanted is not None and wanted != ours:
                    wrong.append((k, size, data))
    assert wrong == []
    assert n_outside > 0.5 * count


def test_random_programs_leave_their_arrays_where_python_says(tmp_path):
    check(0, 60, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_random_programs_leave_their_arrays_where_python_says(seed, tmp_path):
    check(seed, 500, tmp_path)


@pytest.mark.parametrize("name", cases(30))
def test_models_are_within_bounds(name):
    for function in cases(30)[name][:2]:
        plain, data, z = getattr(function, "py_func", function), *cases(30)[name][2:]
        names = plain.__code__.co_varnames[: plain.__code__.co_argcount]
        found = index_checks(plain, prepare(data).fields)
        given = {"z": z, "data": as_tuple(data), "grad": np.zeros(z.size)}
        assert found is not None
        found(*(given[n] for n in names))


def of_a_group(z, data):
    value = 0.0
    for i in range(data.y.size):
        if data.y[i] > 0.0:
            value -= (data.y[i] - z[data.g[i]]) ** 2
    return value


def in_a_density(z, data):
    return densities.categorical_logit(data.y.size - 1, z) - z[data.k]


def by_hand(z, data, grad):
    for i in range(z.size + 1):
        grad[i] = -z[0]
    return -0.5 * z[0] ** 2


def of_rows(Z, values, data, rows, weights):
    for s in range(Z.shape[0]):
        values[s, 0] = 0.0
        for i in range(rows.size):
            values[s, 0] -= weights[i] * (data.y[rows[i]] - Z[s, data.g[rows[i]]]) ** 2


Y = {"y": np.array([1.0, -2.0, 4.0]), "g": np.array([0, 7, 1]), "k": 2}


@pytest.mark.jit
@pytest.mark.parametrize(
    ("function", "index"),
    [(in_a_helper, 3), (in_a_density, 2), (by_hand, 2), (of_rows, 7)],
)
@pytest.mark.parametrize("ask", ["log_prob", "attempt"])
def test_the_first_evaluation_refuses_indices(function, index, ask):
    target = fastvi.target(function, data=Y, names={"a": (), "b": positive()}, gradient=None)
    options = {"with_gradient": False} if ask == "attempt" else {}
    words = rf"{function.__name__}, line \d+: index {index} is out of bounds"
    for _ in range(2):
        with pytest.raises(IndexError, match=words):
            getattr(target, ask)(np.ones((1, 2)), **options)


@pytest.mark.jit
def test_what_a_branch_keeps_from_being_read_is_allowed():
    target = fastvi.target(of_a_group, data=Y, dim=2, gradient=None)
    assert target.log_prob(np.ones(2)) == -9.0
    with pytest.raises(IndexError, match=r"of_a_group, line \d+: index 7 is out of bounds"):
        target.bind(Y | {"y": np.ones(3)}).log_prob(np.ones(2))


def test_a_fit_refuses_indices():
    target = fastvi.target(in_a_helper, data=Y, dim=1)
    with pytest.raises(IndexError, match=r"in_a_helper, line \d+: index 3 is out of bounds"):
        fastvi.fit(target, random_state=0)


def by_two_arrays(z, data):
    return sum_of(z, data.g, data.order)


def sum_of(z, g, order):
    value = 0.0
    for i in range(order.size):
        value += z[g[order[i]]]
    return value


def of_groups(z, data):
    value = 0.0
    for p in range(data.first.size - 1):
        for t in range(data.first[p], data.first[p + 1]):
            value += z[data.g[t] + p % 2]
            if t > data.first[p] and data.g[t] > 1:
                value -= z[data.g[data.g[t] - 2] - 4]
    return value


def of_a_table(z, data):
    value = 0.0
    for i in range(data.order.size - 1, -1, -2):
        for j in range(2):
            k = data.table[i, j] if i > j else int(data.real[i])
            value += z[k] + data.table[k, max(j, data.g[i] - 2)]
    return value


@pytest.mark.parametrize("function", [by_two_arrays, of_groups, of_a_table])
def test_all_rounds_at_once_are_as_python_says(function, rng):
    found, wanted, check = [], [], None
    for _ in range(200):
        n = int(rng.integers(0, 7))
        data = {
            "g": rng.integers(-1, 4, n), "order": rng.integers(0, max(n, 1), n),
            "first": np.sort(rng.integers(0, n + 1, 4)), "table": rng.integers(0, 4, (n, 2)),
            "real": rng.uniform(0.0, 5.0, n),
        }  # fmt: skip
        arguments = rng.normal(size=int(rng.integers(2, 6))), as_tuple(data)
        check = check or index_checks(function, prepare(data).fields)
        wanted.append(raises(function, *arguments))
        found.append(raises(check, *arguments))
    assert found == wanted
    assert 20 < sum(wanted) < 180


class Counted(np.ndarray):
    """An array that counts how often it is read."""

    reads = 0

    def __getitem__(self, index):
        Counted.reads += 1
        return super().__getitem__(index)


@pytest.mark.parametrize(
    ("function", "size"), [(of_a_group, 2), (of_a_group, 1), (by_two_arrays, 2)]
)
def test_much_data_is_not_read_row_by_row(function, size, rng):
    data = {"y": rng.normal(size=1000), "g": rng.integers(0, 2, 1000), "k": 0,
            "order": rng.permutation(1000)}  # fmt: skip
    data["y"][data["g"] == size] = -1.0  # the branch that is not taken
    found = index_checks(function, prepare(data).fields)
    Counted.reads = 0
    found(np.ones(size), as_tuple({n: np.asarray(a).view(Counted) for n, a in data.items()}))
    assert Counted.reads < 20
