"""Constraints: against their definitions, matrices of derivatives, and the way back."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import transforms as naive
from test_derivatives_models import slopes

from fastvi import transforms
from fastvi.kernels import transforms as kernels
from fastvi.transforms import Parameters

MAKERS = {
    "real": transforms.real,
    "lower": lambda size: transforms.bounded(low=-2.5, shape=size),
    "upper": lambda size: transforms.bounded(high=1.5, shape=size),
    "interval": lambda size: transforms.bounded(-2.0, 7.0, size),
    "ordered": transforms.ordered,
    "positive_ordered": transforms.positive_ordered,
    "simplex": transforms.simplex,
    "cholesky_corr": transforms.cholesky_corr,
}
WHOLE = {
    "unit_vector": transforms.unit_vector,
    "zero_sum": transforms.zero_sum,
    "cholesky_cov": transforms.cholesky_cov,
}
kinds = st.sampled_from(list(MAKERS))
all_kinds = st.sampled_from([*MAKERS, *WHOLE])
sizes = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)


def case(kind, size, seed, scale=1.5):
    """(transform, its Parameters, free numbers)."""
    part = (MAKERS | WHOLE)[kind](size)
    assert part.kind == kind
    return part, Parameters({"x": part}), np.random.default_rng(seed).normal(0, scale, part.n_free)


@given(kinds, sizes, seeds)
def test_values_are_those_of_the_definition(kind, size, seed):
    part, parameters, y = case(kind, size, seed)
    expected = naive.constrain(kind, y, part.low, part.high).reshape(part.shape)
    np.testing.assert_allclose(parameters.constrain(y)["x"], expected, rtol=1e-10, atol=1e-13)


@given(kinds, sizes, seeds)
def test_log_jacobians_are_those_of_the_matrix(kind, size, seed):
    part, parameters, y = case(kind, size, seed, scale=0.7)
    matrix = naive.jacobian(kind, y, part.low, part.high)
    _, expected = np.linalg.slogdet(matrix) if part.n_free else (1.0, 0.0)
    np.testing.assert_allclose(parameters.log_jacobian(y), expected, rtol=1e-5, atol=1e-6)


@given(all_kinds, sizes, seeds)
def test_gradients_are_those_of_finite_differences(kind, size, seed):
    """Of a linear function of the constrained numbers plus the log Jacobian."""
    part, parameters, y = case(kind, size, seed)
    slope = np.random.default_rng(seed + 1).normal(size=(1, part.size))
    x = parameters.constrain(y)["x"].reshape(1, -1)
    found = np.empty((1, part.n_free))
    kernels.pull_back(parameters.blocks, parameters.bounds, y[None], x, slope, found)

    def value(y):
        return slope[0] @ parameters.constrain(y)["x"].ravel() + parameters.log_jacobian(y)

    expected = slopes(value, y, 0.01)
    largest = np.abs(slope).max() * np.abs(parameters.constrain(y)["x"]).max() + 1.0
    np.testing.assert_allclose(found[0], expected, rtol=1e-10, atol=1e-10 * largest)


@given(kinds, sizes, seeds)
def test_there_and_back(kind, size, seed):
    _, parameters, y = case(kind, size, seed)
    back = parameters.unconstrain(parameters.constrain(y))
    np.testing.assert_allclose(back, y, rtol=1e-6, atol=1e-7)


@given(sizes, seeds)
def test_unit_vectors(size, seed):
    _, parameters, y = case("unit_vector", size, seed)
    x = parameters.constrain(y)["x"]
    np.testing.assert_allclose(x * np.linalg.norm(y), y, rtol=1e-12)
    np.testing.assert_allclose(parameters.log_jacobian(y), -0.5 * y @ y, rtol=1e-12)
    back = parameters.unconstrain({"x": x})
    np.testing.assert_allclose(parameters.constrain(back)["x"], x, rtol=1e-12)


@given(sizes, seeds)
def test_vectors_with_sum_zero(size, seed):
    _, parameters, y = case("zero_sum", size, seed)
    x = parameters.constrain(y)["x"]
    np.testing.assert_allclose(x.sum(), 0.0, atol=1e-13)
    np.testing.assert_allclose(x @ x, y @ y, rtol=1e-12)  # the map is orthonormal
    assert parameters.log_jacobian(y) == 0.0
    np.testing.assert_allclose(parameters.unconstrain({"x": x}), y, rtol=1e-10, atol=1e-12)


@given(sizes, seeds)
def test_factors_of_covariances(size, seed):
    _, parameters, y = case("cholesky_cov", size, seed)
    wanted = np.zeros((size, size))
    wanted[np.tril_indices(size)] = y
    diagonal = np.diag(wanted)
    np.testing.assert_allclose(parameters.log_jacobian(y), diagonal.sum(), rtol=1e-12, atol=1e-13)
    np.fill_diagonal(wanted, np.exp(diagonal))
    x = parameters.constrain(y)["x"]
    np.testing.assert_allclose(x, wanted, rtol=1e-13)
    np.testing.assert_allclose(parameters.unconstrain({"x": x}), y, rtol=1e-10, atol=1e-12)


@given(seeds)
def test_several_parameters_and_vectors(seed):
    parts = {kind: make(3) for kind, make in MAKERS.items()}
    parameters = Parameters(parts)
    Z = np.random.default_rng(seed).normal(size=(2, 4, parameters.dim))
    found = parameters.constrain(Z)
    assert list(found) == list(parts)
    at, total = 0, np.zeros((2, 4))
    for name, part in parts.items():
        alone = Parameters({"x": part})
        piece = Z[..., at : at + part.n_free]
        at += part.n_free
        assert found[name].shape == (2, 4, *part.shape)
        np.testing.assert_array_equal(found[name], alone.constrain(piece)["x"])
        total += alone.log_jacobian(piece)
    np.testing.assert_allclose(parameters.log_jacobian(Z), total, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(parameters.unconstrain(found), Z, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_far_out_values_stay_in_range(kind):
    """Free numbers of +-40, where 1 - sigmoid is below the spacing of numbers near 1."""
    part, parameters, _ = case(kind, 3, 0)
    for y in (np.full(part.n_free, 40.0), np.full(part.n_free, -40.0)):
        x = parameters.constrain(y)["x"]
        assert np.isfinite(x).all()
        assert np.isfinite(parameters.log_jacobian(y))
        if kind == "simplex":
            assert (x > 0).all()
            np.testing.assert_allclose(x.sum(), 1.0, rtol=1e-15)


def test_names_and_shapes():
    parameters = Parameters(
        {"a": (), "b": 2, "M": (2, 2), "s": transforms.positive(), "p": transforms.simplex(3)}
    )
    assert parameters.names == (
        "a", "b[0]", "b[1]", "M[0, 0]", "M[0, 1]", "M[1, 0]", "M[1, 1]", "s", "p[0]", "p[1]",
    )  # fmt: skip
    assert (parameters.dim, parameters.n_constrained) == (10, 11)
    assert not parameters.identity
    assert Parameters({"a": 3}).identity
    again = pickle.loads(pickle.dumps(parameters))
    assert again.names == parameters.names


@pytest.mark.parametrize("sides", [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (np.inf, np.inf)])
def test_bounds_must_rise(sides):
    with pytest.raises(ValueError, match="low < high"):
        transforms.bounded(*sides)


@pytest.mark.parametrize(
    ("kind", "bad", "words"),
    [
        ("lower", [-3.0, 0, 0], "x is not finite and > -2.5"),
        ("upper", [0, 2.0, 0], "x is not finite and < 1.5"),
        ("interval", [0, 7.0, 0], "x is not > -2 and < 7"),
        ("ordered", [0, 2.0, 1.0], "x is not finite and increasing"),
        ("positive_ordered", [-1.0, 2.0, 3.0], "x is not finite, increasing and > 0"),
        ("simplex", [0.5, 0.5, 0.5], "x is not positive with sum 1"),
        ("simplex", [1.5, -0.5, 0.0], "x is not positive with sum 1"),
        ("cholesky_corr", np.ones((3, 3)), "x is not the lower Cholesky factor"),
        ("unit_vector", [1.0, 1.0, 0.0], "x is not a vector of length 1"),
        ("zero_sum", [1.0, 1.0, 0.0], "x is not finite with sum 0"),
        ("cholesky_cov", np.ones((3, 3)), "x is not the lower Cholesky factor of a covariance"),
        ("cholesky_cov", -np.eye(3), "x is not the lower Cholesky factor of a covariance"),
        ("real", [0, np.nan, 0], "x is not finite"),
        ("real", [0, 0], r"x has shape \(2,\); wanted \(3,\)"),
    ],
)
def test_values_out_of_their_constraint_are_refused(kind, bad, words):
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=words),
    ):
        Parameters({"x": (MAKERS | WHOLE)[kind](3)}).unconstrain({"x": bad})


def test_bad_arguments_are_refused():
    parameters = Parameters({"a": (), "b": 2})
    with pytest.raises(ValueError, match="given: a; wanted: a, b"):
        parameters.unconstrain({"a": 1.0})
    with pytest.raises(ValueError, match=r"z has shape \(2,\); wanted \(\.\.\., 3\)"):
        parameters.constrain([1.0, 2.0])
    with pytest.raises(ValueError, match="no parameters"):
        Parameters({})
    with pytest.raises(ValueError, match="a parameter's size is 0"):
        transforms.simplex(0)
    with pytest.raises(ValueError, match="a parameter's name is 3"):
        Parameters({3: ()})
