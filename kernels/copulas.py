"""Blocks of compiled steps of Gaussian copulas: z_i = l_i + s_i T_i(v_i / s_i) of a Gaussian v.

It is v = root eps, s_i the length of row i of the root, and T_i are the maps of `margins.py`.

The root is base times the lower triangular matrix that steps move, and so are the locations l.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .drivers import multiply, root_of
from .margins import pull, transform
from .special import log
from .steps import EPSILON, attempt, climb, count, report, spread, sum_of_logs
from .vectors import dot, fill, sum_of

__all__ = ["copula_plain", "space_of"]


class Space(NamedTuple):
    """Scratch of steps with K draws side by side."""

    eps: np.ndarray  # (D, K) noise, as all that follow
    x: np.ndarray  # v in units of s
    y: np.ndarray  # the maps of x
    slope: np.ndarray  # their slopes
    bend: np.ndarray  # derivatives of the logarithms of slopes
    of_z: np.ndarray  # gradients
    pair: np.ndarray  # (2, K)
    inner: np.ndarray  # (D, D) the matrix that steps move
    root: np.ndarray  # (D, D)
    of_root: np.ndarray  # (D, D)
    places: np.ndarray  # (3, D): l, s, gradients of l


def space_of(D, K):
    """Scratch of steps with K draws of D numbers."""
    return Space(
        *np.empty((6, D, K)), np.empty((2, K)), np.zeros((D, D)), np.empty((D, D)),
        np.empty((D, D)), np.empty((3, D)),
    )  # fmt: skip


@kernel
def locate(mean, base, space):
    """Out root, l and s, from the matrix that steps move and mean (D,) in the frame of base."""
    root, places = space.root, space.places
    multiply(base, space.inner, root)
    for i in range(mean.shape[0]):
        away, square = 0.0, 0.0
        for j in range(i + 1):
            away += base[i, j] * mean[j]
            square += root[i, j] * root[i, j]
        places[0, i] = away
        places[1, i] = np.sqrt(square)


@kernel
def arrange(kind, shapes, noise, space):
    """Out x, its maps, slopes and bends, of noise (K, D)."""
    root, scales, eps, x = space.root, space.places[1], space.eps, space.x
    for j in range(noise.shape[1]):
        for s in range(noise.shape[0]):
            eps[j, s] = noise[s, j]
    fill(x.reshape(x.size), 0.0)
    for i in range(x.shape[0]):
        for j in range(i + 1):
            factor = root[i, j] / scales[i]
            for s in range(x.shape[1]):
                x[i, s] += factor * eps[j, s]
    transform(kind, shapes, x, space.y, space.slope, space.bend)


@kernel
def place(space, Z):
    """Out Z (K, D): the draws."""
    places, y = space.places, space.y
    for i in range(y.shape[0]):
        for s in range(y.shape[1]):
            Z[s, i] = places[0, i] + places[1, i] * y[i, s]


@kernel
def add_log_slopes(n, power, space, values):
    """Add their sum over power to the first column of values (K, n_terms), of the first n draws."""
    total, slope = space.pair[0], space.slope
    fill(total, 0.0)
    for i in range(slope.shape[0]):
        for s in range(n):
            total[s] += log(slope[i, s])
    for s in range(n):
        values[s, 0] += total[s] / power


@kernel
def unscore(n, power, grads, space):
    """Out of_z (D, K): power grads less the gradients of log q, over n; 0 beyond n draws."""
    of_z, eps, root, scales = space.of_z, space.eps, space.root, space.places[1]
    slope, bend = space.slope, space.bend
    D, share = root.shape[0], 1.0 / n
    for a in range(D - 1, -1, -1):  # root'^-1 eps
        for s in range(n):
            of_z[a, s] = eps[a, s]
        for b in range(a + 1, D):
            factor = root[b, a]
            for s in range(n):
                of_z[a, s] -= factor * of_z[b, s]
        factor = 1.0 / root[a, a]
        for s in range(n):
            of_z[a, s] *= factor
    for i in range(D):
        for s in range(n):
            own = (of_z[i, s] + bend[i, s] / scales[i]) / slope[i, s]
            of_z[i, s] = share * (power * grads[s, i] + own)
        for s in range(n, of_z.shape[1]):
            of_z[i, s] = 0.0


@kernel
def pull_back(kind, shapes, space, of_shapes):
    """Out gradients of shapes (D, P), of locations (in places) and of the root, from of_z."""
    x, y, slope, of_z, root = space.x, space.y, space.slope, space.of_z, space.root
    (D, K), scales = x.shape, space.places[1]
    pull(kind, shapes, x, y, of_z, space.pair, of_shapes)
    for i in range(D):
        for p in range(of_shapes.shape[1]):
            of_shapes[i, p] *= scales[i]
        space.places[2, i] = sum_of(of_z[i])
        for s in range(K):
            space.pair[0, s] = y[i, s] - x[i, s] * slope[i, s]
        of_scale = dot(space.pair[0], of_z[i]) / scales[i]
        for s in range(K):
            of_z[i, s] *= slope[i, s]
        for j in range(i + 1):
            space.of_root[i, j] = dot(of_z[i], space.eps[j]) + of_scale * root[i, j]


@kernel
def to_frame(base, space, of_mean, of_free):
    """Gradients of locations and root become those of the numbers that steps move."""
    of_places, of_root = space.places[2], space.of_root
    D = base.shape[0]
    for k in range(D):
        total = 0.0
        for i in range(k, D):
            total += base[i, k] * of_places[i]
        of_mean[k] = total
        for i in range(k, D):
            factor = base[i, k]
            for j in range(k + 1):
                of_free[k, j] += factor * of_root[i, j]
        of_free[k, k] *= space.inner[k, k]


@kernel
def copula_plain(
    address, table, noise, power, rate, params, work, sums, trace, t, moments, kind, base, space
):
    """Steps t, t + 1, ... of Adam; params (D + D^2 + D P,): mean, free root, shapes."""
    D, at = base.shape[0], base.shape[0] * (base.shape[0] + 1)
    mean, free = params[:D], params[D:at].reshape((D, D))
    shapes = params[at:].reshape((D, (params.size - at) // D))
    of_mean, of_free = work.step[:D], work.step[D:at].reshape((D, D))
    of_shapes = work.step[at:].reshape(shapes.shape)
    log_det_base = sum_of_logs(base.reshape(D * D), D + 1)
    for i in range(noise.shape[0]):
        log_det = log_det_base + root_of(free, space.inner)
        locate(mean, base, space)
        spread(noise[i], work.eps)
        arrange(kind, shapes, work.eps, space)
        place(space, work.Z)
        n = attempt(address, table, work)
        if n == 0:
            return i
        if n < work.eps.shape[0]:  # those that are left come first
            arrange(kind, shapes, work.eps, space)
        add_log_slopes(n, power, space, work.values)
        report(i, n, power, log_det, work, trace)
        unscore(n, power, work.grads, space)
        fill(work.step, 0.0)
        pull_back(kind, shapes, space, of_shapes)
        to_frame(base, space, of_mean, of_free)
        count(params, work, sums)
        trace.rate[i] = climb(rate, t + i, params, work, moments, EPSILON)
    return noise.shape[0]
