"""What `compiled()` of a model returns, by the C library: the same calls as by Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastvi.export.library import CHAIN, DOCUMENTS, LOGISTIC, TOPICS, Model

__all__ = ["PREDICTORS"]


class _Topics:
    """As `fastvi.models.topics.fitted.Predictor`."""

    def __init__(self, model: Model, check: bool = True) -> None:
        size = model.functions.fastvi_number_size(model.address)
        self.n_topics, self.n_words = model.n_outputs, model.n_features
        self.dtype = np.dtype(f"f{size}")
        self.check, self._model = check, model
        self._name = f"topics_f{8 * size}"

    def __call__(self, indptr: Any, indices: Any, counts: Any) -> Any:
        """Topic proportions (n_documents, n_topics) of CSR documents.

        Raises
        ------
        ValueError
            If the arrays do not describe documents of these words.
        """
        indptr = np.ascontiguousarray(indptr, np.int64)
        indices = np.ascontiguousarray(indices, np.int32)
        counts = np.ascontiguousarray(counts, self.dtype)
        n = len(indptr) - 1
        if n < 0 or indptr[-1] > min(len(indices), len(counts)):
            self._refuse(indptr, indices, counts)
        theta = np.empty((n, self.n_topics), self.dtype)
        parts = indptr.ctypes.data, indices.ctypes.data, counts.ctypes.data, theta.ctypes.data
        code = self._model.call(self._name, n, *parts)
        if code == DOCUMENTS:
            self._refuse(indptr, indices, counts)
        _raise(self._model, code)
        return theta

    def _refuse(self, indptr: Any, indices: Any, counts: Any) -> None:
        from fastvi.models.topics.arguments import refuse_foreign_memory

        refuse_foreign_memory(indptr, indices, counts, self.n_words)


class _Logistic:
    """As `fastvi.models.logistic.predictor.LogisticPredictor`."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __call__(self, x: Any) -> Any:
        """Probabilities of the labels at x (n, n_features), (n, n_classes)."""
        x, n = _rows(x, self._model)
        out = np.empty((n, self._model.n_outputs))
        _raise(self._model, self._model.call("logistic", n, x.ctypes.data, out.ctypes.data))
        return np.exp(out, out=out)


class _Filter:
    """As `fastvi.models.sequences.online.OnlineFilter`."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def filter_step(self, row: Any, before: Any = None) -> tuple[Any, float]:
        """Probabilities (n_components,) of the states of one more row, and its log density in
        nats, given those before; `before` is what the last call returned, or None.
        """
        x, _ = _rows(np.reshape(row, (1, -1)), self._model)
        if before is not None:
            before = np.ascontiguousarray(before, np.float64)
            if before.shape != (self._model.n_outputs,):
                wanted = self._model.n_outputs
                raise ValueError(f"before has shape {before.shape}; wanted ({wanted},)")
        out, log_density = np.empty(self._model.n_outputs), np.empty(1)
        addresses = None if before is None else before.ctypes.data, out.ctypes.data
        code = self._model.call("filter", 1, x.ctypes.data, *addresses, log_density.ctypes.data)
        _raise(self._model, code)
        return out, float(log_density[0])


def _rows(x: Any, model: Model) -> tuple[Any, int]:
    x = np.ascontiguousarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] != model.n_features:
        raise ValueError(f"x has shape {x.shape}; wanted (n, {model.n_features})")
    return x, len(x)


def _raise(model: Model, code: int) -> None:
    if code:
        raise MemoryError if code == 1 else ValueError(model.message(code))


PREDICTORS: dict[int, Callable[..., Any]] = {CHAIN: _Filter, TOPICS: _Topics, LOGISTIC: _Logistic}
