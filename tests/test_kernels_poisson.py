"""`fastvi.kernels.poisson` equals its plain twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import poisson as naive
from naive import sparse as naive_sparse
from scipy.optimize import approx_fprime

from fastvi.kernels import poisson as kernels
from fastvi.kernels.poisson import GammaPrior

DTYPES = [np.float32, np.float64]
SEEDS = st.integers(0, 2**32 - 1)

pytestmark = pytest.mark.usefixtures("quiet")


def close(result, want, dtype, factor=1.0, size=0.0):
    """Equal within 400 units of rounding: sums of tens of terms of accuracy 1e-6 / 1e-14."""
    tolerance = factor * 400 * np.finfo(dtype).eps
    np.testing.assert_allclose(result, want, rtol=tolerance, atol=tolerance * (1 + size))


def padded(array, width, dtype, fill=0.0):
    """Components (last axis) filled up to `width`."""
    out = np.full((*array.shape[:-1], width), fill, dtype)
    out[..., : array.shape[-1]] = array
    return out


class Problem:
    """Random rows, columns' factors and priors, in both forms."""

    def __init__(self, seed, n_rows, n_columns, n_components, dtype, hierarchical, scale=1):
        rng = np.random.default_rng(seed)
        self.dtype, self.n = dtype, n_components
        self.width = (n_components + 7) // 8 * 8
        self.rows = []
        for _ in range(n_rows):
            size = rng.choice([0, 1, n_columns // 2, n_columns])
            columns = np.sort(rng.choice(n_columns, size, replace=False))
            counts = rng.choice([0, 1, 1, 2, 7, 0.5], size) * scale
            self.rows.append(list(zip(columns.tolist(), counts.tolist())))
        shapes = rng.gamma(2, 0.3, 2) + 0.05
        rates = rng.gamma(2, 0.5, 2) + 0.1
        learnt = rng.gamma(2, 0.5, 2) + 0.1 if hierarchical else np.zeros(2)
        self.row_prior, self.column_prior = (
            GammaPrior(float(dtype(a)), float(r), float(s))
            for a, r, s in zip(shapes, rates, learnt)
        )
        self.table = rng.gamma(1.0, 2.0, (n_columns, self.n)).astype(dtype) + dtype(0.05)
        self.table[0] = dtype(0.05)  # a column without counts
        self.own = rng.gamma(2.0, 1.0, n_columns) if hierarchical else np.zeros(n_columns)
        self.shared = rng.gamma(3.0, 1.0, self.n) + 0.1
        self.logs = naive.column_logs(self.table.astype(np.float64), self.own, self.shared)
        self.loads = (self.table / (self.own[:, None] + self.shared)).sum(axis=0)
        self.parts = naive_sparse.csr(self.rows, dtype)

    def local_step(self, n_iter, tol=0.0, start=None, row_weights=None):
        """(gamma, xi, e, ratio, sums, bound) from the kernel; start is (gamma, xi, loads)."""
        D, dtype = len(self.rows), self.dtype
        shift = self.logs.max(axis=1)
        weights = padded(np.exp(self.logs - shift[:, None]), self.width, dtype)
        loads = padded(self.loads, self.width, dtype, 1.0)
        e, bound = np.full((D, self.width), np.nan, dtype), np.full(D, np.nan)
        if start is None:
            gamma, xi = np.full_like(e, np.nan), np.full(D, np.nan, dtype)
            indptr, _, counts = self.parts
            kernels.start_rows(indptr, counts, self.row_prior, self.n, 0, D, gamma, xi)
            start_loads = loads
        else:
            gamma, xi = padded(start[0], self.width, dtype), start[1].astype(dtype)
            start_loads = padded(start[2], self.width, dtype, 1.0)
        ratio, sums = np.full(len(self.parts[1]), np.nan, dtype), np.zeros(self.width)
        row_weights = np.ones(D) if row_weights is None else row_weights
        kernels.local_step(
            *self.parts, weights, shift.astype(dtype), loads, start_loads, row_weights,
            self.row_prior, self.n, n_iter, tol, 0, D, gamma, xi, e, ratio, sums, bound,
        )  # fmt: skip
        return gamma, xi, e, ratio, sums, bound

    def start(self, row):
        gamma = np.full(self.n, self.row_prior.shape + sum(y for _, y in row) / self.n)
        return gamma, self.row_prior.mean_rate, self.row_prior.mean_rate + self.loads


def problems(**changes):
    parts = {
        "seed": SEEDS,
        "n_rows": st.integers(0, 5),
        "n_columns": st.integers(1, 13),
        "n_components": st.integers(1, 18),
        "dtype": st.sampled_from(DTYPES),
        "hierarchical": st.booleans(),
    }
    return st.builds(Problem, **parts | changes)


@given(problems())
def test_columns(problem):
    dtype, n, U = problem.dtype, problem.n, len(problem.table)
    values = padded(problem.table, problem.width, dtype, 0.3)
    shared = padded(problem.shared, problem.width, np.float64, 1.0)
    weights, shift = values.copy(), np.full(U, np.nan, dtype)
    totals, sums = np.full(U, np.nan), np.zeros((2, problem.width))
    bound = 0.0
    prior = problem.column_prior
    for i, (start, stop) in enumerate(((0, U // 2), (U // 2, U))):
        at = problem.own, shared
        kernels.column_weights(weights, *at, n, start, stop, shift)
        kernels.column_means(values, *at, n, start, stop, sums[i], totals)
        bound += kernels.column_bound(values, *at, totals, prior, n, start, stop)
    close(shift, problem.logs.max(axis=1), dtype)
    close(weights[:, :n], np.exp(problem.logs - problem.logs.max(axis=1)[:, None]), dtype)
    assert not weights[:, n:].any()
    rates = problem.own[:, None] + problem.shared
    means = problem.table / rates
    close(totals, means.sum(axis=1), dtype)
    close(sums.sum(axis=0)[:n], means.sum(axis=0), dtype)
    parts = [
        naive.prior_bound(s.astype(np.float64), r, prior) for s, r in zip(problem.table, rates)
    ]
    # totals are of the table's precision, the rest is float64 whatever that is
    close(bound, sum(parts), dtype, size=np.abs(parts).sum())


@given(problems(), st.integers(0, 6))
def test_local_step(problem, n_iter):
    weights = np.linspace(0.5, 2, len(problem.rows))
    gamma, xi, e, ratio, sums, bound = problem.local_step(n_iter, row_weights=weights)
    check_rows(problem, n_iter, map(problem.start, problem.rows), gamma, xi, e, ratio, bound)
    n, means = problem.n, np.zeros(problem.n)
    for d, row in enumerate(problem.rows):
        want = naive.row_step(
            row, problem.logs, problem.loads, problem.row_prior, n_iter, *problem.start(row)
        )
        means += weights[d] * want[0] / want[2]
    close(sums[:n], means, problem.dtype)
    assert not sums[n:].any()


def check_rows(problem, n_iter, starts, gamma, xi, e, ratio, bound):
    indptr, n = problem.parts[0], problem.n
    for d, (row, start) in enumerate(zip(problem.rows, starts)):
        at = problem.logs, problem.loads, problem.row_prior
        want = naive.row_step(row, *at, n_iter, *start)
        close(gamma[d, :n] / want[0], np.ones(n), problem.dtype)
        close(xi[d] / want[1], 1, problem.dtype)
        shares = naive.row_shares(row, problem.logs, want[0], want[2])
        part = slice(indptr[d], indptr[d + 1])
        shift = problem.logs.max(axis=1)[:, None]
        weights = np.exp(problem.logs - shift)[[i for i, _ in row]]
        close(
            ratio[part, None] * e[d, :n] * weights,
            shares,
            problem.dtype,
            size=shares.max(initial=0),
        )
        total = naive.row_bound(row, *at, want[0], want[2])
        size = abs(total) + sum(count for _, count in row) + problem.loads.sum()
        close(bound[d], total, problem.dtype, size=size)
    assert not gamma[:, n:].any()
    assert not e[:, n:].any()


@given(problems(), st.integers(0, 4))
def test_local_steps_go_on(problem, n_iter):
    """From given factors, whose rates were fitted to other columns; the bound never falls."""
    rng = np.random.default_rng(n_iter)
    shape = len(problem.rows), problem.n
    gamma = rng.gamma(2, 1, shape) + 0.1
    xi, loads = rng.gamma(2, 1, shape[0]) + 0.1, rng.gamma(2, 1, problem.n) + 0.1
    start = gamma.astype(problem.dtype), xi.astype(problem.dtype), loads.astype(problem.dtype)
    result = problem.local_step(n_iter, start=start)
    wide = [part.astype(np.float64) for part in start]
    starts = zip(wide[0], wide[1], wide[1][:, None] + wide[2])
    check_rows(problem, n_iter, starts, *result[:4], result[5])
    before = problem.local_step(0, start=start)[5]
    tolerance = 400 * np.finfo(problem.dtype).eps * (1 + np.abs(before))
    assert np.all(result[5] >= before - tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_local_step_ends_at_its_tolerance(dtype):
    problem = Problem(5, 4, 9, 3, dtype, True)
    done = problem.local_step(1000, tol=1e-3)
    more = problem.local_step(1000, tol=1e-5)
    assert np.abs(done[0] - more[0]).max() < 0.1
    assert not np.array_equal(done[0], problem.local_step(1000, tol=1e9)[0])
    np.testing.assert_array_equal(problem.local_step(1000, tol=1e9)[0], problem.local_step(1)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 300])
def test_small_shapes_and_rates_of_every_size_lose_no_count(dtype, n):
    """exp(digamma) of shapes of 1 / 300 is 0 in float32, as are rates of 1e20 beside 1."""
    problem = Problem(3, 4, 6, n, dtype, True)
    problem.row_prior = GammaPrior(1 / 300, 1.0, 0.3)
    problem.loads = problem.loads * np.geomspace(1, 1e12, n)
    for n_iter in (0, 3):
        gamma, _, e, ratio, _, bound = problem.local_step(n_iter)
        indptr, columns, counts = problem.parts
        owners = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        weights = np.exp(problem.logs - problem.logs.max(axis=1)[:, None])
        held = ratio * (weights[columns] * e[owners, :n]).sum(axis=1)
        np.testing.assert_allclose(held, counts, rtol=1e-4)
        assert np.all(np.isfinite(gamma))
        assert np.all(np.isfinite(bound))


@given(problems(dtype=st.just(np.float64), n_columns=st.integers(1, 4)))
def test_plain_gradient_is_the_gradient(problem):
    """With targets for q(beta) the bound is E[log p(target)] + entropy, a function of (s, r)."""
    n, rng = problem.n, np.random.default_rng(1)
    target = problem.table + rng.normal(size=problem.table.shape) * 0.01
    d_own, d_shared = rng.normal(size=len(problem.own)), rng.normal(size=n)
    rates = problem.own[:, None] + problem.shared
    target_rates = rates + d_own[:, None] + d_shared

    def bound(flat):
        table = np.exp(flat[: target.size]).reshape(target.shape)
        r = rates + flat[target.size :][: len(rates), None] + flat[target.size + len(rates) :]
        total = 0.0
        for s, rate, t, u in zip(table.flat, r.flat, target.flat, target_rates.flat):
            mean_log = naive.psi(s) - np.log(rate)
            total += naive.log_gamma(t, u, 0.0, s / rate, mean_log) + naive.gamma_entropy(s, rate)
        return total

    at = np.concatenate((np.log(problem.table).ravel(), np.zeros(len(rates) + n)))
    want = approx_fprime(at, bound, 1e-6)
    out, by_component = np.zeros((len(rates), problem.width)), np.zeros(problem.width)
    by_column = np.empty(len(rates))
    width = problem.width
    kernels.plain_gradient(
        padded(problem.table, width, np.float64, 1.0), problem.own,
        padded(problem.shared, width, np.float64, 1.0),
        padded(target - problem.table, width, np.float64), d_own,
        padded(d_shared, width, np.float64), n, out, by_component, by_column,
    )  # fmt: skip
    result = np.concatenate((out[:, :n].ravel(), by_column, by_component[:n]))
    # forward differences: the second derivatives, of the size of shapes, times 1e-6
    np.testing.assert_allclose(result, want, rtol=1e-3, atol=1e-3 * (1 + np.abs(want).max()))
