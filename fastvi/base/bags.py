"""Bags of words: checked sparse matrices of counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import AnyArray, ArrayLike, DTypeLike

__all__ = ["Bags", "bags_of_words", "no_texts"]

MAX_TOKENS = 1e15  # sums of counts and of their logarithms stay well within the range of float32


class Bags(NamedTuple):
    """A checked bag-of-words matrix: canonical CSR arrays and the number of columns."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: AnyArray
    n_words: int

    @property
    def parts(self) -> tuple[NDArray[np.int64], NDArray[np.int32], AnyArray]:
        """The three CSR arrays."""
        return self.indptr, self.indices, self.counts


def bags_of_words(X: Any, name: str = "X", dtype: DTypeLike | None = None) -> Bags:
    """Return checked CSR arrays of a matrix (n_documents, n_words) of counts.

    Parameters
    ----------
    X : CSR matrix or dense 2-d array of numbers
        Not written to. Duplicates are summed, rows sorted and zeros dropped, in a copy. Arrays that
        are read-only or in another byte order are also copied, because kernels would be compiled
        again for them.
    name : str
        Name in error messages.
    dtype : dtype, optional
        float32 or float64; by default float64 is kept and everything else becomes float32.

    Raises
    ------
    ValueError
        If an index is out of range, a count is negative or not finite, or the counts add up to more
        than 1e15.
    """
    from scipy.sparse import csr_array

    from fastvi.kernels.sparse import check_csr

    X = X if hasattr(X, "indptr") else _sparse(X, name, dtype)
    dtype = dtype or _float_for(X.dtype)
    n_documents, n_words = X.shape
    if n_words > np.iinfo(np.int32).max:
        raise ValueError(f"{name} has {n_words} columns; at most {np.iinfo(np.int32).max} fit")
    if X.indices.dtype.kind not in "iu" or X.indptr.dtype.kind not in "iu":
        raise ValueError(f"{name}.indices and {name}.indptr must hold integers")
    indptr = _plain(X.indptr, np.int64)
    indices = _plain(_narrow(X.indices), np.int32)
    with np.errstate(over="ignore"):
        counts = _plain(X.data, dtype)
    if len(indptr) != n_documents + 1:
        raise ValueError(f"{name}.indptr has {len(indptr)} entries; wanted {n_documents + 1}")
    status = check_csr(indptr, indices, counts, n_words)
    if status == 1:
        X = csr_array((counts, indices, indptr), shape=X.shape, copy=True)
        X.sum_duplicates()
        X.eliminate_zeros()
        indptr, indices, counts = np.asarray(X.indptr, np.int64), X.indices, X.data
    elif status:
        raise ValueError(_csr_problem(status, name, X.indices, counts, n_words))
    if not (n_tokens := counts.sum(dtype=np.float64)) <= MAX_TOKENS:
        raise ValueError(f"{name} holds {n_tokens:g} tokens; at most {MAX_TOKENS:g} can be counted")
    return Bags(indptr, np.asarray(indices, np.int32), counts, n_words)


def _sparse(X: ArrayLike, name: str, dtype: DTypeLike | None) -> Any:
    """Return a dense matrix as a CSR array of floating-point numbers."""
    from scipy.sparse import csr_array

    checks.nothing_masked(X, name)
    no_texts(X, name)
    dense = np.asarray(X)
    with np.errstate(over="ignore"):  # infinity is refused later
        return csr_array(dense.astype(dtype or _float_for(dense.dtype)))


def no_texts(X: object, name: str = "X") -> None:
    """Refuse strings where word counts are expected.

    Raises
    ------
    ValueError
        If X holds strings.
    """
    is_text = isinstance(X, np.ndarray) and X.dtype.kind in "US"
    if isinstance(X, (list, tuple, np.ndarray)) and not is_text:
        is_text = any(isinstance(item, str) for item in X[:100])
    if is_text:
        raise ValueError(
            f"{name} holds texts; vectorize first, with fastvi.corpus.read or scikit-learn's "
            "CountVectorizer"
        )


def _narrow(indices: AnyArray) -> AnyArray:
    """Return indices as integers of at most 64 bits; those beyond int32 become its ends.

    These are not valid columns either, and are refused later.
    """
    if indices.dtype.itemsize < 4 or indices.dtype == np.int32:
        return indices
    return np.clip(indices.astype(np.int64), -1, np.iinfo(np.int32).max)


def _float_for(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    return np.float64 if dtype.kind == "f" and dtype.itemsize == 8 else np.float32


def _plain(array: ArrayLike, dtype: DTypeLike) -> AnyArray:
    """Convert an array to the type that kernels are compiled for."""
    return np.require(array, dtype, ["C_CONTIGUOUS", "WRITEABLE"])


def _csr_problem(status: int, name: str, indices: AnyArray, counts: AnyArray, n_words: int) -> str:
    if status == 2:
        return f"{name}.indptr must increase from 0 to the number of entries, {len(indices)}"
    if status == 3:
        bad = indices[(indices < 0) | (indices >= n_words)][0]
        return f"{name} has the column index {bad}; wanted 0 to {n_words - 1}"
    if status == 4:
        bad = counts[~np.isfinite(counts)][0]
        return f"{name} holds {bad}; wanted finite counts (no NaN or infinity)"
    bad = counts[counts < 0][0]
    return f"Negative values in data: {name} holds {bad}; wanted counts >= 0"
