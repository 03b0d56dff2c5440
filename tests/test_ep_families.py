"""Expectation propagation with Gamma and Dirichlet priors: exact cases, quadrature, failures."""

import numpy as np
import pytest
from scipy.special import digamma, gammaln, logsumexp
from scipy.stats import gamma as gamma_law

import fastvi
from fastvi import propagation
from fastvi.propagation.conjugate import Dirichlet, Gamma

METHODS = ["parallel", "sequential", "double_loop"]
LOG_X = np.linspace(-12.0, 6.0, 20001)


def poisson(y, parameters, power):
    """Exact moments of Poisson counts: the tilted distribution is a Gamma."""
    shape, rate = parameters.T
    a, b = shape + power * y, rate + power
    log_z = gammaln(a) - a * np.log(b) - gammaln(shape) + shape * np.log(rate)
    return log_z - power * gammaln(y + 1.0), np.column_stack((digamma(a) - np.log(b), a / b))


def robust(x, y):
    """Log probability of counts of mean x, of which a tenth are spread over 0 to 99."""
    return np.logaddexp(np.log(0.9) + y * np.log(x) - x - gammaln(y + 1.0), np.log(0.001))


def robust_moments(y, parameters, power):
    """By quadrature over log x."""
    x = np.exp(LOG_X)
    shape, rate = parameters[:, :1], parameters[:, 1:]
    logs = shape * np.log(rate) - gammaln(shape) + shape * LOG_X - rate * x
    logs = logs + power * robust(x, y[:, None])
    log_z = logsumexp(logs, axis=1)
    p = np.exp(logs - log_z[:, None])
    return log_z + np.log(LOG_X[1] - LOG_X[0]), np.column_stack((p @ LOG_X, p @ x))


def mixture(p, alpha, power):
    """Shares of components with densities p (m, K): the tilted law mixes K Dirichlets."""
    total = alpha.sum(axis=1, keepdims=True)
    weights = alpha * p
    z = weights.sum(axis=1)
    weights = weights / z[:, None]
    return np.log(z / total[:, 0]), digamma(alpha) + weights / alpha - digamma(total + 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_conjugate_factors_are_exact(method):
    counts = np.array([3.0, 0.0, 7.0, 2.0])
    found = fastvi.ep(
        propagation.factors(counts, poisson), propagation.gamma(1.5, 0.5), method=method
    )
    assert found.settled
    assert found.n_iter <= (30 if method == "double_loop" else 2)
    np.testing.assert_allclose(found.parameters, [13.5, 4.5], rtol=1e-10)
    total, shape = counts.sum(), 1.5
    wanted = gammaln(shape + total) - gammaln(shape) + shape * np.log(0.5)
    wanted -= (shape + total) * np.log(4.5) + gammaln(counts + 1.0).sum()
    assert found.log_evidence == pytest.approx(wanted)
    assert found.mean == pytest.approx(3.0)
    assert found.sample(20000, 0).std() == pytest.approx(found.sd[0], rel=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_a_rate_of_counts_with_outliers(method):
    counts = np.array([3.0, 4.0, 2.0, 60.0, 5.0, 3.0])
    found = fastvi.ep(
        propagation.factors(counts, robust_moments), propagation.gamma(1.0, 0.1), method=method
    )
    x = np.exp(LOG_X)
    logs = gamma_law.logpdf(x, 1.0, scale=10.0) + LOG_X + sum(robust(x, y) for y in counts)
    log_z = logsumexp(logs)
    p = np.exp(logs - log_z)
    assert found.settled
    assert found.log_evidence == pytest.approx(log_z + np.log(LOG_X[1] - LOG_X[0]), abs=0.02)
    assert found.mean[0] == pytest.approx(p @ x, rel=0.01)
    assert found.sd[0] == pytest.approx(np.sqrt(p @ x**2 - (p @ x) ** 2), rel=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_shares_of_a_mixture(method):
    """Minka and Lafferty 2002, against importance sampling from the prior."""
    rng = np.random.default_rng(0)
    p = rng.gamma(1.0, size=(12, 3))
    found = fastvi.ep(
        propagation.factors(p, mixture), propagation.dirichlet([1.0, 2.0, 0.5]), method=method
    )
    draws = rng.dirichlet([1.0, 2.0, 0.5], 100_000)
    logs = np.log(draws @ p.T).sum(axis=1)
    weights = np.exp(logs - logsumexp(logs))
    mean = weights @ draws
    assert found.settled
    assert found.log_evidence == pytest.approx(logsumexp(logs) - np.log(len(logs)), abs=0.06)
    np.testing.assert_allclose(found.mean, mean, atol=0.01)
    nearest = found.family.matched((weights @ np.log(np.maximum(draws, 1e-300)))[None])[0]
    sd = np.sqrt(found.family.variance(nearest))  # of the Dirichlet with the exact expectations
    np.testing.assert_allclose(found.sd, sd, rtol=0.08)
    one = fastvi.ep(propagation.factors(p[:1], mixture), propagation.dirichlet([1.0, 2.0, 0.5]))
    assert one.log_evidence == pytest.approx(np.log(p[0] @ [1.0, 2.0, 0.5] / 3.5))
    assert one.n_iter <= 2


def test_methods_end_at_the_same_point():
    counts = np.array([3.0, 4.0, 2.0, 60.0, 5.0, 3.0])
    cases = (
        (propagation.factors(counts, robust_moments), propagation.gamma(1.0, 0.1)),
        (propagation.factors([[0.9, 0.1], [0.2, 0.7]], mixture), propagation.dirichlet(np.ones(2))),
    )
    for sites, prior in cases:
        one, other = (fastvi.ep(sites, prior, method=m) for m in ("parallel", "double_loop"))
        assert other.method == "double_loop"
        np.testing.assert_allclose(other.parameters, one.parameters, rtol=1e-3)
        np.testing.assert_allclose(other.log_evidence, one.log_evidence, atol=1e-6)


def test_the_double_loop_comes_to_the_rescue():
    """Sites that go nowhere when a pass is all they get; the energy never rises."""
    sites = propagation.factors(np.array([3.0, 60.0, 4.0, 2.0]), robust_moments)
    prior = propagation.gamma(1.0, 0.1)
    assert not fastvi.ep(sites, prior, damping=0.01, max_iter=40, last_resort=False).settled
    found = fastvi.ep(sites, prior, damping=0.01, max_iter=40)
    assert found.settled
    assert found.method == "double_loop"
    np.testing.assert_allclose(found.parameters, fastvi.ep(sites, prior).parameters, rtol=1e-3)


def test_files(tmp_path):
    path = tmp_path / "ep.npz"
    counts = np.array([3.0, 60.0, 4.0])
    for found in (
        fastvi.ep(propagation.factors(counts, poisson), propagation.gamma(1.5, 0.5)),
        fastvi.ep(propagation.factors([[0.9, 0.1]], mixture), propagation.dirichlet([1.0, 2.0])),
    ):
        found._replace(log_evidence=np.nan, failed=("site 0",)).save(path)
        assert np.isnan(fastvi.load(path).log_evidence)
        assert fastvi.load(path).failed == ("site 0",)
        found.save(path)
        again = fastvi.load(path)
        assert type(again) is type(found)
        np.testing.assert_array_equal(again.sample(5, 0), found.sample(5, 0))
        np.testing.assert_array_equal(again.family.natural, found.family.natural)
        for name in found._fields[1:]:
            np.testing.assert_equal(getattr(again, name), getattr(found, name), err_msg=name)
        for wrong, message in (
            ({"parameters": np.ones(3)}, r"parameters have shape \(3,\)"),
            ({"parameters": -found.parameters}, "wanted numbers above 0"),
        ):
            found._replace(**wrong).save(path)
            with pytest.raises(ValueError, match=message):
                fastvi.load(path)


@pytest.mark.parametrize("family", [Gamma(1.0, 1.0), Dirichlet(np.ones(3))])
def test_expectations_find_their_parameters(family):
    rng = np.random.default_rng(0)
    parameters = np.exp(rng.uniform(-4.0, 7.0, (50, len(family.natural))))
    eta = family.parameters(parameters)  # which is its own inverse
    np.testing.assert_allclose(family.matched(family.expected(eta)), eta, rtol=1e-7)
    step = 1e-6 * np.abs(eta[:, :1]) * np.eye(len(family.natural))[0]
    slope = family.log_normaliser(eta + step) - family.log_normaliser(eta - step)
    np.testing.assert_allclose(
        slope / (2.0 * step[:, 0]), family.expected(eta)[:, 0], rtol=1e-4, atol=1e-5
    )
    slope = family.expected(eta + step) - family.expected(eta - step)
    np.testing.assert_allclose(
        slope / (2.0 * step[:, :1]), family.covariance(eta)[:, 0], rtol=1e-4, atol=1e-5
    )


def test_callbacks_and_refusals():
    counts = np.array([3.0, 60.0, 4.0])
    sites, prior = propagation.factors(counts, robust_moments), propagation.gamma(1.0, 0.1)
    seen = []
    found = fastvi.ep(sites, prior, callback=lambda state: seen.append(state.params) or True)
    assert found.n_iter == 1
    np.testing.assert_array_equal(seen[0], found.parameters)
    with pytest.raises(TypeError, match=r"wanted what fastvi.propagation.factors returns"):
        fastvi.ep(propagation.linear(np.eye(2), [1, 1], propagation.probit), prior)
    with pytest.raises(TypeError, match=r"what fastvi.propagation.linear or joint returns"):
        fastvi.ep(sites, (0.0, 1.0))
    with pytest.raises(ValueError, match="shape is 0"):
        propagation.gamma(0.0, 1.0)
    with pytest.raises(ValueError, match="alpha is"):
        propagation.dirichlet([1.0, -1.0])
    for moments, message in (
        (lambda y, p, power: (np.zeros(len(y)), np.zeros(len(y))), "wanted .* and \\(3, 2\\)"),
        (lambda y, p, power: (np.zeros(len(y)), np.zeros(p.shape)), "site 0 .a.: no gamma"),
    ):
        with pytest.raises(ValueError, match=message):
            fastvi.ep(propagation.factors(counts, moments, names=list("abc")), prior)
