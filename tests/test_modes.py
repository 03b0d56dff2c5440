"""Searches for modes: what they find, and where fits begin."""

import math

import hard_targets
import numpy as np
import pytest
from naive import modes as naive
from toy_targets import bowl, gaussian_of_condition, half, nowhere, plateau, rosenbrock, unbounded

import fastvi
from fastvi import families
from fastvi.base import parallel
from fastvi.fitting import modes
from fastvi.fitting.modes import search

pytestmark = pytest.mark.jit


def twins(z, grad):
    """0.3 N(-3, 0.5^2) + 0.7 N(3, 0.5^2), normalised."""
    a, b = math.log(0.3) - 2.0 * (z[0] + 3.0) ** 2, math.log(0.7) - 2.0 * (z[0] - 3.0) ** 2
    top = max(a, b)
    first, second = math.exp(a - top), math.exp(b - top)
    grad[0] = -4.0 * (first * (z[0] + 3.0) + second * (z[0] - 3.0)) / (first + second)
    return top + math.log(first + second) - 0.5 * math.log(0.5 * math.pi)


def unordered(z, data, grad):
    """Means of two normals of sd 1 and equal weights, whose order nothing tells."""
    value = -0.02 * (z[0] * z[0] + z[1] * z[1])
    for k in range(2):
        grad[k] = -0.04 * z[k]
    for i in range(data.y.size):
        a, b = data.y[i] - z[0], data.y[i] - z[1]
        top = -0.5 * min(a * a, b * b)
        first, second = math.exp(-0.5 * a * a - top), math.exp(-0.5 * b * b - top)
        value += top + math.log(first + second)
        grad[0] += first / (first + second) * a
        grad[1] += second / (first + second) * b
    return value


def location(z, data, grad):
    """A Cauchy location, scale 0.3, with a wide prior."""
    value = -0.00125 * z[0] * z[0]
    grad[0] = -0.0025 * z[0]
    for i in range(data.y.size):
        away = data.y[i] - z[0]
        value -= math.log(0.09 + away * away)
        grad[0] += 2.0 * away / (0.09 + away * away)
    return value


# Searches


@pytest.mark.parametrize("dim", [1, 2, 50])
def test_a_gaussian_has_one_mode_and_an_exact_evidence(dim):
    target, mean, cov, evidence = gaussian_of_condition(dim)
    found = search(target, np.zeros(dim))
    (mode,) = found.modes
    assert np.abs((mode.place - mean) / np.sqrt(np.diag(cov))).max() < 1e-4
    np.testing.assert_allclose(mode.cov, cov, rtol=1e-4, atol=1e-4 * np.diag(cov).min())
    np.testing.assert_allclose([mode.log_evidence, mode.log_prob], [evidence, 0.7], atol=1e-4)
    assert mode.share == 1.0
    assert found.best.converged
    assert found.best.n_evaluations < 24 * (50 + dim)  # of each path, where rounding decides


@pytest.mark.slow
def test_a_thousand_numbers():
    target, mean, _, evidence = gaussian_of_condition(1000)
    (mode,) = search(target, np.zeros(1000)).modes
    np.testing.assert_allclose(mode.place, mean, atol=1e-3)
    np.testing.assert_allclose(mode.log_evidence, evidence, atol=1e-3)


def test_the_better_of_two_modes_is_found_from_the_worse():
    target = fastvi.target(twins, dim=1)
    found = search(target, np.array([-2.9]))
    np.testing.assert_allclose([mode.place[0] for mode in found.modes], [3.0, -3.0], atol=1e-6)
    np.testing.assert_allclose([mode.share for mode in found.modes], [0.7, 0.3], rtol=1e-6)
    np.testing.assert_allclose(found.modes[0].log_evidence, math.log(0.7), rtol=1e-6)
    assert found.best.mode == found.modes[0].place
    (alone,) = search(target, np.array([-2.9]), 1).modes
    np.testing.assert_allclose(alone.place, [-3.0])
    assert alone.share == 1.0


def test_equal_modes_leave_the_fit_where_the_start_leads():
    y = np.concatenate((np.linspace(-3.0, -1.0, 20), np.linspace(1.0, 3.0, 20)))
    target = fastvi.target(unordered, data={"y": y}, dim=2)
    for start in ([-1.0, 1.0], [1.0, -1.0]):
        found = search(target, np.array(start))
        one, two = found.modes
        assert np.sign(one.place).tolist() == np.sign(start).tolist()
        np.testing.assert_allclose(one.place, two.place[::-1], rtol=1e-4)
        np.testing.assert_allclose([one.share, two.share], 0.5, atol=1e-4)


def test_a_far_observation_does_not_hold_a_location():
    target = fastvi.target(location, data={"y": np.array([-3.0, 2.0, 2.1, 1.9, 2.3])}, dim=1)
    alone = search(target, np.array([-3.0]), 1)
    assert abs(alone.best.mode[0] + 3.0) < 0.2
    found = search(target, np.array([-3.0]))
    assert abs(found.best.mode[0] - 2.05) < 0.2
    posterior = fastvi.fit(target, start=[-3.0], random_state=0)
    assert abs(posterior.mean[0] - 2.05) < 0.2


def test_searches_end_where_there_is_no_mode(recwarn):
    for function, dim in ((unbounded, 2), (plateau, 1), (nowhere, 2)):
        found = search(fastvi.target(function, dim=dim), np.ones(dim))
        assert found.best.cov is None
        assert len(found.modes) == (function is not nowhere)
        assert all(mode.cov is None and math.isnan(mode.share) for mode in found.modes)
    assert not recwarn


def test_an_inflection_is_no_mode():
    target = fastvi.target(unbounded, dim=2)
    assert all(search(target, np.ones(2), seed=seed).best.cov is None for seed in range(10))


def test_a_start_without_a_density_is_made_good():
    target = fastvi.target(half, dim=2)
    assert search(target, np.array([-1.0, 0.0]), 1).best.cov is None
    found = search(target, np.array([-1.0, 0.0]))
    np.testing.assert_allclose(found.best.mode, [4.0, 0.0], atol=1e-5)


def strict(z, grad):
    """Gamma(2, 1), which raises where z is negative."""
    if z[0] < 0.0:
        raise ValueError("negative")
    grad[0] = 1.0 / z[0] - 1.0
    return math.log(z[0]) - z[0]


def test_a_density_that_raises_is_silent(capfd):
    target = fastvi.target(strict, dim=1)
    np.testing.assert_allclose(search(target, np.ones(1)).best.mode, [1.0], atol=1e-5)
    assert capfd.readouterr().err == ""


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    target = fastvi.target(twins, dim=1)
    used = []
    run = parallel.run
    monkeypatch.setattr(parallel, "run", lambda f, n, k: used.append(k) or run(f, n, k))
    one, two = (search(target, np.array([0.1]), None, 0, n) for n in (1, 2))
    assert set(used) == {1, 2}
    for a, b in zip(one.modes, two.modes, strict=True):
        assert a.place.tobytes() == b.place.tobytes()
        assert a.log_evidence == b.log_evidence
    used.clear()
    target.concurrent = False
    search(target, np.array([0.1]), None, 0, 2)
    assert set(used) == {1}


def test_seeds_and_numbers_of_paths():
    target = fastvi.target(rosenbrock, dim=2)
    n = [search(target, np.zeros(2), k, 0).best.n_evaluations for k in (1, 2, 5, 9)]
    assert n == sorted(set(n))
    again, other = (search(target, np.zeros(2), 5, seed).best.n_evaluations for seed in (0, 1))
    assert n[2] == again != other


@pytest.mark.parametrize("n_modes", range(5))
def test_paths_stop_by_boenders_rule(n_modes):
    for n in range(1, 40):
        assert modes._is_over(n, n_modes) == (n > n_modes + 2 and naive.is_over(n, n_modes))


def test_what_modes_account_for():
    peak = modes._Peak(
        np.array([1.0, -2.0]), 0.4, np.array([[2.0, 0.5], [0.5, 1.0]]),
        np.linalg.cholesky([[2.0, 0.5], [0.5, 1.0]]), 0.0,
    )  # fmt: skip
    z = np.array([[0.3, 0.1], [40.0, -20.0]])
    wanted = [naive.log_student(x, peak.place, peak.cov, 4.0) for x in z]
    np.testing.assert_allclose(peak.heavy(z), np.add(wanted, peak.log_evidence))


# Fits


def test_a_fit_begins_at_the_best_mode_and_keeps_them_all(tmp_path):
    target = fastvi.target(twins, dim=1)
    posterior = fastvi.fit(target, start=[-2.9], random_state=0)
    assert abs(posterior.mean[0] - 3.0) < 0.1
    assert "2 modes found; by Laplace's method the first has 70 % of the evidence." in str(
        posterior
    )
    posterior.save(tmp_path / "p.npz")
    loaded = fastvi.Posterior.load(tmp_path / "p.npz", target)
    assert len(loaded.modes) == 2
    for a, b in zip(loaded.modes, posterior.modes, strict=True):
        np.testing.assert_array_equal(a.place, b.place)
        np.testing.assert_array_equal(a.cov, b.cov)
        assert a[1] == b[1]
        assert a[3:] == b[3:]
    assert "2 modes" in loaded.summary()
    alone = fastvi.fit(target, start=[-2.9], n_starts=1, random_state=0)
    assert abs(alone.mean[0] + 3.0) < 0.1
    assert "modes found" not in alone.summary()


@pytest.mark.parametrize("method", ["laplace", "delta"])
def test_methods_without_draws_take_the_best_mode_too(method):
    target = fastvi.target(twins, dim=1)
    assert abs(fastvi.fit(target, start=[-2.9], method=method).mean[0] - 3.0) < 1e-3
    one = fastvi.fit(target, start=[-2.9], method=method, n_starts=1)
    assert abs(one.mean[0] + 3.0) < 1e-3
    assert len(one.modes) == 1


def test_a_member_given_is_where_the_fit_begins():
    target = fastvi.target(twins, dim=1)
    member = fastvi.families.FullRank(np.array([-3.0]), np.array([[0.5]]))
    posterior = fastvi.fit(target, member, random_state=0)
    assert abs(posterior.mean[0] + 3.0) < 0.1
    assert len(posterior.modes) == 2


def test_a_file_with_a_mode_that_is_none(tmp_path):
    target = fastvi.target(plateau, dim=1)
    found = search(target, np.ones(1)).modes
    member = fastvi.families.FullRank(np.zeros(1), np.eye(1))
    history = {"elbo": np.zeros(1)}
    posterior = fastvi.Posterior(
        member, target, settled=False, n_iter=1, history=history, names=target.names, modes=found
    )
    posterior.save(tmp_path / "p.npz")
    (mode,) = fastvi.Posterior.load(tmp_path / "p.npz").modes
    assert mode.cov is None
    assert math.isnan(mode.log_evidence)
    assert mode.log_prob == 0.0


@pytest.mark.parametrize("n_starts", [0, -1, 2.5, "many", True])
def test_numbers_of_paths_that_are_none(n_starts):
    with pytest.raises((ValueError, TypeError), match="n_starts"):
        fastvi.fit(fastvi.target(bowl, dim=1), n_starts=n_starts)


def test_a_search_without_gradients_is_refused():
    target = fastvi.target(lambda z: -0.5 * z[0] ** 2, dim=1, gradient=None)
    with pytest.raises(ValueError, match="n_starts=3 for a target without gradients"):
        fastvi.fit(target, "meanfield", method="score", n_starts=3)


@pytest.mark.slow
def test_hares_and_lynxes(data_dir):
    """From 0 a path leads to a mode with nearly no evidence."""
    target = hard_targets.of_data(data_dir / "posteriors", hard_targets.LOTKA)
    found = search(target, np.zeros(8))
    best = max(mode.log_evidence for mode in found.modes)
    assert found.modes[0].log_evidence == best
    (alone,) = search(target, np.zeros(8), 1).modes
    np.testing.assert_allclose(best - alone.log_evidence, 18.5 + 15.4, atol=0.2)


def test_paths_that_would_go_unheard():
    target = fastvi.target(bowl, dim=1)
    with pytest.raises(ValueError, match="n_starts=3 with method='score'"):
        fastvi.fit(target, families.blocks(families.gaussian([0.0], [1.0])), n_starts=3)
