"""What fitted topics of documents with numbers and with labels say: priors, shares of topics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.bags import Bags
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array, DTypeLike, RowsLike
from fastvi.models.counts import padded
from fastvi.models.files import Saved
from fastvi.models.topics.fitted import MAX_ITER, TopicModel
from fastvi.models.topics.scores import TopicScores
from fastvi.models.topics.supervised_model import SupervisedParameters

__all__ = ["Prior", "SupervisedScores"]


class Prior(NamedTuple):
    """Priors of a fit."""

    alpha: Array
    eta: float


class SupervisedScores(TopicScores):
    """The part of the estimators that uses fitted topics without changing them."""

    total_samples = None
    n_components: int
    _params: SupervisedParameters
    _prior: Prior

    def transform(self, X: RowsLike, *, normalize: bool = True) -> AnyArray:
        """Topic proportions of documents, (n_documents, n_components), without their responses.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts. An empty document gets the prior.
        normalize : bool, default=True
            If False, return Dirichlet parameters, whose sum is the document's length plus the
            prior.
        """
        return np.asarray(super().transform(X, normalize=normalize), self._dtype)

    def _counts(self, X: RowsLike, reset: bool, dtype: DTypeLike | None = None) -> Bags:
        """Check X and return its CSR arrays, with counts in float32 unless `dtype` is given."""
        bags = super()._counts(X, reset, dtype)
        if dtype is not None:
            return bags
        return bags._replace(counts=bags.counts.astype(np.float32, copy=False))

    # What was found

    @property
    def _model(self) -> TopicModel:
        check_is_fitted(self)
        return self._read(self._params)

    def _read(self, params: SupervisedParameters) -> TopicModel:
        alpha, eta = self._prior
        return TopicModel(params.table, alpha, eta, False, max_iter=MAX_ITER)

    def _shares(self, model: TopicModel, X: RowsLike) -> Array:
        """Expected shares of topics among the words of documents (D, K)."""
        return self._shares_of(model, self._counts(X, reset=False))

    def _shares_of(self, model: TopicModel, bags: Bags) -> Array:
        gamma = model.topics.infer(*bags.parts, n_threads=self._n_threads)
        used = gamma[:, : model.n_topics].astype(np.float64) - model.alpha
        sizes = np.concatenate(([0.0], np.cumsum(bags.counts, dtype=np.float64)))
        empty = np.diff(sizes[bags.indptr]) == 0
        used[empty] = model.alpha
        used = np.maximum(used, 0.0)
        return np.asarray(used / used.sum(axis=1, keepdims=True))

    @property
    def doc_topic_prior_(self) -> Array:
        """Dirichlet prior of topic proportions, (n_components,)."""
        return read_only(self._after_fit("doc_topic_prior_").alpha)

    @property
    def topic_word_prior_(self) -> float:
        """Dirichlet prior of topics."""
        return self._after_fit("topic_word_prior_").eta

    def _after_fit(self, name: str) -> Prior:
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{name} is available only after fit")
        return self._prior

    # Files

    def _saved(self) -> dict[str, object]:
        return {
            "found": self._params,
            "alpha": self._prior.alpha,
            "eta": np.array(self._prior.eta),
            "dtype": self._dtype.name,
        }

    def _restore(self, saved: Saved) -> None:
        k, self._dtype = checks.integer(self.n_components, "n_components", 1), saved.dtype()
        table = saved.array("found.table", saved.n_features, padded(k), dtype=np.float32)
        coefficients = saved.array("found.coefficients", None, padded(k))
        variance = saved.array("found.variance", 1)
        if np.any(table[:, :k] <= 0) or len(coefficients) < 1 or variance[0] < 0:
            raise ValueError(f"{saved.path}: the arrays of the model do not fit together")
        self._params = SupervisedParameters(table, coefficients, variance)
        self._prior = Prior(saved.positive("alpha", k), float(saved.positive("eta")))
