"""Derived gradients of models against gradients written by hand, and through `fastvi.target`."""

from __future__ import annotations

import collections
import math
import pickle
import types

import numpy as np
import pytest
from derivatives_models import cases

import fastvi
from fastvi.derivatives import NotDifferentiable, derive
from fastvi.targets.data import prepare

CASES = cases(300)
OPTIONS = [{}, {"fuse": False}, {"fuse": False, "again": False}, {"first": 1}]
COMPILED = ["GARCH T=200", "mixture N=1000, helpers"]


def as_tuple(data):
    return collections.namedtuple("Data", data)(**data)


def numerical(function, z, step=1e-6):
    moves = step * np.eye(z.size)
    return np.array([(function(z + m) - function(z - m)) / (2.0 * step) for m in moves])


def slopes(function, z, step=0.003):
    """Derivatives by differences of order 8."""
    weights = (4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0)
    return sum(2.0 * k * w * numerical(function, z, k * step) for k, w in enumerate(weights, 1))


def interpreted(function):
    scope = {name: getattr(f, "py_func", f) for name, f in function.__globals__.items()}
    return types.FunctionType(function.__code__, scope)


class Interpreted:
    """The derived functions of a density, without Numba: of one draw, and of several at once."""

    def __init__(self, function, data=None, **options):
        self.data = None if data is None else as_tuple(data)
        made = derive(function, prepare({} if data is None else data).fields, True, **options)
        self.one = interpreted(made.function)
        self.several = None if made.lanes is None else interpreted(made.lanes)
        self.arguments = made.lanes_arguments

    def __call__(self, z):
        grad = np.zeros(z.size)
        arguments = (z,) if self.data is None else (z, self.data)
        return self.one(*arguments, grad), grad

    def side_by_side(self, Z):
        values, grads = np.empty((len(Z), 1)), np.empty(Z.shape)
        given = {"Z": Z, "data": self.data, "values": values, "grads": grads}
        self.several(*(given[a] for a in self.arguments))
        return values[:, 0], grads


def derived(function, z, data=None, **options):
    """Value and gradient by the derived function, interpreted."""
    return Interpreted(function, data, **options)(z)


@pytest.mark.parametrize("name", sorted(CASES))
def test_models_have_the_gradients_written_by_hand(name):
    function, by_hand, data, z = CASES[name]
    wanted = np.zeros(z.size)
    value = by_hand(z, as_tuple(data), wanted)
    large = name.startswith(("logistic", "mixture", "hierarchical"))
    for options in OPTIONS[: 1 if large else None]:
        found, grad = derived(function, z, data, **options)
        assert found == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(grad, wanted, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.jit
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_models(name, rng):
    function, by_hand, data, z = CASES[name]
    ours = fastvi.target(function, data=data, dim=z.size)
    theirs = fastvi.target(by_hand, data=data, dim=z.size)
    Z = z * (1.0 + 0.1 * rng.random(size=(3, z.size)))
    (values, grads), (wanted, slopes) = ours.log_prob_and_grad(Z), theirs.log_prob_and_grad(Z)
    np.testing.assert_allclose(values, wanted, rtol=1e-12)
    np.testing.assert_allclose(grads, slopes, atol=1e-12 * np.abs(slopes).max())
    np.testing.assert_array_equal(ours.log_prob(Z), fastvi.target(
        function, data=data, dim=z.size, gradient=None).log_prob(Z))  # fmt: skip


def plain_rows(z, data, rows, weights):
    value = -0.5 * (z[0] ** 2 + z[1] ** 2)
    for i in range(rows.size):
        value -= weights[i] * 0.5 * (data.y[rows[i]] - math.exp(z[1]) * z[0]) ** 2
    return value


def batched(Z, data, values):
    for s in range(Z.shape[0]):
        values[s, 0] = 0.0
        for i in range(data.y.size):
            values[s, 0] -= 0.5 * (data.y[i] - Z[s, 0]) ** 2
        values[s, 1] = -0.5 * Z[s, 1] ** 2 * Z[s, 0]


def terms_of(z, data, terms):
    terms[0] = 0.0
    terms[1] = -0.5 * (z[0] * z[1]) ** 2
    for i in range(data.y.size):
        terms[0] -= 0.5 * (data.y[i] - z[0]) ** 2


Y = {"y": np.array([0.3, -0.4, 1.5, 0.2])}


@pytest.mark.parametrize("gradient", ["auto", None, "numerical"])
def test_who_has_a_gradient(gradient):
    if gradient == "numerical":
        with pytest.warns(UserWarning, match="costs 4 x dim values"):
            target = fastvi.target(plain_rows, data=Y, dim=2, gradient=gradient)
    else:
        target = fastvi.target(plain_rows, data=Y, dim=2, gradient=gradient)
    assert target.has_gradient == (gradient is not None)
    copy = pickle.loads(pickle.dumps(target))
    assert copy.has_gradient == target.has_gradient
    if gradient != "auto":
        with pytest.raises(ValueError, match="is not derived"):
            _ = target.gradient_source


@pytest.mark.parametrize(("function", "n_terms"), [(plain_rows, 1), (batched, 2), (terms_of, 2)])
def test_forms_of_targets(function, n_terms):
    target = fastvi.target(function, data=Y, dim=2, terms=n_terms, gradient="auto")
    assert target.check_gradient() < 1e-6
    assert "grad" in target.gradient_source
    again = fastvi.target(function, data=Y, dim=2, terms=n_terms)
    np.testing.assert_array_equal(
        again.log_prob_and_grad(np.ones((3, 2)))[1], target.log_prob_and_grad(np.ones((3, 2)))[1]
    )


def test_batches_weigh_the_gradient():
    target = fastvi.target(plain_rows, data=Y, dim=2)
    z = np.array([[0.3, -0.2]])
    rows = fastvi.core.Batch(np.array([1, 3]), np.array([2.0, 0.5]))
    data = as_tuple(Y)
    _, grads = target.log_prob_and_grad(z, rows)
    wanted = numerical(lambda x: plain_rows(x, data, rows.rows, rows.weights), z[0])
    np.testing.assert_allclose(grads[0], wanted, rtol=1e-8)


def test_a_fit_derives_its_gradient():
    target = fastvi.target(plain_rows, data=Y, dim=2)
    posterior = fastvi.fit(target, method="laplace", random_state=0)
    gradient = target.log_prob_and_grad(posterior.mean[None])[1]
    np.testing.assert_allclose(gradient, 0.0, atol=1e-4)


def factorial(z):
    return -math.gamma(z[0])


def test_what_cannot_be_derived_is_refused_when_a_gradient_is_needed():
    target = fastvi.target(factorial, dim=2)
    assert target.log_prob([1.0, 2.0]) == -1.0
    assert not target.has_gradient
    words = r"factorial, line \d+: math.gamma is not differentiated"
    with pytest.raises(ValueError, match=words):
        target.log_prob_and_grad(np.zeros(2))
    with pytest.raises(ValueError, match=words):
        fastvi.fit(target)
    with pytest.raises(ValueError, match=words):
        target.check_gradient()
    with pytest.raises(NotDifferentiable, match=words):
        _ = target.gradient_source
