"""The kernels of optimizers against their plain twins."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import optimizers as naive

from fastvi.kernels import optimizers as kernels

DTYPES = [np.float32, np.float64]
shapes = st.tuples(st.integers(0, 40), st.integers(1, 6), st.integers(0, 10**6))


def gradients(shape, dtype):
    """A few steps (t, n) of gradients of many sizes, 0 among them."""
    n, n_steps, seed = shape
    rng = np.random.default_rng(seed)
    g = rng.standard_normal((n_steps, n)) * 10.0 ** rng.integers(-4, 4, n)
    return (g * (rng.random(g.shape) > 0.2)).astype(dtype)


def compare(update, twin, g):
    """All steps of the kernel and of the twin, coordinate by coordinate."""
    step = np.empty(g.shape[1], g.dtype)
    ours = []
    for t, gradient in enumerate(g, 1):
        update(gradient, t, step)
        ours.append(step.copy())
    theirs = [list(twin([float(x) for x in g[:, i]])) for i in range(g.shape[1])]
    want = np.reshape(theirs, g.shape[::-1]).T
    np.testing.assert_allclose(ours, want, rtol=50 * np.finfo(g.dtype).eps, atol=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [None, 0.75])
@given(shape=shapes)
def test_adagrad_and_rmsprop(dtype, decay, shape):
    g = gradients(shape, dtype)
    v = np.zeros(g.shape[1], dtype)
    name, decays = ("adagrad", ()) if decay is None else ("rmsprop", (decay,))

    def update(gradient, t, step):
        numbers = map(dtype, (*decays, 0.3, 1e-6))
        getattr(kernels, name)(gradient, v, *numbers, step)

    compare(update, lambda xs: getattr(naive, name)(xs, 0.3, *decays, 1e-6), g)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("largest", [False, True])
@given(shape=shapes)
def test_adam_and_amsgrad(dtype, largest, shape):
    g = np.abs(
        gradients(shape, dtype)
    )  # of one sign: m = sum of what cancels has no relative bound
    m, v = np.zeros((2, g.shape[1]), dtype)
    top = np.zeros(g.shape[1] if largest else 0, dtype)

    def update(gradient, t, step):
        numbers = 0.75, 0.875, 0.3 / (1 - 0.75**t), 1 / (1 - 0.875**t), 1e-6
        kernels.adam(gradient, m, v, top, *map(dtype, numbers), step)

    compare(update, lambda xs: naive.adam(xs, 0.3, 0.75, 0.875, 1e-6, largest), g)


@pytest.mark.parametrize("dtype", DTYPES)
@given(n=st.integers(0, 100), share=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_running_mean_and_squared_norm(dtype, n, share, seed):
    x, mean = np.random.default_rng(seed).standard_normal((2, n)).astype(dtype)
    want = [float(m) + float(dtype(share)) * (float(a) - float(m)) for a, m in zip(x, mean)]
    norm = math.fsum(float(a) ** 2 for a in x)
    assert kernels.squared_norm(x) == pytest.approx(norm, rel=1e-14)
    kernels.running_mean(x, dtype(share), mean)
    np.testing.assert_allclose(mean, want, rtol=0, atol=10 * np.finfo(dtype).eps)
