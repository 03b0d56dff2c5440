"""Rows of sequences, some of whose numbers may be missing, and the chains that they belong to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.core import Batch

__all__ = ["SequenceRows", "Source"]


class SequenceRows:
    """Rows of all sequences, one after another.

    Parameters
    ----------
    X : (n, D) array
        NaN where a number is missing.
    lengths : (n_sequences,) array of int
    inputs : (n, U) array
        Known numbers that states and rows depend on; U may be 0.

    Attributes
    ----------
    X : (n, D) array
        0 where a number is missing.
    seen : (n, D) array of float, or None
        0 where a number is missing; None if rows are there or missing as a whole.
    patterns : (P, D) array of bool
        Kinds of rows by what is there, the most frequent first.
    pattern : (n,) array of int
        Which of them each row is.
    begins, ends : (n,) arrays of bool
        First and last rows of sequences.
    whole : (n,) array of bool
        Rows of which something is there.
    constant : (n, 1 + U) array
        1, and the inputs.
    """

    def __init__(self, X: Array, lengths: NDArray[np.int64], inputs: Array) -> None:
        there = ~np.isnan(X)
        self.n_rows, self.n_features = X.shape
        self.X, self.inputs = np.where(there, X, 0.0), inputs
        self.patterns, self.pattern = _patterns(there)
        is_mixed = (self.patterns.any(axis=1) & ~self.patterns.all(axis=1)).any()
        self.seen = there.astype(np.float64) if is_mixed else None
        self.whole: NDArray[np.bool_] = np.asarray(there.any(axis=1))
        first = np.cumsum(lengths) - lengths
        self.begins, self.ends = np.zeros(len(X), bool), np.zeros(len(X), bool)
        self.begins[first] = True
        self.ends[first + lengths - 1] = True
        self.constant = np.hstack((np.ones((len(X), 1)), inputs))
        self.counts = there.sum(axis=0)

    @property
    def mask(self) -> Array:
        """0 where a number is missing, and 1 elsewhere, (n, 1) or (n, D)."""
        return self.whole[:, None].astype(np.float64) if self.seen is None else self.seen

    def scales(self) -> tuple[Array, Array]:
        """Mean and standard deviation of features, (D,) each; 1 where they are constant."""
        counts = np.maximum(self.counts, 1)
        centre = self.X.sum(axis=0) / counts
        rest = (self.X - centre) * self.mask
        scale = np.sqrt(np.square(rest).sum(axis=0) / counts)
        rounding = np.finfo(np.float64).eps * np.abs(centre) * np.sqrt(counts)
        return centre, np.where(scale > np.maximum(rounding, 1e-150), scale, 1.0)

    def input_scales(self) -> Array:
        """Root mean squares of inputs, (U,); 1 where they are 0."""
        size = np.abs(self.inputs).max(axis=0)
        size = np.where(size > 0, size, 1.0)
        found: Array = size * np.sqrt(np.square(self.inputs / size).mean(axis=0))
        return np.where(found > 0, found, 1.0)

    def standardised(
        self, centre: Array, scale: Array, input_scale: Array | float = 1.0
    ) -> SequenceRows:
        """The same sequences with features (x - centre) / scale, and inputs divided as well."""
        found = object.__new__(SequenceRows)
        found.__dict__.update(self.__dict__)
        found.inputs = self.inputs / input_scale
        found.constant = np.hstack((self.constant[:, :1], found.inputs))
        found.X = np.ascontiguousarray((self.X - centre) / scale * self.mask)
        return found

    def completed(self, X: Array) -> SequenceRows:
        """The same sequences with numbers in place of those that rows partly miss."""
        found = object.__new__(SequenceRows)
        found.__dict__.update(self.__dict__)
        found.X, found.seen = X, None
        found.counts = np.full(self.n_features, np.count_nonzero(self.whole))
        return found

    @property
    def steps(self) -> NDArray[np.bool_]:
        """Rows with one before them, (n,)."""
        return ~self.begins


class Source:
    """All rows of all sequences, as one batch."""

    norms = None

    def __init__(self, rows: SequenceRows) -> None:
        self.rows, self.n_rows = rows, rows.n_rows

    def all(self) -> SequenceRows:
        """Every row, in order."""
        return self.rows

    def batch(self) -> Batch:
        """All rows, each with weight 1."""
        return Batch(self.rows, np.ones(self.n_rows))

    def take(self, rows: object) -> SequenceRows:
        """Rows of a chain cannot be taken out of it."""
        raise NotImplementedError


def _patterns(there: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Distinct rows, the most frequent first, and which of them each row is."""
    if there.all():
        return there[:1], np.zeros(len(there), np.int64)
    whole = there.all(axis=1)
    if not there[~whole].any():
        few = np.array([np.full(there.shape[1], True), np.full(there.shape[1], False)])
        return few, np.where(whole, 0, 1)
    packed = np.packbits(there, axis=1)
    _, first, pattern, counts = np.unique(
        packed, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return there[first[order]], place[pattern.ravel()]
