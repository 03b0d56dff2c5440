"""What fitted binary features say about rows: their features, their scores, and draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from fastvi.base import checks, parallel
from fastvi.base.typing import AnyArray, Array, RowsLike
from fastvi.models.features.model import BetaBernoulli, Found, Parameters
from fastvi.models.features.online import FeaturePredictor
from fastvi.models.features.rows import FRESH, Rows, rows_of
from fastvi.models.kinds import MeanScore, Unsupervised

__all__ = ["FeaturePredictions"]

BLOCK = 512  # rows


class FeaturePredictions(
    MeanScore, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Unsupervised
):  # fmt: skip
    """The part of the estimator that uses fitted features without changing them."""

    components_: AnyArray
    intercept_: AnyArray
    usage_: Array
    noise_variance_: float
    _model: BetaBernoulli
    _params: Parameters
    _centre: Array
    _order: AnyArray

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _given(self, X: RowsLike, binary: bool, reset: bool) -> AnyArray:
        """Check X, in which NaN is a missing value."""
        given: AnyArray = self._array(X, reset=reset, ensure_all_finite="allow-nan")
        known = given[~np.isnan(given)]
        if binary and not np.all((known == 0) | (known == 1)):
            wrong = known[(known != 0) & (known != 1)][0]
            raise ValueError(f"X holds {wrong:g}; wanted 0, 1 or NaN for likelihood='bernoulli'")
        return given

    def _new_rows(self, X: RowsLike, model: BetaBernoulli, centre: Array) -> tuple[Rows, Any]:
        X = self._given(X, model.binary, reset=False)
        known = X[~np.isnan(X)]
        checks.rows_to_fit(known[None] if known.size else np.zeros((1, 1), X.dtype))
        return rows_of(X, centre), X.dtype

    def transform(self, X: RowsLike) -> AnyArray:
        """Probabilities that rows have each feature, (n_rows, n_components_).

        Parameters
        ----------
        X : (n_rows, n_features) array
            NaN is a missing value.
        """
        check_is_fitted(self)
        rows, dtype = self._new_rows(X, self._model, self._centre)
        nu, _ = _fitted(self._model, self._model.found(self._params), rows, self._n_threads)
        return np.ascontiguousarray(nu[self._order].T.astype(dtype))

    def compiled(self) -> FeaturePredictor:
        """A bare predictor of probabilities that checks nothing: microseconds for complete rows."""
        check_is_fitted(self)
        found = self._model.found(self._params)
        order = np.searchsorted(found.used, self._order)
        return FeaturePredictor(self._model.decoder(found), order, self._centre)

    def score_samples(self, X: RowsLike) -> Array:
        """A lower bound on each row's log probability given the fit, (n_rows,), in nats.

        It bounds log E[p(row | A, pi)] under the posterior, with the row's features summed out.
        Missing values do not count.

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        check_is_fitted(self)
        rows, _ = self._new_rows(X, self._model, self._centre)
        return _fitted(self._model, self._model.found(self._params), rows, self._n_threads)[1]

    def inverse_transform(self, X: RowsLike) -> AnyArray:
        """Expected rows, (n_rows, n_features), that have features with given probabilities.

        For binary data these are probabilities of 1, at the expected log odds.

        Parameters
        ----------
        X : (n_rows, n_components_) array
            As from `transform`.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32])
        if X.shape[1] != len(self.components_):
            raise ValueError(f"X has {X.shape[1]} columns; wanted {len(self.components_)}")
        return self._expected(X).astype(X.dtype)

    def _expected(self, Z: AnyArray) -> Array:
        rows = Z @ self.components_.astype(np.float64) + self.intercept_
        if self._model.binary:
            rows = 0.5 + 0.5 * np.tanh(0.5 * rows)
        return np.asarray(rows)

    def sample(self, n_samples: int = 1) -> tuple[AnyArray, AnyArray]:
        """Draw rows (n_samples, n_features) at the posterior means; return them and their features.

        Parameters
        ----------
        n_samples : int

        Raises
        ------
        ValueError
            If `n_samples` is below 1.
        """
        check_is_fitted(self)
        n_samples = checks.integer(n_samples, "n_samples", 1)
        rng = self._random()
        Z = (rng.uniform(size=(n_samples, len(self.usage_))) < self.usage_).astype(np.float64)
        rows = self._expected(Z)
        if self._model.binary:
            return (rng.uniform(size=rows.shape) < rows).astype(np.float64), Z
        return rows + np.sqrt(self.noise_variance_) * rng.standard_normal(rows.shape), Z

    def _held_out(
        self, model: BetaBernoulli, X_val: RowsLike, centre: Array
    ) -> Callable[[Parameters], float]:
        rows, _ = self._new_rows(X_val, model, centre)

        def score(params: Parameters) -> float:
            return float(_fitted(model, model.found(params), rows, model.n_threads)[1].mean())

        return score


def _fitted(model: BetaBernoulli, found: Found, rows: Rows, n_threads: int) -> tuple[Array, Array]:
    """Fit the features of rows, (J, n) of which those taken out are 0, and rows' bounds (n,)."""
    decoder, n_rows = model.decoder(found, each=rows.seen.size > 0), len(rows.values)
    if decoder.each and not rows.seen.size:
        rows = rows._replace(seen=np.ones_like(rows.values))
    nu, bounds = decoder.fresh(n_rows), np.empty(n_rows)

    def task(i: int) -> None:
        here = slice(i * BLOCK, (i + 1) * BLOCK)
        part = Rows(*(array[here] for array in rows))
        block = nu[:, here].copy()
        bounds[here] = decoder.row_bounds(part, block, FRESH)
        nu[:, here] = block

    with parallel.single_threaded_blas():
        parallel.run(task, -(-n_rows // BLOCK), n_threads)
    if not model.binary:
        n_values = rows.seen.sum(axis=1) if rows.seen.size else rows.values.shape[1]
        bounds -= 0.5 * n_values * np.log(2.0 * np.pi * found.noise)
    whole = np.zeros((model.n_features + model.intercept, n_rows))
    whole[found.used] = nu
    return whole, bounds
