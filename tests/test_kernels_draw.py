"""`fastvi.kernels.draw` and what it is made of equal their plain twins and differences."""

import numpy as np
import pytest
from naive import draw as naive
from naive.networks import slope
from tolerances import rounding

from fastvi.base.blas import sgemm
from fastvi.kernels import autoencoder as kinds
from fastvi.kernels import draw_steps as steps
from fastvi.kernels import windows
from fastvi.kernels.autoencoder_steps import FINE, STILL
from fastvi.models.autoencoder.choice import PLAIN
from fastvi.models.autoencoder.recurrent import Recurrent
from fastvi.models.autoencoder.rows import frame_of, rows_of

pytestmark = pytest.mark.usefixtures("quiet")

N, H, W, J, T = 3, 3, 4, 2, 3
OPTIONS = {"image_shape": (H, W, 1), "n_steps": T, "n_units": 4}
ELBO = kinds.Objective(kinds.ELBO, 2, 0.0, 0.7, 0.0)
CASES = {
    "whole": (0, 0, ELBO._replace(beta=1.0, free=0.1)),
    "windows": (2, 3, ELBO),
    "reads a window": (3, 0, kinds.Objective(kinds.WEIGHTED, 2, 0.0, 1.0, 0.0)),
    "writes a window": (0, 1, kinds.Objective(kinds.WEIGHTED, 2, 0.3, 1.0, 0.0)),
}


def made(read_size, write_size, rng):
    """A model, its parameters and rows."""
    X = rng.uniform(size=(N, H * W)) * rng.integers(2, size=(N, H * W))
    choice = PLAIN._replace(options={**OPTIONS, "read_size": read_size, "write_size": write_size})
    frame = frame_of("bernoulli", X)
    model, rows = Recurrent(frame, J, (), "none", "shared", choice), rows_of(frame, X)
    params = model.start(rows, rng)
    params += rng.normal(scale=0.3, size=params.shape).astype(np.float32)
    return model, params, rows, X


@pytest.mark.parametrize("name", CASES)
def test_bounds_and_gradients(name):
    rng = np.random.default_rng(1)
    *sizes, objective = CASES[name]
    model, params, rows, X = made(*sizes, rng)
    eps = rng.normal(size=(N, objective.n_draws, T, J)).astype(np.float32)
    work, grads = model.work(rows, N, objective.n_draws), np.full_like(params, np.nan)
    work.eps[...] = eps.ravel()
    bound, divergence, failed = steps.step(
        sgemm(), model.plan, objective, params, rows.data, np.arange(N), np.uint64(0), STILL,
        np.empty(0, np.float32), work, grads,
    )  # fmt: skip
    assert failed == FINE
    exact, whole = params.astype(float), objective
    if objective.kind == kinds.ELBO:
        whole = objective._replace(beta=1.0, free=0.0)
    want = naive.bound(model.plan, whole, exact, X, eps)
    assert bound == pytest.approx(want, rel=1e-5)
    _, mean, log_sd, _ = naive.run(
        model.plan, exact, np.repeat(X, 2, axis=0), eps.reshape(-1, T, J)
    )
    kl = (0.5 * (mean**2 + np.exp(2 * log_sd) - 1) - log_sd).sum(axis=(1, 2)).mean()
    assert divergence == pytest.approx(kl, rel=1e-5)
    chosen = rng.choice(len(params), 80, replace=False)
    last = [model.plan.canvas, model.plan.writer_window, model.plan.reader_window]
    chosen = np.unique([*chosen, *last, *(place - 1 for place in last)])

    def moved(some):
        there = exact.copy()
        there[chosen] = some
        return naive.bound(model.plan, objective, there, X, eps)

    want = slope(moved, exact[chosen])
    np.testing.assert_allclose(grads[chosen], want, rtol=2e-3, atol=2e-4 * np.abs(want).max())


@pytest.mark.parametrize(("height", "width", "n"), [(5, 9, 3), (4, 4, 1)])
def test_windows_are_dense_products_of_filters(rng, height, width, n):
    slack = rounding(np.float32, height * width, 10.0)
    numbers = rng.normal(scale=0.5, size=5).astype(np.float32)
    image = rng.normal(size=(height, width)).astype(np.float32)
    patch = rng.normal(size=(n, n)).astype(np.float32)
    largest, between = max(height, width), np.empty(n * width, np.float32)
    down, across = (np.empty(n * size, np.float32) for size in (height, width))
    windows.bank(numbers, windows.DOWN, n, height, largest, down)
    windows.bank(numbers, windows.ACROSS, n, width, largest, across)
    intensity, found = np.exp(numbers[windows.INTENSITY]), np.empty(n * n, np.float32)
    windows.read(n, height, width, down, across, image.ravel(), intensity, between, found)
    want = naive.read(numbers.astype(float), n, image.astype(float))
    np.testing.assert_allclose(found.reshape(n, n), want, rtol=slack, atol=slack)
    painted = np.zeros(height * width, np.float32)
    windows.write(n, height, width, down, across, patch.ravel(), intensity, between, painted)
    want = naive.written(numbers.astype(float), patch.astype(float), height, width)
    np.testing.assert_allclose(painted.reshape(height, width), want, rtol=slack, atol=slack)


def test_a_window_far_outside_sees_nothing():
    numbers = np.array([50.0, -50.0, -3.0, 0.0, 0.0], np.float32)
    filters, slopes, found = (np.full(n, x, np.float32) for n, x in ((8, 2), (8, 1), (5, 0)))
    windows.bank(numbers, windows.DOWN, 2, 4, 4, filters)
    windows.bank_reverse(numbers, windows.DOWN, 2, 4, 4, filters, slopes, found)
    assert not filters.any()
    assert not found.any()
