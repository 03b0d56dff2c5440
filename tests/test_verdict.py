"""Verdicts: what is certified is right, and what is right is certified."""

from types import SimpleNamespace

import hard_targets
import numpy as np
import pytest
from toy_targets import normal_of

import fastvi
from fastvi import families
from fastvi.families import bernoulli, blocks
from fastvi.posteriors import verdict
from fastvi.posteriors.importance import Mixture, near_modes
from fastvi.posteriors.member import Posterior
from fastvi.posteriors.modes import Mode
from fastvi.posteriors.verdict import WORDS, Verdict

CASES = hard_targets.few_numbers()
COV = np.array([[1.0, 0.6], [0.6, 0.8]])
MEAN = np.array([0.5, -1.0])


def posterior_of(target, member, modes=()):
    found = Posterior(
        member, target, settled=True, n_iter=1, history={}, names=target.names, seed=0
    )
    found.modes = modes
    return found


@pytest.fixture(scope="module")
def normal():
    return normal_of(MEAN, COV)


@pytest.fixture(scope="module")
def mode():
    return Mode(MEAN, 0.0, COV, 0.0, 1.0)


def test_the_target_itself_is_good(normal):
    found = posterior_of(normal, families.FullRank.of(MEAN, COV)).verdict
    assert found.word == "good"
    assert found.figures["n_draws"] == 250
    assert found.figures["shift"] < 0.15
    assert str(found).startswith("good: Importance weights move means by at most 0.0")


@pytest.mark.parametrize("with_mode", [True, False])
def test_means_of_mean_field_fits_are_right_and_their_widths_are_not(normal, mode, with_mode):
    member = families.MeanField.of(MEAN, np.array([[1.0, 0.8], [0.8, 0.8]]))
    found = posterior_of(normal, member, (mode,) if with_mode else ())
    assert found.verdict.word == "means only"
    assert found.converged
    assert "standard deviation" in found.verdict.reason


@pytest.mark.parametrize(("k", "mean", "cov"), list(hard_targets.bad_members(MEAN, COV)))
@pytest.mark.parametrize("kind", [families.FullRank, families.MeanField, families.LowRank])
def test_members_of_wrong_width_and_mean_are_never_good(normal, mode, kind, k, mean, cov):
    for modes in ((), (mode,)):
        found = posterior_of(normal, kind.of(mean, cov), modes)
        assert found.verdict.word != "good"
        if 0.2 * k > 0.3:
            assert not found.converged
        if 0.2 * k < 0.2 and modes:
            assert found.verdict.word == "means only"


@pytest.mark.parametrize("name", ["two modes", "Cauchy, no mean", "log Gamma(0.05)", "ring"])
def test_wrong_fits_are_not_certified(name):
    case = CASES[name]
    found = fastvi.fit(case.make(), start=case.start, random_state=0)
    assert not found.converged
    assert found.verdict.reason in found.summary()


@pytest.mark.parametrize(
    ("n_rows", "most"), [(None, 8000), (50_000, 8000), (4e5, 1000), (1e8, 250)]
)
def test_many_rows_allow_fewer_draws(n_rows, most):
    assert verdict.most_draws(SimpleNamespace(n_rows=n_rows), verdict.MOST) == most


def test_a_target_without_a_mean_is_bad():
    found = fastvi.fit(CASES["Cauchy, no mean"].make(), random_state=0)
    assert found.verdict.word == "bad"
    assert "no mean" in found.verdict.reason


def test_other_modes_are_seen(normal):
    """Half of the mass lies 60 sd away, which only the list of modes knows."""
    case = CASES["two modes"]
    modes = [Mode(np.array([m]), 0.0, np.array([[0.25]]), 0.0, 0.5) for m in (3.0, -3.0)]
    member = families.FullRank(np.array([3.0]), np.array([[0.5]]))
    found = posterior_of(case.make(), member, tuple(modes))
    assert found.verdict.word == "bad"
    assert found.verdict.figures["shift"] == pytest.approx(1.0, abs=0.1)
    assert found.verdict.figures["modes"] == 2


def test_only_modes_with_evidence_matter():
    def at(evidence, log_prob=0.0):
        return Mode(np.zeros(1), log_prob, None, evidence, 0.0)

    assert near_modes([]) == []
    modes = [at(0.0), at(5.0), at(-4.0), at(np.nan, 4.0)]
    assert [m.log_evidence for m in near_modes(modes)][:1] == [5.0]
    assert len(near_modes(modes)) == 3


def test_a_funnel_whose_density_is_unbounded_is_undecided():
    """Draws do not come to where half of the spread of log tau is, whatever their weights."""
    case = hard_targets.groups_of(8)
    found = fastvi.fit(case.make(), random_state=1)
    assert all(mode.cov is None for mode in found.modes)
    assert not found.converged
    assert "No path uphill came to a mode" in found.verdict.reason
    with pytest.raises(ValueError, match="corrected moments cannot be had"):
        found.corrected()


def test_bits_that_collapsed_are_bad_and_all_combinations_are_listed():
    case = CASES["table of bits"]
    member = blocks(bernoulli([0.9999, 0.0001]))
    found = posterior_of(case.make(), member)
    assert found.efficiency > 0.99  # of its own draws
    assert found.verdict.word == "bad"
    assert found.verdict.figures["n_draws"] == 4
    assert found.verdict.figures["shift"] == pytest.approx(1.0, abs=0.01)


def test_right_chances_are_good():
    @fastvi.target(dim=3)
    def coins(z):
        return 1.5 * z[0] - 0.5 * z[1] + 0.2 * z[2]

    chances = 1 / (1 + np.exp(-np.array([1.5, -0.5, 0.2])))
    assert posterior_of(coins, blocks(bernoulli(chances))).verdict.word == "good"
    wrong = np.where(np.arange(3) == 1, 0.6, chances)
    assert posterior_of(coins, blocks(bernoulli(wrong))).verdict.word == "bad"


def test_many_bits_in_two_states():
    """All 0 or all 1: 2^20 combinations, of which a fit finds one."""

    @fastvi.target(dim=20)
    def magnet(z):
        total = 0.0
        for i in range(19):
            total -= 4.0 * (z[i] - z[i + 1]) ** 2
        return total

    one = posterior_of(magnet, blocks(bernoulli(np.full(20, 0.98))))
    assert one.verdict.word in ("bad", "undecided")


def test_the_same_verdict_each_time_and_from_a_file(normal, tmp_path):
    member = families.FullRank.of(MEAN + 0.1, COV)
    one, two = posterior_of(normal, member), posterior_of(normal, member)
    assert one.verdict[:3] == two.verdict[:3]
    one.save(tmp_path / "p.npz")
    alone = fastvi.load(tmp_path / "p.npz")
    assert alone.verdict == one.verdict
    assert alone.converged == one.converged
    assert one.verdict.reason in alone.summary()


def test_a_verdict_can_wait(normal, tmp_path):
    found = fastvi.fit(normal, verdict=False, random_state=0)
    assert "verdict" not in found.__dict__
    found.save(tmp_path / "p.npz")
    with pytest.raises(ValueError, match="loaded without its target"):
        _ = fastvi.load(tmp_path / "p.npz").verdict
    assert Posterior.load(tmp_path / "p.npz", normal).verdict[:3] == found.verdict[:3]


def test_particles_have_verdicts(normal, tmp_path):
    found = fastvi.svgd(normal, 50, random_state=0)
    assert found.verdict.word in WORDS
    assert isinstance(found.verdict, Verdict)
    found.save(tmp_path / "p.npz")
    assert fastvi.load(tmp_path / "p.npz").verdict == found.verdict
    assert "verdict" not in fastvi.svgd(normal, 10, verdict=False, max_iter=2).__dict__


def test_proposals_without_a_positive_definite_covariance():
    """The mode's inverse Hessian may be singular to rounding."""
    flat = Mode(MEAN, 0.0, np.ones((2, 2)), 0.0, 1.0)
    mixture = Mixture(families.MeanField(MEAN, np.ones(2)), (flat,))
    points = mixture.draw(100, np.random.default_rng(0))
    assert np.isfinite(mixture.log_probs(points).proposals).all()


def test_nothing_is_said_of_draws_where_a_density_fails():
    @fastvi.target(dim=1)
    def fails_far_out(z, grad):
        if abs(z[0]) > 3.0:
            raise ValueError("too far")
        grad[0] = -z[0]
        return -0.5 * z[0] ** 2

    found = posterior_of(fails_far_out, families.FullRank(np.zeros(1), np.eye(1)))
    assert found.verdict.word == "good"
    assert found.elbo == -np.inf


def test_a_member_that_is_all_but_a_point_is_not_good(normal, mode):
    """Squared distances from it are no numbers any more."""
    member = families.MeanField(MEAN, np.full(2, 1e-160))
    assert posterior_of(normal, member, (mode,)).verdict.word != "good"


def test_a_table_without_a_density():
    @fastvi.target(dim=2)
    def impossible(z):
        return -np.inf + 0.0 * z[0]

    found = posterior_of(impossible, blocks(bernoulli([0.5, 0.5])))
    assert found.verdict.word == "bad"
    with pytest.raises(ValueError, match="worth only 0 draws"):
        found.corrected()
