"""Stein variational gradients in a metric and by slices, against their plain twins."""

import numpy as np
import pytest
from naive import stein as naive

import fastvi
from fastvi.base.parallel import single_threaded_blas
from fastvi.core import Batch
from fastvi.gradients.stein import Interaction, stein, units_of
from fastvi.gradients.stein_metric import curvatures, matrix, newton
from fastvi.gradients.stein_sliced import _Cut, sliced
from fastvi.kernels import stein_sliced as kernels

pytestmark = pytest.mark.jit
ALL = Batch(None, np.empty(0))


def quartic(z, grad):
    """Correlated and not Gaussian; log-concave."""
    value = 0.0
    for i in range(z.size):
        j = (i + 1) % z.size
        value -= 0.25 * z[i] ** 4 + 0.5 * (z[i] - 0.5 * z[j]) ** 2
        grad[i] -= z[i] ** 3 + (z[i] - 0.5 * z[j])
        grad[j] += 0.5 * (z[i] - 0.5 * z[j])
    return value


@pytest.fixture(autouse=True)
def one_thread():
    with single_threaded_blas():
        yield


@pytest.fixture
def target():
    return fastvi.target(quartic, dim=3)


def curved(Z):
    """Negated Hessians of `quartic`."""
    found = np.zeros((len(Z), 3, 3))
    for k, z in enumerate(Z):
        for i in range(3):
            j = (i + 1) % 3
            found[k, i, i] += 3.0 * z[i] ** 2 + 1.0
            found[k, i, j] -= 0.5
            found[k, j, i] -= 0.5
            found[k, j, j] += 0.25
    return found


def estimate(make, target, x, rng, curvature=None, **interaction):
    options = {} if curvature is None else {"curvature": curvature}
    gradient = make(target, Interaction(**interaction), **options)
    return gradient.estimate(gradient.init(x), x, ALL, rng)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_plain_directions_are_those_of_the_twin(target, rng, kernel):
    x = rng.normal(size=(20, 3))
    _, scores = target.log_prob_and_grad(x)
    phi, _, info = estimate(stein, target, x, rng, kernel=kernel, bandwidth=0.7)
    np.testing.assert_allclose(phi, naive.direction(kernel, x, scores, 0.7), atol=1e-12)
    assert info["rejected"] == 0
    assert info["log_prob"] == pytest.approx(target.log_prob(x).mean())
    assert info["bandwidth"] == pytest.approx(0.7)


def test_differences_of_gradients_are_curvatures(target, rng):
    x = rng.normal(size=(6, 3))
    found = curvatures(target, x, np.ones(3), None, 1)
    np.testing.assert_allclose(found, curved(x), atol=1e-6)  # truncation, h^2 times z


def test_matrix_directions_are_those_of_the_twin(target, rng):
    x = rng.normal(size=(15, 3))
    _, scores = target.log_prob_and_grad(x)
    options = {"bandwidth": 1.3, "curvature": curved}
    phi, state, _ = estimate(matrix, target, x, rng, **options)
    Q = state.factor @ state.factor.T
    np.testing.assert_allclose(Q, curved(x).mean(axis=0), atol=1e-10)
    wanted = naive.matrix_direction(x, scores, Q, 1.3)
    K = [[np.exp(-0.5 * (a - b) @ Q @ (a - b) / 1.3**2) for a in x] for b in x]
    np.testing.assert_allclose(phi * np.mean(K), wanted, atol=1e-12)


def test_newton_directions_are_those_of_the_twin(target, rng):
    x = rng.normal(size=(15, 3))
    _, scores = target.log_prob_and_grad(x)
    phi, _, _ = estimate(newton, target, x, rng, bandwidth=1.3, curvature=curved)
    Q = curved(x).mean(axis=0)
    wanted = naive.newton_direction(x, scores, curved(x), Q, 1.3)
    np.testing.assert_allclose(phi, wanted, atol=1e-10)


def test_a_metric_makes_no_difference_between_coordinates(rng):
    """Whitened, a Gaussian's particles and directions are those of the standard normal."""
    x, A = rng.normal(size=(30, 3)), rng.normal(size=(3, 3)) + 2.0 * np.eye(3)
    plain = fastvi.target(gaussian, data={"precision": np.eye(3)}, dim=3)
    white, _, _ = estimate(matrix, plain, x, rng, bandwidth=1.0)
    precision = np.linalg.inv(A @ A.T)
    skew = fastvi.target(gaussian, data={"precision": precision}, dim=3)
    bent, _, _ = estimate(matrix, skew, x @ A.T, rng, bandwidth=1.0)
    np.testing.assert_allclose(bent, white @ A.T, atol=1e-6)


def gaussian(z, data, grad):
    value = 0.0
    for i in range(z.size):
        for j in range(z.size):
            value -= 0.5 * z[i] * data.precision[i, j] * z[j]
            grad[i] -= data.precision[i, j] * z[j]
    return value


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sliced_directions_are_those_of_the_twin(rng, dtype):
    x, scores = rng.normal(size=(2, 25, 4)).astype(dtype)
    slices = rng.normal(size=(4, 4))
    slices /= np.linalg.norm(slices, axis=1, keepdims=True)
    lengths = np.exp(0.3 * rng.normal(size=4))
    phi, _, _ = _Cut(slices, x, scores, np.ones(25, dtype), lengths, 1).directions()
    wanted = naive.sliced_direction(x.astype(float), scores, slices, lengths)
    np.testing.assert_allclose(phi, wanted, atol=3e-6 if dtype == "float32" else 1e-12)


def test_slopes_of_slices_are_those_of_finite_differences(rng):
    x, scores = rng.normal(size=(2, 12, 3))
    slices, h = rng.normal(size=(3, 3)), 1e-6
    lengths = np.array([0.8, 1.1, 1.7])
    slopes = _Cut(slices, x, scores, np.ones(12), lengths, 1).slopes()
    for r in range(3):
        value = naive.sliced_discrepancy(x, scores, r, slices[r], lengths[r])
        for j in range(3):
            up, down = slices[r].copy(), slices[r].copy()
            up[j] += h
            down[j] -= h
            of = [naive.sliced_discrepancy(x, scores, r, g, lengths[r]) for g in (up, down)]
            assert slopes[r, j] == pytest.approx((of[0] - of[1]) / (2 * h) / abs(value), abs=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2, 17])
def test_slices_of_few_particles(n):
    a, s = np.zeros((1, n)), np.ones((1, n))
    phi, masses = np.full((2, 1, n), np.nan)
    kernels.directions(0, 1, a, s, np.ones(n), np.ones(1), 1.0, phi, masses)
    np.testing.assert_allclose(phi, np.full((1, n), n))
    np.testing.assert_allclose(masses, np.full((1, n), n))


def test_units_are_a_gaussians_deviations_whatever_the_particles(rng):
    """Collapsed or not, and about any centre: scores vary in proportion."""
    sd = np.array([0.01, 1.0, 30.0])
    for spread in (0.1, 1.0, 5.0):
        x = 3.0 + spread * sd * rng.normal(size=(500, 3))
        np.testing.assert_allclose(units_of(x, -(x - 1.0) / sd**2), sd, rtol=1e-6)


def test_units_of_correlated_numbers_lie_between_conditional_and_marginal_deviations(rng):
    """Means of 5000 draws: 4 standard errors of a deviation are 4 %."""
    covariance = np.array([[1.0, 0.999], [0.999, 1.0]])
    precision = np.linalg.inv(covariance)
    x = rng.multivariate_normal(np.zeros(2), covariance, size=5000)
    wanted = np.sqrt(np.sqrt(np.diag(covariance) / np.diag(precision)))
    np.testing.assert_allclose(units_of(x, -x @ precision), wanted, rtol=0.04)
    np.testing.assert_array_equal(units_of(np.ones((3, 2)), np.zeros((3, 2))), 1.0)


@pytest.mark.parametrize("make", [matrix, newton, sliced])
def test_the_same_bits_for_any_number_of_threads(target, rng, make):
    x = rng.normal(size=(140, 3)).astype(np.float32)
    found = [estimate(make, target, x, rng, n_threads=threads)[0] for threads in (1, 2, 8)]
    assert found[0].dtype == np.float32
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


def test_misuse(target):
    for make in (newton, sliced):
        with pytest.raises(ValueError, match=r"kernel='imq' has no .* form; wanted 'rbf'"):
            make(target, Interaction("imq"))
    with pytest.raises(ValueError, match=r"curvature gave shape \(3, 3\); wanted \(4, 3, 3\)"):
        curvatures(target, np.zeros((4, 3)), np.ones(3), None, 1, lambda Z: np.eye(3))
