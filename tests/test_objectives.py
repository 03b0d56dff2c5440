"""Objectives: bounds, their order, their limits, and the gradients that their weights give."""

import numpy as np
import pytest
from scipy.special import logsumexp

from fastvi import objectives
from fastvi.families import MeanField
from fastvi.objectives import chi, elbo, f_divergence, iwae, renyi, tempered

ORDERS = [np.inf, 5.0, 2.0, 1.0, 0.5, 0.1, 0.0, -0.5, -1.0, -3.0, -np.inf]


@pytest.fixture
def log_w(rng):
    return rng.normal(size=50) * 2 - 3


def test_renyi_never_rises_with_its_order(log_w):
    bounds = [renyi(alpha).bound(log_w) for alpha in ORDERS]
    assert np.all(np.diff(bounds) > 0)


@pytest.mark.parametrize(
    ("near", "at"), [(1e-6, 0.0), (-1e-6, 0.0), (1 + 1e-6, 1.0), (1 - 1e-6, 1.0)]
)
def test_renyi_is_continuous_where_its_formula_is_not(log_w, near, at):
    np.testing.assert_allclose(renyi(near).bound(log_w), renyi(at).bound(log_w), atol=1e-4)


@pytest.mark.parametrize(("alpha", "limit"), [(400.0, np.inf), (-400.0, -np.inf)])
def test_renyi_tends_to_the_extremes(log_w, alpha, limit):
    np.testing.assert_allclose(renyi(alpha).bound(log_w), renyi(limit).bound(log_w), atol=0.02)
    np.testing.assert_allclose(renyi(alpha).weights(log_w), renyi(limit).weights(log_w), atol=1e-3)


def test_names_are_special_cases(log_w):
    assert renyi(1.0).bound(log_w) == elbo().bound(log_w) == pytest.approx(log_w.mean())
    assert renyi(0.0).bound(log_w) == iwae().bound(log_w)
    np.testing.assert_allclose(chi(2).bound(log_w), 0.5 * (logsumexp(2 * log_w) - np.log(50)))
    assert chi(2).is_upper
    assert renyi(-0.1).is_upper
    assert not renyi(0.1).is_upper


@pytest.mark.parametrize(
    "objective", [elbo(), iwae(), chi(3), *map(renyi, ORDERS), f_divergence(lambda w: -np.log(w))]
)
def test_weights_are_weights_whatever_the_ratios(objective, rng):
    for scale in (0.0, 1.0, 700.0):
        weights = objective.weights(scale * rng.normal(size=9))
        assert weights.shape == (9,)
        assert weights.min() >= 0
        np.testing.assert_allclose(weights.sum(), 1)


def test_f_divergences_meet_renyis(log_w):
    """-log w gives KL(q || p), w log w KL(p || q), w^b (b < 0 or > 1) order 1 - b."""
    np.testing.assert_allclose(f_divergence(lambda w: -np.log(w)).weights(log_w), 1 / 50, rtol=1e-4)
    forward = f_divergence(lambda w: w * np.log(w))
    np.testing.assert_allclose(forward.weights(log_w), np.exp(log_w - logsumexp(log_w)), rtol=1e-3)
    square = f_divergence(lambda w: w * w - 1)
    np.testing.assert_allclose(square.weights(log_w), chi(2).weights(log_w), rtol=1e-3, atol=1e-9)
    assert f_divergence(lambda w: w * np.log(w)).bound(log_w) <= 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: renyi(np.nan), "alpha is nan"),
        (lambda: chi(1.0), "n is 1.0; wanted a number > 1"),
        (lambda: tempered(elbo(), 0.0), "power is 0.0"),
        (lambda: f_divergence(np.log), "not convex"),
        (lambda: f_divergence(lambda w: w), r"f\(1\) is 1.0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("objective", "order"),
    [
        (elbo(), 1.0),
        (renyi(0.5), 0.5),
        (renyi(2.0), 2.0),
        (renyi(-1.0), -1.0),
        (f_divergence(lambda w: w * np.log(w)), "KL(p || q)"),
    ],
)
def test_weights_give_the_direction_of_the_bounds_gradient(objective, order, rng):
    """On a Gaussian target in one dimension, against differences of the exact divergence.

    E[w^b] of Gaussians N(m, s^2) and N(0, 1) by quadrature; the weighted pathwise gradient with
    300,000 draws, 5 standard errors.
    """
    m, s, n = 0.3, 0.8, 300_000
    x, quadrature = np.polynomial.hermite_e.hermegauss(100)
    quadrature = quadrature / np.sqrt(2 * np.pi)

    def log_w(z, mean, sd):
        return -0.5 * z * z + 0.5 * ((z - mean) / sd) ** 2 + np.log(sd)

    def bound(mean, sd):  # with the quadrature's weights in place of draws
        ratios = log_w(mean + sd * x, mean, sd)
        if order == 1.0:
            return quadrature @ ratios
        if order == "KL(p || q)":  # in closed form; it is to fall
            return -(np.log(sd) + (1 + mean**2) / (2 * sd**2) - 0.5)
        return np.log(quadrature @ np.exp((1 - order) * ratios)) / (1 - order)

    h = 1e-5
    exact = np.array([
        bound(m + h, s) - bound(m - h, s), bound(m, s + h) - bound(m, s - h),
    ]) / (2 * h)  # fmt: skip
    sign = -1.0 if objective.is_upper else 1.0
    q = MeanField(np.array([m]), np.array([s]))
    eps = rng.standard_normal((n, 1))
    draws = q.at(eps)
    z = draws.points
    weights = objective.weights(log_w(z[:, 0], m, s))
    terms = (-z - q.score(draws)) * np.column_stack((np.ones(n), eps[:, 0]))
    got = weights @ terms
    # the weights are normalised, so only directions can be compared
    cosine = sign * got @ exact / np.linalg.norm(got) / np.linalg.norm(exact)
    error = np.sqrt(np.square(weights[:, None] * terms).sum(axis=0)).max() / np.linalg.norm(got)
    assert cosine > 1 - 5 * error


@pytest.mark.thorough
def test_bounds_of_a_conjugate_model():
    """A mean-field q against a Gaussian p of log evidence 0.7 (seed 5).

    Averages over ever larger groups of the same draws can only rise (Jensen); the evidence is
    within 5 standard errors on the right side. In q's units log w = top - u' A u / 2, so that
    E[w^b] has a closed form.
    """
    evidence, rho, n = 0.7, 0.3, 2**16
    precision = np.linalg.inv([[1.0, rho], [rho, 1.0]])
    sd = 1 / np.sqrt(np.diag(precision))
    z = sd * np.random.default_rng(5).normal(size=(n, 2))
    A = precision * np.outer(sd, sd) - np.eye(2)
    top = evidence - 0.5 * np.log(1 - rho * rho) + np.log(sd).sum()
    log_w = top - 0.5 * np.sum((z / sd) @ A * (z / sd), axis=1)

    def exact(alpha):
        b = 1.0 - alpha
        return top - 0.5 * np.linalg.slogdet(np.eye(2) + b * A)[1] / b

    assert exact(0.0) == pytest.approx(evidence, abs=1e-12)
    means = []
    for size in (1, 2, 4, 16, 64):
        bounds = np.array([iwae().bound(part) for part in log_w[: 2**13].reshape(-1, size)])
        means.append(bounds.mean())
        assert bounds.mean() < evidence + 5 * bounds.std() / np.sqrt(len(bounds))
    assert means[0] == pytest.approx(elbo().bound(log_w[: 2**13]), abs=1e-12)
    assert np.all(np.diff(means) > 0)
    for alpha in (2.0, 0.5, -0.1, -0.3):
        w = np.exp((1 - alpha) * (log_w - log_w.max()))
        error = w.std() / w.mean() / np.sqrt(n) / abs(1 - alpha)
        assert renyi(alpha).bound(log_w) == pytest.approx(exact(alpha), abs=5 * error)
        assert np.sign(exact(alpha) - evidence) == -np.sign(alpha)


def test_tempering_is_kept():
    assert tempered(renyi(0.5), 0.3).power == 0.3
    assert objectives.elbo().power == 1.0
