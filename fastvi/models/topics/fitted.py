"""A fitted topic model without scikit-learn, shared by the command line and the estimator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import archive, checks, strings
from fastvi.base.typing import AnyArray, Array, JsonObject
from fastvi.kernels.lda import infer
from fastvi.models.counts import Parts, padded
from fastvi.models.topics.arguments import refuse_foreign_memory
from fastvi.models.topics.inference import Topics
from fastvi.models.topics.model import topic_bound

__all__ = ["KIND", "MAX_ITER", "Predictor", "TopicModel"]

KIND = "lda-model"
BLOCK_ROWS = 4096
MAX_ITER = 100  # default number of iterations for a new document


@dataclass(frozen=True, eq=False)
class TopicModel:
    """Topics with their priors, and results that follow from them.

    Parameters
    ----------
    table : (V, K padded) float32 or float64 array
        Dirichlet parameters of topics by word, as solvers return them.
    alpha : (n_topics,) float64 array
    eta : float or (V, 1) or (V, K padded) array
    collapsed : bool
        Whether proportions of new documents come from expected counts (CVB0 and SCVB0) or from
        expected logarithms (variational Bayes).
    vocabulary : list of str, optional
    info : dict
        JSON values: solver, settings, corpus, scores.
    history : dict of str to array
        Result of `fastvi.loop.History.arrays`.
    """

    table: AnyArray
    alpha: Array
    eta: Any
    collapsed: bool
    vocabulary: list[str] | None = None
    info: dict[str, Any] = field(default_factory=dict)
    history: dict[str, Array] = field(default_factory=dict)
    max_iter: int = MAX_ITER
    tol: float = 1e-3

    @property
    def n_topics(self) -> int:
        """Number of topics."""
        return len(self.alpha)

    def topic_model(self) -> TopicModel:
        """Itself, as a fitted estimator gives its own."""
        return self

    @cached_property
    def topics(self) -> Topics:
        """Topics for new documents, in the solver's form."""
        return self._topics(self.collapsed)

    @cached_property
    def _variational(self) -> Topics:
        return self.topics if not self.collapsed else self._topics(False)

    def _topics(self, collapsed: bool) -> Topics:
        return Topics.of(
            self.table, self.alpha, collapsed=collapsed, max_iter=self.max_iter, tol=self.tol
        )

    def documents_bound(self, parts: Parts, n_threads: int = 1) -> float:
        """Documents' part of the variational bound in nats; `parts` as in `bound`."""
        return float(self._variational.bounds(*parts, n_threads=n_threads).sum())

    def bound(self, parts: Parts, n_threads: int = 1, documents_factor: float = 1.0) -> float:
        """Variational bound on log p(documents) in nats, including the topics' part.

        It is a lower bound for q(beta) = Dirichlet(table), whichever solver found the table.
        `parts` is (indptr, indices, counts); the documents' part is multiplied by
        `documents_factor`.
        """
        return documents_factor * self.documents_bound(parts, n_threads) + self.topics_bound

    @cached_property
    def topics_bound(self) -> float:
        """Topics' part of the variational bound, in nats."""
        prior = np.asarray(self.eta, self.table.dtype)
        return topic_bound(self.table, prior, self.n_topics)

    def top_words(self, n: int = 10) -> list[list[tuple[str, float]]]:
        """The n most probable words of each topic with E[beta], by decreasing weight."""
        words = self.vocabulary
        result = []
        for k in range(self.n_topics):
            column = self.table[:, k] / self.table[:, k].sum(dtype=np.float64)
            m = min(n, len(column))
            best = np.argpartition(-column, m - 1)[:m]
            best = best[np.lexsort((best, -column[best]))]
            result.append([(words[v] if words else str(v), float(column[v])) for v in best])
        return result

    @cached_property
    def topic_shares(self) -> Array:
        """Share of each topic in the training corpus, (n_topics,)."""
        sums = self.table.sum(axis=0, dtype=np.float64)[: self.n_topics]
        n_priors = 1 if np.ndim(self.eta) == 0 else self.eta.shape[1]
        prior = np.broadcast_to(self.eta, (len(self.table), n_priors)).sum(axis=0, dtype=float)
        sums -= prior[: self.n_topics]
        sums = np.maximum(sums, 0.0)
        return np.asarray(sums / max(sums.sum(), np.finfo(float).tiny))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a NumPy archive with a JSON header, atomically.

        Raises
        ------
        OSError
            If it cannot be written; an old file is then kept.
        """
        n = self.n_topics
        header = {
            "info": self.info,
            "collapsed": self.collapsed,
            "max_iter": self.max_iter,
            "tol": self.tol,
            "has_vocabulary": self.vocabulary is not None,
        }
        blocks = (
            np.ascontiguousarray(self.table[i : i + BLOCK_ROWS, :n])
            for i in range(0, len(self.table), BLOCK_ROWS)
        )
        arrays: dict[str, Any] = {
            "table": archive.Blocks((len(self.table), n), self.table.dtype, blocks),
            "alpha": self.alpha,
            "eta": np.asarray(self.eta, np.float64),
        }
        if self.vocabulary is not None:
            arrays["vocabulary"], arrays["vocabulary_offsets"] = strings.pack_strings(
                self.vocabulary
            )
        arrays |= {f"history.{name}": column for name, column in self.history.items()}
        archive.save(path, KIND, header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TopicModel:
        """Read what `save` wrote.

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is damaged or not a topic model.
        """
        header, arrays = archive.load(path, KIND)
        try:
            return cls._from_archive(header, arrays, str(path))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a complete topic model ({error!r})") from None

    @classmethod
    def _from_archive(
        cls, header: JsonObject, arrays: dict[str, AnyArray], path: str
    ) -> TopicModel:
        values, alpha, eta = arrays.pop("table"), arrays.pop("alpha"), arrays.pop("eta")
        if (
            values.ndim != 2
            or values.dtype not in (np.float32, np.float64)
            or not alpha.dtype == eta.dtype == np.float64
            or alpha.shape != values.shape[1:]
            or min(values.shape) < 1
            or eta.shape not in ((), (len(values), 1), (len(values), padded(len(alpha))))
        ):
            raise ValueError(f"{path}: the arrays of the model do not fit together")
        for name, array in (("table", values), ("alpha", alpha), ("eta", eta)):
            if not np.all(np.isfinite(array)) or np.any(array <= 0):
                raise ValueError(f"{path}: {name} must hold finite numbers > 0")
        table = np.zeros((len(values), padded(len(alpha))), values.dtype)
        table[:, : len(alpha)] = values
        vocabulary = None
        if checks.flag(header["has_vocabulary"], f"{path}: has_vocabulary"):
            vocabulary = strings.unpack_strings(
                arrays.pop("vocabulary"), arrays.pop("vocabulary_offsets"), path
            )
            check_vocabulary(vocabulary, len(table), path)
        if not isinstance(header["info"], dict):
            raise ValueError(f"{path}: info is {header['info']!r}; wanted a JSON object")
        return cls(
            table,
            alpha,
            float(eta) if eta.ndim == 0 else eta,
            checks.flag(header["collapsed"], f"{path}: collapsed"),
            vocabulary,
            header["info"],
            _history(arrays, path),
            checks.integer(header["max_iter"], f"{path}: max_iter", 1, np.iinfo(np.int32).max),
            checks.number(header["tol"], f"{path}: tol", 0.0),
        )


def _history(arrays: dict[str, AnyArray], path: str) -> dict[str, Array]:
    """Return the remaining arrays, columns of the same length."""
    columns = {name.removeprefix("history."): array for name, array in arrays.items()}
    length = len(next(iter(columns.values()), ()))
    for name, array in arrays.items():
        is_column = array.dtype == np.float64 and array.shape == (length,)
        if not is_column or not name.startswith("history."):
            raise ValueError(f"{path}: {name!r} is not a column of the history of {length} steps")
    return columns


def check_vocabulary(vocabulary: Sequence[str], n_words: int, what: str) -> None:
    """Refuse a vocabulary of another size than the topics.

    Raises
    ------
    ValueError
        If the sizes differ.
    """
    if len(vocabulary) != n_words:
        raise ValueError(f"{what}: {len(vocabulary)} words in the vocabulary; wanted {n_words}")


class Predictor:
    """Topic proportions of documents given as arrays already in shape.

    Arrays of another dtype or layout are converted. Word numbers and `indptr` are checked once per
    call, which costs about a nanosecond per entry.

    Parameters
    ----------
    topics : Topics
        From a fitted model.
    check : bool
        False leaves the checks out: numbers out of range then read memory that is not theirs.
    """

    def __init__(self, topics: Topics, check: bool = True) -> None:
        self._arguments = (
            topics.weights,
            topics.alpha,
            topics.collapsed,
            topics.max_iter,
            topics.tol * topics.n_topics,
            0,
        )
        self.n_topics, self.n_words = topics.n_topics, len(topics.weights)
        self.dtype = topics.weights.dtype
        self.check = checks.flag(check, "check")
        self._width = len(topics.alpha)
        self(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, self.dtype))  # compiles

    def __call__(
        self, indptr: NDArray[np.int64], indices: NDArray[np.int32], counts: AnyArray
    ) -> AnyArray:
        """Topic proportions (n_documents, n_topics) of CSR documents.

        Parameters
        ----------
        indptr : (n_documents + 1,) int64 array
        indices : (n_entries,) int32 array
            Words, from 0 to the size of the vocabulary minus one.
        counts : (n_entries,) array of the predictor's dtype

        Raises
        ------
        ValueError
            If the arrays are checked and do not describe documents of these words.
        """
        if self.check:
            refuse_foreign_memory(indptr, indices, counts, self.n_words)
        indptr = np.ascontiguousarray(indptr, np.int64)
        indices = np.ascontiguousarray(indices, np.int32)
        counts = np.ascontiguousarray(counts, self.dtype)
        n_documents = len(indptr) - 1
        gamma = np.empty((n_documents, self._width), self.dtype)
        infer(indptr, indices, counts, *self._arguments, n_documents, gamma)
        gamma /= gamma.sum(axis=1, keepdims=True)
        return gamma[:, : self.n_topics]
