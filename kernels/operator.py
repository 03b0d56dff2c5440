"""Operator variational inference: a generator network against a network of test functions.

Both are those of `shallow.py`; N draws of d numbers are in columns (d, N). Equations: Ranganath,
Altosaar, Tran and Blei (2016), "Operator variational inference". The objective of a program q and a
test function f is the Langevin-Stein operator with a penalty on the size of f,

    J = E_q[s(x)'f(x) + div f(x) - |f(x)|^2 / 2],  s = grad log p,

which f maximises and q minimises. Its maximum over all multiples of f is (E_q[s'f + div f])^2 / (2
E_q|f|^2): the paper's eq. 4 with t(a) = a^2 and test functions of one size.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from ._pointers import call_target
from .optimizers import adam, running_mean
from .shallow import (
    Network,
    divergence,
    divergence_reverse,
    divergence_slope,
    forward,
    pull_back,
    reverse,
)
from .targets import SUCCESS, address_of
from .vectors import dot, fill

STEP = 1e-4  # step of the score differences that replace a Hessian times a vector
DECAY, DECAY_SQUARE, EPSILON = 0.5, 0.99, 1e-8  # of Adam, with little momentum


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
def _call(density, Z, values, grads):
    """Status of the target at Z (k, d)."""
    k, d = Z.shape
    return call_target(
        density.address, k, d, address_of(Z), address_of(density.table), address_of(values),
        address_of(grads),
    )  # fmt: skip


@kernel
def scores(density, power, x, Z, values, grads, out):
    """Out (d, N): gradients of power log p by x (d, N), nan where the target fails; scratch Z
    (N, d), values (N, n_terms), grads (N, d).
    """
    d, count = x.shape
    for j in range(d):
        for n in range(count):
            Z[n, j] = density.centre[j] + density.scale[j] * x[j, n]
    if _call(density, Z, values, grads) != SUCCESS:  # find the draw that failed
        for n in range(count):
            if _call(density, Z[n : n + 1], values[n : n + 1], grads[n : n + 1]) != SUCCESS:
                grads[n] = np.nan
    for j in range(d):
        for n in range(count):
            out[j, n] = power * density.scale[j] * grads[n, j]


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
    return dot(total, work.weights)


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
def draw_slopes(density, power, test, work):
    """Out work.adjoint (d, N): gradients of J by the draws, after `objective`.

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
        scores(density, power, work.moved, work.Z, work.values, work.grads, out)
    for j in range(d):
        for n in range(count):
            bend = (work.other[j, n] - work.adjoint[j, n]) * size[n] / (2.0 * reach[n])
            work.adjoint[j, n] = work.weights[n] * bend if np.isfinite(bend) else 0.0
            work.other[j, n] = work.weights[n] * (work.scores[j, n] - work.f[j, n])
    pull_back(test, work.units, work.other, size, work.adjoint)
    divergence_slope(test, work.units, work.weights, size, work.adjoint)


@kernel
def draw(density, power, program, work, rng):
    """Fresh draws of the program, and their scores; the number of good ones."""
    for e in range(work.noise.shape[0]):
        for n in range(work.noise.shape[1]):
            work.noise[e, n] = rng.standard_normal()
    forward(program, work.noise, work.hidden, work.x)
    scores(density, power, work.x, work.Z, work.values, work.grads, work.scores)
    return weigh(work.scores, work.weights)


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
def train(density, program, test, work, rng, begin, schedule, n_inner, share, history):
    """Steps of the game: n_inner of the test function, then one of the program.

    schedule (3, T): rates of program and test function, and the power of the target, in each step;
    history (T,): J after the inner steps. `begin` steps were made before. The number of draws of
    the last step that have a score; if it is 0 the step was not made.
    """
    good = 0
    for t in range(history.size):
        power = schedule[2, t]
        for i in range(n_inner):
            good = draw(density, power, program.network, work, rng)
            if good == 0:
                return good
            objective(test.network, work)
            fill(test.gradient, 0.0)
            test_slopes(test.network, work, test.slopes)
            move(test, 1.0, schedule[1, t], (begin + t) * n_inner + i + 1, share)
        good = draw(density, power, program.network, work, rng)
        if good == 0:
            return good
        history[t] = objective(test.network, work)
        draw_slopes(density, power, test.network, work)
        fill(program.gradient, 0.0)
        reverse(program.network, work.noise, work.hidden, work.adjoint, work.row[0], program.slopes)
        move(program, -1.0, schedule[0, t], begin + t + 1, share)
    return good
