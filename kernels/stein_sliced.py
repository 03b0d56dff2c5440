"""Sliced Stein variational gradients: one-dimensional kernels, with a pass over all pairs each.

Coordinate r moves along scores s_r by a kernel of the projections a_r = x g_r / l_r, in lengths:
k(t) = exp(-t^2 / 2), t = a_r(x) - a_r(x'); c_r = g_rr / l_r. Gong, Li and Hernandez-Lobato (2021).
"""

import numpy as np

from ._jit import kernel
from .special import exp


@kernel
def directions(first, last, a, s, weights, c, share, phi, masses):
    """Out, for the slices from `first` up to `last`, phi and masses (D, n): their eq. 15.

    phi_i = share sum_j w_j k (s_j + c t) and mass_i = share sum_j w_j k; a and s (D, n), weights
    (n,), c (D,).
    """
    half, zero = a.dtype.type(-0.5), a.dtype.type(0)
    n = a.shape[1]
    for r in range(first, last):
        places, scores, factor = a[r], s[r], c[r]
        for i in range(n):
            own, total, mass = places[i], zero, zero
            for j in range(n):
                t = own - places[j]
                k = weights[j] * exp(half * t * t)
                mass += k
                total += k * (scores[j] + factor * t)
            phi[r, i] = share * total
            masses[r, i] = share * mass


@kernel
def slopes(first, last, a, s, weights, c, by_place, by_c, values):
    """Out, for these slices, derivatives of the sliced discrepancy D_r.

    With h = (s_i s_j + c t (s_i - s_j) + c^2 (1 - t^2)) k and D_r = sum_ij w_i w_j h: values (D,)
    is D_r, by_c (D,) its derivative by c, and by_place (D, n) w_i sum_j w_j dh/dt, half of its
    derivative by a_i.
    """
    half, zero, one, two = (
        a.dtype.type(-0.5),
        a.dtype.type(0),
        a.dtype.type(1),
        a.dtype.type(2),
    )
    n = a.shape[1]
    for r in range(first, last):
        places, scores, factor = a[r], s[r], c[r]
        values[r], by_c[r] = 0.0, 0.0
        for i in range(n):
            own, score, weight = places[i], scores[i], weights[i]
            by_t, by_factor, value = zero, zero, zero
            for j in range(n):
                t = own - places[j]
                k = weights[j] * exp(half * t * t)
                gap, rest = score - scores[j], factor * (one - t * t)
                h = k * (score * scores[j] + factor * (t * gap + rest))
                value += h
                by_t += k * factor * (gap - two * factor * t) - t * h
                by_factor += k * (t * gap + two * rest)
            by_place[r, i] = weight * by_t
            values[r] += np.float64(weight * value)
            by_c[r] += np.float64(weight * by_factor)
