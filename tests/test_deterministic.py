"""Fits with fixed draws, against closed forms and the stochastic default."""

import numpy as np
import pytest
from toy_targets import half, normal_of, nowhere

import fastvi
from fastvi.fitting.deterministic import balanced_noise, n_draws_for

COV = np.array([[2.0, 1.2, 0.0], [1.2, 1.0, -0.3], [0.0, -0.3, 0.5]])


def skewed(z, grad):
    """The logarithm of a Gamma(3, 1), and a number that depends on it."""
    e = z[1] - z[0]
    grad[0] = 3.0 - np.exp(z[0]) + e
    grad[1] = -e
    return 3.0 * z[0] - np.exp(z[0]) - 0.5 * e * e


def fixed(target, seed=0, **options):
    options = {"method": "deterministic", "random_state": seed, **options}
    return fastvi.fit(target, "meanfield", **options)


def test_a_gaussian_is_found_exactly():
    mean = np.array([1.0, -2.0, 0.5])
    posterior = fixed(normal_of(mean, COV))
    assert posterior.settled
    np.testing.assert_allclose(posterior.mean, mean, atol=1e-6)
    np.testing.assert_allclose(posterior.sd, 1 / np.sqrt(np.diag(np.linalg.inv(COV))), rtol=1e-6)
    for name in ("mean_error", "sd_error"):
        assert posterior.history[name].shape == (3,)
        assert np.all(posterior.history[name] < 1e-6)
    np.testing.assert_allclose(posterior.linear_response().cov, COV, rtol=1e-5, atol=1e-6)
    assert np.all(np.diff(posterior.history["elbo"]) > -1e-9)


def test_means_of_a_gaussian_are_exact_with_fewer_draws_than_numbers():
    cov = np.diag(np.arange(1.0, 41.0)) + 0.5
    posterior = fixed(normal_of(np.ones(40), cov), n_draws=10)
    np.testing.assert_allclose(posterior.mean, 1.0, atol=1e-4)


@pytest.mark.parametrize(("n", "dim"), [(10, 5), (10, 6), (30, 1)])
def test_balanced_noise(n, dim):
    noise, uncorrelated = balanced_noise(n, dim, 3)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.square(noise).mean(axis=0), 1.0)
    assert uncorrelated == (dim <= n // 2)
    if uncorrelated:
        np.testing.assert_allclose(noise.T @ noise / n, np.eye(dim), atol=1e-12)


def test_errors_hold_against_many_draws_and_other_seeds():
    target = fastvi.target(skewed, dim=2)
    exact = fixed(target, n_draws=4000)
    fits = [fixed(target, seed) for seed in range(20)]
    for name in ("mean", "sd"):
        found = np.array([getattr(fit, name) for fit in fits]) - getattr(exact, name)
        errors = np.array([fit.history[f"{name}_error"] for fit in fits]).mean(axis=0)
        scatter = np.sqrt(np.square(found).mean(axis=0))
        assert np.all(scatter < 2.0 * errors + 1e-9)
        assert np.all(errors < 0.2 * exact.sd)


def test_it_agrees_with_the_default():
    target = fastvi.target(skewed, dim=2)
    default = fastvi.fit(target, "meanfield", random_state=0)
    posterior = fixed(target, n_draws=400)
    np.testing.assert_allclose(posterior.mean, default.mean, atol=0.05 * default.sd.min())
    np.testing.assert_allclose(posterior.sd, default.sd, rtol=0.05)
    assert posterior.elbo > default.elbo - 0.01


def test_the_same_seed_gives_the_same_bits(tmp_path):
    target = fastvi.target(skewed, dim=2)
    first, again, other = (fixed(target, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.mean, again.mean)
    assert not np.array_equal(first.mean, other.mean)
    first.save(tmp_path / "fit.npz")
    loaded = fastvi.Posterior.load(tmp_path / "fit.npz", target)
    np.testing.assert_array_equal(loaded.history["mean_error"], first.history["mean_error"])
    np.testing.assert_array_equal(loaded.linear_response().cov, first.linear_response().cov)


def test_draws_by_default():
    assert [n_draws_for(dim) for dim in (1, 10, 100)] == [30, 40, 120]


def test_refusals(tmp_path):
    target = normal_of(np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="families with independent normal numbers"):
        fastvi.fit(target, method="deterministic")
    for options, words in (
        ({"batch_size": 2}, "takes no rows"),
        ({"objective": 0.5}, "no choice of objectives"),
        ({"checkpoint": tmp_path / "a"}, "which has no steps"),
        ({"variance_reduction": "svrg"}, "does not work"),
    ):
        with pytest.raises(ValueError, match=words):
            fixed(target, **options)
    with pytest.raises(fastvi.targets.TargetError):
        fixed(fastvi.target(nowhere, dim=1))


def test_a_start_some_of_whose_draws_have_no_density_is_made_narrower():
    found = fixed(fastvi.target(half, dim=2), start=[0.1, 0.0])
    assert found.settled
    assert found.mean[0] == pytest.approx(5.0, abs=0.01)
    assert found.sd[0] == pytest.approx(1.9, abs=0.1)
    assert np.all(np.isfinite(found.history["elbo"]))
