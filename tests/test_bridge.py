"""Bridge sampling against a plain twin, closed forms, and repetitions."""

import numpy as np
import pytest
from naive.bridge import log_bridge
from scipy import stats

from fastvi.posteriors.bridge import bridge


def ratios(rng, n, n_target, n_chains=1, sd=1.0, height=2.0):
    """exp(height) N(0, 1), and proposals N(0.5, sd^2)."""
    q = stats.norm(0.5, sd)
    drawn = q.rvs(n, random_state=rng), rng.standard_normal((n_target // n_chains, n_chains))
    return [height + stats.norm.logpdf(z) - q.logpdf(z) for z in drawn]


def test_the_iteration_is_that_of_the_twin(rng):
    ours = bridge(*ratios(rng, 300, 200))
    again = np.random.default_rng(rng.bit_generator.seed_seq)
    assert ours.log == pytest.approx(log_bridge(*ratios(again, 300, 200)), abs=1e-8)


def test_equal_densities_leave_no_error():
    found = bridge(np.full(50, 3.5), np.full((10, 4), 3.5))
    assert found.log == pytest.approx(3.5, abs=1e-12)
    assert found.error == pytest.approx(0.0, abs=1e-9)


@pytest.mark.thorough
@pytest.mark.parametrize("sd", [0.6, 1.0, 2.0])
def test_errors_are_as_large_as_they_are_said_to_be(rng, sd):
    found = [bridge(*ratios(rng, 400, 600, 60, sd)) for _ in range(200)]
    logs, errors = np.array(found).T
    assert abs(logs.mean() - 2.0) < 4 * logs.std() / np.sqrt(200)
    assert errors.mean() == pytest.approx(logs.std(), rel=0.2)


def test_draws_that_depend_on_each_other_make_errors_larger(rng):
    """Each draw of a chain repeated ten times."""
    of_proposals, of_target = ratios(rng, 100_000, 200, 200, 2.0)
    once = bridge(of_proposals, of_target).error
    assert bridge(of_proposals, np.repeat(of_target, 10, axis=0)).error > 0.8 * once


def test_draws_without_a_density(rng):
    """A half-normal distribution, and normal proposals."""
    q, z = rng.standard_normal(4000), np.abs(rng.standard_normal((4000, 1)))
    found = bridge(np.where(q > 0, 0.0, -np.inf), np.zeros(z.shape).T)
    assert found.log == pytest.approx(np.log(0.5), abs=0.1)
    assert np.isfinite(found.error)
    assert bridge(np.full(4, -np.inf), np.zeros((2, 2))).error == np.inf
