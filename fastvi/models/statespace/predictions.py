"""What a linear system says of sequences: states, scores, forecasts, draws."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.models.estimator import generator_of
from fastvi.models.statespace.online import OnlineKalman
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.sequence_estimator import (
    Forecast,
    SequenceEstimator,
    States,
    intervals,
)  # fmt: skip
from fastvi.models.statespace.system import LOG_2PI, Linear, filtered, lower_root, passed, smoothed

__all__ = ["Forecaster"]


class Forecaster(SequenceEstimator):
    """Predictions of linear systems, from their parameters."""

    _end: States  # of the last sequence of the fit
    _is_diffuse: bool  # of the fit

    def _parameters(self) -> Linear:
        """Return the parameters."""
        raise NotImplementedError

    def _constant(self, params: Linear, n_sequences: int) -> float:
        """Log densities are those under a flat density of first states that are diffuse."""
        if not self._is_diffuse:
            return 0.0
        size = np.diag(params.covariance)
        return float(0.5 * n_sequences * np.sum(np.log(size) + LOG_2PI))

    def _given(
        self, X: RowsLike, lengths: ArrayLike | None, inputs: ArrayLike | None
    ) -> tuple[Linear, SequenceRows]:
        """Return the parameters and checked rows, or raise if the model is not fitted."""
        check_is_fitted(self)
        return self._parameters(), self._rows(X, lengths, inputs)

    def score_samples(
        self,
        X: RowsLike,
        lengths: ArrayLike | None = None,
        *,
        inputs: ArrayLike | None = None,
    ) -> Array:
        """Log density of each row given those before it in its sequence, (n_rows,), nats.

        Parameters
        ----------
        {X}
        {lengths}
        {inputs}
        """
        params, rows = self._given(X, lengths, inputs)
        with single_threaded_blas():
            return passed(params, rows)[1]

    def score(
        self,
        X: RowsLike,
        lengths: ArrayLike | None = None,
        *,
        inputs: ArrayLike | None = None,
    ) -> float:
        """Log likelihood of all sequences, nats.

        Parameters
        ----------
        {X}
        {lengths}
        {inputs}
        """
        params, rows = self._given(X, lengths, inputs)
        with single_threaded_blas():
            total = float(passed(params, rows)[1].sum())
        return total + self._constant(params, int(rows.begins.sum()))

    def filter(
        self,
        X: RowsLike,
        lengths: ArrayLike | None = None,
        *,
        inputs: ArrayLike | None = None,
    ) -> States:
        """States given the rows up to each (Kalman filter).

        Parameters
        ----------
        {X}
        {lengths}
        {inputs}
        """
        params, rows = self._given(X, lengths, inputs)
        with single_threaded_blas():
            found, _ = filtered(params, rows)
            return States(found.means, found.covariances())

    def smooth(
        self,
        X: RowsLike,
        lengths: ArrayLike | None = None,
        *,
        inputs: ArrayLike | None = None,
    ) -> States:
        """States given all rows of their sequences (Rauch, Tung and Striebel's smoother).

        Parameters
        ----------
        {X}
        {lengths}
        {inputs}
        """
        params, rows = self._given(X, lengths, inputs)
        with single_threaded_blas():
            found, _ = smoothed(params, rows)
            return States(found.means, found.covariances())

    def transform(
        self,
        X: RowsLike,
        lengths: ArrayLike | None = None,
        *,
        inputs: ArrayLike | None = None,
    ) -> Array:
        """Means of `smooth`, (n_rows, n_components).

        Parameters
        ----------
        {X}
        {lengths}
        {inputs}
        """
        params, rows = self._given(X, lengths, inputs)
        with single_threaded_blas():
            return smoothed(params, rows)[0].means

    def predict(
        self,
        X: RowsLike,
        lengths: ArrayLike | None = None,
        *,
        inputs: ArrayLike | None = None,
    ) -> Array:
        """Rows without noise, expected given all rows, (n_rows, n_features); missing ones as well.

        Parameters
        ----------
        {X}
        {lengths}
        {inputs}
        """
        params, rows = self._given(X, lengths, inputs)
        with single_threaded_blas():
            means = smoothed(params, rows)[0].means
            return np.asarray(means @ params.loadings.T + rows.constant @ params.offsets.T)

    def forecast(
        self,
        steps: int,
        X: RowsLike | None = None,
        *,
        level: float = 0.95,
        inputs: ArrayLike | None = None,
        past_inputs: ArrayLike | None = None,
    ) -> Forecast:
        """Predict the rows that follow a sequence, at the parameters that were fitted.

        Parameters
        ----------
        steps : int
        X : (n_rows, n_features) array, optional
            One sequence; by default the last one of the fit.
        level : float, default=0.95
            Probability of the intervals.
        inputs : (steps, n_inputs) array, optional
            Those of the rows to come, if the model was fitted with inputs.
        past_inputs : (n_rows, n_inputs) array, optional
            Those of X.
        """
        check_is_fitted(self)
        params, n = self._parameters(), checks.integer(steps, "steps", 1)
        level = checks.number(level, "level", 0.0, 1.0, open_low=True, open_high=True)
        ahead = self._inputs(inputs, n)
        mean, covariance = self._end
        if X is not None:
            mean, covariance = self._last(self._rows(X, None, past_inputs))
        means, spreads = [], []
        noise = params.rows_noise
        noise = np.diag(noise) if noise.ndim == 1 else noise
        for row in ahead:
            mean = params.transition @ mean + params.inputs @ row
            covariance = params.transition @ covariance @ params.transition.T + params.noise
            means.append(params.loadings @ mean + params.offsets @ np.append(1.0, row))
            spreads.append(params.loadings @ covariance @ params.loadings.T + noise)
        return intervals(np.array(means), np.array(spreads), level)

    def _last(self, rows: SequenceRows) -> States:
        """The last filtered state, from which forecasts go on."""
        with single_threaded_blas():
            found, _ = passed(self._parameters(), rows)
        return States(found.means[-1], found.covariance)

    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomState = None,
        *,
        inputs: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        """Draw a sequence; return its rows (n_samples, n_features), and their states.

        Parameters
        ----------
        n_samples : int
        random_state : int, RandomState or Generator, optional
            By default the constructor's.
        inputs : (n_samples, n_inputs) array, optional
            If the model was fitted with inputs.
        """
        check_is_fitted(self)
        params, n = self._parameters(), checks.integer(n_samples, "n_samples", 1)
        rng = generator_of(self.random_state if random_state is None else random_state)
        known = self._inputs(inputs, n)
        k, d = params.loadings.shape[1], len(params.loadings)
        steps = rng.normal(size=(n, k)) @ lower_root(params.noise).T + known @ params.inputs.T
        states = np.empty((n, k))
        states[0] = params.mean + lower_root(params.covariance) @ rng.normal(size=k)
        for t in range(1, n):
            states[t] = params.transition @ states[t - 1] + steps[t]
        noise = params.rows_noise
        root = np.diag(np.sqrt(noise)) if noise.ndim == 1 else np.linalg.cholesky(noise)
        rows = states @ params.loadings.T + rng.normal(size=(n, d)) @ root.T
        return rows + np.hstack((np.ones((n, 1)), known)) @ params.offsets.T, states

    def compiled(self) -> OnlineKalman:
        """States as rows arrive: a bare filter that checks nothing."""
        check_is_fitted(self)
        return OnlineKalman(self._parameters())
