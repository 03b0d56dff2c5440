"""Kinds of estimators, by the data that `fit` takes: rows, rows with targets, counts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import validate_data

from fastvi.base import checks, tree
from fastvi.base.bags import Bags, bags_of_words, no_texts
from fastvi.base.typing import AnyArray, ArrayLike, DTypeLike, RowsLike
from fastvi.checkpoints import Callback, Watching
from fastvi.cluster.active import local_rows
from fastvi.models.estimator import Estimator

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["CountEstimator", "Counting", "Labelled", "MeanScore", "Supervised", "Unsupervised"]


class MeanScore:
    """Estimators with `score_samples`."""

    def score_samples(self, X: RowsLike) -> AnyArray:
        """Return one value per row, in nats."""
        raise NotImplementedError

    def score(self, X: RowsLike, y: object = None) -> float:
        """Return the mean of `score_samples`, in nats per row.

        Parameters
        ----------
        X : (n_rows, n_features) array, or CSR matrix of counts
        y : ignored
        """
        return float(self.score_samples(X).mean(dtype=np.float64))


class Unsupervised(Estimator):
    """Estimators without targets."""

    def fit(
        self,
        X: RowsLike,
        y: object = None,
        *,
        X_val: RowsLike | None = None,
        early_stopping: int | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
    ) -> Self:
        """Fit the posterior. A fit that fails or is interrupted leaves the estimator as it was.

        Parameters
        ----------
        X : (n_rows, n_features) array, or CSR matrix of counts
            Rows to fit to. Inside of `fastvi.distributed` also a list of paths, or a Dask array or
            bag.
        y : ignored
        X_val : same kind as X, optional
            Held-out rows; their score after each pass is ``history_["held_out"]``.
        {early_stopping}
        {watching}

        Raises
        ------
        ValueError
            If X is invalid, a parameter is out of its range, or `checkpoint` belongs to another
            fit.
        """
        watching = Watching(callback, checkpoint, checkpoint_interval, resume, early_stopping)
        with local_rows(X) as rows:
            self._become(watching, rows, X_val)
        return self


class Labelled(NamedTuple):
    """What estimators with targets are fitted to, as it was given."""

    X: RowsLike
    y: ArrayLike
    X_val: RowsLike | None
    y_val: ArrayLike | None
    sample_weight: ArrayLike | None

    @property
    def held_out(self) -> tuple[RowsLike | None, ArrayLike | None]:
        """Rows and targets that are only scored."""
        return self.X_val, self.y_val


class Supervised(Estimator):
    """Estimators with targets, whose rows may have weights."""

    def fit(
        self,
        X: RowsLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: RowsLike | None = None,
        y_val: ArrayLike | None = None,
        early_stopping: int | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
    ) -> Self:
        """Fit the posterior. A fit that fails or is interrupted leaves the estimator as it was.

        Parameters
        ----------
        X : (n_rows, n_features) array
            Rows to fit to; for `BayesianLogisticRegression` also a sparse matrix, which is made
            dense block by block, never at once.
        y : (n_rows,) array
            Their targets or labels; Gaussian processes of numbers also take (n_rows, n_targets).
        {sample_weight}
        X_val, y_val : arrays, optional
            Held-out rows and their targets; their score after each pass, and at the end, is
            ``history_["held_out"]``: the mean log probability in nats per row, or `score` of a
            Gaussian process.
        {early_stopping}
        {watching}

        {raises_supervised}
        """
        watching = Watching(callback, checkpoint, checkpoint_interval, resume, early_stopping)
        self._become(watching, Labelled(X, y, X_val, y_val, sample_weight))
        return self


class Counting(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """Transformers of sparse counts, whatever else `fit` takes."""

    _dtype: Any  # dtype of the counts of the fit

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags

    def _counts(self, X: RowsLike, reset: bool, dtype: DTypeLike | None = None) -> Bags:
        """Check X and return its CSR arrays; `dtype` is by default that of the fit."""
        checks.nothing_masked(X)
        no_texts(X)
        X = validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype="numeric", ensure_min_samples=1
        )
        if dtype is None and not reset:
            dtype = self._dtype
        bags = bags_of_words(X, dtype=dtype)
        if reset:
            self._dtype = bags.counts.dtype
        return bags


class CountEstimator(Counting, Unsupervised):
    """Transformers of sparse counts alone."""

    # Streams: `_stream`, if there is one, has the `state` from which `_partial_fit` continues.

    def _go_on(self, X: RowsLike, *more: Any) -> Self:
        """Take the steps of `partial_fit`; a call that fails leaves the stream as it was."""
        stream = self.__dict__.get("_stream")
        with tree.borrowed(stream and stream.state) as state:
            self._advance(X, state, *more)
        return self

    def __getstate__(self) -> dict[str, object]:
        # A copy: on Python 3.11 scikit-learn returns the live dict.
        state: dict[str, object] = dict(super().__getstate__())
        state.pop("_stream", None)
        return state
