"""Moves of Hamiltonian Monte Carlo: against a plain twin, reversible, and invariant."""

import numpy as np
import pytest
from naive import hmc as naive
from toy_targets import gaussian_of_condition, half

import fastvi
from fastvi.posteriors.chains import Course

pytestmark = pytest.mark.jit


def moved(target, starts, size, n_steps, scale, momenta, uniforms):
    from fastvi.kernels import hmc

    chains, errors = hmc.chains_at(starts, target.n_terms), np.empty(len(starts))
    words = target.data_table
    hmc.look(target.address, words, chains)
    for c in range(len(starts)):
        hmc.settle(chains, c)
    hmc.move(target.address, words, size, n_steps, scale, momenta.copy(), uniforms, chains, errors)
    return chains, errors


@pytest.mark.parametrize("n_steps", [1, 4])
def test_moves_are_those_of_the_twin(rng, n_steps):
    target, mean, cov, _ = gaussian_of_condition(3, 10.0)
    scale = np.sqrt(np.diag(cov))
    starts, momenta = mean + rng.standard_normal((9, 3)), rng.standard_normal((9, 3))
    uniforms = np.linspace(0.1, 1.0, 9)
    chains, errors = moved(target, starts, 0.9, n_steps, scale, momenta, uniforms)
    stayed = 0
    for c in range(9):
        place, error = naive.move(
            target.log_prob_and_grad, starts[c], 0.9, n_steps, scale, momenta[c], uniforms[c]
        )
        np.testing.assert_allclose(chains.Z[c], place, rtol=1e-10)
        assert errors[c] == pytest.approx(error, rel=1e-8, abs=1e-10)
        assert chains.values[c] == pytest.approx(target.log_prob(place))
        stayed += np.array_equal(place, starts[c])
    assert 0 < stayed < 9


def test_chains_without_a_density_stay_and_the_others_go_on(rng):
    """The first of them would leave where there is a density."""
    target = fastvi.target(half, dim=2)
    starts = np.array([[1.0, 0.0], [5.0, 0.0]])
    momenta = np.array([[-9.0, 0.0], [0.5, 0.5]])
    chains, errors = moved(target, starts, 0.3, 2, np.ones(2), momenta, np.full(2, 0.9))
    assert errors[0] == np.inf
    assert np.array_equal(chains.Z[0], starts[0])
    assert abs(errors[1]) < 0.01
    assert chains.Z[1, 0] > 5.0


def test_chains_keep_the_target_and_bits_do_not_depend_on_threads():
    target, mean, cov, _ = gaussian_of_condition(2, 4.0)
    sd = np.sqrt(np.diag(cov))
    starts = mean + np.random.default_rng(1).standard_normal((128, 2)) @ np.linalg.cholesky(cov).T

    def run(n_threads):
        course = Course(target, starts, sd, 0, n_threads)
        course.warm_up(10)
        return course, course.go_on(20)

    (course, one), (_, two) = run(1), run(2)
    assert one.points.tobytes() == two.points.tobytes()
    assert 0.6 < np.exp(-np.maximum(one.errors, 0)).mean() < 0.95
    together = one.points.reshape(-1, 2)
    np.testing.assert_allclose(together.mean(axis=0), mean, atol=0.12 * sd.max())
    np.testing.assert_allclose(together.std(axis=0), sd, rtol=0.08)
    np.testing.assert_allclose(one.log_probs[-1], target.log_prob(course.points))
    np.testing.assert_array_equal(course.points, one.points[-1])
