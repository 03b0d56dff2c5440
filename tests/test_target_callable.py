"""Targets from Python functions that are called as they are: the numbers of compiled ones."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import scaled_regression
from scaled_regression import DATA, NAMES, X, Y

import fastvi
from fastvi.core import Batch
from fastvi.targets import TargetError, from_callable
from fastvi.targets.foreign import Callback


def regression(z, data, rows, weights):
    beta, sigma = z[:2], z[2]
    e = (data.y[rows] - data.X[rows] @ beta) / sigma
    value = -0.5 * beta @ beta - data.rate * sigma - weights @ (0.5 * e**2 + np.log(sigma))
    slope = -data.rate + weights @ (e**2 - 1) / sigma
    return value, np.append(-beta + data.X[rows].T @ (weights * e) / sigma, slope)


def of_all(Z, data, rows, weights):
    found = [regression(z, data, rows, weights) for z in Z]
    return [value for value, _ in found], [grad for _, grad in found]


@pytest.fixture(scope="module")
def compiled():
    return scaled_regression.compiled()


@pytest.fixture
def ours():
    return from_callable(regression, names=NAMES, data=DATA, rows=("X", "y"))


@pytest.mark.parametrize("batched", [False, True])
def test_numbers_are_those_of_compiled_code(batched, compiled):
    function = of_all if batched else regression
    ours = from_callable(function, names=NAMES, data=DATA, rows=("X", "y"), batched=batched)
    Z = np.random.default_rng(3).normal(size=(5, 3))
    batch = Batch(np.array([2, 7, 7]), np.array([1.0, 3.0, 0.5]))
    for part in (None, batch):
        found, wanted = ours.log_prob_and_grad(Z, part), compiled.log_prob_and_grad(Z, part)
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(ours.log_prob(Z, part), wanted[0], rtol=1e-12)
    assert ours.check_gradient() < 1e-7
    assert (ours.n_rows, ours.names, ours.concurrent) == (12, compiled.names, False)
    other = {"X": X[:4], "y": Y[:4], "rate": 1.0}
    np.testing.assert_allclose(
        ours.bind(other).log_prob(Z), compiled.bind(other).log_prob(Z), rtol=1e-12
    )


def test_fits_are_those_of_compiled_code(ours, compiled):
    found = scaled_regression.same_fit(ours, compiled)
    assert ours.log_likelihood(found.sample(3, 0))["log_likelihood"].shape == (3, 12)


def bell(z):
    return -0.5 * z @ z, -z


def test_a_function_of_a_vector_alone():
    target = from_callable(bell, dim=2)
    assert target.name == "bell"
    assert target.log_prob([1.0, 2.0]) == -2.5
    numerical = from_callable(lambda z: bell(z)[0], dim=2, gradient="numerical")
    np.testing.assert_allclose(numerical.log_prob_and_grad([1.0, 2.0])[1], [-1, -2], atol=1e-9)
    without = from_callable(lambda z: bell(z)[0], dim=2, gradient=False)
    assert not without.has_gradient
    column = from_callable(lambda z: (np.array([-0.5 * z @ z]), list(-z)), dim=1)
    assert column.log_prob_and_grad([2.0])[0] == -2.0


def test_the_vector_is_a_copy():
    seen = []

    def keeps(z):
        seen.append(z)
        z[0] = 7.0
        return 0.0, np.zeros(1)

    Z = np.ones((2, 1))
    from_callable(keeps, dim=1).log_prob(Z)
    assert (Z == 1.0).all()
    assert seen[0] is not seen[1]


def broken(z):
    if z[0] > 0:
        raise ArithmeticError("the solver did not converge")
    return bell(z)


def test_what_is_raised_is_a_target_error_with_its_text():
    target = from_callable(broken, dim=1)
    with pytest.raises(TargetError, match=r"z\[0\]=2: ArithmeticError: the solver did") as caught:
        target.log_prob([[-1.0], [2.0], [3.0]])
    assert isinstance(caught.value.__cause__, ArithmeticError)
    np.testing.assert_array_equal(caught.value.z, [2.0])
    values, grads = target.attempt(np.array([[-1.0], [2.0], [-3.0]]))
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    np.testing.assert_array_equal(grads[2], [3.0])
    assert target.log_prob([-1.0]) == -0.5


def test_fits_leave_failing_draws_out():
    def half(z):
        if z[0] > 3.0:
            raise ValueError("outside")
        return bell(z)

    p = fastvi.fit(from_callable(half, dim=1), random_state=0)
    assert abs(p.mean[0]) < 0.1
    with pytest.raises(TargetError, match="TypeError: unsupported operand"):
        fastvi.fit(from_callable(lambda z: z + None, dim=1), random_state=0)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (lambda z: -0.5, {}, r"a float; wanted \(value, gradient\), or gradient=False"),
        (lambda z: (1.0, z, z), {}, r"it returned a tuple; wanted \(value, gradient\)"),
        (lambda z: (z, z), {}, r"a value of shape \(2,\); wanted a number"),
        (lambda z: (1.0, z[:1]), {}, r"a gradient of shape \(1,\); wanted shape \(2,\)"),
        (lambda z: (1j, z), {}, "a value of dtype complex128; wanted real numbers"),
        (lambda z: ("a", z), {}, "a value of dtype <U1; wanted real numbers"),
        (lambda Z: (Z[0], Z), {"batched": True}, r"of shape \(2,\); wanted shape \(1,\)"),
    ],
)
def test_results_of_other_shapes_are_refused(function, options, message):
    with pytest.raises(TargetError, match=message):
        from_callable(function, dim=2, **options).log_prob_and_grad(np.ones(2))


def test_results_that_are_not_finite_are_named():
    target = from_callable(lambda z: (np.nan, z), dim=1)
    with pytest.raises(TargetError, match="the log density is nan at"):
        target.log_prob([1.0])
    target = from_callable(lambda z: (0.0, [0.0, np.inf]), dim=2)
    with pytest.raises(TargetError, match=r"gradient's component 1 \(z\[1\]\) is inf"):
        target.log_prob_and_grad(np.ones(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": 3, "dim": 1}, "function is 3; wanted a function"),
        ({"dim": 1, "gradient": "auto"}, "gradient is 'auto'; wanted True, False or 'numerical'"),
        ({"dim": 1, "gradient": 1}, "gradient is 1; wanted True, False or 'numerical'"),
        ({"dim": 1, "batched": 2}, "batched is 2"),
        ({}, "wanted one of the two"),
        ({"dim": 1, "rows": "y"}, "takes rows, but no data"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        from_callable(**{"function": bell, **options})


@pytest.mark.parametrize("method", ["natural", "plain", "laplace"])
def test_interrupts_reach_the_caller(method):
    calls = []

    def interrupted(z):
        calls.append(z)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return bell(z)

    target = from_callable(interrupted, dim=1)
    with pytest.raises(KeyboardInterrupt):
        fastvi.fit(target, method=method, random_state=0)
    assert len(calls) == 4
    assert target.log_prob([1.0]) == -0.5  # as before


def test_an_interrupt_as_a_call_begins_reaches_the_caller(monkeypatch):
    """It arrived in machine code: Python raises it in the call's first line, and drops it."""
    target = from_callable(bell, dim=1)
    calls, given = [], Callback._interrupted.fget

    def interrupted(callback):
        calls.append(callback)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return given(callback)

    monkeypatch.setattr(Callback, "_interrupted", property(interrupted))
    with pytest.raises(KeyboardInterrupt):
        target.log_prob([[0.0], [1.0]])
    assert len(calls) > 1
    assert target.log_prob([1.0]) == -0.5


def test_copies(ours, monkeypatch):
    again = pickle.loads(pickle.dumps(ours))
    z = np.ones(3)
    assert again.log_prob(z) == ours.log_prob(z)
    assert again.n_rows == 12
    monkeypatch.delitem(sys.modules, "cloudpickle", raising=False)
    with pytest.raises(TypeError, match=r"<lambda> cannot be pickled: .* wanted a function at the"):
        pickle.dumps(from_callable(lambda z: (0.0, z), dim=1))
