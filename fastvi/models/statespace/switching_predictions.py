"""What a switching linear system says of sequences: states, regimes, forecasts, draws."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.models.estimator import generator_of
from fastvi.models.statespace.regimes import Regimes
from fastvi.models.statespace.sequence_estimator import (
    Forecast,
    SequenceEstimator,
    States,
    intervals,
)  # fmt: skip
from fastvi.models.statespace.switching_start import posterior
from fastvi.models.statespace.system import lower_root

__all__ = ["End", "SwitchingPredictions"]


class End(NamedTuple):
    """Probabilities of the last switch, and mean and covariance of the last state."""

    weights: Array
    mean: Array
    covariance: Array


class SwitchingPredictions(SequenceEstimator):
    """Predictions of switching linear systems, from their parameters."""

    _params: Regimes  # in the units of the fit, without weights of rows
    _one: Regimes  # the same with one regime
    _end: End
    _centre: Array
    _scale: Array
    startprob_: Array
    transmat_: Array
    transition_matrices_: Array
    transition_offsets_: Array
    transition_covariances_: Array
    observation_matrix_: Array
    observation_offset_: Array
    observation_covariance_: Array
    initial_covariance_: Array

    def _posterior(self, X: RowsLike, lengths: ArrayLike | None) -> tuple[States, Array, float]:
        """States, probabilities of regimes, and the bound."""
        check_is_fitted(self)
        raw = self._rows(X, lengths)
        rows = raw.standardised(self._centre, self._scale)
        tol = 1e-8 * rows.n_rows
        with single_threaded_blas():
            chain, weights, bound = posterior(self._params, self._one, rows, tol)
        bound -= float(rows.counts @ np.log(self._scale))
        return States(chain.means, chain.covariances), weights, bound

    def predict_proba(self, X: RowsLike, lengths: ArrayLike | None = None) -> Array:
        """Posteriors of regimes given all rows, (n_rows, n_regimes).

        Parameters
        ----------
        {X}
        {lengths}
        """
        return self._posterior(X, lengths)[1]

    def predict(self, X: RowsLike, lengths: ArrayLike | None = None) -> NDArray[np.int64]:
        """The most likely regime of each row, (n_rows,).

        Parameters
        ----------
        {X}
        {lengths}
        """
        return np.asarray(self.predict_proba(X, lengths).argmax(axis=1))

    def smooth(self, X: RowsLike, lengths: ArrayLike | None = None) -> States:
        """States given all rows of their sequences.

        Parameters
        ----------
        {X}
        {lengths}
        """
        return self._posterior(X, lengths)[0]

    def transform(self, X: RowsLike, lengths: ArrayLike | None = None) -> Array:
        """Means of `smooth`, (n_rows, n_components).

        Parameters
        ----------
        {X}
        {lengths}
        """
        return self._posterior(X, lengths)[0].means

    def score(self, X: RowsLike, lengths: ArrayLike | None = None) -> float:
        """Return a lower bound of the log likelihood of all sequences, in nats.

        Parameters
        ----------
        {X}
        {lengths}
        """
        return self._posterior(X, lengths)[2]

    def sample(
        self, n_samples: int = 1, random_state: RandomState = None
    ) -> tuple[Array, NDArray[np.int64], Array]:
        """Draw a sequence; return its rows, their regimes, and their states.

        Parameters
        ----------
        n_samples : int
        random_state : int, RandomState or Generator, optional
            By default the constructor's.
        """
        check_is_fitted(self)
        n = checks.integer(n_samples, "n_samples", 1)
        rng = generator_of(self.random_state if random_state is None else random_state)
        k, m = self.initial_mean_.shape[0], len(self.startprob_)
        roots = [lower_root(noise) for noise in self.transition_covariances_]
        regimes, states = np.empty(n, np.int64), np.empty((n, k))
        regimes[0] = rng.choice(m, p=self.startprob_)
        states[0] = self.initial_mean_ + lower_root(self.initial_covariance_) @ rng.normal(size=k)
        for t in range(1, n):
            s = regimes[t] = rng.choice(m, p=self.transmat_[regimes[t - 1]])
            moved = self.transition_matrices_[s] @ states[t - 1] + self.transition_offsets_[s]
            states[t] = moved + roots[s] @ rng.normal(size=k)
        rows = states @ self.observation_matrix_.T + self.observation_offset_
        noise = np.sqrt(self.observation_covariance_) * rng.normal(size=rows.shape)
        return rows + noise, regimes, states

    def forecast(self, steps: int, *, level: float = 0.95) -> Forecast:
        """Predict the rows that follow the last sequence of the fit.

        Means and covariances are exact for the last row's posterior, over all sequences of regimes
        to come; intervals are those of normal distributions with these moments.

        Parameters
        ----------
        steps : int
        level : float, default=0.95
            Probability of the intervals.
        """
        check_is_fitted(self)
        n = checks.integer(steps, "steps", 1)
        level = checks.number(level, "level", 0.0, 1.0, open_low=True, open_high=True)
        A, b, C = self.transition_matrices_, self.transition_offsets_, self.observation_matrix_
        p, mean, covariance = self._end
        first = p[:, None] * mean  # E[state; regime]
        second = p[:, None, None] * (covariance + np.outer(mean, mean))
        means, spreads = [], []
        for _ in range(n):
            p = p @ self.transmat_
            past, squares = self.transmat_.T @ first, np.tensordot(self.transmat_.T, second, 1)
            moved = np.einsum("mij,mj->mi", A, past)
            first = moved + p[:, None] * b
            cross = moved[:, :, None] * b[:, None, :]
            second = A @ squares @ A.swapaxes(1, 2) + cross + cross.swapaxes(1, 2)
            second += p[:, None, None] * (
                b[:, :, None] * b[:, None, :] + self.transition_covariances_
            )
            total = first.sum(axis=0)
            means.append(C @ total + self.observation_offset_)
            spread = second.sum(axis=0) - np.outer(total, total)
            spreads.append(C @ spread @ C.T + np.diag(self.observation_covariance_))
        return intervals(np.array(means), np.array(spreads), level)
