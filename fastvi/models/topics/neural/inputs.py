"""What is known of documents besides their words: covariates, and embeddings."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, ArrayLike
from fastvi.models.counts import Parts
from fastvi.models.topics.covariates import Covariates, CovariatesLike
from fastvi.models.topics.neural.model import Documents, Single

__all__ = ["Beside", "Inputs"]


class Beside(NamedTuple):
    """The arguments that go beside X, as they were given."""

    covariates: CovariatesLike | None
    embeddings: ArrayLike | None


class Inputs(NamedTuple):
    """The columns of covariates of a fit, and the width of its embeddings.

    Attributes
    ----------
    covariates : Covariates
    n_embeddings : int
        0 if the fit had none.
    """

    covariates: Covariates = Covariates()
    n_embeddings: int = 0

    @property
    def n_covariates(self) -> int:
        """Columns of the design matrix, without the intercept."""
        return len(self.covariates.names)

    @classmethod
    def learned(cls, parts: Parts, beside: Beside) -> tuple[Self, Documents]:
        """Learn columns from the documents of a fit, and return them with these documents."""
        n_rows = len(parts[0]) - 1
        covariates, _ = Covariates.learned(beside.covariates, n_rows)
        width = 0 if beside.embeddings is None else _matrix(beside.embeddings, n_rows).shape[1]
        inputs = cls(covariates, width)
        return inputs, inputs.documents(parts, beside)

    def documents(self, parts: Parts, beside: Beside, suffix: str = "") -> Documents:
        """Return documents with what is known of them.

        Raises
        ------
        ValueError
            If these are not the columns of the fit, or not one row for each document; messages name
            the arguments with `suffix`.
        """
        n_rows = len(parts[0]) - 1
        design = self.covariates.design(beside.covariates, n_rows, f"covariates{suffix}")[:, 1:]
        return Documents.of(
            parts, self._embeddings(beside.embeddings, n_rows, f"embeddings{suffix}"),
            np.ascontiguousarray(design, np.float32),
        )  # fmt: skip

    def _embeddings(self, given: ArrayLike | None, n_rows: int, name: str) -> Single:
        if (given is None) != (self.n_embeddings == 0):
            raise ValueError(
                f"{name} is missing; the fit had {self.n_embeddings} columns" if given is None
                else f"{name} is given; the fit had none"
            )  # fmt: skip
        if given is None:
            return np.empty((n_rows, 0), np.float32)
        matrix = _matrix(given, n_rows, name)
        if matrix.shape[1] != self.n_embeddings:
            raise ValueError(
                f"{name} has {matrix.shape[1]} columns; wanted {self.n_embeddings} as in the fit"
            )
        return np.ascontiguousarray(matrix, np.float32)


def _matrix(given: ArrayLike, n_rows: int, name: str = "embeddings") -> AnyArray:
    """Check a matrix of numbers that float32 can hold."""
    checks.nothing_masked(given, name)
    matrix = np.asarray(given)
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf" or not matrix.shape[1]:
        raise ValueError(
            f"{name} has shape {matrix.shape} and dtype {matrix.dtype}; wanted numbers, "
            "(n_documents, n_columns)"
        )
    if len(matrix) != n_rows:
        raise ValueError(f"{name} has {len(matrix)} rows; wanted {n_rows}, one for each document")
    if not np.all(np.abs(matrix) < np.finfo(np.float32).max):
        raise ValueError(f"{name} holds NaN, infinity or numbers beyond the range of float32")
    return matrix
