"""Annealed paths: weights and gradients against their plain twin, closed forms, fits, files."""

import numpy as np
import pytest
from naive import annealed as naive

import fastvi
from fastvi.families import Hamiltonian, Langevin, annealed
from fastvi.targets.standardised import guided

SHORT = {"verdict": False, "random_state": 0}
both = pytest.mark.parametrize("kind", [Hamiltonian, Langevin])


@fastvi.target(dim=2)
def bent(z):
    u = z[1] + 0.3 * z[0] * z[0]
    return -0.125 * z[0] * z[0] - 0.5 * u * u


def log_p(z):
    return -0.125 * z[0] ** 2 - 0.5 * (z[1] + 0.3 * z[0] ** 2) ** 2


def grad(z):
    u = z[1] + 0.3 * z[0] ** 2
    return np.array([-0.25 * z[0] - 0.6 * u * z[0], -u])


@fastvi.target(dim=2)
def gaussian(z):
    return -0.5 * (z[0] - 1.0) ** 2 - 2.0 * (z[1] - 0.5 * z[0]) ** 2


EVIDENCE = np.log(2.0 * np.pi) - np.log(2.0)  # of `gaussian`


def member(kind, rng, n_steps=3, target=bent):
    q = kind.of(np.zeros(2), np.eye(2), n_steps)
    return guided(q._replace(params=q.params + 0.3 * rng.standard_normal(len(q.params))), target)


@both
def test_weights_are_those_of_the_twin(kind, rng):
    q = member(kind, rng)
    draws = q.draw(4, rng)
    for s in range(4):
        z, log_w = naive.path(q.params, kind.keeps(), draws.noise[s], log_p, grad, 2)
        np.testing.assert_allclose(draws.points[s], z, rtol=1e-11)
        np.testing.assert_allclose(log_p(z) - q.log_prob_of(draws)[s], log_w, rtol=1e-10)


@both
def test_gradients_are_those_of_complex_steps(kind, rng):
    """Of any loss of the ends of paths and their densities; curvatures are differences."""
    q = member(kind, rng)
    draws, weights = q.draw(4, rng), rng.random(4)
    of_points, of_log_q = rng.standard_normal((4, 2)), rng.standard_normal(4)
    (got,) = q.pullback(draws, of_points, of_log_q, weights)

    def loss(params):
        total = 0.0
        for eps, slope, weight, w in zip(draws.noise, of_points, of_log_q, weights):
            z, log_w = naive.path(params, kind.keeps(), eps, log_p, grad, 2)
            total = total + w * (slope @ z + weight * (log_p(z) - log_w))
        return total

    np.testing.assert_allclose(got, naive.derivatives(loss, q.params), rtol=1e-5, atol=1e-6)


def test_leapfrog_steps_keep_volumes(rng):
    """From noise to the end of a step and its momentum, volumes change by the first scale only."""
    q, h = member(Hamiltonian, rng, 1), 1e-5
    eps = rng.standard_normal(4)

    def end(noise):
        paths, _ = q._paths(noise[None])
        return np.concatenate((paths.places[-1, 0], paths.after[-1, 0]))

    columns = [(end(eps + s) - end(eps - s)) / (2.0 * h) for s in h * np.eye(4)]
    volume = np.linalg.slogdet(np.array(columns))[1]
    np.testing.assert_allclose(volume, q.params[2:4].sum(), atol=1e-7)


def bound_of(q):
    """E[log w] in closed form: on a Gaussian target, log weights are quadratic in the noise."""
    n = q.dim * (q.n_steps + 1)
    noise = np.concatenate((np.zeros((1, n)), np.eye(n), -np.eye(n)))
    draws = q.at(noise)
    values = gaussian.attempt(draws.points, with_gradient=False)[0] - q.log_prob_of(draws)
    return values[0] + 0.5 * np.sum(values[1 : n + 1] + values[n + 1 :] - 2.0 * values[0])


@both
def test_the_bound_on_a_gaussian_is_the_closed_form(kind, rng):
    q = member(kind, rng, 4, gaussian)
    draws = q.draw(40_000, rng)
    log_w = gaussian.attempt(draws.points, with_gradient=False)[0] - q.log_prob_of(draws)
    error = log_w.std() / np.sqrt(len(log_w))
    assert abs(bound_of(q) - log_w.mean()) < 5.0 * error
    assert bound_of(q) < EVIDENCE


@both
def test_the_bound_on_a_gaussian_rises_with_the_steps(kind):
    """From a Gaussian that is off; steps of one length, bridges at equal distances."""
    bounds = []
    for n_steps in (1, 4, 16, 64):
        q = kind.of(np.array([-1.0, 1.0]), np.eye(2), n_steps)
        bounds.append(bound_of(guided(q, gaussian)))
    assert np.all(np.diff(bounds) > 0.0)
    assert bounds[-1] < EVIDENCE


def gap(n_steps):
    posterior = fastvi.fit(bent, annealed("hamiltonian", n_steps), max_iter=800, **SHORT)
    return np.log(4.0 * np.pi) - posterior.elbo


def test_fits_are_better_than_a_gaussian_and_with_more_steps():
    plain = np.log(4.0 * np.pi) - fastvi.fit(bent, **SHORT).elbo
    few, more = gap(2), gap(12)
    assert more < few < plain
    assert more > 0.0


@both
def test_posteriors_are_judged_by_their_moments(kind):
    posterior = fastvi.fit(gaussian, kind.of, max_iter=400, random_state=0)
    assert posterior.verdict.word in ("good", "means only")
    np.testing.assert_allclose(posterior.mean, [1.0, 0.5], atol=0.1)
    with pytest.raises(ValueError, match="no density"):
        posterior.log_prob(np.zeros((1, 2)))


def test_files_need_the_target_to_draw(tmp_path):
    posterior = fastvi.fit(bent, annealed("langevin", 3), max_iter=50, **SHORT)
    posterior.save(tmp_path / "q.npz")
    again = fastvi.Posterior.load(tmp_path / "q.npz", bent)
    np.testing.assert_array_equal(again.sample(5, 0), posterior.sample(5, 0))
    with pytest.raises(ValueError, match="which is not there"):
        fastvi.Posterior.load(tmp_path / "q.npz").sample(5)
    arrays = posterior.member.save()
    for name, value, message in (
        ("params", arrays["params"][1:], "params has"),
        ("units", -arrays["units"], "units must be"),
    ):
        with pytest.raises(ValueError, match=message):
            Langevin.load(arrays | {name: value}, 2)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="n_steps is 0"):
        annealed("hamiltonian", 0)
    with pytest.raises(ValueError, match="kind is 'nuts'"):
        annealed("nuts")
