"""Error bounds: against Gaussians in closed form, and on targets whose moments are known."""

import hard_targets
import numpy as np
import pytest
from test_verdict import posterior_of
from toy_targets import normal_of

import fastvi
from fastvi import families
from fastvi.families import bernoulli, blocks

CASES = {case.name: case for case in hard_targets.cases()}
COV = np.array([[1.0, 0.2], [0.2, 0.8]])


def divergence(mean, cov, of_mean, of_cov):
    """Rényi divergence of order 2 of N(mean, cov) from another: Gil, Alajaji, Linder (2013)."""
    mixed = 2.0 * of_cov - cov
    away = mean - of_mean
    dets = [np.linalg.slogdet(c)[1] for c in (mixed, cov, of_cov)]
    return away @ np.linalg.solve(mixed, away) - 0.5 * (dets[0] + dets[1] - 2.0 * dets[2])


@pytest.mark.parametrize("kind", [families.FullRank, families.MeanField, families.LowRank])
@pytest.mark.parametrize(("k", "off"), [(1.0, 0.0), (1.2, 0.1), (0.9, 0.05)])
def test_bounds_hold_for_gaussians(kind, k, off):
    member = kind.of(np.full(2, off), k * k * COV)
    wanted = divergence(np.zeros(2), COV, member.mean, member.cov)
    found = posterior_of(normal_of(np.zeros(2), COV), member).error_bounds()
    assert wanted - 1e-9 <= found.divergence < 1.2 * wanted + 0.25
    sds = np.sqrt(np.diag(COV))
    assert np.all(np.abs(member.mean) <= found.mean)
    assert np.all(np.abs(member.sd - sds) <= found.sd + 1e-12)
    roots = np.linalg.cholesky(COV)
    inner = np.linalg.eigvals(roots.T @ member.cov @ roots).real
    cross = 2.0 * np.sqrt(np.maximum(inner, 0.0)).sum()
    square = member.mean @ member.mean + np.trace(COV) + np.trace(member.cov) - cross
    assert np.sqrt(max(square, 0.0)) <= found.wasserstein2
    assert np.linalg.norm(member.mean) <= found.wasserstein1


def test_no_bounds_where_the_divergence_is_infinite():
    """Half the variance is too little."""
    narrow = families.FullRank.of(np.zeros(2), 0.3 * COV)
    with pytest.raises(ValueError, match="divergence is infinite"):
        posterior_of(normal_of(np.zeros(2), COV), narrow).error_bounds()


def test_refusals():
    with pytest.raises(ValueError, match="for Gaussian families"):
        posterior_of(CASES["table of bits"].make(), blocks(bernoulli([0.5, 0.5]))).error_bounds()
    with pytest.raises(ValueError, match="corrected moments cannot be had"):
        fastvi.fit(CASES["Cauchy, no mean"].make(), random_state=0).error_bounds()


def checked(case, family):
    """Whether bounds are given; they must hold."""
    try:
        posterior = fastvi.fit(case.make(), family, start=case.start, random_state=0)
        found = posterior.error_bounds()
    except (ValueError, ArithmeticError):
        return False
    assert np.all(np.abs(posterior.mean - case.mean) <= found.mean), case.name
    assert np.all(np.abs(posterior.sd - case.sd) <= found.sd), case.name
    return True


def light(z):
    return z[0] - 0.5 * z[0] ** 2 - 0.1 * z[0] ** 4


def test_bounds_hold_where_tails_are_light_and_a_bent_target_has_none():
    moments = hard_targets.on_line(lambda x: x - 0.5 * x**2 - 0.1 * x**4, -8.0, 8.0)
    make = hard_targets.made(light, dim=1)
    assert checked(hard_targets.Case("light", make, *moments), "fullrank")
    assert not checked(CASES["Rosenbrock 0.1"], "fullrank")


@pytest.mark.slow
@pytest.mark.parametrize("name", [c.name for c in CASES.values() if c.mean is not None])
def test_bounds_hold_wherever_they_are_given(name):
    if len(CASES[name].mean) < 300 and not CASES[name].discrete:
        for family in ("fullrank", "meanfield"):
            checked(CASES[name], family)
