"""Stein's kernel equals its plain twin: tiles, pairs, columns, and all pairs at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import ksd as naive

from fastvi.kernels import ksd as kernels
from fastvi.stein.draws import metric, prepare
from fastvi.stein.tiles import rounds, sweep

FEW = settings(max_examples=min(40, settings().max_examples))  # twins visit every pair


@st.composite
def problems(draw, least=1):
    """(generator, draws, scores, metric, M, words of the kernel)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(least, 9)), draw(st.integers(1, 5))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    X = (rng.normal(size=(n, d)) + rng.normal()).astype(dtype)
    if draw(st.booleans()):
        X[n // 2] = X[0]  # chains repeat themselves
    S = rng.normal(size=(n, d)).astype(dtype)
    kind = draw(st.sampled_from(["imq", "rbf"]))
    beta = draw(st.sampled_from([-0.5, -0.3, -0.9]))
    A = rng.normal(size=(d, d))
    P = draw(st.sampled_from([None, A @ A.T + np.eye(d)]))
    width = draw(st.floats(0.3, 3.0))
    M = (np.eye(d) if P is None else np.linalg.inv(P)) / width**2
    return rng, X, S, metric(X, kind, beta, width, P), M, (kind, beta)


def close(dtype, size):
    return {"rtol": 0, "atol": (2e-5 if dtype == np.float32 else 1e-12) * (1 + size)}


@FEW
@given(problems(), st.integers(0, 9))
def test_tile(problem, cut):
    _, X, S, of, M, words = problem
    cut = min(cut, len(X))
    p = prepare(X, S, of)
    a, b = slice(0, cut), slice(cut, len(X))
    CW, SW = np.hstack((p.W, p.S)), np.hstack((p.S, p.W))
    products = [p.X[a] @ p.X[b].T, CW[a] @ SW[b].T, p.W[a] @ p.W[b].T, p.S[a] @ p.S[b].T]
    own = [np.ascontiguousarray(p.own[:, part]) for part in (a, b)]
    products = [np.ascontiguousarray(product) for product in products]
    kernels.tile(of.kind, of.beta, p.trace, of.uniform, *own, *products)
    want = naive.matrix(X, S, M, *words)
    scale = close(X.dtype, np.abs(want).max())
    np.testing.assert_allclose(products[3], want[a, b], **scale)
    np.testing.assert_allclose(p.diagonal, np.diag(want), **scale)


def test_a_metric_too_small_for_the_type_needs_no_products_of_its_rows():
    """As of float32 draws with a bandwidth of 1e30: |M (x - y)|^2 is 0, and WW is not filled."""
    own, filled = np.zeros((3, 2), np.float32), np.zeros((2, 2), np.float32)
    scores = np.ones((2, 2), np.float32)
    empty = np.full((2, 2), np.nan, np.float32)
    kernels.tile(0, -0.5, 0.0, 1e-60, own, own, filled, filled.copy(), empty, scores)
    np.testing.assert_array_equal(scores, 1.0)


@FEW
@given(problems(), st.integers(0, 3))
def test_all_pairs(problem, n_signs):
    rng, X, S, of, M, words = problem
    signs = rng.choice([-1, 1], (len(X), n_signs)).astype(np.int8)
    found = sweep(prepare(X, S, of), 1, signs)
    U = naive.matrix(X, S, M, *words)
    np.fill_diagonal(U, 0.0)
    scale = close(X.dtype, np.abs(U).sum())
    np.testing.assert_allclose(found.rows, U.sum(axis=1), **scale)
    squares = close(X.dtype, (U**2).sum())
    np.testing.assert_allclose(found.squares, (U**2).sum(), **squares)
    w = signs.astype(float)
    np.testing.assert_allclose(found.signed, np.einsum("ib,ij,jb->b", w, U, w), **scale)


@FEW
@given(problems())
def test_pairs(problem):
    _, X, S, of, M, words = problem
    p, m = prepare(X, S, of), len(X) // 2
    out, scratch = np.full(m, np.nan, X.dtype), np.empty((3, m), X.dtype)
    kernels.pairs(of.kind, of.beta, p.trace, p.X, p.W, p.S, scratch, out)
    U = naive.matrix(X, S, M, *words)
    want = [U[2 * i, 2 * i + 1] for i in range(m)]
    np.testing.assert_allclose(out, want, **close(X.dtype, np.abs(U).max()))


@FEW
@given(problems(), st.integers(1, 5), st.data())
def test_column(problem, at_once, data):
    rng, X, S, of, M, words = problem
    p, n = prepare(X, S, of), len(X)
    new, start = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    columns = [np.ascontiguousarray(array.T) for array in (p.X, p.W, p.S)]
    total = rng.normal(size=n)
    want = total.copy()
    U = naive.matrix(X, S, M, *words)
    want[start:stop] += U[start:stop, new]
    scratch = np.empty((4, at_once), X.dtype)
    least = kernels.add_column(
        of.kind, of.beta, p.trace, of.uniform, *columns, new, start, stop, scratch, total
    )
    np.testing.assert_allclose(total, want, **close(X.dtype, np.abs(U).max()))
    assert least == start + np.argmin(total[start:stop])


def test_first_of_equal_entries():
    assert kernels.first_least(np.array([2.0, 1.0, 3.0, 1.0])) == 1
    assert kernels.first_least(np.zeros(4)) == 0


@FEW
@given(problems(), st.integers(0, 5), st.integers(0, 5))
def test_sums_of_a_tile(problem, n, m):
    rng = problem[0]
    U = rng.normal(size=(n, m)).astype(problem[1].dtype)
    rows, columns = rng.normal(size=n), rng.normal(size=m)
    want = rows + U.sum(axis=1, dtype=float), columns + U.sum(axis=0, dtype=float)
    squares = kernels.add_sums(U, rows, columns)
    np.testing.assert_allclose(rows, want[0], atol=1e-12)
    np.testing.assert_allclose(columns, want[1], atol=1e-12)
    np.testing.assert_allclose(squares, (U.astype(float) ** 2).sum(), atol=1e-12)
    signs = rng.choice([-1, 1], (n, m)).astype(np.int8)
    out = rng.normal(size=m)
    want = out + 2.0 * (signs * U.astype(float)).sum(axis=0)
    kernels.add_signed(signs, U, 2.0, out)
    np.testing.assert_allclose(out, want, atol=1e-12)


@pytest.mark.parametrize("words", [("imq", -0.5), ("imq", -0.7), ("rbf", -0.5)])
def test_twin_is_the_operator_applied_to_both_arguments(words, rng):
    """Finite differences of the kernel in its definition, A_x A_y k (Gorham and Mackey, eq. 3)."""
    d, h = 3, 1e-4
    x, y, s_x, s_y = rng.normal(size=(4, d))
    A = rng.normal(size=(d, d))
    M = A @ A.T + np.eye(d)

    def k(a, b):
        return naive.base(a, b, M, *words)

    total = s_x @ s_y * k(x, y)
    for e, p, q in zip(h * np.eye(d), s_x, s_y):
        total += p * (k(x, y + e) - k(x, y - e)) / (2 * h)
        total += q * (k(x + e, y) - k(x - e, y)) / (2 * h)
        corners = k(x + e, y + e) - k(x + e, y - e) - k(x - e, y + e) + k(x - e, y - e)
        total += corners / (4 * h * h)
    np.testing.assert_allclose(naive.stein(x, y, s_x, s_y, M, *words), total, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_blocks", range(9))
def test_rounds_visit_all_pairs_of_blocks_once(n_blocks):
    met = []
    for pairs in rounds(n_blocks):
        busy = [block for i, j in pairs for block in {i, j}]
        assert len(busy) == len(set(busy))
        met += pairs
    assert sorted(met) == [(i, j) for i in range(n_blocks) for j in range(i, n_blocks)]
