"""Switching linear systems by structured variational inference, without scikit-learn.

The posterior is a chain of switches times a Gaussian chain of states, each exact given the other
(Ghahramani and Hinton 2000, section 4, with one chain of states whose steps switch). Parameters are
points of large bound plus log prior.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import Array
from fastvi.core import Batch, Coordinates, Local
from fastvi.models.sequences.chains import Expected
from fastvi.models.statespace.moments import symmetric
from fastvi.models.statespace.regimes import (
    GaussianChain,
    Regimes,
    SwitchingPriors,
    states_of,
    step_logs,
    switches_of,
)  # fmt: skip
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.system import LOG_2PI

__all__ = ["SwitchingModel"]


class SwitchingModel:
    """The variational posterior of a switching system, in the form of a conjugate model.

    Its `local` returns the next parameters and posterior of switches in place of statistics, under
    a prior of zeros, so a step of rate 1 goes there. The bound, plus the log prior, never falls.

    Parameters
    ----------
    template : Regimes
        Of the right shapes.
    priors : SwitchingPriors, optional
        Needed if parameters are learned.
    constant : float
        Added to the bound.
    learns : bool
        Whether parameters change, or the posterior only.
    """

    coordinates: Coordinates | None = None

    def __init__(
        self,
        template: Regimes,
        priors: SwitchingPriors | None,
        constant: float = 0.0,
        learns: bool = True,
    ) -> None:
        if priors is not None:
            self.priors = priors
        self.constant, self.learns = constant, learns
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
