"""Linear systems row by row, for use as data arrive."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.kernels.kalman_filter import filter_step
from fastvi.models.statespace.system import Linear, lower_root

__all__ = ["OnlineKalman", "OnlineState"]


class OnlineState(NamedTuple):
    """What is known of the state after a row, and of the next one.

    Attributes
    ----------
    mean : (K,) array
    root : (K, K) array
        The covariance is ``root @ root.T``.
    ahead : (K, K) array
        A lower root of the covariance of the next state.
    """

    mean: Array
    root: Array
    ahead: Array

    @property
    def covariance(self) -> Array:
        """Of the state after the row, (K, K)."""
        return self.root @ self.root.T


class OnlineKalman:
    """States given the rows so far; checks nothing, and takes microseconds.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import LinearGaussianSSM
    >>> X = np.cumsum(np.random.default_rng(0).normal(size=(50, 1)), axis=0)
    >>> online = LinearGaussianSSM(1, max_iter=5, tol=0.0, random_state=0).fit(X).compiled()
    >>> state, log_density = online.filter_step(X[0])
    >>> for row in X[1:]:
    ...     state, log_density = online.filter_step(row, state)
    >>> state.mean.shape, state.covariance.shape
    ((1,), (1, 1))
    """

    def __init__(self, params: Linear) -> None:
        self._params = params
        parts = params.transition, params.loadings, params.offsets[:, 0]
        transition, loadings, offset = (np.array(part, order="C") for part in parts)
        self._begin = np.array(params.mean), lower_root(params.covariance)
        self._parts = (
            transition, lower_root(params.noise), loadings, offset,
            np.atleast_2d(np.array(params.rows_noise, order="C")),
        )  # fmt: skip

    def filter_step(
        self, row: Array, before: OnlineState | None = None, inputs: Array | None = None
    ) -> tuple[OnlineState, float]:
        """Take one more row.

        Parameters
        ----------
        row : (n_features,) array of float64
            NaN stands for missing numbers.
        before : OnlineState, optional
            What the last call returned; None at the beginning of a sequence.
        inputs : (n_inputs,) array, optional
            Those of this row.

        Returns
        -------
        state : OnlineState
        log_density : float
            Of this row given those before, nats.
        """
        params = self._params
        if before is None:
            mean, root = self._begin
        else:
            mean, root = params.transition @ before.mean, before.ahead
        if inputs is not None:
            row = row - params.offsets[:, 1:] @ inputs
            mean = mean + params.inputs @ inputs if before is not None else mean
        k = len(mean)
        found = OnlineState(np.empty(k), np.empty((k, k)), np.empty((k, k)))
        log_density = filter_step(
            row, mean, root, *self._parts, found.mean, found.ahead, found.root
        )
        return found, log_density
