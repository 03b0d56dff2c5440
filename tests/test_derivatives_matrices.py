"""Matrix functions by LAPACK in compiled densities: values and gradients at several sizes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_triangular
from test_derivatives_models import as_tuple, derived, numerical

import fastvi
from fastvi.kernels import derived_matrices


def systems(z, data):
    n = data.n
    A = np.empty((n, n))
    total = 0.0
    for step in range(2):  # whose arrays are written over in the second round
        for i in range(n):
            for j in range(n):
                A[i, j] = data.A[i, j] + 0.1 * z[0] * np.cos(i * z[1] - j * z[2] + step)
        x = np.linalg.solve(A, data.b * z[1])
        sign, logarithm = np.linalg.slogdet(A)
        total += np.sum(x * x) + logarithm * sign + 0.1 * np.sum(np.linalg.inv(A)[0])
    return total


def factors(z, data):
    n = data.n
    K = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            K[i, j] = np.exp(z[0] - 0.5 * np.exp(z[1]) * (data.b[i] - data.b[j]) ** 2)
        K[i, i] += np.exp(z[2])
    L = np.linalg.cholesky(K)
    u = solve_triangular(L, data.b, lower=True)
    v = solve_triangular(L, u, lower=True, trans="T")
    W = solve_triangular(L.T, data.A)
    U = solve_triangular(L, data.A, 0, True, True)
    return -0.5 * np.sum(u * u) - np.sum(np.log(np.diag(L))) + np.sum(v[1:] * v[:-1]) + (
        0.1 * np.sum(W * W) + 0.01 * np.sum(np.tanh(U))
    )  # fmt: skip


def gaussian(z, data):
    K = np.empty((data.n, data.n))
    for i in range(data.n):
        for j in range(data.n):
            K[i, j] = np.exp(z[0] - 0.5 * np.exp(z[1]) * (data.b[i] - data.b[j]) ** 2)
        K[i, i] += np.exp(z[2])
    L = np.linalg.cholesky(K)
    u = solve_triangular(L, data.b, lower=True)
    return -0.5 * np.sum(u * u) - np.sum(np.log(np.diag(L)))


def problem(n, rng):
    A = rng.normal(size=(n, n)) / n + 2.0 * np.eye(n)
    return {"A": A, "b": rng.normal(size=n), "n": n}, np.array([-0.3, 0.4, 0.2])


@pytest.mark.parametrize("n", [1, 3, 8, 40])
@pytest.mark.parametrize("function", [gaussian, systems, factors])
def test_matrix_functions(function, n, rng):
    data, z = problem(n, rng)
    value, grad = derived(function, z, data)
    assert value == pytest.approx(function(z, as_tuple(data)), rel=1e-11)
    wanted = numerical(lambda x: function(x, as_tuple(data)), z, 1e-5)
    np.testing.assert_allclose(grad, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("function", [gaussian, systems, factors])
def test_compiled_matrix_functions(function, rng):
    compiled = None
    for n in (1, 3, 8, 70):
        data, z = problem(n, rng)
        compiled = compiled or fastvi.target(function, data=data, dim=3)
        found, slopes = compiled.bind(data).log_prob_and_grad(z)
        value, grad = derived(function, z, data)
        assert found == pytest.approx(value, rel=1e-11)
        np.testing.assert_allclose(slopes, grad, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_singular_matrices_are_errors():
    for n in (2, 9):
        data, _ = problem(n, np.random.default_rng(0))
        target = fastvi.target(gaussian, data=data | {"b": np.ones(n)}, dim=3)
        with pytest.raises(fastvi.targets.TargetError):
            target.log_prob_and_grad([0.0, 1.0, -800.0])


@pytest.mark.jit
@pytest.mark.parametrize("n", [1, 31, 70, 200])
def test_a_normal_density_and_its_adjoint(n, rng):
    A = rng.normal(size=(n, n)) / n
    K, y = A @ A.T + np.eye(n), rng.normal(size=n)
    inverse, alpha = np.linalg.inv(K), np.linalg.solve(K, y)
    out, out_bar = np.empty((n + 2, n)), np.zeros((n + 2, n))
    K_bar, y_bar, out_bar[n + 1, 0] = np.zeros((n, n)), np.zeros(n), 0.7
    derived_matrices.normal_into(np.tril(K), y, out)
    derived_matrices.normal_back_matrix(out, out_bar, K_bar)
    derived_matrices.normal_back_vector(out, out_bar, y_bar)
    wanted = -0.5 * (y @ alpha + np.linalg.slogdet(K)[1] + n * np.log(2.0 * np.pi))
    assert out[n + 1, 0] == pytest.approx(wanted, rel=1e-13)
    both = 0.7 * (np.outer(alpha, alpha) - inverse)
    np.testing.assert_allclose(K_bar, np.tril(both) - 0.5 * np.diag(np.diag(both)), atol=1e-12)
    np.testing.assert_allclose(y_bar, -0.7 * alpha, rtol=1e-12)
