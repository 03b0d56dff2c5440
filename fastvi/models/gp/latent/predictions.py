"""What a fitted latent variable model says about rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, RandomState, RowsLike
from fastvi.models.gp.estimator import draws_by
from fastvi.models.gp.latent.rows import Found, NewRows
from fastvi.models.gp.posterior import Posterior
from fastvi.models.gp.start import check_sizes
from fastvi.models.kinds import MeanScore, Unsupervised

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["LatentPredictions"]


class LatentPredictions(MeanScore, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Unsupervised):
    """The part of the estimator that uses a fitted model without changing it."""

    embedding_: Array
    noise_variance_: float
    _centre: Array
    _scale: float
    _posterior: Posterior
    _of_rows: NewRows

    @property
    def _n_features_out(self) -> int:
        return int(self.embedding_.shape[1])

    def _scaled(self, X: RowsLike, *, whole: bool = False) -> Array:
        """Rows in the model's units, with NaN where they lack columns, unless they must not."""
        checks.nothing_masked(X)
        finite: Any = True if whole else "allow-nan"
        X = validate_data(
            self, X, dtype=np.float64, order="C", reset=False, ensure_all_finite=finite
        )
        check_sizes(np.nan_to_num(X), "X")
        return np.asarray((X - self._centre) / self._scale)

    def _log_volume(self, rows: Array) -> Array:
        """The log of the density's change of units, (n,) nats."""
        return np.asarray(-np.log(self._scale) * np.isfinite(rows).sum(axis=1))

    def _infer(self, X: RowsLike, *, whole: bool = False) -> tuple[Array, Found]:
        check_is_fitted(self)
        rows = self._scaled(X, whole=whole)
        with single_threaded_blas():
            return rows, self._of_rows.infer(rows)

    def transform(self, X: RowsLike, return_std: bool = False) -> Any:
        """Posterior means of the latent variables of rows, (n_rows, n_components).

        Each row's q(x) is found by itself, given what was learned of the functions. For a row of
        `fit` it is the one in `embedding_`, or another local maximum. With `amortize` it is what
        the network reads.

        Parameters
        ----------
        X : (n_rows, n_features) array
            `reconstruct` and `score_samples` also take rows that lack columns.
        return_std : bool
            Return their posterior standard deviations as well.
        """
        _, found = self._infer(X, whole=True)
        return (found.mean, np.sqrt(found.variance)) if return_std else found.mean

    def inverse_transform(self, X: RowsLike, return_std: bool = False) -> Any:
        """Means of rows, (n_rows, n_features), for given latent variables.

        Parameters
        ----------
        X : (n_rows, n_components) array
        return_std : bool
            Return standard deviations as well, (n_rows,), noise included, the same for all columns.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=np.float64, order="C")
        if X.shape[1] != self._n_features_out:
            raise ValueError(f"X has {X.shape[1]} columns; wanted {self._n_features_out}")
        with single_threaded_blas():
            mean, variance = self._posterior.predict(
                X, variance=return_std, n_threads=self._n_threads
            )
        mean = mean * self._scale + self._centre
        if variance is None:
            return mean
        return mean, np.sqrt(variance * self._scale**2 + self.noise_variance_)

    def reconstruct(self, X: RowsLike) -> Array:
        """Means of rows, (n_rows, n_features), given what is seen of them.

        Expectations over q(x), not values at its mean.

        Parameters
        ----------
        X : (n_rows, n_features) array
            NaN where a row lacks a column.
        """
        _, found = self._infer(X)
        with single_threaded_blas():
            first = self._of_rows.expectations.first(found.mean, found.variance)
            return np.asarray(first @ self._posterior.weights * self._scale + self._centre)

    def score_samples(self, X: RowsLike) -> Array:
        """Lower bound of the log density of each row, (n_rows,), in nats.

        Parameters
        ----------
        X : (n_rows, n_features) array
            NaN where a row lacks a column; the density is that of the others.
        """
        rows, found = self._infer(X)
        return found.bounds + self._log_volume(rows)

    def sample(self, n_samples: int = 1, random_state: RandomState = 0) -> tuple[Array, Array]:
        """Draw rows from the model, and their latent variables from the prior.

        Parameters
        ----------
        n_samples : int
        random_state : int, RandomState, Generator or None

        Returns
        -------
        X : (n_samples, n_features) array
        Z : (n_samples, n_components) array
        """
        n, rng = checks.integer(n_samples, "n_samples", 1), draws_by(random_state)
        check_is_fitted(self)
        latent = rng.standard_normal((n, self._n_features_out))
        mean, std = self.inverse_transform(latent, return_std=True)
        return mean + std[:, None] * rng.standard_normal(mean.shape), latent

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
