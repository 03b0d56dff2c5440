"""What a fitted mixture says about rows: their components, their densities, and draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, RowsLike
from fastvi.models.kinds import MeanScore, Unsupervised
from fastvi.models.mixture.model import Mixture, Parameters

__all__ = ["MixturePredictions"]


class MixturePredictions(MeanScore, DensityMixin, Unsupervised):
    """The part of the estimator that uses a fitted mixture without changing it."""

    weights_: AnyArray
    means_: AnyArray
    covariances_: AnyArray
    _model: Mixture
    _params: Parameters

    def predict(self, X: RowsLike) -> NDArray[np.int64]:
        """Most likely component of each row, (n_rows,).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        X = self._rows(X)
        labels = np.empty(len(X), np.int64)
        self._predict(X, labels=labels)
        return labels

    def predict_proba(self, X: RowsLike) -> AnyArray:
        """Responsibilities of the components for each row, (n_rows, n_components).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        X = self._rows(X)
        out = np.empty((len(X), self._model.n_components), X.dtype)
        self._predict(X, responsibilities=out)
        return out

    def score_samples(self, X: RowsLike) -> AnyArray:
        """Log of sum_k exp(E[log pi_k] + E[log N(x | mu_k, Lambda_k^-1)]), (n_rows,), in nats.

        As in scikit-learn's class; this is at most the log of the posterior predictive density.

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        X = self._rows(X)
        out = np.empty(len(X), X.dtype)
        self._predict(X, log_norm=out)
        return out

    def sample(self, n_samples: int = 1) -> tuple[Array, NDArray[np.int64]]:
        """Draw rows (n_samples, n_features) at the posterior means; return them and their
        components.

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
        weights = self.weights_.astype(np.float64)
        sizes = rng.multinomial(n_samples, weights / weights.sum())
        parts = [self._draw(rng, k, int(size)) for k, size in enumerate(sizes)]
        return np.concatenate(parts), np.repeat(np.arange(len(sizes)), sizes)

    def _draw(self, rng: np.random.RandomState, k: int, size: int) -> Array:
        tied = self._model.tied
        covariance = self.covariances_ if tied else self.covariances_[k]
        covariance, mean = covariance.astype(np.float64), self.means_[k].astype(np.float64)
        if covariance.ndim == 2:
            draws = rng.multivariate_normal(mean, covariance, size)
        else:
            draws = mean + rng.standard_normal((size, len(mean))) * np.sqrt(covariance)
        return np.asarray(draws)

    def _rows(self, X: RowsLike) -> AnyArray:
        """Check X, with the number of features and the memory order of the fit."""
        check_is_fitted(self)
        return self._as_rows(X, self._model)

    def _as_rows(self, X: RowsLike, model: Mixture) -> AnyArray:
        X = self._array(X, reset=False)
        most = checks.new_rows(X, *model.frame)
        dtype = np.float64 if most > 1e9 else np.result_type(X.dtype, model.dtype)
        return np.require(X, dtype, ["C_CONTIGUOUS", "WRITEABLE"])

    def _predict(self, X: AnyArray, **wanted: AnyArray) -> None:
        with single_threaded_blas():
            self._model.predict(self._params, X, **wanted)
