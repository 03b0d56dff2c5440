"""Kernels around targets: against plain twins, through addresses of functions made with ctypes."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from conftest import JIT_OFF
from hypothesis import given
from hypothesis import strategies as st
from naive import targets as naive

from fastvi.kernels import targets
from fastvi.kernels._compile import Form, compile_pair, offsets, wrapper_source
from fastvi.kernels._jit import C_TARGET, adapter
from fastvi.kernels._pointers import array_at, read_only
from fastvi.targets.data import Field
from fastvi.transforms import Parameters, bounded, ordered, simplex

DOUBLES = ctypes.POINTER(ctypes.c_double)
C_VALUE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, DOUBLES, ctypes.c_int64, DOUBLES)
seeds = st.integers(0, 2**32 - 1)


def numbers(pointer, *shape):
    return np.ctypeslib.as_array(ctypes.cast(pointer, DOUBLES), shape)


def value(z):
    return np.sin(z).sum() - 0.5 * (z**2).sum()


@C_TARGET
def wave(k, n, Z, data, values, grads):
    """A target in Python: status 5 where the first number exceeds 10."""
    points = numbers(Z, k, n)
    if k and n and points[0, 0] > 10:
        return 5
    numbers(values, k, 1)[:, 0] = [value(z) for z in points] if k else []
    if grads:
        numbers(grads, k, n)[:] = np.cos(points) - points
    return 1


def address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


def make_table(**words):
    table = np.zeros(targets.HEADER, np.int64)
    table[targets.N_TERMS] = 1
    for word, content in words.items():
        table[getattr(targets, word)] = content
    return table


def evaluate(where, table, Z, with_gradient=True):
    """(status, values, gradients)."""
    values, grads = np.full((len(Z), 1), np.nan), np.full((len(Z) * with_gradient, Z.shape[1]), 9.0)
    return targets.evaluate(where, table, Z, values, grads), values[:, 0], grads


@pytest.mark.parametrize(("k", "n"), [(0, 3), (1, 1), (3, 2)])
def test_evaluate_hands_everything_on(rng, k, n):
    Z = rng.normal(size=(k, n))
    status, values, grads = evaluate(address(wave), make_table(), Z)
    assert status == 1
    np.testing.assert_array_equal(values, [value(z) for z in Z])
    np.testing.assert_array_equal(grads, np.cos(Z) - Z)
    assert evaluate(address(wave), make_table(), Z, with_gradient=False)[0] == 1
    assert evaluate(address(wave), make_table(), Z + 100)[0] == (5 if k else 1)


@given(st.integers(0, 3), st.integers(0, 4), st.integers(1, 2), st.booleans(), seeds)
def test_first_not_finite_is_the_twin(k, n, n_terms, with_gradient, seed):
    rng = np.random.default_rng(seed)
    odd = np.array([0.0, 1.0, 2.0, 3.0, np.nan, np.inf, -np.inf])
    chances = [0.9 / 4] * 4 + [0.1 / 3] * 3
    values = rng.choice(odd, (k, n_terms), p=chances)
    grads = rng.choice(odd, (k if with_gradient else 0, n), p=chances)
    found = targets.first_not_finite(values, grads)
    assert tuple(found) == naive.first_not_finite(values, grads)


@given(st.integers(0, 3), st.integers(1, 4), seeds)
def test_differences_are_the_twin(k, n, seed):
    Z = np.random.default_rng(seed).uniform(-9, 9, (k, n))
    table, grads = make_table(), np.empty((k, n))
    status = targets.differences(address(wave), table.ctypes.data, Z, 1, targets.STEP, grads)
    assert status == 1
    np.testing.assert_allclose(grads, naive.differences(value, Z, targets.STEP), rtol=1e-9)
    np.testing.assert_allclose(grads, np.cos(Z) - Z, rtol=1e-9, atol=1e-9)


@given(seeds)
def test_numerical_is_the_target_with_a_gradient(seed):
    Z = np.random.default_rng(seed).normal(size=(2, 3))
    table = make_table(DIFFERENTIATED=address(wave))
    where = adapter(targets.numerical)[0]
    status, values, grads = evaluate(where, table, Z)
    assert status == 1
    np.testing.assert_array_equal(values, [value(z) for z in Z])
    np.testing.assert_allclose(grads, np.cos(Z) - Z, rtol=1e-9, atol=1e-9)
    assert evaluate(where, table, Z, with_gradient=False)[0] == 1
    assert evaluate(where, table, Z + 100)[0] == 5
    edge = np.array([[10.0, 0.0, 0.0]])  # fine itself, but a step away it is not
    assert evaluate(where, table, edge)[0] == 5


@given(seeds)
def test_constrained_adds_the_jacobian_and_pulls_back(seed):
    parameters = Parameters({"a": 1, "b": bounded(-1, 2), "c": ordered(2), "d": simplex(2)})
    Z = np.random.default_rng(seed).normal(size=(2, parameters.dim))
    table = make_table(
        CONSTRAINED=address(wave),
        N_CONSTRAINED=parameters.n_constrained,
        BLOCKS=parameters.blocks.ctypes.data,
        BOUNDS=parameters.bounds.ctypes.data,
        N_BLOCKS=len(parameters.blocks),
    )
    where = adapter(targets.constrained)[0]

    def free_value(z):
        parts = parameters.constrain(z).values()
        return value(np.concatenate([np.ravel(x) for x in parts])) + parameters.log_jacobian(z)

    status, values, grads = evaluate(where, table, Z)
    assert status == 1
    np.testing.assert_allclose(values, [free_value(z) for z in Z], rtol=1e-12)
    expected = naive.differences(free_value, Z, targets.STEP)
    np.testing.assert_allclose(grads, expected, rtol=1e-7, atol=1e-7)
    status, again, _ = evaluate(where, table, Z, with_gradient=False)
    np.testing.assert_array_equal(again, values)
    assert evaluate(where, table, Z + 100)[0] == 5


@given(seeds, st.integers(1, 6), st.booleans())
def test_standardised_is_the_target_elsewhere(seed, n, is_matrix):
    rng = np.random.default_rng(seed)
    root = np.tril(rng.normal(size=(n, n)), -1) + np.diag(rng.uniform(0.5, 2.0, n))
    units = root if is_matrix else np.diag(root).copy()
    centre, X = rng.normal(size=n), rng.normal(size=(3, n))
    table = make_table(
        STANDARDISED=address(wave), CENTRE=centre.ctypes.data, UNITS=units.ctypes.data,
        IS_MATRIX=is_matrix,
    )  # fmt: skip
    where = adapter(targets.standardised)[0]
    matrix = units if is_matrix else np.diag(units)
    Z = centre + X @ matrix.T
    status, values, grads = evaluate(where, table, X)
    assert status == 1
    log_det = np.log(np.diag(matrix)).sum()
    np.testing.assert_allclose(values, [value(z) + log_det for z in Z], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grads, (np.cos(Z) - Z) @ matrix, rtol=1e-12, atol=1e-12)
    status, again, _ = evaluate(where, table, X, with_gradient=False)
    np.testing.assert_array_equal(again, values)
    centre += 1000
    assert evaluate(where, table, X)[0] == 5


def test_from_value_calls_once_a_vector(rng):
    seen = []

    @C_VALUE
    def one(n, z, context, grad):
        point, slope = numbers(z, n), numbers(grad, n)
        assert (slope == 0).all()
        seen.append(context)
        slope[:] = np.cos(point) - point
        return value(point)

    Z = rng.normal(size=(3, 2))
    table = make_table(FUNCTION=address(one))
    where = adapter(targets.from_value)[0]
    status, values, grads = evaluate(where, table, Z)
    assert status == 1
    np.testing.assert_array_equal(values, [value(z) for z in Z])
    np.testing.assert_array_equal(grads, np.cos(Z) - Z)
    assert seen == [table.ctypes.data] * 3
    table[targets.CONTEXT] = 123
    evaluate(where, table, Z[:1], with_gradient=False)
    assert seen[-1] == 123


@pytest.mark.parametrize(("theirs", "ours"), [(0, 1), (1, 0), (2, -1), (-1, 2)])
def test_from_status_turns_the_zero_of_c_into_success(theirs, ours):
    @C_TARGET
    def status(k, n, Z, data, values, grads):
        return theirs

    table = make_table(FUNCTION=address(status))
    assert evaluate(adapter(targets.from_status)[0], table, np.zeros((1, 2)))[0] == ours


@pytest.mark.parametrize(("theirs", "ours"), [(0, 1), (-1, 2), (1, 0)])
def test_from_stan_asks_for_the_jacobian_and_constants(theirs, ours):
    kinds = (ctypes.c_void_p, ctypes.c_bool, ctypes.c_bool, *(ctypes.c_void_p,) * 4)
    seen = []

    @ctypes.CFUNCTYPE(ctypes.c_int, *kinds)
    def density(model, propto, jacobian, z, found, grad, error):
        seen.append((model, propto, jacobian, error))
        point = numbers(z, 2)
        numbers(found, 1)[0] = value(point)
        numbers(grad, 2)[:] = np.cos(point) - point
        return theirs

    Z = np.array([[0.5, 1.0], [2.0, 3.0]])
    table = make_table(FUNCTION=address(density), CONTEXT=77)
    status, values, grads = evaluate(adapter(targets.from_stan)[0], table, Z)
    assert status == ours
    assert set(seen) == {(77, False, True, None)}
    if theirs == 0:
        np.testing.assert_array_equal(values, [value(z) for z in Z])
        np.testing.assert_array_equal(grads, np.cos(Z) - Z)
        assert evaluate(adapter(targets.from_stan)[0], table, Z, with_gradient=False)[0] == 1


def test_arrays_at_addresses(rng):
    array = rng.normal(size=(2, 3))
    found = array_at(array.ctypes.data, (2, 3), np.dtype(np.float64))
    np.testing.assert_array_equal(found, array)
    found[0, 0] = 7.0
    assert array[0, 0] == 7.0
    with pytest.raises(ValueError, match="read-only"):
        read_only(found)[0, 0] = 1.0
    assert array_at(0, (0, 3), np.dtype(np.float64)).shape == (0, 3)


def test_the_wrapper_has_a_place_for_each_field():
    fields = (Field("X", "float32", 2), Field("s", "int64", 0), Field("y", "bool", 1))
    at = targets.HEADER
    assert offsets(fields) == [at, at + 3, at + 4, at + 6]
    source = wrapper_source(Form(("z", "data"), fields, True, 1, False))
    assert f"table[{at}], (table[{at + 1}], table[{at + 2}], ), float32" in source
    assert f"table[{at + 3}], (1,), int64)[0]" in source
    assert "grads" not in source.replace("values, grads)", "")


@pytest.mark.skipif(JIT_OFF, reason="nothing is compiled with JIT off")
def test_an_adapter_is_compiled_once_a_process():
    assert adapter(targets.numerical) is adapter(targets.numerical)


def sum_of_squares(z, weights, scale):
    return np.array(-scale.item() * np.sum(weights * z * z)), -2.0 * scale.item() * weights * z


def test_pairs_of_value_and_gradient(rng):
    """As PyTensor makes them: 0-d and 1-d arrays in and out."""
    import numba

    weights, scale = rng.random(3), np.array(2.0)
    fields = (Field("weights", "float64", 1), Field("scale", "float64", 0))
    where, owner = compile_pair(numba.njit(sum_of_squares), fields)
    table = np.concatenate([make_table(), [weights.ctypes.data, 3, scale.ctypes.data]])
    Z = rng.normal(size=(2, 3))
    status, values, grads = evaluate(where, table, Z)
    assert status == 1
    np.testing.assert_allclose(values, -2 * (weights * Z**2).sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(grads, -4 * weights * Z, rtol=1e-14)
    assert owner is not None
