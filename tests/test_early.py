"""Early stopping as variational inference: entropies on quadratics, and the peak of the bound."""

import numpy as np
import pytest
from toy_targets import bowl, half, normal_of

import fastvi

COV = np.array([[2.0, 1.2, 0.0], [1.2, 1.0, -0.3], [0.0, -0.3, 0.5]])
MEAN = np.array([1.0, -2.0, 0.5])


@pytest.fixture(scope="module")
def target():
    return normal_of(MEAN, COV)


def quadratic(rate, n, width=2.0):
    """Entropies of N(0, width^2) after steps on the Gaussian, and the exact expected bounds."""
    step = np.eye(3) - rate * np.linalg.inv(COV)
    entropy, mean, cov, bounds, entropies = 0.0, np.zeros(3), width**2 * np.eye(3), [], []
    log_det = np.linalg.slogdet(step)[1]
    entropy = 1.5 * np.log(2 * np.pi * np.e) + 3 * np.log(width)
    precision = np.linalg.inv(COV)
    for _ in range(n + 1):
        away = mean - MEAN
        log_prob = -0.5 * (away @ precision @ away + np.trace(precision @ cov))
        log_prob -= 0.5 * np.linalg.slogdet(2 * np.pi * COV)[1]
        bounds.append(log_prob + entropy)
        entropies.append(entropy)
        mean, cov, entropy = MEAN + step @ away, step @ cov @ step.T, entropy + log_det
    return np.array(entropies), np.array(bounds)


def test_entropies_are_exact_on_quadratics(target):
    found = fastvi.early_stopping(
        target,
        0.05,
        sd=2.0,
        entropy="exact",
        max_iter=40,
        patience=None,
        random_state=0,
        n_draws=2000,
    )
    entropies, bounds = quadratic(0.05, 40)
    np.testing.assert_allclose(found.entropy, entropies, rtol=1e-7)
    error = found.log_prob - (bounds - entropies)
    assert np.abs(error).max() < 5 * 40.0 / np.sqrt(2000)  # sds of log densities are below 40
    assert found.best == pytest.approx(int(np.argmax(bounds)), abs=3)
    assert found.elbo.max() < 0.05  # the evidence is 1


def test_probes_are_unbiased_for_their_bound(target):
    """tr(-x - x^2) of x = rate A, for each step; below the logarithms where x <= 0.68."""
    rate = 0.03
    found = fastvi.early_stopping(
        target, rate, max_iter=4, patience=None, random_state=1, n_draws=20_000
    )
    x = rate * np.linalg.eigvalsh(np.linalg.inv(COV))
    assert found.steepest <= x.max() + 1e-6
    wanted = np.sum(-x - x * x)
    spread = np.sqrt(2 * np.sum((x + x * x) ** 2) / 20_000)
    assert np.abs(np.diff(found.entropy) - wanted).max() < 5 * spread
    assert wanted < np.sum(np.log1p(-x))


def test_the_peak_stops_the_climb(target):
    options = {"random_state": 3, "entropy": "exact"}
    found = fastvi.early_stopping(target, 0.02, **options, patience=20)
    assert found.settled
    assert found.best == int(np.argmax(found.elbo))
    assert found.n_iter == found.best + 20
    again = fastvi.early_stopping(target, 0.02, **options, max_iter=found.best, patience=None)
    assert np.array_equal(again.points, found.points)
    assert not again.settled
    assert found.path.shape == (len(found.path_steps), 10, 3)
    np.testing.assert_allclose(found.mean, found.points.mean(axis=0))


def test_refusals():
    target = fastvi.target(bowl, dim=2)
    for options, words in (
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"sd": 0.0}, "sd is 0.0"),
        ({"mean": [1.0, 2.0, 3.0]}, "mean has shape"),
        ({"entropy": "none"}, "entropy is 'none'"),
        ({"patience": 0}, "patience"),
    ):
        with pytest.raises(ValueError, match=words):
            fastvi.early_stopping(target, **{"learning_rate": 0.1, **options})
    with pytest.raises(fastvi.targets.TargetError):
        fastvi.early_stopping(fastvi.target(half, dim=2), 0.1, random_state=0)
