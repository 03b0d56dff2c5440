"""Mixtures of Gaussians: densities, gradients and steps, against their plain twin."""

import numpy as np
import pytest
from naive import components as naive

import fastvi
from fastvi.families import GaussianMixture
from fastvi.fitting.components import _driver
from fastvi.kernels import drivers

pytestmark = pytest.mark.usefixtures("quiet")


def mixture(rng, K, D):
    roots = np.tril(rng.standard_normal((K, D, D))) + 2.0 * np.eye(D)
    diagonal = np.arange(D)
    roots[:, diagonal, diagonal] = np.abs(roots[:, diagonal, diagonal]) + 0.2
    weights = rng.dirichlet(np.ones(K))
    return GaussianMixture(np.log(weights), 3.0 * rng.standard_normal((K, D)), roots)


@pytest.mark.parametrize(("K", "D", "n"), [(1, 1, 3), (3, 2, 70), (2, 5, 32)])
def test_densities_and_gradients_are_those_of_scipy(rng, K, D, n):
    q, Z = mixture(rng, K, D), 4.0 * rng.standard_normal((n, D))
    log_q, slopes = q.density(Z)
    np.testing.assert_allclose(log_q, naive.log_prob(Z, *q), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(slopes, naive.slopes(Z, *q), rtol=1e-9, atol=1e-9)


def test_densities_far_from_all_components_are_finite(rng):
    q = mixture(rng, 3, 2)
    log_q, slopes = q.density(np.array([[1e8, -1e8], [0.0, 0.0]]))
    assert np.all(np.isfinite(log_q))
    assert np.all(np.isfinite(slopes))
    assert log_q[0] < -1e14


def bent(z, data):
    u = z[1] + data.b * z[0] * z[0]
    return -0.125 * z[0] * z[0] - 0.5 * u * u


def log_p(Z, b):
    u = Z[:, 1] + b * Z[:, 0] ** 2
    grads = np.stack([-0.25 * Z[:, 0] - 2.0 * b * u * Z[:, 0], -u], axis=1)
    return -0.125 * Z[:, 0] ** 2 - 0.5 * u**2, grads


@pytest.mark.jit
@pytest.mark.parametrize("n_kept", [0, 2])
def test_steps_are_those_of_the_twin(rng, n_kept):
    K, D, h, m = 3, 2, 6, 4
    target = fastvi.target(bent, data={"b": 0.3}, names={"z": 2})
    target.require_gradient("this test needs")
    q, noise = mixture(rng, K, D), rng.standard_normal((m, h, D))
    flat = np.concatenate([np.ravel(leaf) for leaf in q])
    P = flat.size
    work = drivers.Work(
        np.empty((2 * h, D)), np.empty((2 * h, D)), np.empty((2 * h, 1)), np.empty((2 * h, D)),
        np.empty(P),
    )  # fmt: skip
    sums = drivers.Sums(np.zeros(P), np.zeros(1), np.zeros(P))
    trace = drivers.Trace(*np.empty((4, m)))
    run = _driver(K, D, 2 * h, 1, n_kept)
    address, table = target.address, target.data_table
    assert run(address, table, noise, 1.0, 0.5, flat, work, sums, trace) == m
    square = 0.0
    for i in range(m):
        *q, bound, of_step = naive.step(lambda Z: log_p(Z, 0.3), noise[i], 0.5, *q, n_kept)
        square += of_step
        np.testing.assert_allclose(trace.elbo[i], bound, rtol=1e-10)
    np.testing.assert_allclose(sums.square[0], square, rtol=1e-9)
    wanted = np.concatenate([np.ravel(leaf) for leaf in q])
    np.testing.assert_allclose(flat, wanted, rtol=1e-8, atol=1e-10)
