"""Switching linear systems by structured variational inference, without scikit-learn.

The posterior is a chain of switches times a Gaussian chain of states, each exact given the other
(Ghahramani and Hinton 2000, section 4, with one chain of states whose steps switch). Parameters are
points of large bound plus log prior.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import Array
from fastvi.core import Batch, Coordinates, Local
from fastvi.kernels import gaussian_chain as kernels
from fastvi.kernels.chain_emissions import given_likelihoods
from fastvi.models.sequences.chains import Chain, Expected, Weights
from fastvi.models.sequences.stream import Stream
from fastvi.models.statespace.moments import symmetric
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.system import LOG_2PI, Linear, whitened

__all__ = [
    "GaussianChain", "Regimes", "SwitchingModel", "SwitchingPriors", "in_basis", "states_of",
    "step_logs", "switches_of",
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


class SwitchingModel:
    """The variational posterior of a switching system, in the form of a conjugate model.

    Its `local` returns the next parameters and posterior of switches in place of statistics, under
    a prior of zeros, so a step of rate 1 goes there. The bound, plus the log prior, never falls.

    Parameters
    ----------
    template : Regimes
        Of the right shapes.
    priors : SwitchingPriors
    constant : float
        Added to the bound.
    learns : bool
        Whether parameters change, or the posterior only.
    """

    coordinates: Coordinates | None = None

    def __init__(
        self, template: Regimes, priors: SwitchingPriors, constant: float = 0.0, learns: bool = True
    ) -> None:
        self.priors, self.constant, self.learns = priors, constant, learns
        self.prior: Regimes = tree.map_leaves(np.zeros_like, template)

    def local(
        self,
        params: Regimes,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Find the posteriors of states and of switches, and the parameters that are best then."""
        rows: SequenceRows = batch.rows
        states, density = states_of(params, rows)
        expected, weights = switches_of(params, rows, step_logs(params, rows, states))
        bound = expected.log_norm + density + states.entropy + self.constant
        bound += _first_density(params, rows, states)
        if self.learns:
            bound += self.log_prior(params)
            params = self.maximised(params, rows, states, expected, weights)
        return Local(params._replace(weights=weights), float(bound), states)

    def maximised(
        self,
        params: Regimes,
        rows: SequenceRows,
        states: GaussianChain,
        expected: Expected,
        weights: Array,
    ) -> Regimes:
        """The parameters of largest expected log density plus log prior."""
        moves = expected.pairs + self.priors.moves - 1.0
        moves = np.maximum(moves, 1e-10)
        start = expected.starts + 1e-10
        steps, noises = self.dynamics(rows, states, weights)
        first = states.means[rows.begins]
        mean = first.mean(axis=0)
        away = first - mean
        covariance = away.T @ away + states.covariances[rows.begins].sum(axis=0)
        covariance += self.priors.noise_rows * self.priors.noise * np.eye(len(mean))
        covariance = symmetric(covariance / (len(first) + self.priors.noise_rows))
        loadings, offsets, rows_noise = self.observations(rows, states)
        return Regimes(
            start / start.sum(), moves / moves.sum(axis=1, keepdims=True), steps, noises, mean,
            covariance, loadings, offsets, rows_noise, weights,
        )  # fmt: skip

    def dynamics(
        self, rows: SequenceRows, states: GaussianChain, weights: Array
    ) -> tuple[Array, Array]:
        """Steps and noises of regimes."""
        priors, k = self.priors, states.means.shape[1]
        later = np.flatnonzero(rows.steps)
        w, flat = weights[later], (len(later), k * k)
        now, cross, before = (
            (w.T @ part.reshape(flat)).reshape(-1, k, k)
            for part in (
                states.covariances[later],
                states.cross[later],
                states.covariances[later - 1],
            )
        )
        m, z = states.means[later], np.hstack((states.means[later - 1], np.ones((len(later), 1))))
        centre, ridge = np.eye(k, k + 1), priors.precision * np.eye(k + 1)
        steps, noises = np.empty((w.shape[1], k, k + 1)), np.empty((w.shape[1], k, k))
        for s, own in enumerate(w.T):
            gram, both = (own[:, None] * z).T @ z + ridge, (own[:, None] * m).T @ z + centre @ ridge
            gram[:k, :k] += before[s]
            both[:, :k] += cross[s]
            steps[s] = np.linalg.solve(gram, both.T).T
            rest, A = m - z @ steps[s].T, steps[s, :, :k]
            half = cross[s] @ A.T
            total = (own[:, None] * rest).T @ rest + now[s] - half - half.T + A @ before[s] @ A.T
            away = steps[s] - centre
            total += priors.precision * away @ away.T + priors.noise_rows * priors.noise * np.eye(k)
            noises[s] = symmetric(total / (own.sum() + priors.noise_rows))
        return steps, noises

    def observations(self, rows: SequenceRows, states: GaussianChain) -> tuple[Array, Array, Array]:
        """Loadings, offsets and the noise of rows."""
        priors, k = self.priors, states.means.shape[1]
        z = np.hstack((states.means, rows.constant))
        mask = np.broadcast_to(rows.mask, rows.X.shape)
        both, noise = np.empty((rows.n_features, z.shape[1])), np.empty(rows.n_features)
        spreads = (rows.mask.T @ states.covariances.reshape(len(z), -1)).reshape(-1, k, k)
        for d in range(rows.n_features):
            own, spread = mask[:, d], spreads[min(d, len(spreads) - 1)]
            gram = (own[:, None] * z).T @ z
            gram[:k, :k] += spread
            both[d] = np.linalg.solve(
                gram + 1e-12 * np.trace(gram) * np.eye(len(gram)), z.T @ rows.X[:, d]
            )
            rest = own * (rows.X[:, d] - z @ both[d])
            total = rest @ rest + both[d, :k] @ spread @ both[d, :k]
            total += priors.rows_noise_rows * priors.rows_noise
            noise[d] = total / (rows.counts[d] + priors.rows_noise_rows)
        return both[:, :k], both[:, k:], noise

    def log_prior(self, params: Regimes) -> float:
        """Log density of the priors, up to a constant, in nats."""
        priors, k = self.priors, len(params.mean)
        found = float(np.sum((priors.moves - 1.0) * np.log(params.moves)))
        away = params.steps - np.eye(k, k + 1)
        scale = priors.noise_rows * priors.noise * np.eye(k)
        squares = priors.precision * away @ away.swapaxes(1, 2) + scale
        found -= 0.5 * float(
            np.trace(np.linalg.solve(params.noises, squares), axis1=1, axis2=2).sum()
        )
        found -= 0.5 * priors.noise_rows * float(np.linalg.slogdet(params.noises)[1].sum())
        found -= 0.5 * float(np.trace(np.linalg.solve(params.covariance, scale)))
        found -= 0.5 * priors.noise_rows * float(np.linalg.slogdet(params.covariance)[1])
        logs = np.log(params.rows_noise) + priors.rows_noise / params.rows_noise
        return float(found - 0.5 * priors.rows_noise_rows * logs.sum())

    def global_bound(self, params: Regimes) -> float:
        """Return 0: all of the bound is in `local`."""
        return 0.0

    def confine(self, params: Regimes, step: Regimes) -> Regimes:
        """Return the step, which never leaves the domain."""
        return step


def _first_density(params: Regimes, rows: SequenceRows, states: GaussianChain) -> float:
    """E[log density of first states]."""
    away = states.means[rows.begins] - params.mean
    squares = away.T @ away + states.covariances[rows.begins].sum(axis=0)
    log_det = float(np.linalg.slogdet(params.covariance)[1])
    constant = len(away) * (away.shape[1] * LOG_2PI + log_det)
    return -0.5 * float(np.trace(np.linalg.solve(params.covariance, squares)) + constant)
