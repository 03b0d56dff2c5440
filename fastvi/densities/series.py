"""Log densities of series in time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastvi.densities.documentation import documented
from fastvi.densities.parts import HALF_LOG_2PI
from fastvi.densities.vectorised import compiled

__all__ = ["autoregressive", "gaussian_random_walk", "hidden_markov"]

Array = NDArray[np.float64]


@documented
@compiled
def gaussian_random_walk(x: Array, sd: float) -> float:
    """Steps of a random walk are normal with mean 0; the first value is taken as given.

    Parameters
    ----------
    x : (n,) array
    sd : float
        Of each step, > 0.

    {nats_as_in}
    >>> round(densities.gaussian_random_walk(np.array([3.0, 3.0]), 1.0), 6)
    -0.918939
    """
    square = 0.0
    for t in range(1, x.shape[0]):
        square += (x[t] - x[t - 1]) ** 2
    return float(-0.5 * square / (sd * sd) - (x.shape[0] - 1) * (math.log(sd) + HALF_LOG_2PI))


@documented
@compiled
def autoregressive(x: Array, intercept: float, coefficients: Array, sd: float) -> float:
    """An autoregressive process, AR(p); the first p values are taken as given.

    Parameters
    ----------
    x : (n,) array
    intercept : float
    coefficients : (p,) array
        Of the value before, of that before it, and so on.
    sd : float
        Of the noise, > 0.

    {nats_as_in}
    >>> x = np.array([1.0, 0.5, 0.25])
    >>> round(densities.autoregressive(x, 0.0, np.array([0.5]), 1.0), 6)
    -1.837877
    """
    p = coefficients.shape[0]
    square = 0.0
    for t in range(p, x.shape[0]):
        error = x[t] - intercept
        for k in range(p):
            error -= coefficients[k] * x[t - 1 - k]
        square += error * error
    return float(-0.5 * square / (sd * sd) - (x.shape[0] - p) * (math.log(sd) + HALF_LOG_2PI))


@documented
@compiled
def hidden_markov(log_emission: Array, transition: Array, initial: Array) -> float:
    """A hidden Markov model, whose states are summed over; Stan's hmm_marginal.

    Parameters
    ----------
    log_emission : (T, n) array
        Log densities of what is seen at each time, for each state.
    transition : (n, n) array
        Probabilities; each row, of the next state, has the sum 1.
    initial : (n,) array
        Probabilities of the first state.

    {nats_as_in}
    >>> seen = np.log([[0.9, 0.2], [0.9, 0.2]])
    >>> P = np.array([[0.8, 0.2], [0.3, 0.7]])
    >>> round(densities.hidden_markov(seen, P, np.array([0.5, 0.5])), 6)
    -0.95972
    """
    n = initial.shape[0]
    weight, ahead = np.empty(n), np.empty(n)
    for i in range(n):
        ahead[i] = initial[i]
    value = 0.0
    for t in range(log_emission.shape[0]):
        high = log_emission[t, 0]
        for i in range(1, n):
            if log_emission[t, i] > high:
                high = log_emission[t, i]
        total = 0.0
        for i in range(n):
            weight[i] = ahead[i] * math.exp(log_emission[t, i] - high)
            total += weight[i]
        value += high + math.log(total)
        for j in range(n):
            ahead[j] = 0.0
            for i in range(n):
                ahead[j] += weight[i] / total * transition[i, j]
    return value
