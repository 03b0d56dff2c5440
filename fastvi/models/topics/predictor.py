"""Inference on new documents with nothing in between."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.kernels.lda import infer
from fastvi.models.topics.model import Topics

__all__ = ["Predictor"]


class Predictor:
    """Topic proportions of documents given as arrays already in shape; nothing is checked.

    Arrays of another dtype or layout are refused by the compiler, and indices out of range read
    memory that is not theirs: use `LatentDirichletAllocation.transform` for unchecked data.

    Parameters
    ----------
    topics : Topics
        From a fitted model.
    """

    def __init__(self, topics: Topics) -> None:
        self._arguments = (
            topics.weights,
            topics.alpha,
            topics.collapsed,
            topics.max_iter,
            topics.tol * topics.n_topics,
            0,
        )
        self.n_topics = topics.n_topics
        self.dtype = topics.weights.dtype
        self._width = len(topics.alpha)
        self(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, self.dtype))  # compiles

    def __call__(
        self, indptr: NDArray[np.int64], indices: NDArray[np.int32], counts: NDArray[Any]
    ) -> NDArray[Any]:
        """Topic proportions (n_documents, n_topics) of CSR documents.

        Parameters
        ----------
        indptr : (n_documents + 1,) int64 array
        indices : (n_entries,) int32 array
            Words, 0 to the size of the vocabulary less one.
        counts : (n_entries,) array of the predictor's dtype
        """
        n_documents = len(indptr) - 1
        gamma = np.empty((n_documents, self._width), self.dtype)
        infer(indptr, indices, counts, *self._arguments, n_documents, gamma)
        gamma /= gamma.sum(axis=1, keepdims=True)
        return gamma[:, : self.n_topics]
