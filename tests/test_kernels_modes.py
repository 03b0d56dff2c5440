"""Paths uphill: L-BFGS against dense matrices, SciPy's, and the conditions of its steps."""

import math

import numpy as np
import pytest
from naive import modes as naive
from scipy.optimize import minimize
from toy_targets import (
    gaussian_of_condition,
    half,
    normal_of,
    nowhere,
    plateau,
    rosenbrock,
    unbounded,
)

import fastvi
from fastvi.fitting.paths import ascents

pytestmark = pytest.mark.jit


def ascent(target, start, units=None, **options):
    D = target.dim
    units = np.ones((1, D)) if units is None else units
    options = {"tol": 1e-8, "max_iter": 1000, **options}
    return ascents(target, np.asarray(start, float)[None], [units], **options)[0]


@pytest.mark.parametrize("is_matrix", [True, False])
def test_directions_are_those_of_the_matrix_form(rng, is_matrix):
    """Also when the memory has been filled up and begins to forget."""
    from fastvi.kernels import modes as kernels

    D, m = 4, 5
    units = np.tril(rng.standard_normal((D, D))) + 3.0 * np.eye(D)
    units = units if is_matrix else np.diag(units)[None].copy()
    steps, grad = rng.standard_normal((8, D)), rng.standard_normal(D)
    root = rng.standard_normal((D, D))
    bends = steps @ (root @ root.T + np.eye(D))
    dense = units if is_matrix else np.diag(units[0])
    for n in (0, 1, 3, 8):
        kept = np.arange(max(0, n - m), n)
        path = kernels.path_at(np.zeros(D), m, 1, 0)
        path.rows[kernels.GRAD] = grad
        for i in kept:
            path.rows[kernels.N_OWN + i % m] = steps[i]
            path.rows[kernels.N_OWN + m + i % m] = bends[i]
            path.numbers[kernels.PRODUCTS + i % m] = steps[i] @ bends[i]
        if n:
            base = bends[n - 1] @ dense @ dense.T @ bends[n - 1]
            path.numbers[kernels.SCALE] = steps[n - 1] @ bends[n - 1] / base
        kernels.aim(units, path.rows, path.numbers, n)
        wanted = naive.inverse(steps[kept], bends[kept], dense) @ grad
        np.testing.assert_allclose(path.rows[kernels.ALONG], wanted, rtol=1e-10)


@pytest.mark.parametrize("dim", [2, 5, 10])
def test_a_path_gets_where_scipy_gets_and_no_later(dim):
    target = fastvi.target(rosenbrock, dim=dim)
    start = np.where(np.arange(dim) % 2, 1.0, -1.2)
    end = ascent(target, start, tol=1e-10)

    def negated(z):
        value, grad = target.log_prob_and_grad(z)
        return -value, -grad

    theirs = minimize(negated, start, jac=True, method="L-BFGS-B", options={"maxcor": 10})
    assert end.arrived
    assert end.log_prob > -theirs.fun - 1e-6
    np.testing.assert_allclose(end.place, theirs.x, atol=1e-2)
    assert end.n_evaluations < 1.5 * theirs.nfev


def test_each_step_of_a_path_meets_the_strong_wolfe_conditions():
    target = fastvi.target(rosenbrock, dim=2)
    end = ascent(target, [-1.2, 1.0], traced=True)
    assert len(end.points) == len(end.grads) == len(end.log_probs) > 10
    np.testing.assert_array_equal(end.points[-1], end.place)
    for i, step in enumerate(np.diff(end.points, axis=0)):
        rise, slope = end.log_probs[i + 1] - end.log_probs[i], end.grads[i] @ step
        assert rise >= 1e-4 * slope - 1e-12
        assert abs(end.grads[i + 1] @ step) <= 0.9 * slope * (1 + 1e-9)


def test_a_path_starts_again_from_where_it_was_interrupted(monkeypatch):
    """A long call and many short ones make the same bits."""
    from fastvi.fitting import paths

    target = fastvi.target(rosenbrock, dim=5)
    long = ascent(target, np.full(5, -1.0))
    monkeypatch.setattr(paths, "AT_MOST", -1.0)
    short = ascent(target, np.full(5, -1.0))
    assert long.place.tobytes() == short.place.tobytes()
    assert long.n_evaluations == short.n_evaluations


def test_a_frame_makes_a_path_short():
    target, mean, cov, _ = gaussian_of_condition(50)
    end = ascent(target, np.zeros(50), np.linalg.cholesky(cov))
    assert end.arrived
    assert end.n_evaluations < 6
    np.testing.assert_allclose(end.place, mean, atol=1e-6)
    assert ascent(target, np.zeros(50)).n_evaluations > 40


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_units_do_not_keep_a_path_from_arriving(scale):
    target = normal_of([scale, 2 * scale], np.diag([scale**2, 4 * scale**2]))
    end = ascent(target, [0.0, -scale])
    assert end.arrived
    np.testing.assert_allclose(end.place, [scale, 2 * scale], rtol=1e-3)


def test_paths_end_where_there_is_no_mode():
    far = ascent(fastvi.target(unbounded, dim=2), [1.0, 1.0])
    assert not far.arrived
    assert far.place[0] > 1e10
    assert far.n_evaluations < 100
    flat = ascent(fastvi.target(plateau, dim=1), [0.3])
    assert flat.place == 0.3
    assert flat.n_evaluations == 1
    none = ascent(fastvi.target(nowhere, dim=1), [0.3])
    assert not none.arrived
    assert math.isnan(none.log_prob)


def test_a_path_turns_back_where_there_is_no_density():
    end = ascent(fastvi.target(half, dim=2), [30.0, 3.0])
    assert end.arrived
    np.testing.assert_allclose(end.place, [4.0, 0.0], atol=1e-3)
