"""Held-out documents, scored by document completion during a fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.corpus.splitting import halves
from fastvi.models.counts import Parts
from fastvi.models.topics.fitted import MAX_ITER
from fastvi.models.topics.inference import Topics
from fastvi.models.topics.model import TopicParameters

__all__ = ["HeldOut"]

GROUP_DOCUMENTS = 128


class _Group(NamedTuple):
    """Some held-out documents over their own distinct words.

    `rows` (U,) int32 are those words, as rows of the table of topics; `observed` and `scored` are
    the documents' two halves, (indptr, indices, counts) with indices into `rows`.
    """

    rows: NDArray[np.int32]
    observed: Parts
    scored: Parts


class HeldOut(NamedTuple):
    """Documents to score during a fit, in groups, so that few rows are read at once."""

    groups: list[_Group]
    n_scored: float

    @classmethod
    def of(cls, counts: Any, rng: np.random.Generator) -> HeldOut:
        """Halve the documents of a CSR matrix (n_documents, n_words)."""
        return cls.pairs(*halves(counts, rng))

    @classmethod
    def pairs(cls, observed: Any, scored: Any) -> HeldOut:
        """Documents whose parts are rows of two CSR matrices (n_documents, n_words)."""
        marker = np.full(observed.shape[1], -1, np.int32)

        def parts(half: Any) -> Parts:
            indptr, indices = half.indptr.astype(np.int64), marker[half.indices]
            return indptr, indices, half.data.astype(np.float32)

        groups = []
        for i in range(0, observed.shape[0], GROUP_DOCUMENTS):
            pair = observed[i : i + GROUP_DOCUMENTS], scored[i : i + GROUP_DOCUMENTS]
            rows = np.union1d(pair[0].indices, pair[1].indices).astype(np.int32)
            marker[rows] = np.arange(len(rows), dtype=np.int32)
            groups.append(_Group(rows, *map(parts, pair)))
        return cls(groups, float(scored.data.sum(dtype=np.float64)))

    def score(
        self, params: TopicParameters, collapsed: bool, n_threads: int, max_iter: int = MAX_ITER
    ) -> float:
        """Log-likelihood by document completion in nats per word; does not change `params`."""
        total = 0.0
        for rows, *pair in self.groups:
            values = params.table.read(rows)
            topics = Topics.of(
                values, params.alpha, collapsed=collapsed, max_iter=max_iter, n_threads=n_threads,
                sums=params.table.column_sums,
            )  # fmt: skip
            observed, scored = (
                (indptr, indices, counts.astype(values.dtype, copy=False))
                for indptr, indices, counts in pair
            )
            n_words = scored[2].sum(dtype=np.float64)
            if n_words > 0:
                total += n_words * topics.completion(observed, scored, n_threads)
        return total / self.n_scored if self.n_scored > 0 else 0.0
