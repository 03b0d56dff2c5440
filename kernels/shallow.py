"""Shallow networks, of one hidden layer: values, divergences, and reverse passes of both.

y(x) = shift + linear x + outer tanh(inner x + bias), of E inputs, d outputs and K hidden units, at
N points in columns: x (E, N), hidden (K, N), y (d, N). Reverse passes add to given arrays.
"""

from typing import NamedTuple

from ._jit import kernel
from .special import exp
from .vectors import dot, fill, sum_of


class Network(NamedTuple):
    """Parameters of a network, or their gradient."""

    shift: object  # (d,)
    linear: object  # (d, E)
    outer: object  # (d, K)
    inner: object  # (K, E)
    bias: object  # (K,)


@kernel
def _add(factor, row, out):
    """Out (N,) += factor row."""
    for n in range(out.size):
        out[n] += factor * row[n]


@kernel
def forward(net, x, hidden, y):
    """Out hidden (K, N) and y (d, N)."""
    for k in range(hidden.shape[0]):
        row = hidden[k]
        fill(row, net.bias[k])
        for e in range(x.shape[0]):
            _add(net.inner[k, e], x[e], row)
        for n in range(row.size):
            row[n] = 1.0 - 2.0 / (exp(2.0 * row[n]) + 1.0)
    for j in range(y.shape[0]):
        fill(y[j], net.shift[j])
        for e in range(x.shape[0]):
            _add(net.linear[j, e], x[e], y[j])
        for k in range(hidden.shape[0]):
            _add(net.outer[j, k], hidden[k], y[j])


@kernel
def _pre(net, hidden, adjoint, k, out):
    """Out (N,): adjoints of what goes into the k-th tanh."""
    fill(out, 0.0)
    for j in range(adjoint.shape[0]):
        _add(net.outer[j, k], adjoint[j], out)
    unit = hidden[k]
    for n in range(out.size):
        out[n] *= 1.0 - unit[n] * unit[n]


@kernel
def reverse(net, x, hidden, adjoint, row, slopes):
    """Slopes += gradients by the parameters, from adjoints (d, N) of y; row (N,) is scratch."""
    for j in range(adjoint.shape[0]):
        slopes.shift[j] += sum_of(adjoint[j])
        for e in range(x.shape[0]):
            slopes.linear[j, e] += dot(adjoint[j], x[e])
        for k in range(hidden.shape[0]):
            slopes.outer[j, k] += dot(adjoint[j], hidden[k])
    for k in range(hidden.shape[0]):
        _pre(net, hidden, adjoint, k, row)
        slopes.bias[k] += sum_of(row)
        for e in range(x.shape[0]):
            slopes.inner[k, e] += dot(row, x[e])


@kernel
def pull_back(net, hidden, adjoint, row, out):
    """Out (E, N) += gradients by x, from adjoints (d, N) of y; row (N,) is scratch."""
    for e in range(out.shape[0]):
        for j in range(adjoint.shape[0]):
            _add(net.linear[j, e], adjoint[j], out[e])
    for k in range(hidden.shape[0]):
        _pre(net, hidden, adjoint, k, row)
        for e in range(out.shape[0]):
            _add(net.inner[k, e], row, out[e])


@kernel
def _through(net, k):
    """Sum over j of outer_jk inner_kj: what the k-th unit has to do with the divergence."""
    total = 0.0
    for j in range(net.shift.size):
        total += net.outer[j, k] * net.inner[k, j]
    return total


@kernel
def divergence(net, hidden, out):
    """Out (N,) = sum over j of dy_j / dx_j, E = d."""
    trace = 0.0
    for j in range(net.shift.size):
        trace += net.linear[j, j]
    fill(out, trace)
    for k in range(hidden.shape[0]):
        w, unit = _through(net, k), hidden[k]
        for n in range(out.size):
            out[n] += w * (1.0 - unit[n] * unit[n])


@kernel
def divergence_reverse(net, x, hidden, weights, rows, slopes):
    """Slopes += gradients of the weighted sum of divergences; rows (2, N) are scratch."""
    total, down, curve = sum_of(weights), rows[0], rows[1]
    for j in range(net.shift.size):
        slopes.linear[j, j] += total
    for k in range(hidden.shape[0]):
        w, unit = _through(net, k), hidden[k]
        for n in range(unit.size):
            slope = weights[n] * (1.0 - unit[n] * unit[n])
            down[n] = slope
            curve[n] = -2.0 * w * unit[n] * slope
        mean = sum_of(down)
        slopes.bias[k] += sum_of(curve)
        for j in range(net.shift.size):
            slopes.outer[j, k] += mean * net.inner[k, j]
            slopes.inner[k, j] += mean * net.outer[j, k] + dot(curve, x[j])


@kernel
def divergence_slope(net, hidden, weights, row, out):
    """Out (d, N) += weights times the gradients of divergences by x; row (N,) is scratch."""
    for k in range(hidden.shape[0]):
        w, unit = _through(net, k), hidden[k]
        for n in range(row.size):
            row[n] = -2.0 * w * weights[n] * unit[n] * (1.0 - unit[n] * unit[n])
        for j in range(out.shape[0]):
            _add(net.inner[k, j], row, out[j])
