"""Operator variational inference: a network of noise against a network of test functions.

Both are y(x) = shift + linear x + outer tanh(inner x + bias), of E inputs, d outputs and K hidden
units, at N draws in columns: x (E, N), hidden (K, N), y (d, N). Equations: Ranganath, Altosaar,
Tran and Blei (2016), "Operator variational inference". The objective of a program q and a test
function f is Langevin-Stein's operator with a penalty on the size of f,

    J = E_q[s(x)'f(x) + div f(x) - |f(x)|^2 / 2],  s = grad log p,

which f is to raise and q to lower. Over all multiples of f its most is (E_q[s'f + div f])^2 / (2
E_q|f|^2): the paper's eq. 4 with t(a) = a^2 and test functions of one size.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from ._pointers import call_target
from .optimizers import adam, running_mean
from .special import exp
from .targets import SUCCESS, address_of

STEP = 1e-4  # of the difference of scores that stands for a Hessian times a vector
DECAY, DECAY_SQUARE, EPSILON = 0.5, 0.99, 1e-8  # of Adam, with little momentum for a game


class Network(NamedTuple):
    """Parameters of a network, or their gradient."""

    shift: object  # (d,)
    linear: object  # (d, E)
    outer: object  # (d, K)
    inner: object  # (K, E)
    bias: object  # (K,)


class Player(NamedTuple):
    """A network, its gradient, and Adam's means of that; flat arrays (P,) hold their memory."""

    network: Network
    slopes: Network
    flat: object
    gradient: object
    m: object
    v: object
    step: object
    average: object  # (P,) of the parameters


class Density(NamedTuple):
    """A target of x, where z = centre + scale x are its free numbers."""

    address: int
    table: object
    centre: object  # (d,)
    scale: object  # (d,)


class Scratch(NamedTuple):
    """Of N draws."""

    noise: object  # (E, N)
    hidden: object  # (K, N) of the program
    x: object  # (d, N)
    scores: object  # (d, N)
    weights: object  # (N,) 1 / number of draws with a score, or 0
    units: object  # (K', N) hidden units of the test function
    f: object  # (d, N)
    adjoint: object  # (d, N)
    moved: object  # (d, N)
    other: object  # (d, N)
    row: object  # (2, N)
    Z: object  # (N, d)
    values: object  # (N, n_terms)
    grads: object  # (N, d)


@kernel
def _dot(a, b):
    total = 0.0
    for n in range(a.size):
        total += a[n] * b[n]
    return total


@kernel
def _sum(a):
    total = 0.0
    for n in range(a.size):
        total += a[n]
    return total


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
        row[:] = net.bias[k]
        for e in range(x.shape[0]):
            _add(net.inner[k, e], x[e], row)
        for n in range(row.size):
            row[n] = 1.0 - 2.0 / (exp(2.0 * row[n]) + 1.0)
    for j in range(y.shape[0]):
        y[j, :] = net.shift[j]
        for e in range(x.shape[0]):
            _add(net.linear[j, e], x[e], y[j])
        for k in range(hidden.shape[0]):
            _add(net.outer[j, k], hidden[k], y[j])


@kernel
def _pre(net, hidden, adjoint, k, out):
    """Out (N,): adjoints of what goes into the k-th tanh."""
    out[:] = 0.0
    for j in range(adjoint.shape[0]):
        _add(net.outer[j, k], adjoint[j], out)
    unit = hidden[k]
    for n in range(out.size):
        out[n] *= 1.0 - unit[n] * unit[n]


@kernel
def reverse(net, x, hidden, adjoint, row, slopes):
    """Slopes += gradients by the parameters, from adjoints (d, N) of y; row (N,) is scratch."""
    for j in range(adjoint.shape[0]):
        slopes.shift[j] += _sum(adjoint[j])
        for e in range(x.shape[0]):
            slopes.linear[j, e] += _dot(adjoint[j], x[e])
        for k in range(hidden.shape[0]):
            slopes.outer[j, k] += _dot(adjoint[j], hidden[k])
    for k in range(hidden.shape[0]):
        _pre(net, hidden, adjoint, k, row)
        slopes.bias[k] += _sum(row)
        for e in range(x.shape[0]):
            slopes.inner[k, e] += _dot(row, x[e])


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
    out[:] = trace
    for k in range(hidden.shape[0]):
        w, unit = _through(net, k), hidden[k]
        for n in range(out.size):
            out[n] += w * (1.0 - unit[n] * unit[n])


@kernel
def divergence_reverse(net, x, hidden, weights, rows, slopes):
    """Slopes += gradients of the weighted sum of divergences; rows (2, N) are scratch."""
    total, down, curve = _sum(weights), rows[0], rows[1]
    for j in range(net.shift.size):
        slopes.linear[j, j] += total
    for k in range(hidden.shape[0]):
        w, unit = _through(net, k), hidden[k]
        for n in range(unit.size):
            slope = weights[n] * (1.0 - unit[n] * unit[n])
            down[n] = slope
            curve[n] = -2.0 * w * unit[n] * slope
        mean = _sum(down)
        slopes.bias[k] += _sum(curve)
        for j in range(net.shift.size):
            slopes.outer[j, k] += mean * net.inner[k, j]
            slopes.inner[k, j] += mean * net.outer[j, k] + _dot(curve, x[j])


@kernel
def divergence_slope(net, hidden, weights, row, out):
    """Out (d, N) += weights times the gradients of divergences by x; row (N,) is scratch."""
    for k in range(hidden.shape[0]):
        w, unit = _through(net, k), hidden[k]
        for n in range(row.size):
            row[n] = -2.0 * w * weights[n] * unit[n] * (1.0 - unit[n] * unit[n])
        for j in range(out.shape[0]):
            _add(net.inner[k, j], row, out[j])


@kernel
def scores(density, x, Z, values, grads, out):
    """Out (d, N): gradients of log p by x (d, N); the target's status. The others are scratch."""
    d, count = x.shape
    for j in range(d):
        for n in range(count):
            Z[n, j] = density.centre[j] + density.scale[j] * x[j, n]
    status = call_target(
        density.address, count, d, address_of(Z), address_of(density.table), address_of(values),
        address_of(grads),
    )  # fmt: skip
    for j in range(d):
        for n in range(count):
            out[j, n] = density.scale[j] * grads[n, j]
    return status


@kernel
def weigh(s, weights):
    """Scores (d, N) that are not finite become 0; out weights (N,); the number of good draws."""
    good = 0
    for n in range(weights.size):
        finite = True
        for j in range(s.shape[0]):
            finite = finite and np.isfinite(s[j, n])
        weights[n] = 1.0 if finite else 0.0
        for j in range(s.shape[0]):
            s[j, n] = s[j, n] if finite else 0.0
        good += 1 if finite else 0
    share = 1.0 / max(good, 1)
    for n in range(weights.size):
        weights[n] *= share
    return good


@kernel
def objective(test, work):
    """J of draws x with scores; out work.units and work.f."""
    forward(test, work.x, work.units, work.f)
    total = work.row[0]
    divergence(test, work.units, total)
    for j in range(work.f.shape[0]):
        f, s = work.f[j], work.scores[j]
        for n in range(total.size):
            total[n] += f[n] * (s[n] - 0.5 * f[n])
    return _dot(total, work.weights)


@kernel
def test_slopes(test, work, slopes):
    """Slopes += gradients of J by the test function, after `objective`."""
    for j in range(work.f.shape[0]):
        f, s, out = work.f[j], work.scores[j], work.adjoint[j]
        for n in range(out.size):
            out[n] = work.weights[n] * (s[n] - f[n])
    reverse(test, work.x, work.units, work.adjoint, work.row[0], slopes)
    divergence_reverse(test, work.x, work.units, work.weights, work.row, slopes)


@kernel
def draw_slopes(density, test, work):
    """Out work.adjoint (d, N): gradients of J by the draws, after `objective`; a status.

    Hessian times f by central differences of scores: H f + J_f' (s - f) + grad div f.
    """
    d, count = work.x.shape
    size, reach = work.row[0], work.row[1]
    for n in range(count):
        f2, x2 = 0.0, 0.0
        for j in range(d):
            f2 += work.f[j, n] * work.f[j, n]
            x2 += work.x[j, n] * work.x[j, n]
        size[n] = max(np.sqrt(f2), 1e-30)
        reach[n] = STEP * max(1.0, np.sqrt(x2))
    for side in (-1.0, 1.0):
        out = work.adjoint if side < 0 else work.other
        for j in range(d):
            for n in range(count):
                work.moved[j, n] = work.x[j, n] + side * reach[n] * (work.f[j, n] / size[n])
        status = scores(density, work.moved, work.Z, work.values, work.grads, out)
        if status != SUCCESS:
            return status
    for j in range(d):
        for n in range(count):
            bend = (work.other[j, n] - work.adjoint[j, n]) * size[n] / (2.0 * reach[n])
            work.adjoint[j, n] = work.weights[n] * bend if np.isfinite(bend) else 0.0
            work.other[j, n] = work.weights[n] * (work.scores[j, n] - work.f[j, n])
    pull_back(test, work.units, work.other, size, work.adjoint)
    divergence_slope(test, work.units, work.weights, size, work.adjoint)
    return status


@kernel
def draw(density, program, work, rng):
    """Fresh draws of the program, and their scores; (status, number of good ones)."""
    for e in range(work.noise.shape[0]):
        for n in range(work.noise.shape[1]):
            work.noise[e, n] = rng.standard_normal()
    forward(program, work.noise, work.hidden, work.x)
    status = scores(density, work.x, work.Z, work.values, work.grads, work.scores)
    return status, weigh(work.scores, work.weights)


@kernel
def move(player, sign, rate, t, share):
    """Adam's step number t >= 1 along sign times the gradient; averages parameters."""
    for i in range(player.gradient.size):
        player.gradient[i] *= sign
    alpha = rate / (1.0 - DECAY**t)
    correction = 1.0 / (1.0 - DECAY_SQUARE**t)
    adam(
        player.gradient, player.m, player.v, player.m[:0], DECAY, DECAY_SQUARE, alpha, correction,
        EPSILON, player.step,
    )  # fmt: skip
    for i in range(player.flat.size):
        player.flat[i] += player.step[i]
    running_mean(player.flat, share, player.average)


@kernel
def train(density, program, test, work, rng, begin, rates, n_inner, share, history):
    """Steps of the game: n_inner of the test function, then one of the program.

    rates (2, T): of program and test function in each step; history (T,): J after the inner steps.
    `begin` steps were made before. Returns (status, good draws), of the step that ended it.
    """
    for t in range(history.size):
        for i in range(n_inner):
            status, good = draw(density, program.network, work, rng)
            if status != SUCCESS or good == 0:
                return status, good
            objective(test.network, work)
            test.gradient[:] = 0.0
            test_slopes(test.network, work, test.slopes)
            move(test, 1.0, rates[1, t], (begin + t) * n_inner + i + 1, share)
        status, good = draw(density, program.network, work, rng)
        if status != SUCCESS or good == 0:
            return status, good
        history[t] = objective(test.network, work)
        status = draw_slopes(density, test.network, work)
        if status != SUCCESS:
            return status, good
        program.gradient[:] = 0.0
        reverse(
            program.network, work.noise, work.hidden, work.adjoint, work.row[0], program.slopes
        )
        move(program, -1.0, rates[0, t], begin + t + 1, share)
    return np.int64(SUCCESS), work.weights.size
