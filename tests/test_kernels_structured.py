"""`fastvi.kernels.structured` equals its plain twin, and its gradients their differences."""

import numpy as np
import pytest
from naive import structured as naive
from naive.networks import slope

from fastvi.kernels import structured as kernels

pytestmark = pytest.mark.usefixtures("quiet")

N, J, C, K = 3, 2, 3, 2
TIGHT = 1e-14, 10_000


def made(rng):
    """Parts whose shares are far from 0 and 1, and observations (N, 2 J)."""
    roots = rng.normal(size=(C, J, J))
    parts = kernels.Parts(
        rng.normal(size=C),
        rng.normal(size=(C, J)),
        roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(J),
    )
    return parts, rng.normal(scale=0.5, size=(N, 2 * J)).astype(np.float32)


def local_of(n=N, j=J, c=C):
    shapes = (n, c), (n, j), (n, j, j), (n, j, j), (n,), (c,), (4, j), (4, j, j)
    return kernels.Local(*(np.full(shape, np.nan) for shape in shapes))


def sums_of(c=C, j=J):
    return kernels.Sums(np.zeros(c), np.zeros((c, j)), np.zeros((c, j, j)))


def test_mean_field_of_rows(rng):
    parts, observed = made(rng)
    local = local_of()
    kernels.infer(parts, observed.ravel(), *TIGHT, local)
    eps, z = rng.normal(size=(N, K, J)).astype(np.float32), np.empty(N * K * J, np.float32)
    kernels.draw(local, K, eps.ravel(), z)
    for i, row in enumerate(observed.astype(float)):
        shares, mean, covariance, value = naive.mean_field(parts, row[:J], row[J:])
        np.testing.assert_allclose(local.shares[i], shares, rtol=1e-10)
        np.testing.assert_allclose(local.means[i], mean, rtol=1e-10)
        np.testing.assert_allclose(local.covariances[i], covariance, rtol=1e-10)
        assert local.values[i] == pytest.approx(value, rel=1e-10)
        want = naive.draws(mean, covariance, eps[i])
        np.testing.assert_allclose(z.reshape(N, K, J)[i], want, rtol=1e-5)


def objective(parts, observed, eps, back, weight):
    """Sum of back z + weight times the values."""
    total = 0.0
    for row, noise, force in zip(observed, eps, back):
        _, mean, covariance, value = naive.mean_field(parts, row[:J], row[J:])
        total += (force * naive.draws(mean, covariance, noise)).sum() + weight * value
    return total


def pulled(parts, observed, eps, back, weight):
    local, seen = local_of(), observed.ravel().copy()
    kernels.infer(parts, seen, *TIGHT, local)
    sums, extra = sums_of(), sums_of()
    kernels.pull_back(parts, weight, K, eps.ravel(), back.ravel(), *TIGHT, seen, local, sums, extra)
    return seen.reshape(N, 2 * J), sums, extra


@pytest.mark.parametrize("weight", [0.0, 1.0 / N])
def test_the_reverse_of_mean_field(rng, weight):
    """By observations, and by parameters of parts; q's own statistics are the slopes at fixed q."""
    parts, observed = made(rng)
    eps, back = rng.normal(size=(2, N, K, J)).astype(np.float32)
    found, sums, extra = pulled(parts, observed, eps, back, weight)
    exact = observed.astype(float)
    want = slope(lambda x: objective(parts, x.reshape(N, -1), eps, back, weight), exact.ravel())
    np.testing.assert_allclose(found.ravel(), want, rtol=1e-5, atol=1e-6)
    fixed = 1.0 if weight else 0.0  # how much of the statistics is in the objective

    def by(field):
        def moved(values):
            shape = getattr(parts, field).shape
            return objective(
                parts._replace(**{field: values.reshape(shape)}), exact, eps, back, weight
            )

        return slope(moved, getattr(parts, field).ravel())

    np.testing.assert_allclose(fixed * sums.counts + extra.counts, by("constants"), atol=1e-7)
    linear = (fixed * sums.linear + extra.linear).ravel()
    np.testing.assert_allclose(linear, by("slopes"), atol=1e-6)
    squares, want = fixed * sums.squares + extra.squares, by("precisions").reshape(C, J, J)
    np.testing.assert_allclose(-squares, want + want.transpose(0, 2, 1), atol=1e-6)
