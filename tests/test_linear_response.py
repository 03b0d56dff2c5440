"""Covariances of mean-field fits by linear response."""

import math

import hard_targets
import numpy as np
import pytest
from posteriors import gold, target
from toy_targets import normal_of

import fastvi
from fastvi import families
from fastvi.posteriors.fixed_draws import FixedDraws, fixed_noise, whole_hessian
from fastvi.posteriors.member import Posterior

COV = np.array([[2.0, 1.2, 0.0], [1.2, 1.0, -0.3], [0.0, -0.3, 0.5]])


def bent(z, grad):
    """A skewed density of two numbers."""
    e = z[1] - 0.3 * z[0] * z[0]
    grad[0] = -z[0] + 0.6 * e * z[0] - 0.2 * z[0] ** 3
    grad[1] = -e
    return -0.5 * z[0] ** 2 - 0.5 * e * e - 0.05 * z[0] ** 4


def posterior_of(target, mean, sd, **options):
    """As if fitted: the optimum is known."""
    about = {"settled": True, "n_iter": 1, "history": {}, "names": target.names, **options}
    return Posterior(families.MeanField(np.asarray(mean), np.asarray(sd)), target, **about)


def of_gaussian(mean, cov, **options):
    return posterior_of(
        normal_of(mean, cov), mean, 1 / np.sqrt(np.diag(np.linalg.inv(cov))), **options
    )


def test_noise_comes_in_pairs_and_less_of_it_is_the_beginning_of_more():
    noise = fixed_noise(10, 3, 7)
    np.testing.assert_array_equal(noise[::2], -noise[1::2])
    np.testing.assert_array_equal(fixed_noise(4, 3, 7), noise[:4])


def test_derivatives_of_the_bound_are_those_of_differences():
    target, noise = fastvi.target(bent, dim=2), fixed_noise(8, 2, 0)
    mean, sd = np.array([0.3, 0.1]), np.array([0.7, 1.2])

    def at(x):
        return FixedDraws(target, mean + sd * x[:2], sd * np.exp(x[2:]), noise)

    here, steps = at(np.zeros(4)), 1e-4 * np.eye(4)
    slopes = [(at(h).bound - at(-h).bound) / 2e-4 for h in steps]
    np.testing.assert_allclose(here.gradients.mean(axis=0), slopes, atol=1e-6)
    hessian = whole_hessian(here, here.hessians())
    for j, h in enumerate(steps):
        up, down = (at(s * h).gradients.mean(axis=0) for s in (1.0, -1.0))
        up[:2] /= np.exp(h[2:])  # back to the units of `here`
        down[:2] /= np.exp(-h[2:])
        np.testing.assert_allclose(hessian[j], (up - down) / 2e-4, atol=1e-5)
        np.testing.assert_allclose(here.product(np.eye(4)[j]), hessian[j], atol=1e-6)


def test_the_covariance_of_a_gaussian_is_exact():
    found = of_gaussian([1.0, -2.0, 0.5], COV).linear_response()
    np.testing.assert_allclose(found.cov, COV, rtol=1e-6, atol=1e-7)
    assert np.all(found.error < 1e-6)
    assert found.n_draws == 16
    assert found.n_gradients == 16 * (1 + 2 * 3)
    assert found.trusted
    assert "3 numbers" in str(found)


@pytest.mark.parametrize(
    ("which", "at"), [(1, [1]), ("x2", [2]), ([2, 0], [2, 0]), (["x0", 1], [0, 1])]
)
def test_chosen_numbers_have_the_same_covariance(which, at):
    posterior = of_gaussian(np.zeros(3), COV)
    posterior.names = "x0", "x1", "x2"
    found = posterior.linear_response(which)
    assert found.names == tuple(f"x{i}" for i in at)
    np.testing.assert_allclose(found.cov, COV[np.ix_(at, at)], rtol=1e-5, atol=1e-6)
    assert np.isnan(found.khat)


def test_one_number_of_a_thousand():
    case = hard_targets.chain_of(1000, 0.95)
    target = case.make()
    sd = 1.0 / np.sqrt(np.append(np.full(999, 2.9025), 2.0))
    sd[0] = np.sqrt(0.5)
    posterior = posterior_of(target, case.mean, sd)
    found = posterior.linear_response([0, 500])
    np.testing.assert_allclose(found.sd, case.sd[[0, 500]], rtol=1e-4)
    assert found.n_gradients < 3000
    with pytest.raises(ValueError, match=r"1000 numbers; wanted some of them"):
        posterior.linear_response()


def test_errors_are_those_over_seeds():
    target = fastvi.target(bent, dim=2)
    fit = fastvi.fit(target, "meanfield", random_state=0, tol=0.005)
    found = []
    for seed in range(40):
        again = posterior_of(target, fit.mean, fit.sd, seed=seed)
        found.append(again.linear_response(n_draws=16))
    sds, errors = (np.array([getattr(f, name) for f in found]) for name in ("sd", "error"))
    assert np.all(sds.std(axis=0) < 1.5 * errors.mean(axis=0))
    assert np.all(sds.std(axis=0) > 0.5 * errors.mean(axis=0))


def funnel(z, grad):
    shrink = math.exp(-2.0 * z[0])
    grad[0] = -z[0] + z[1] * z[1] * shrink - 1.0
    grad[1] = -z[1] * shrink
    return -0.5 * z[0] ** 2 - 0.5 * z[1] * z[1] * shrink - z[0]


def test_hessians_that_are_not_finite_are_not_concave(monkeypatch):
    monkeypatch.setattr(FixedDraws, "hessians", lambda self: np.full((16, 3, 3), np.nan))
    with pytest.raises(ValueError, match="a bound that is concave"):
        of_gaussian(np.zeros(3), COV).linear_response()


def test_a_funnel_is_not_trusted():
    posterior = fastvi.fit(fastvi.target(funnel, dim=2), "meanfield", random_state=0)
    found = posterior.linear_response()
    assert not found.trusted
    assert "Do not trust it" in str(found)


def test_refusals(tmp_path):
    target = normal_of(np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="family='meanfield', but this posterior is 'fullrank'"):
        fastvi.fit(target, random_state=0).linear_response()
    renyi = fastvi.fit(target, "meanfield", objective=0.5, random_state=0)
    with pytest.raises(ValueError, match=r"objective='elbo', but this one is of 'renyi\(0.5\)'"):
        renyi.linear_response()
    posterior = of_gaussian(np.zeros(3), COV)
    for which, words in ((5, "which is 5"), ("b", "which holds 'b'"), ([], "which is empty")):
        with pytest.raises(ValueError, match=words):
            posterior.linear_response(which)
    with pytest.raises(ValueError, match="n_draws is 2"):
        posterior.linear_response(n_draws=2)
    ridge = posterior_of(normal_of(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]])), [0, 0], [1, 1])
    for which in (None, [0, 1]):
        with pytest.raises(ValueError, match="a bound that is concave"):
            ridge.linear_response(which)
    posterior.save(tmp_path / "fit.npz")
    with pytest.raises(ValueError, match="loaded without its target"):
        Posterior.load(tmp_path / "fit.npz").linear_response()


REAL = (
    "earnings-logearn_interaction", "kidiq-kidscore_interaction", "nes1996-nes", "arK-arK",
    "sblrc-blr",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_standard_deviations_of_real_models(data_dir, name):
    folder = data_dir / "posteriors"
    posterior = fastvi.fit(target(folder, name), "meanfield", random_state=0)
    found = posterior.linear_response()
    np.testing.assert_allclose(found.sd, gold(folder, name)[0].std(axis=0), rtol=0.05)
    assert found.trusted
    assert found.n_gradients < 0.5 * posterior.n_iter * 16
