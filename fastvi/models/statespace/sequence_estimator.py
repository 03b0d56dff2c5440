"""What estimators of sequences share: checks of rows, and what they return."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, RowsLike
from fastvi.models.estimator import Estimator
from fastvi.models.statespace.documentation import TEXTS
from fastvi.models.statespace.rows import SequenceRows

__all__ = ["Forecast", "SequenceEstimator", "States", "intervals"]

LARGEST = 1e150  # numbers, whose squares float64 holds


class States(NamedTuple):
    """Gaussian posteriors of states: means (n_rows, n_components), and covariances of each row."""

    means: Array
    covariances: Array


class Forecast(NamedTuple):
    """Rows to come.

    Attributes
    ----------
    mean, lower, upper : (steps, n_features) arrays
        Means, and the ends of central intervals.
    covariances : (steps, n_features, n_features) array
    """

    mean: Array
    lower: Array
    upper: Array
    covariances: Array


def intervals(means: Array, covariances: Array, level: float) -> Forecast:
    """Central intervals of Gaussian rows (steps, D), with covariances (steps, D, D)."""
    half = norm.ppf(0.5 + 0.5 * level) * np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    return Forecast(means, means - half, means + half, covariances)


class SequenceEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """Models of sequences with missing numbers."""

    _texts = TEXTS
    initial_mean_: Array
    transition_inputs_: Array  # of which models without inputs have none

    def _rows(
        self,
        X: RowsLike,
        lengths: ArrayLike | None,
        inputs: ArrayLike | None = None,
        reset: bool = False,
    ) -> SequenceRows:
        """Check rows, lengths and inputs."""
        X = self._array(
            X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )  # fmt: skip
        if np.isinf(X).any():
            raise ValueError("X contains infinity; wanted numbers, or NaN for missing ones")
        if not np.abs(X).max(initial=0.0, where=~np.isnan(X)) < LARGEST:
            raise ValueError(f"X holds numbers above {LARGEST:.0e} in size: scale X")
        rows = SequenceRows(
            X, checks.sequence_lengths(lengths, len(X)), self._inputs(inputs, len(X), reset)
        )
        if reset and (rows.counts == 0).any():
            raise ValueError(f"column {int(rows.counts.argmin())} of X has no numbers")
        return rows

    def _inputs(self, inputs: ArrayLike | None, n: int, reset: bool = False) -> Array:
        wanted = None if reset else self.transition_inputs_.shape[1]
        found = np.zeros((n, 0)) if inputs is None else np.asarray(inputs, np.float64)
        if found.ndim != 2 or len(found) != n or wanted not in (None, found.shape[1]):
            width = "n_inputs" if wanted is None else wanted
            given = "not given" if inputs is None else f"of shape {found.shape}"
            raise ValueError(f"inputs are {given}; wanted ({n}, {width})")
        if not np.isfinite(found).all():
            raise ValueError("inputs must be finite")
        return found

    @property
    def _n_features_out(self) -> int:
        return len(self.initial_mean_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
