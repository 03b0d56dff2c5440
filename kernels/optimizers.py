"""Updates of per-coordinate optimizers, in one pass over flat arrays (n,).

Names as in the papers: g gradient, m and v running means of g and g^2, step the output. No loop
both sums and stores: see `kernel`.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from ._subnormals import flush_subnormals, restore_subnormals


class Adam(NamedTuple):
    """Numbers of a step of Adam; with rate 0 the parameters stay."""

    decay: float
    decay_square: float
    rate: float  # corrected by the first decay
    correction: float  # by the second
    epsilon: float


@kernel
def adagrad(g, v, rate, epsilon, step):
    """Duchi et al. (2011): v += g^2; step = rate g / (sqrt(v) + epsilon)."""
    for i in range(g.shape[0]):
        v[i] += g[i] * g[i]
        step[i] = rate * g[i] / (np.sqrt(v[i]) + epsilon)


@kernel
def rmsprop(g, v, decay, rate, epsilon, step):
    """Tieleman and Hinton (2012): v = decay v + (1 - decay) g^2; step as in AdaGrad."""
    rest = g.dtype.type(1) - decay
    for i in range(g.shape[0]):
        v[i] = decay * v[i] + rest * g[i] * g[i]
        step[i] = rate * g[i] / (np.sqrt(v[i]) + epsilon)


@kernel
def adam(g, m, v, top, decay, decay_square, rate, correction, epsilon, step):
    """Kingma and Ba (2015), algorithm 1: rate and correction are alpha / (1 - beta_1^t) and
    1 / (1 - beta_2^t). With `top` (n,) instead of (0,) AMSGrad (Reddi et al. 2018): the largest
    corrected v so far in place of v.
    """
    largest = top.shape[0] > 0
    rest = g.dtype.type(1) - decay
    rest_square = g.dtype.type(1) - decay_square
    for i in range(g.shape[0]):
        m[i] = decay * m[i] + rest * g[i]
        v[i] = decay_square * v[i] + rest_square * g[i] * g[i]
        second = v[i] * correction
        if largest:
            second = max(second, top[i])
            top[i] = second
        step[i] = rate * m[i] / (np.sqrt(second) + epsilon)


@kernel
def adam_in_place(g, m, v, decay, decay_square, rate, correction, epsilon, params):
    """Params += the step of `adam`, in the same pass."""
    rest = g.dtype.type(1) - decay
    rest_square = g.dtype.type(1) - decay_square
    mode = flush_subnormals()  # moments of parameters without a gradient decay to such numbers
    for i in range(g.shape[0]):
        m[i] = decay * m[i] + rest * g[i]
        v[i] = decay_square * v[i] + rest_square * g[i] * g[i]
        params[i] += rate * m[i] / (np.sqrt(v[i] * correction) + epsilon)
    restore_subnormals(mode)


@kernel
def running_mean(x, share, mean):
    """Mean += share (x - mean)."""
    for i in range(x.shape[0]):
        mean[i] += share * (x[i] - mean[i])


@kernel
def squared_norm(x):
    """Sum of squares, accumulated in float64."""
    total = 0.0
    for i in range(x.shape[0]):
        total += np.float64(x[i]) * np.float64(x[i])
    return total
