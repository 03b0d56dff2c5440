"""Moments, draws and evidence from weighted draws."""

import hard_targets
import numpy as np
import pytest
from toy_targets import normal_of

import fastvi
from fastvi.families import bernoulli, blocks
from fastvi.posteriors.corrected import corrected_of
from fastvi.posteriors.importance import weigh

CASES = hard_targets.few_numbers()
COV = np.array([[1.0, 0.6], [0.6, 0.8]])
MEAN = np.array([0.5, -1.0])


@pytest.fixture(scope="module")
def fitted():
    return fastvi.fit(normal_of(MEAN, COV, height=3.0), "meanfield", random_state=0)


def test_moments_of_a_gaussian_within_their_errors(fitted):
    found = fitted.corrected()
    assert found.worth >= 1000
    assert np.all(found.mean_error < 0.05)
    assert np.all(np.abs(found.mean - MEAN) < 4 * found.mean_error)
    assert np.all(np.abs(found.sd - np.sqrt(np.diag(COV))) < 4 * found.sd_error)
    np.testing.assert_allclose(found.cov, COV, atol=0.15)
    assert found.weights.sum() == pytest.approx(1)
    assert "worth" in repr(found)


def test_draws_are_those_of_the_target(fitted):
    Z = fitted.corrected().sample(4000, 0)
    np.testing.assert_allclose(np.cov(Z.T), COV, atol=0.15)
    assert np.array_equal(Z, fitted.corrected().sample(4000, 0))
    assert fitted.corrected().sample(0).shape == (0, 2)


def test_evidence_has_an_error(fitted):
    found = fitted.evidence()
    assert 0 < found.error < 0.1
    assert type(found.log) is float
    target = fitted.target
    at_mean = target.log_prob(MEAN)
    exact = at_mean + 0.5 * np.linalg.slogdet(2 * np.pi * COV)[1]
    assert abs(found.log - exact) < 4 * found.error


def test_two_modes_are_put_right():
    case = CASES["two modes"]
    found = fastvi.fit(case.make(), start=case.start, random_state=0)
    assert not found.converged
    corrected = found.corrected()
    assert abs(corrected.mean - case.mean)[0] < 0.15 * case.sd[0]
    assert corrected.sd[0] == pytest.approx(case.sd[0], rel=0.1)


def test_listed_points_have_no_errors():
    case = CASES["table of bits"]
    found = fastvi.fit(case.make(), blocks(bernoulli([0.5, 0.5])), random_state=0).corrected()
    np.testing.assert_allclose(found.mean, case.mean, atol=1e-12)
    np.testing.assert_allclose(found.sd, case.sd, atol=1e-12)
    assert not found.mean_error.any()
    assert not found.sd_error.any()
    assert "all points" in repr(found)


def test_where_there_is_no_mean_none_is_given():
    found = fastvi.fit(CASES["Cauchy, no mean"].make(), random_state=0)
    with pytest.raises(ValueError, match="corrected moments cannot be had"):
        found.corrected()
    with pytest.raises(ValueError, match="corrected moments cannot be had"):
        found.evidence()


def test_no_covariance_where_there_are_no_standard_deviations(rng):
    found = weigh(rng.standard_normal((100, 2)), rng.standard_normal(100))
    assert np.isfinite(corrected_of(found, {"khat_sds": 0.5}, 0.0).cov).all()
    assert np.isnan(corrected_of(found, {"khat_sds": 0.9}, 0.0).cov).all()


@pytest.mark.jit
def test_chains_tell_moments_where_importance_sampling_cannot():
    case = CASES["funnel 0.5"]
    posterior = fastvi.fit(case.make(), random_state=0)
    assert posterior.verdict.word == "undecided"
    with pytest.raises(ValueError, match="corrected moments cannot be had"):
        posterior.corrected()
    found = posterior.corrected(refine=True)
    assert found.verdict.word == "good"
    assert "128 chains agree" in found.verdict.reason
    assert np.all(np.abs(found.mean - case.mean) < np.minimum(5 * found.mean_error, 0.15 * case.sd))
    np.testing.assert_allclose(found.sd, case.sd, rtol=0.1)
    assert found.worth > 800
    assert np.array_equal(posterior.corrected(refine=True, n_jobs=2).points, found.points)
    refined = posterior.refined_verdict()
    assert refined.word == "means only"  # a Gaussian has not the width of a funnel
    assert refined.figures["narrowest"] == pytest.approx(np.min(posterior.sd / found.sd))
    assert "Chains move means by at most" in refined.reason
    evidence = posterior.evidence(refine=True)
    assert abs(evidence.log - np.log(0.5 * (2 * np.pi) ** 5)) < 4 * evidence.error < 0.1


@pytest.mark.jit
@pytest.mark.parametrize("name", ["spike and slab at 0", "funnel 3"])
def test_chains_that_do_not_mix_tell_nothing(name):
    posterior = fastvi.fit(CASES[name].make(), random_state=0)
    for ask in (posterior.corrected, posterior.evidence):
        with pytest.raises(ValueError, match="Chains do not mix"):
            ask(refine=True)
    refined = posterior.refined_verdict()
    assert refined.word == "undecided"
    assert "Chains do not mix" in refined.reason


@pytest.mark.jit
def test_chains_find_wrong_means():
    posterior = fastvi.fit(CASES["ring"].make(), random_state=0)
    assert (posterior.verdict.word, posterior.refined_verdict().word) == ("undecided", "bad")


def test_a_density_that_grows_is_not_said_to_have_no_mean():
    """Groups' effects leave log tau no floor where they are equal, but little mass there."""
    posterior = fastvi.fit(hard_targets.groups_of(8).make(), "meanfield", random_state=0)
    assert posterior.verdict.word == "undecided"
    assert posterior.verdict.figures["tail"] > 1.0
    assert "may be unbounded" in posterior.verdict.reason


def test_where_refinement_is_refused(fitted):
    """Modes between which chains do not pass: importance weights know their shares."""
    case = CASES["two modes"]
    modes = fastvi.fit(case.make(), start=case.start, random_state=0)
    assert modes.evidence(refine=True) == modes.evidence()
    discrete = fastvi.fit(
        CASES["table of bits"].make(), blocks(bernoulli([0.5, 0.5])), random_state=0
    )
    with pytest.raises(ValueError, match="refine=True is for continuous numbers"):
        discrete.evidence(refine=True)
    with pytest.raises(ValueError, match="refine"):
        fitted.corrected(refine=1)
    assert fitted.corrected(refine=True).verdict.word == "good"  # of importance weights
    assert fitted.refined_verdict() is fitted.verdict
    with pytest.raises(ValueError, match="no mean"):
        fastvi.fit(CASES["Cauchy, no mean"].make(), random_state=0).corrected(refine=True)
