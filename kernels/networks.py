"""Layers of networks, forward and reverse, around BLAS's products of float32 matrices.

A layer maps I inputs to O outputs, y = a(x W + b), for n rows at a time. All arrays are flat: the
parameters of all layers are in one vector, W (I, O) and b (O,) of each where its row of the table
says, and the outputs of all layers are one after another in one array, (n, O) each, which `reverse`
overwrites by adjoints of x W + b. Slopes of activations are functions of their outputs.

A sparse layer, which comes first, takes rows of a CSR matrix. In a masked layer (Germain et al.
2015, "MADE"), output j sees its first `reach[j]` inputs alone, where reach never falls, and weights
beyond are 0: products leave out blocks of zeros.
"""

from typing import NamedTuple

import numpy as np

from ._blas import product
from ._jit import kernel
from .special import exp, log
from .targets import address_of
from .vectors import fill

KIND, INPUTS, OUTPUTS, WEIGHTS, BIAS, ACTIVATION, REACH = range(7)  # columns of the table
DENSE, SPARSE, MASKED = range(3)
NONE, SOFTPLUS, TANH, RELU, ELU = range(5)
ITEM = 4  # bytes
BLOCK = 64  # outputs of masked layers that are products of their own
ZERO, ONE, TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


class Layers(NamedTuple):
    """The form of a network of L layers."""

    table: np.ndarray  # (L, 7) int64
    reach: np.ndarray  # int64, of masked layers, each where the table says


class SparseRows(NamedTuple):
    """Rows of a CSR matrix, or arrays of length 0."""

    rows: np.ndarray  # (n,) int64
    indptr: np.ndarray  # (N + 1,) int64
    indices: np.ndarray  # (nnz,) int32
    values: np.ndarray  # (nnz,) float32


@kernel(inline="always")
def softplus(x):
    """log(1 + exp(x)) of a float32."""
    return max(x, ZERO) + log(ONE + exp(-abs(x)))


@kernel
def activate(kind, bias, out):
    """Out (n O) = a(out + bias), bias (O,)."""
    width = bias.size
    for i in range(out.size // width):
        row = out[i * width : (i + 1) * width]
        if kind == SOFTPLUS:
            for j in range(width):
                row[j] = softplus(row[j] + bias[j])
        elif kind == TANH:
            for j in range(width):
                row[j] = ONE - TWO / (exp(TWO * (row[j] + bias[j])) + ONE)
        elif kind == RELU:
            for j in range(width):
                row[j] = max(row[j] + bias[j], ZERO)
        elif kind == ELU:
            for j in range(width):
                x = row[j] + bias[j]
                row[j] = x if x > ZERO else exp(min(x, ZERO)) - ONE
        else:
            for j in range(width):
                row[j] = row[j] + bias[j]


@kernel
def descend(kind, adjoint, out):
    """Out: from a's output (m,) to the adjoint of its input, given that of its output."""
    if kind == SOFTPLUS:
        for i in range(out.size):
            out[i] = adjoint[i] * (ONE - exp(-out[i]))
    elif kind == TANH:
        for i in range(out.size):
            out[i] = adjoint[i] * (ONE - out[i] * out[i])
    elif kind == RELU:
        for i in range(out.size):
            out[i] = adjoint[i] if out[i] > ZERO else ZERO
    elif kind == ELU:
        for i in range(out.size):
            out[i] = adjoint[i] if out[i] > ZERO else adjoint[i] * (out[i] + ONE)
    else:
        for i in range(out.size):
            out[i] = adjoint[i]


@kernel
def column_sums(x, sums):
    """Out sums (m,) of the columns of x (n m)."""
    width = sums.size
    fill(sums, ZERO)
    for i in range(x.size // width):
        row = x[i * width : (i + 1) * width]
        for j in range(width):
            sums[j] += row[j]


@kernel
def sparse_product(sparse, weights, width, out):
    """Out (n O) = rows (n, I) W."""
    for i in range(sparse.rows.size):
        row = out[i * width : (i + 1) * width]
        fill(row, ZERO)
        r = sparse.rows[i]
        for p in range(sparse.indptr[r], sparse.indptr[r + 1]):
            x, first = sparse.values[p], sparse.indices[p] * width
            w = weights[first : first + width]
            for j in range(width):
                row[j] += x * w[j]


@kernel
def sparse_gradient(sparse, adjoint, width, grads):
    """Out grads (I O) = rows' adjoint, of adjoint (n O)."""
    fill(grads, ZERO)
    for i in range(sparse.rows.size):
        row = adjoint[i * width : (i + 1) * width]
        r = sparse.rows[i]
        for p in range(sparse.indptr[r], sparse.indptr[r + 1]):
            x, first = sparse.values[p], sparse.indices[p] * width
            g = grads[first : first + width]
            for j in range(width):
                g[j] += x * row[j]


@kernel
def masked_product(blas, n, inputs, reach, x, weights, out):
    """Out (n O) = x W for addresses of x (n, I), W (I, O) and out."""
    width = reach.size
    for a in range(0, width, BLOCK):
        b = min(a + BLOCK, width)
        product(
            blas, n, b - a, reach[b - 1], x, inputs, False, weights + ITEM * a, width, False, False,
            out + ITEM * a, width,
        )  # fmt: skip


@kernel
def masked_gradient(blas, n, inputs, reach, x, adjoint, grads):
    """Out grads (I O) = x' adjoint where there are weights; addresses of x and adjoint (n, O)."""
    width = reach.size
    for a in range(0, width, BLOCK):
        b = min(a + BLOCK, width)
        product(
            blas, reach[b - 1], b - a, n, x, inputs, True, adjoint + ITEM * a, width, False, False,
            address_of(grads) + ITEM * a, width,
        )  # fmt: skip
    for i in range(inputs):
        row = grads[i * width : (i + 1) * width]
        for j in range(width):
            row[j] = row[j] if i < reach[j] else ZERO


@kernel
def masked_back(blas, n, inputs, reach, adjoint, weights, out):
    """Out (n I) = adjoint W' for addresses of adjoint (n, O), W (I, O)."""
    width = reach.size
    fill(out, ZERO)
    for a in range(0, width, BLOCK):
        b = min(a + BLOCK, width)
        product(
            blas, n, reach[b - 1], b - a, adjoint + ITEM * a, width, False, weights + ITEM * a,
            width, True, True, address_of(out), inputs,
        )  # fmt: skip


@kernel
def forward(blas, net, params, x, sparse, n, out):
    """Out: outputs of all layers, for x (n I), or rows of a CSR matrix if the first is sparse."""
    source, end = address_of(x), 0
    for layer in range(net.table.shape[0]):
        row = net.table[layer]
        inputs, width = row[INPUTS], row[OUTPUTS]
        start, end = end, end + n * width
        here, weights = address_of(out) + ITEM * start, address_of(params) + ITEM * row[WEIGHTS]
        if row[KIND] == SPARSE:
            first = row[WEIGHTS]
            sparse_product(sparse, params[first : first + inputs * width], width, out[start:end])
        elif row[KIND] == MASKED:
            reach = net.reach[row[REACH] : row[REACH] + width]
            masked_product(blas, n, inputs, reach, source, weights, here)
        else:
            product(
                blas, n, width, inputs, source, inputs, False, weights, width, False, False, here,
                width,
            )  # fmt: skip
        activate(row[ACTIVATION], params[row[BIAS] : row[BIAS] + width], out[start:end])
        source = here


@kernel
def outputs(net):
    """Numbers that a row leaves in all layers, and in those before the last."""
    total = 0
    for layer in range(net.table.shape[0]):
        total += net.table[layer, OUTPUTS]
    return total, total - net.table[net.table.shape[0] - 1, OUTPUTS]


@kernel
def reverse(blas, net, params, x, sparse, n, out, spare, grads, back):
    """Out: gradients of all parameters of the layers, and by x in back (n I), or (0,) for none.

    In `out`, as `forward` leaves it, the last layer's outputs have been replaced by the adjoints of
    its x W + b; all others will be. The scratch `spare` holds n rows of the widest layer.
    """
    stop = n * outputs(net)[0]
    for layer in range(net.table.shape[0] - 1, -1, -1):
        row = net.table[layer]
        inputs, width = row[INPUTS], row[OUTPUTS]
        start, end, stop = stop - n * width, stop, stop - n * width
        before = start - n * inputs  # where inputs begin, if they are a layer's outputs
        source = address_of(out) + ITEM * before if layer > 0 else address_of(x)
        here, weights = address_of(out) + ITEM * start, address_of(params) + ITEM * row[WEIGHTS]
        slopes = grads[row[WEIGHTS] : row[WEIGHTS] + inputs * width]
        reach = net.reach[row[REACH] : row[REACH] + (width if row[KIND] == MASKED else 0)]
        column_sums(out[start:end], grads[row[BIAS] : row[BIAS] + width])
        if row[KIND] == SPARSE:
            sparse_gradient(sparse, out[start:end], width, slopes)
        elif row[KIND] == MASKED:
            masked_gradient(blas, n, inputs, reach, source, here, slopes)
        else:
            product(
                blas, inputs, width, n, source, inputs, True, here, width, False, False,
                address_of(slopes), width,
            )  # fmt: skip
        if layer == 0 and back.size == 0:
            continue
        target = back[: n * inputs] if layer == 0 else spare[: n * inputs]
        if row[KIND] == MASKED:
            masked_back(blas, n, inputs, reach, here, weights, target)
        else:
            product(
                blas, n, inputs, width, here, width, False, weights, width, True, False,
                address_of(target), inputs,
            )  # fmt: skip
        if layer > 0:
            descend(net.table[layer - 1, ACTIVATION], target, out[before:start])


@kernel
def first_not_finite(net, n, out):
    """Number of the first layer with an output that is not finite, or -1."""
    end = 0
    for layer in range(net.table.shape[0]):
        start, end = end, end + n * net.table[layer, OUTPUTS]
        for i in range(start, end):
            if not np.isfinite(out[i]):
                return layer
    return -1
