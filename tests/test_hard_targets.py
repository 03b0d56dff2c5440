"""The moments of hard targets are the true ones, and verdicts on fits of them are counted right."""

import sys
from pathlib import Path

import hard_targets
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import verdicts

CASES = hard_targets.few_numbers()
LIMITS = {  # of a grid that holds all the mass
    "two modes": [(-7, 7)],
    "Cauchy location": [(-40, 40)],
    "log Gamma(0.05)": [(-700, 5)],
    "unordered mixture 0.5": [(-8, 8), (-8, 8)],
    "unordered mixture 0.3": [(-8, 8), (-8, 8)],
    "ridge": [(-6, 6), (-6, 6)],
    "ring": [(-6, 6), (-6, 6)],
    "Rosenbrock 0.1": [(0.2, 1.8), (-0.2, 3.0)],
    "separable": [(-60, 60), (-5, 80)],
    "table of bits": [(0, 1), (0, 1)],
    "mini-batches, weights": [(0.7, 1.3)],
    "1 groups": [(-15, 18), (-18, 22), (-18, 3)],
}


def by_grid(target, limits):
    """Means and standard deviations by sums over a grid."""
    n = {1: 200_001, 2: 1001, 3: 161}[len(limits)]
    axes = [np.linspace(low, high, n if high > 1 or low else 2) for low, high in limits]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    values = target.log_prob(points)
    weights = np.exp(values - values.max())
    weights /= weights.sum()
    mean = weights @ points
    return mean, np.sqrt(weights @ (points - mean) ** 2)


def compared(case):
    mean, sd = by_grid(case.make(), LIMITS[case.name])
    np.testing.assert_allclose(mean, case.mean, atol=2e-3 * np.max(sd))
    np.testing.assert_allclose(sd, case.sd, rtol=2e-3)


@pytest.mark.jit
@pytest.mark.parametrize("name", ["two modes", "separable"])
def test_moments_are_those_of_a_grid(name):
    compared(CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LIMITS if name != "1 groups"])
def test_all_moments_are_those_of_a_grid(name):
    compared(CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("centred", [True, False])
def test_moments_of_a_hierarchy_are_those_of_a_grid(centred):
    case = hard_targets.groups_of(1, centred)
    mean, sd = by_grid(case.make(), LIMITS["1 groups"])
    np.testing.assert_allclose(mean, case.mean, atol=0.02 * np.max(sd))
    np.testing.assert_allclose(sd, case.sd, rtol=0.02)


@pytest.mark.slow
def test_every_case_can_be_evaluated_at_its_mean():
    for case in hard_targets.cases():
        target = case.make()
        at = np.zeros(target.dim) if case.mean is None else case.mean
        assert np.isfinite(target.log_prob(np.round(at) if case.discrete else at)), case.name
        assert case.mean is None or (case.mean.shape == case.sd.shape == (target.dim,)), case.name


def test_a_chain_is_a_gaussian_with_these_moments():
    case, y = hard_targets.chain_of(5, 0.8), np.random.default_rng(5).normal(0.0, 2.0, 5)
    steps = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    precision = np.linalg.inv(0.8**steps / 0.36) + np.eye(5)
    np.testing.assert_allclose(case.mean, np.linalg.solve(precision, y))
    np.testing.assert_allclose(case.sd, np.sqrt(np.diag(np.linalg.inv(precision))))


def record(certified, good, off, ratios, **more):
    return {"certified": certified, "good": good, "off": off, "ratios": ratios, **more}


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (record(True, True, 0.01, [0.99, 1.0]), (False, False, False, False)),
        (record(True, True, 0.31, [0.99, 1.0]), (True, False, None, None)),
        (record(True, True, 0.01, [0.5, 1.0]), (False, True, False, None)),
        (record(True, True, 0.01, [1.0, 1.3]), (False, True, False, None)),
        (record(True, False, 0.01, [0.5, 1.0]), (False, False, False, None)),
        (record(True, False, 0.01, [0.95, 1.0]), (False, False, False, True)),
        (record(False, False, 0.01, [0.95, 1.0]), (False, False, True, True)),
        (record(True, None, 0.25, [0.95, 1.0]), (False, False, None, None)),
        (record(True, True, None, None), (True, True, None, None)),
        (record(False, False, None, None), (False, False, None, None)),
        ({"refused": "no density"}, (False, False, None, None)),
    ],
)
def test_misses_and_false_alarms(said, wanted):
    assert tuple(verdicts.judgement(said).values()) == wanted


def test_counts_in_the_summary():
    about = {"case": "ring", "seed": 0, "fit_seconds": 1.0, "verdict_seconds": 0.25}
    records = [
        record(True, True, 0.31, [0.99, 1.0], method="fullrank", **about),
        record(True, None, 0.01, [0.5, 1.0], method="meanfield", **about),
    ]
    text = verdicts.summary(records)
    assert "| fullrank | 1 | 1 of 1 | 0 of 1 | 0 of 0 | 0 of 0 |" in text
    assert "| all | 2 | 1 of 2 | 0 of 2 | 0 of 1 | 0 of 0 |" in text
    assert "ring, fullrank x 1: off 0.31-0.31, sd 0.99-1.00 converged" in text
    assert "median 0.25" in text


def test_bad_members_are_wrong_as_stated():
    cov = np.array([[4.0, 1.0], [1.0, 1.0]])
    for k, mean, found in hard_targets.bad_members(np.ones(2), cov):
        np.testing.assert_allclose(mean - 1.0, 0.2 * k * np.array([2.0, 1.0]))
        np.testing.assert_allclose(found, k * k * cov)
