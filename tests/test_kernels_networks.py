"""`fastvi.kernels.networks` and `noise` equal their plain twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import networks as naive
from naive.networks import slope
from scipy import stats
from scipy.sparse import csr_array
from tolerances import rounding

from fastvi.base.blas import sgemm
from fastvi.kernels import networks as kernels
from fastvi.kernels import optimizers
from fastvi.kernels.noise import normal_of, normals
from fastvi.networks import ACTIVATIONS, Network, dense, masked, n_parameters

pytestmark = pytest.mark.usefixtures("quiet")

sizes = st.lists(st.integers(1, 9), min_size=2, max_size=4)


def random_network(layers, rng):
    """With biases that are not 0."""
    net = Network.random(layers, rng)
    for row in layers.table:
        net.parameters[row[kernels.BIAS] :][: row[kernels.OUTPUTS]] = rng.normal(
            size=row[kernels.OUTPUTS]
        )
    return net


def check(net, x, rng):
    """Outputs and reverse pass, against the twin and its differences."""
    params = net.parameters.astype(float)
    table = net.layers.table
    want = naive.forward(table, params, x)
    n_terms = int(table[:, kernels.INPUTS].max()) + 4
    slack = len(table) * rounding(np.float32, n_terms, 10.0)
    np.testing.assert_allclose(net(x), want, rtol=slack, atol=slack)
    adjoint = rng.normal(size=want.shape)
    grads, back = net.pull_back(x, adjoint)
    of_params = slope(lambda p: (adjoint * naive.forward(table, p, x)).sum(), params)
    of_x = slope(
        lambda flat: (adjoint * naive.forward(table, params, flat.reshape(x.shape))).sum(),
        x.ravel(),
    )
    size = 10.0 * len(x) * n_terms
    np.testing.assert_allclose(back.ravel(), of_x, rtol=1e-3, atol=rounding(np.float32, 9, size))
    is_free = np.ones(len(params), bool)
    for row in table[table[:, kernels.KIND] == kernels.MASKED]:
        inputs, outputs = row[kernels.INPUTS], row[kernels.OUTPUTS]
        reach = net.layers.reach[row[kernels.REACH] :][:outputs]
        here = np.arange(inputs)[:, None] < reach
        is_free[row[kernels.WEIGHTS] :][: inputs * outputs] = here.ravel()
    assert not grads[~is_free].any()
    np.testing.assert_allclose(
        grads[is_free], of_params[is_free], rtol=1e-3, atol=rounding(np.float32, 9, size)
    )


@given(st.integers(0, 2**32 - 1), sizes, st.sampled_from(ACTIVATIONS), st.integers(1, 5))
def test_dense_layers(seed, sizes, activation, n):
    rng = np.random.default_rng(seed)
    net = random_network(dense(sizes, activation, last=activation), rng)
    check(net, rng.normal(size=(n, sizes[0])), rng)


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 3))
def test_masked_layers(seed, n_inputs, n_outputs):
    """Outputs of an input depend on those before alone, and at all on all of these."""
    rng = np.random.default_rng(seed)
    net = random_network(masked(n_inputs, [8, 11], n_outputs, "tanh"), rng)
    x = rng.normal(size=(3, n_inputs))
    check(net, x, rng)
    for i in range(n_inputs):
        moved = x.copy()
        moved[:, i] += 1.0
        changed = (net(moved) != net(x)).any(0).reshape(n_inputs, n_outputs)
        assert changed.tolist() == [[j > i] * n_outputs for j in range(n_inputs)]


def test_blocks_of_zeros_are_left_out():
    """Of layers wider than a block as well, where weights beyond the reach are 0 for ever."""
    rng = np.random.default_rng(3)
    net = random_network(masked(150, [200], 2, "softplus"), rng)
    x = rng.normal(size=(4, 150))
    want = naive.forward(net.layers.table, net.parameters.astype(float), x)
    np.testing.assert_allclose(net(x), want, rtol=1e-4, atol=1e-4)
    adjoint = rng.normal(size=want.shape)
    grads, back = net.pull_back(x, adjoint)
    assert not grads[net.parameters == 0].any()
    direction = rng.normal(size=x.shape)
    ends = [
        (adjoint * naive.forward(net.layers.table, net.parameters.astype(float), x + e)).sum()
        for e in (1e-5 * direction, -1e-5 * direction)
    ]
    assert (back * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 12))
def test_sparse_rows_are_those_of_the_dense_matrix(seed, n, width):
    rng = np.random.default_rng(seed)
    X = csr_array(rng.poisson(0.4, (n + 2, width)).astype(np.float32))
    layers = dense([width, 5, 3], "tanh")
    net = random_network(layers, rng)
    rows = rng.integers(n + 2, size=n)
    sparse = kernels.SparseRows(rows, X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data)
    table = layers.table.copy()
    table[0, kernels.KIND] = kernels.SPARSE
    out, spare = np.empty(n * 8, np.float32), np.empty(n * 5, np.float32)
    nothing = np.empty(0, np.float32)
    given = kernels.Layers(table, layers.reach)
    kernels.forward(sgemm(), given, net.parameters, nothing, sparse, n, out)
    x = X.toarray()[rows]
    np.testing.assert_allclose(out[5 * n :].reshape(n, 3), net(x), rtol=1e-5, atol=1e-5)
    adjoint = rng.normal(size=(n, 3)).astype(np.float32)
    out[5 * n :] = adjoint.ravel()
    grads = np.full_like(net.parameters, np.nan)
    kernels.reverse(sgemm(), given, net.parameters, nothing, sparse, n, out, spare, grads, nothing)
    np.testing.assert_allclose(grads, net.pull_back(x, adjoint)[0], rtol=1e-4, atol=1e-4)


def test_the_first_layer_that_is_not_finite():
    layers = dense([2, 3, 4, 1])
    out = np.zeros(2 * 8, np.float32)
    assert kernels.first_not_finite(layers, 2, out) == -1
    out[2 * 3 + 5] = np.inf
    assert kernels.first_not_finite(layers, 2, out) == 1
    assert n_parameters(layers) == 9 + 16 + 5


def test_normal_numbers():
    """Of the normal distribution, the same wherever they are made, others for another key."""
    n = 200_001 if hasattr(normals, "py_func") else 301
    x = np.empty(n, np.float32)
    normals(np.uint64(7), x)
    assert stats.kstest(x, "norm").pvalue > 0.01
    half = (n + 1) // 2
    assert abs(np.corrcoef(x[: n - half], x[half:])[0, 1]) < 4 / np.sqrt(n / 2)
    again, other = np.empty_like(x), np.empty_like(x)
    normals(np.uint64(7), again)
    normals(np.uint64(8), other)
    assert x.tobytes() == again.tobytes()
    ends = [normal_of(np.uint64(bits)) for bits in (0, 1, 2**24 - 2, 2**24 - 1)]
    want = stats.norm.ppf([2.0**-25, 3 * 2.0**-25, 1 - 3 * 2.0**-25, 1 - 2.0**-25])
    np.testing.assert_allclose(ends, want, rtol=1e-4)
    assert abs(np.corrcoef(x, other)[0, 1]) < 4 / np.sqrt(n)


def test_adam_in_one_pass(rng):
    """Equals Adam whose step is added afterwards, to rounding."""
    kind = np.float32
    numbers = [kind(a) for a in (0.9, 0.999, 0.01, 1.5, 1e-8)]
    g, m, params, v = (rng.normal(size=50).astype(kind) for _ in range(4))
    v, step, moments = np.abs(v), np.empty(50, kind), [m.copy(), np.abs(v)]
    optimizers.adam(g, *moments, np.empty(0, kind), *numbers, step)
    want = params + step
    optimizers.adam_in_place(g, m, v, *numbers, params)
    np.testing.assert_allclose(params, want, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal([m, v], moments)
