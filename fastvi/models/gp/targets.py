"""Fits and streams of numbers, in one or several columns."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import validate_data

from fastvi.base import checks
from fastvi.base.typing import ArrayLike, RowsLike
from fastvi.checkpoints import Watching
from fastvi.models.files import Saved
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.likelihoods import named
from fastvi.models.gp.outputs import several
from fastvi.models.gp.predictions import Units
from fastvi.models.gp.rows import Points
from fastvi.models.gp.start import weighted
from fastvi.models.gp.stochastic import ByMiniBatches
from fastvi.models.kinds import Labelled

__all__ = ["OnTargets"]


class OnTargets(Units, ByMiniBatches):
    """Estimators with a `likelihood` by name."""

    likelihood: str
    df: float

    def _fit(self, last: Self | None, watching: Watching, data: Labelled) -> None:
        points = self._data(data.X, data.y, data.sample_weight, reset=True)
        self._learn(watching, *points, data.held_out)
        self._warn_of_bounds()

    def partial_fit(
        self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Take a step on each `batch_size` of these rows; the first call chooses inducing inputs.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) or (n_rows, n_targets) array
        {sample_weight}

        Returns
        -------
        self
        """
        self._advance(X, y, sample_weight)
        return self

    def _partial_fit(self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None) -> None:
        first = not hasattr(self, "_state")
        if not first:
            self._refuse_changes(("likelihood", "df"))
        self._feed(*self._data(X, y, sample_weight, reset=first))

    def _data(
        self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None, *, reset: bool
    ) -> tuple[Points, Likelihood]:
        X, y = validate_data(
            self, X, y, dtype=np.float64, order="C", multi_output=True, y_numeric=True, reset=reset
        )
        targets = np.ascontiguousarray(y, np.float64)
        n_outputs = targets.size // len(targets)
        if reset:
            self._n_outputs = n_outputs
            self._y_units = _no_units(n_outputs)
        if n_outputs != self._n_outputs:
            raise ValueError(f"y has {n_outputs} columns; wanted {self._n_outputs}, as before")
        likelihood = self._likelihood()
        likelihood.check(targets)
        if n_outputs == 1:  # also a column, as in scikit-learn
            targets = targets.reshape(-1)
        points = weighted(X, targets, sample_weight)
        return self._in_units(points, likelihood, reset), likelihood

    def _likelihood(self) -> Likelihood:
        return several(named(self.likelihood, self.df), self._n_outputs)

    def _saved(self) -> dict[str, object]:
        return {**super()._saved(), "n_outputs": self._n_outputs}

    def _restore(self, saved: Saved) -> None:
        self._n_outputs = checks.integer(saved.values["n_outputs"], "n_outputs", 1)
        self._y_units = _no_units(self._n_outputs)
        super()._restore(saved)


def _no_units(n_outputs: int) -> tuple[Any, Any]:
    """Mean and scale of targets that are not normalised."""
    shape = () if n_outputs == 1 else (n_outputs,)
    return np.zeros(shape), np.ones(shape)
