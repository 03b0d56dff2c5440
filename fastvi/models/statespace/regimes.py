"""Parameters of switching linear systems, and the best posterior of each chain given the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.kernels import gaussian_chain as kernels
from fastvi.kernels.chain_emissions import given_likelihoods
from fastvi.models.sequences.chains import Chain, Expected, Weights
from fastvi.models.sequences.stream import Stream
from fastvi.models.statespace.moments import symmetric
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.system import LOG_2PI, Linear, whitened

__all__ = [
    "GaussianChain", "Regimes", "SwitchingPriors", "in_basis", "states_of", "step_logs",
    "switches_of",
]  # fmt: skip


class SwitchingPriors(NamedTuple):
    """Priors of standardised rows, as so many rows seen before.

    Of the noise of each regime (rows, variance), of the rows' noise (rows, variance), the precision
    of transitions around 1 and of drifts around 0 in units of the noise, and concentrations of the
    switches' transitions.
    """

    noise_rows: float
    noise: float
    rows_noise_rows: float
    rows_noise: float
    precision: float
    moves: Array


class Regimes(NamedTuple):
    """Parameters of a switching system with M regimes, and the posterior of its switches.

    Attributes
    ----------
    start, moves : (M,) and (M, M) arrays
        Probabilities of first switches, and of the next one, [from, to].
    steps : (M, K, K + 1) array
        Transitions and drifts of regimes.
    noises : (M, K, K) array
        Covariances of their noise.
    mean, covariance : (K,) and (K, K) arrays
        Of first states.
    loadings, offsets, rows_noise : (D, K), (D, 1) and (D,) arrays
        As in `Linear`.
    weights : (n, M) array
        Posterior of the switches of rows.
    """

    start: Array
    moves: Array
    steps: Array
    noises: Array
    mean: Array
    covariance: Array
    loadings: Array
    offsets: Array
    rows_noise: Array
    weights: Array

    @classmethod
    def empty(cls, d: int, k: int, m: int) -> Regimes:
        """Of these shapes, without rows."""
        return cls(
            np.zeros(m), np.zeros((m, m)), np.zeros((m, k, k + 1)), np.zeros((m, k, k)),
            np.zeros(k), np.zeros((k, k)), np.zeros((d, k)), np.zeros((d, 1)), np.zeros(d),
            np.zeros((0, m)),
        )  # fmt: skip

    @property
    def observed(self) -> Linear:
        """The system as far as rows given states are concerned."""
        k = len(self.mean)
        return Linear(
            self.mean, self.covariance, np.eye(k), np.zeros((k, 0)), np.eye(k), self.loadings,
            self.offsets, self.rows_noise,
        )  # fmt: skip


def in_basis(params: Regimes, basis: Array) -> Regimes:
    """The same system for states basis @ state."""
    k, inverse = len(params.mean), np.linalg.inv(basis)
    steps = basis @ params.steps
    steps[:, :, :k] = steps[:, :, :k] @ inverse
    return params._replace(
        steps=steps, noises=basis @ params.noises @ basis.T, mean=basis @ params.mean,
        covariance=basis @ params.covariance @ basis.T, loadings=params.loadings @ inverse,
    )  # fmt: skip


class GaussianChain(NamedTuple):
    """The posterior of states: means (n, K), covariances, those with the state before, entropy."""

    means: Array
    covariances: Array
    cross: Array
    entropy: float


def states_of(params: Regimes, rows: SequenceRows) -> tuple[GaussianChain, float]:
    """The best posterior of states given that of switches; also E[log density of rows]."""
    white = whitened(params.observed, rows)
    n, k = rows.n_rows, len(params.mean)
    inverse = np.linalg.inv(params.noises)
    inverse = 0.5 * (inverse + inverse.swapaxes(1, 2))
    A, b = params.steps[:, :, :k], params.steps[:, :, k]
    lagged = inverse @ A
    first = symmetric(np.asarray(np.linalg.inv(params.covariance)))
    weights = params.weights * rows.steps[:, None]
    linear = white.linear(rows) + weights @ np.einsum("mij,mj->mi", inverse, b)
    linear[rows.begins] += first @ params.mean
    linear[:-1] -= weights[1:] @ np.einsum("mji,mj->mi", lagged, b)
    roots, gains = np.zeros((n, k, k)), np.zeros((n, k, k))
    covariances, cross = np.empty((n, k, k)), np.empty((n, k, k))
    precisions = white.loadings.swapaxes(1, 2) @ white.loadings
    log_det = kernels.forward(
        rows.begins, rows.pattern, precisions, first, weights, inverse, lagged,
        A.swapaxes(1, 2) @ lagged, linear, roots, gains,
    )  # fmt: skip
    kernels.backward(rows.begins, linear, roots, gains, covariances, cross)
    if not np.isfinite(linear).all():
        raise FloatingPointError("the fit diverged: states are no longer finite")
    entropy = 0.5 * n * k * (1.0 + LOG_2PI) - log_det
    density = white.log_densities(rows, linear).sum()
    for p, precision in enumerate(precisions):
        density -= 0.5 * np.sum(precision * covariances[rows.pattern == p].sum(axis=0))
    return GaussianChain(linear, covariances, cross, entropy), float(density)


def step_logs(params: Regimes, rows: SequenceRows, states: GaussianChain) -> Array:
    """E[log density of the step into each row] by regime, (n, M); 0 in first rows."""
    k, later = len(params.mean), np.flatnonzero(rows.steps)
    inverse = np.linalg.inv(params.noises)
    A = params.steps[:, :, :k]
    lagged = inverse @ A
    before = A.swapaxes(1, 2) @ lagged
    m, past = states.means[later], states.means[later - 1]
    flat = (len(later), k * k)
    found = states.covariances[later].reshape(flat) @ inverse.reshape(len(A), -1).T
    found -= 2.0 * states.cross[later].reshape(flat) @ lagged.reshape(len(A), -1).T
    found += states.covariances[later - 1].reshape(flat) @ before.reshape(len(A), -1).T
    for s, step in enumerate(params.steps):
        rest = m - past @ step[:, :k].T - step[:, k]
        found[:, s] += np.sum(rest @ inverse[s] * rest, axis=1)
    constants = k * LOG_2PI + np.linalg.slogdet(params.noises)[1]
    logs = np.zeros((rows.n_rows, len(A)))
    logs[later] = -0.5 * (found + constants)
    return logs


class _Given:
    """Rows whose log likelihoods are given, (n, M)."""

    def __init__(self, stream: Stream, logs: Array) -> None:
        self._stream, self._logs, self._arranged = stream, logs, stream.arranged(logs)

    def write(self, group: int, out: Array, *, logs: bool) -> float:
        seen, counted = self._stream.seen[group], self._stream.counted[group]
        return float(given_likelihoods(self._arranged[group], seen, counted, logs, out))

    def logs(self) -> Array:
        return self._logs


def switches_of(params: Regimes, rows: SequenceRows, logs: Array) -> tuple[Expected, Array]:
    """The best posterior of switches given log weights of rows: of pairs, and of each, (n, M)."""
    first = np.flatnonzero(rows.begins)
    if len(params.start) == 1:
        one = np.ones((1, 1))
        n_steps = len(logs) - len(first)
        return Expected(float(logs.sum()), len(first) * one[0], n_steps * one, one), logs**0
    lengths = np.diff(np.append(first, rows.n_rows))
    stream = Stream(lengths, np.zeros(rows.n_rows, np.bool_))
    found = Chain(stream, len(params.start)).expect(
        Weights(np.array(params.start), np.array(params.moves)), _Given(stream, logs)
    )
    return found, stream.at(found.posterior)
