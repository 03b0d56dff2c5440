"""Kernels of Stein variational gradients against their plain twins."""

import itertools

import numpy as np
import pytest
from naive import stein as naive

from fastvi.base.parallel import single_threaded_blas
from fastvi.gradients.stein import Interaction, median_length, median_square
from fastvi.kernels import stein as kernels

TOLERANCE = {"float32": 3e-5, "float64": 1e-12}


@pytest.fixture(autouse=True)
def one_thread():
    with single_threaded_blas():
        yield


def close(found, wanted, dtype):
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE[str(dtype)] * scale)


@pytest.mark.parametrize(
    ("n", "d", "kernel", "dtype"),
    [
        *itertools.product((1, 7, 17), (1, 20), ("rbf", "imq"), ("float32", "float64")),
        (129, 5, "rbf", "float32"),
        (129, 5, "imq", "float64"),
        (300, 2, "rbf", "float64"),
    ],
)
def test_directions_are_those_of_the_twin(rng, n, d, kernel, dtype):
    x = (rng.normal(size=(n, d)) + 3.0).astype(dtype)
    scores = rng.normal(size=(n, d)).astype(dtype)
    lengths = np.exp(rng.normal(size=d) * 0.3)
    field = Interaction(kernel, lengths, 1, 0).field(x, scores, np.ones(n, dtype))
    at = np.unique(np.linspace(0, n - 1, 20).astype(int))
    close(field.phi[at], naive.direction(kernel, x, scores, lengths, at), dtype)
    U = x / lengths
    masses = [np.mean([naive.kernel_value(kernel, a, b) for b in U]) for a in U[:5]]
    close(field.masses[:5], np.array(masses), dtype)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
@pytest.mark.parametrize(("p", "q"), [(1, 1), (5, 2), (40, 3)])
def test_sums_over_pairs_are_those_of_the_twin(rng, kernel, p, q):
    n = 140
    u = rng.normal(size=(n, 3))
    values, slopes = rng.normal(size=(n, p)), rng.normal(size=(n, q if kernel == "imq" else 0))
    half = 0.5 * np.square(u).sum(axis=1)
    found = Interaction(kernel, 1.0, 1, 0).sums(u, half, values, slopes)
    for a, b in zip(found, naive.pairs(kernel, u, values, slopes)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [50, 300, pytest.param(2500, marks=pytest.mark.jit)])
def test_the_same_bits_for_any_number_of_threads(rng, kernel, dtype, n):
    x, scores = rng.normal(size=(2, n, 6)).astype(dtype)
    weights = np.ones(n, dtype)
    one, two, eight = (
        Interaction(kernel, "median", threads, 0).field(x, scores, weights) for threads in (1, 2, 8)
    )
    assert one.phi.tobytes() == two.phi.tobytes() == eight.phi.tobytes()
    assert one.masses.tobytes() == eight.masses.tobytes()


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_slopes_are_those_of_finite_differences(rng, kernel):
    u, v = rng.normal(size=(2, 4))
    found, h = naive.kernel_slope(kernel, u, v), 1e-6
    for j, shift in enumerate(h * np.eye(4)):
        up, down = (naive.kernel_value(kernel, u + s, v) for s in (shift, -shift))
        assert abs(found[j] - (up - down) / (2 * h)) < 1e-8


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_the_direction_lowers_the_divergence_as_its_norm_says(rng, kernel):
    """Liu and Wang (2016), theorem 3.1: the KL's derivative along psi is -<phi, psi>, so along
    psi = k(y, .) e_j it is -phi_j(y): for a Gaussian q of draws by its log density's change.

    KL(q o (I + eps psi) || p) changes by -E_q[psi . s_p + div psi]: the twin's mean over particles
    of psi . s + div psi, psi a kernel's section, against the engine's phi at y.
    """
    n, d, lengths = 40, 3, 0.8
    x, scores = rng.normal(size=(2, n, d))
    field = Interaction(kernel, lengths, 1, 0).field(x, scores, np.ones(n))
    y, h = x[7], 1e-6
    for j in range(d):
        total = 0.0
        for z, s in zip(x, scores):
            shift = h * np.eye(d)[j]
            values = [
                naive.kernel_value(kernel, (z + a) / lengths, y / lengths) for a in (shift, -shift)
            ]
            total += naive.kernel_value(kernel, z / lengths, y / lengths) * s[j]
            total += (values[0] - values[1]) / (2 * h)
        assert abs(field.phi[7, j] - total / n) < 1e-8


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 4), (100, 7)])
def test_medians_are_those_of_the_twin(rng, dtype, n, d):
    x = (rng.normal(size=(n, d)) - 2.0).astype(dtype)
    assert median_length(x, n) == pytest.approx(naive.median_length(x), rel=1e-5)


def test_particles_in_one_place_have_length_one():
    assert median_length(np.ones((5, 2)), 5) == 1.0
    assert median_length(np.ones((1, 2)), 1) == 1.0
    assert median_square(np.zeros((4, 1))) == 0.0


def test_a_rejected_particle_acts_on_no_other(rng):
    x, scores = rng.normal(size=(2, 30, 4))
    weights = np.ones(30)
    weights[3] = 0.0
    scores[3] = 0.0
    for kernel in ("rbf", "imq"):
        field = Interaction(kernel, 1.0, 1, 0).field(x, scores, weights)
        rest = np.delete(np.arange(30), 3)
        alone = Interaction(kernel, 1.0, 1, 0).field(x[rest], scores[rest], weights[rest])
        np.testing.assert_allclose(field.phi[rest], alone.phi, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("d", [1, 9, 40])
def test_scores_that_are_not_finite_are_not_taken(rng, dtype, bad, d):
    values, slopes = rng.normal(size=5), rng.normal(size=(5, d))
    values[1], slopes[3, d - 1] = bad, bad
    scores, weights = np.empty((5, d), dtype), np.empty(5, dtype)
    assert kernels.take_scores(values, slopes, scores, weights) == 3
    np.testing.assert_array_equal(weights, [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(scores[[1, 3]], 0)
    np.testing.assert_array_equal(scores[[0, 2, 4]], slopes[[0, 2, 4]].astype(dtype))


@pytest.mark.jit
def test_other_sizes_compile_nothing(rng):
    for n, d in ((30, 2), (300, 5)):
        x = rng.normal(size=(n, d))
        Interaction("rbf", "median", 1, 0).field(x, -x, np.ones(n))
    assert len(kernels.add_rounds.signatures) <= 2  # one a dtype
