"""Tilted moments of likelihoods of one number, which expectation propagation matches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from naive import tilted as naive

from fastvi.propagation import tilted

CUTS = (-1.0, 0.5, 3.0)
CASES = [
    ("probit", tilted.probit, (-1.0, 1.0), ()),
    ("logit", tilted.logit, (-1.0, 1.0), ()),
    ("poisson", tilted.poisson, (0.0, 3.0, 2000.0), ()),
    ("student", tilted.student(0.3, 4.0), (1.0,), (0.3, 4.0)),
    ("student", tilted.student(1e-4, 2.5), (-2.0,), (1e-4, 2.5)),
    ("ordinal", tilted.ordinal(np.array(CUTS)), (0.0, 1.0, 2.0, 3.0), CUTS),
    ("gaussian", tilted.gaussian(0.7), (0.4,), (0.7,)),
]
CAVITIES = list(itertools.product((-30.0, -1.0, 4.0), (1e-3, 0.5, 3e3), (1.0, 0.01)))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "site", "targets", "numbers"), CASES, ids=[f"{c[0]}{i}" for i, c in enumerate(CASES)]
)
def test_moments_agree_with_brute_force(
    name: str, site: tilted.Site, targets: tuple[float, ...], numbers: tuple[float, ...]
) -> None:
    for y in targets:
        log_p = naive.log_likelihood(name, y, numbers)
        near = np.log(y + 0.5) if name == "poisson" else y if name == "student" else 0.0
        for mean, variance, power in CAVITIES[:: 1 if y == targets[0] else 3]:
            m, v = np.array([mean]), np.array([variance])
            found = site.tilted(np.array([y]), m, v, power)
            n = 1_000_001 if name == "student" and numbers[0] < 0.1 and variance > 100 else 40_001
            wanted = naive.moments(log_p, mean, variance, power, near, n)
            first, second = found.moments(m, v)
            sd = np.sqrt(wanted[2])
            where = f"{name} y={y} m={mean} v={variance} power={power}"
            assert found.log_z[0] == pytest.approx(wanted[0], abs=1e-8, rel=1e-9), where
            assert abs(first[0] - wanted[1]) < 2e-8 * sd, where
            assert second[0] == pytest.approx(wanted[2], rel=2e-7), where


PARAMETERS = {  # by first or second parameter: how a step moves a site
    "student": (0, 1.3, lambda step: tilted.student(0.6 * np.exp(step), 4.0)),
    "gaussian": (0, 1.3, lambda step: tilted.gaussian(0.6 * np.exp(step))),
    "cut below": (0, 1.0, lambda step: tilted.ordinal(np.array([-0.2 + step, 0.9]))),
    "cut above": (1, 1.0, lambda step: tilted.ordinal(np.array([-0.2, 0.9 + step]))),
}


@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize("name", PARAMETERS)
def test_derivatives_by_parameters_meet_finite_differences(name: str, power: float) -> None:
    which, target, moved = PARAMETERS[name]
    y, m, v = np.array([target]), np.array([0.4]), np.array([1.7])
    up, down = (moved(step).tilted(y, m, v, power).log_z[0] for step in (1e-5, -1e-5))
    found = moved(0.0).tilted(y, m, v, power)
    by = (found.by_first, found.by_second)[which][0]
    assert power * by == pytest.approx((up - down) / 2e-5, rel=1e-7)


def test_sites_leave_the_tilted_moments() -> None:
    m, v, y = np.array([-0.3, 2.0]), np.array([1.4, 30.0]), np.array([1.0, -1.0])
    for power in (1.0, 0.3):
        found = tilted.logit.tilted(y, m, v, power)
        precision, linear = found.natural(m, v, power)
        total = 1.0 / v + power * precision
        mean, variance = found.moments(m, v)
        np.testing.assert_allclose(1.0 / total, variance, rtol=1e-12)
        np.testing.assert_allclose((m / v + power * linear) / total, mean, rtol=1e-12)


def test_far_tails_stay_finite() -> None:
    """GPy issue 463: integrals that underflow. Slopes and curvatures have closed limits here."""
    m, v = np.array([-1e3, -40.0, 700.0]), np.array([1.0, 1e-6, 1e4])
    for site in (tilted.probit, tilted.logit):
        found = site.tilted(np.ones(3), m, v)
        assert all(np.all(np.isfinite(part)) for part in found)
    assert tilted.logit.tilted(np.ones(1), m[:1], v[:1]).slope[0] == pytest.approx(1.0, abs=1e-9)
    counts = tilted.poisson.tilted(
        np.array([0.0, 1e6]), np.array([50.0, -50.0]), np.array([9.0, 1e4])
    )
    assert all(np.all(np.isfinite(part)) for part in counts)
