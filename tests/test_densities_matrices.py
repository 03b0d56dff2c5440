"""Log densities of matrices against SciPy, and their derived gradients against differences."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy import stats
from test_derivatives_models import as_tuple, derived, slopes

from fastvi import densities
from fastvi.densities import matrices


def wisharts(z, data):
    L, M = np.zeros((3, 3)), np.zeros((3, 3))
    for i in range(3):
        L[i, i], M[i, i] = np.exp(z[i]), np.exp(z[3 + i])
        for j in range(i):
            L[i, j], M[i, j] = z[6 + i + j], z[8 + i - j]
    df = 2.0 + np.exp(z[6])
    total = densities.wishart_cholesky(L, df, M) - densities.inverse_wishart_cholesky(M, df, L)
    return (
        total
        + densities.wishart(L @ L.T, df, data.S)
        + densities.inverse_wishart(M @ M.T, df, L @ L.T)
    )


def test_slopes_of_wisharts(rng):
    z, data = rng.normal(size=11) * 0.5, {"S": np.diag([1.0, 2.0, 0.5])}
    value, grad = derived(wisharts, z, data)
    assert value == pytest.approx(wisharts(z, as_tuple(data)), rel=1e-12)
    wanted = slopes(lambda x: wisharts(x, as_tuple(data)), z)
    np.testing.assert_allclose(grad, wanted, rtol=1e-10, atol=1e-10)


def test_wisharts_are_those_of_scipy(rng):
    A, B = rng.normal(size=(2, 3, 3))
    X, S = A @ A.T + np.eye(3), B @ B.T + np.eye(3)
    for df in (2.5, 4.0, 900.0):
        wanted = stats.wishart.logpdf(X, df, S)
        assert densities.wishart(X, df, S) == pytest.approx(wanted, rel=1e-11)
        wanted = stats.invwishart.logpdf(X, df, S)
        assert densities.inverse_wishart(X, df, S) == pytest.approx(wanted, rel=1e-11)
    one = densities.wishart(np.array([[0.3]]), 1e10, np.array([[3e-11]]))
    assert one == pytest.approx(densities.gamma(0.3, 5e9, 0.5 / 3e-11), rel=1e-13)


def test_wisharts_of_factors_have_the_jacobian_of_their_squares(rng):
    L, S = np.linalg.cholesky(np.cov(rng.normal(size=(2, 3, 9))[0])), np.eye(3)
    at = np.tril_indices(3)
    columns = []
    for i, j in zip(*at):
        dL = np.zeros((3, 3))
        dL[i, j] = 1.0
        columns.append((dL @ L.T + L @ dL.T)[at])
    _, jacobian = np.linalg.slogdet(np.array(columns))
    for name in ("wishart", "inverse_wishart"):
        whole = getattr(densities, name)(L @ L.T, 4.0, S)
        found = getattr(densities, f"{name}_cholesky")(L, 4.0, S)
        assert found == pytest.approx(whole + jacobian, rel=1e-11)


def test_examples():
    found = doctest.testmod(matrices)
    assert found.attempted > 2
    assert not found.failed
