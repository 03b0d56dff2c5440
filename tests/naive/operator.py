"""Plain twin of operator variational inference: one draw at a time, as the formulas say."""

import numpy as np


def network(net, x):
    """y (d,) of x (E,)."""
    return net.shift + net.linear @ x + net.outer @ np.tanh(net.inner @ x + net.bias)


def divergence(net, x):
    slope = 1 - np.tanh(net.inner @ x + net.bias) ** 2
    return np.trace(net.linear) + np.trace(net.outer @ np.diag(slope) @ net.inner)


def objective(net, X, S, weights):
    """Weighted mean of s'f + div f - |f|^2 / 2 over the columns of X."""
    total = 0.0
    for x, s, w in zip(X.T, S.T, weights):
        f = network(net, x)
        total += w * (s @ f + divergence(net, x) - 0.5 * f @ f)
    return total
