"""What fitted Poisson factors say about rows: their factors, their scores, recommendations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array, RowsLike
from fastvi.models.counts import Parts
from fastvi.models.kinds import CountEstimator, MeanScore
from fastvi.models.poisson.model import Factors, Fitted, PoissonFactors
from fastvi.models.poisson.options import row_iterations
from fastvi.models.poisson.ranking import largest_columns
from fastvi.models.poisson.rows import LocalStep

__all__ = ["PoissonPredictions"]

INFERENCE_ITER = 200  # for new rows


class PoissonPredictions(MeanScore, CountEstimator):
    """The part of the estimator that uses fitted factors without changing them."""

    max_row_iter: int | None
    _found: Fitted

    @property
    def component_shapes_(self) -> AnyArray:
        """Shapes of the column factors, (n_components, n_features)."""
        return read_only(self._attribute("component_shapes_").shapes)

    @property
    def component_rates_(self) -> AnyArray:
        """Rates of the column factors, (n_components, n_features)."""
        return read_only(self._attribute("component_rates_").rates)

    @property
    def components_(self) -> AnyArray:
        """E[beta] transposed, (n_components, n_features)."""
        fitted = self._attribute("components_")
        return read_only(np.asarray(fitted.shapes / fitted.rates))

    def _attribute(self, name: str) -> Fitted:
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{name} is available only after fit")
        return self._found

    @property
    def _n_features_out(self) -> int:
        return self._found.model.n_components

    def transform(self, X: RowsLike) -> AnyArray:
        """Factors of rows, E[theta] given the fitted columns.

        Parameters
        ----------
        X : (n_rows, n_features) CSR matrix or array
            Counts. An empty row means zero counts in all columns.

        Returns
        -------
        (n_rows, n_components) array of the dtype of the fit
        """
        check_is_fitted(self)
        return self._means(self._counts(X, reset=False).parts)

    def _fit_rows(self, parts: Parts) -> LocalStep:
        loadings = self._found.loadings._replace(
            max_iter=row_iterations(self.max_row_iter, INFERENCE_ITER)
        )
        return loadings.fit_rows(parts, np.ones(len(parts[0]) - 1), self._n_threads)

    def _means(self, parts: Parts) -> AnyArray:
        means = self._fit_rows(parts).factors.means
        return np.ascontiguousarray(means[:, : self._n_features_out])

    def inverse_transform(self, X: RowsLike) -> AnyArray:
        """Expected counts (n_rows, n_features) of rows with factors X (n_rows, n_components).

        Raises
        ------
        ValueError
            If X has another number of columns.
        """
        check_is_fitted(self)
        factors = np.asarray(X)
        if factors.ndim != 2 or factors.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has shape {factors.shape}; wanted (n_rows, {self._n_features_out})"
            )
        return np.asarray(factors @ self.components_)

    def score_samples(self, X: RowsLike) -> Array:
        """A lower bound on each row's log probability given the fitted columns, (n_rows,), in nats.

        It bounds log E[p(row | beta)] under the posterior of beta, with the row's factors
        integrated out.
        """
        check_is_fitted(self)
        return self._fit_rows(self._counts(X, reset=False).parts).bounds

    def recommend(
        self, X: RowsLike, n_items: int = 10, *, exclude_seen: bool = True
    ) -> tuple[NDArray[np.intp], AnyArray]:
        """Return the columns with the largest expected counts per row, best first.

        Parameters
        ----------
        X : (n_rows, n_features) CSR matrix or array
            Counts so far.
        n_items : int
            Number of columns per row.
        exclude_seen : bool
            Leave out columns in which the row has counts. A row with fewer than `n_items` others
            ends with -1, with expectation -inf.

        Returns
        -------
        (columns, expected counts), both (n_rows, n_items)
        """
        check_is_fitted(self)
        bags = self._counts(X, reset=False)
        n_items = checks.integer(n_items, "n_items", 1, bags.n_words)
        seen = bags if exclude_seen else None
        return largest_columns(self._means(bags.parts), self.components_, n_items, seen)

    def _held_out(self, model: PoissonFactors, X_val: RowsLike) -> Callable[[Factors], float]:
        parts = self._counts(X_val, reset=False, dtype=model.dtype).parts
        ones = np.ones(len(parts[0]) - 1)

        def score(params: Factors) -> float:
            found = Fitted(model, params._replace(shapes=model.lazy(params).shapes.dense()))
            loadings = found.loadings._replace(
                max_iter=row_iterations(self.max_row_iter, INFERENCE_ITER)
            )
            return float(loadings.fit_rows(parts, ones, model.n_threads).bounds.mean())

        return score
