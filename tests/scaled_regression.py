"""A regression with a positive parameter, compiled: what other forms of it must equal."""

from __future__ import annotations

import math

import numpy as np

import fastvi
from fastvi.transforms import positive

X = np.random.default_rng(1).normal(size=(12, 2))
Y = X @ [1.0, -0.5] + np.random.default_rng(2).normal(size=12)
DATA = {"X": X, "y": Y, "rate": 2.0}
NAMES = {"beta": 2, "sigma": positive()}


def density(z, data, rows, weights, grad):
    """beta ~ N(0, 1), sigma ~ Exp(rate), y ~ N(X beta, sigma)."""
    sigma = z[2]
    value = -0.5 * (z[0] ** 2 + z[1] ** 2) - data.rate * sigma
    grad[0], grad[1], grad[2] = -z[0], -z[1], -data.rate
    for m in range(rows.size):
        i = rows[m]
        e = (data.y[i] - data.X[i, 0] * z[0] - data.X[i, 1] * z[1]) / sigma
        value -= weights[m] * (0.5 * e * e + math.log(sigma))
        grad[0] += weights[m] * e / sigma * data.X[i, 0]
        grad[1] += weights[m] * e / sigma * data.X[i, 1]
        grad[2] += weights[m] * (e * e - 1.0) / sigma
    return value


def compiled():
    return fastvi.target(density, data=DATA, names=NAMES, rows=("X", "y"))


def same_fit(ours, compiled):
    """The fit to one form of it, which must be that to the compiled one."""
    found, wanted = (fastvi.fit(target, random_state=0) for target in (ours, compiled))
    np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-8)
    np.testing.assert_allclose(found.sd, wanted.sd, atol=1e-8)
    assert found.converged
    return found
