"""Rows that stay where they lie: files of shards, and Dask arrays and bags."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse, vstack

from fastvi.base.typing import AnyArray
from fastvi.batches.base import Part

__all__ = ["Raw", "Read", "Remote", "array_part", "is_remote", "raw_shards", "sample_of"]

Read = Callable[[str], Any]


def is_remote(X: Any) -> bool:
    """Whether X is a list of paths, or a Dask collection."""
    if isinstance(X, (list, tuple)):
        return len(X) > 0 and all(isinstance(part, (str, os.PathLike)) for part in X)
    return hasattr(X, "__dask_graph__")


class Raw:
    """A shard as it lies: a path and how to read it, or a delayed block of a Dask collection.

    `delayed` is computed by the cluster, which passes the result to `rows`.
    """

    def __init__(self, name: str, read: Callable[[], Any] | None, delayed: Any = None) -> None:
        self.name, self._read, self.delayed = name, read, delayed

    def rows(self, computed: Any = None) -> Any:
        """Return the shard's matrix (n, D), dense or sparse.

        Raises
        ------
        OSError, ValueError
            If it cannot be read; the message names it.
        """
        try:
            X = stacked(computed) if self._read is None else self._read()
        except OSError as error:
            raise OSError(f"{self.name} cannot be read: {error}") from error
        except Exception as error:
            raise ValueError(
                f"{self.name} cannot be read: {type(error).__name__}: {error}"
            ) from error
        if getattr(X, "ndim", 0) != 2:
            raise ValueError(f"{self.name} holds a {type(X).__name__}; wanted a matrix")
        return X

    def head(self, computed: Any, n_rows: int) -> Any:
        """Return the first rows, and the number of all."""
        X = self.rows(computed)
        return (csr_array(X) if issparse(X) else X)[:n_rows]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"delayed": None}


class Remote:
    """How a worker comes by a shard that lies elsewhere: `part_of` makes it of a matrix."""

    def __init__(self, raw: Raw, part_of: Callable[[Any], Part]) -> None:
        self.raw, self.part_of, self.name = raw, part_of, raw.name
        self.delayed: Any = raw.delayed

    def __call__(self, computed: Any = None) -> Part:
        """Return the rows."""
        X = self.raw.rows(computed)
        try:
            return self.part_of(X)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"delayed": None}


def raw_shards(X: Any, read: Read | None) -> list[Raw]:
    """Return the shards of paths or of a Dask collection, in order."""
    if isinstance(X, (list, tuple)):
        reader = read_file if read is None else read
        return [
            Raw(f"shard {i} ({os.fspath(path)})", _Reading(reader, os.fspath(path)))
            for i, path in enumerate(X)
        ]
    if getattr(X, "ndim", 2) != 2 or getattr(X, "numblocks", (1, 1))[1:] not in ((1,), ()):
        raise ValueError(
            f"X has blocks {getattr(X, 'numblocks', None)}; wanted a matrix of which each block "
            "has all columns: X.rechunk({1: -1})"
        )
    blocks = np.ravel(np.asarray(X.to_delayed(), object))
    return [Raw(f"shard {i} (block {i} of X)", None, block) for i, block in enumerate(blocks)]


class _Reading:
    def __init__(self, read: Read, path: str) -> None:
        self.read, self.path = read, path

    def __call__(self) -> Any:
        return self.read(self.path)


def read_file(path: str) -> Any:
    """Read a matrix from .npy, or a sparse one from .npz as SciPy's or `np.savez`'s CSR arrays."""
    suffix = Path(path).suffix
    if suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if suffix != ".npz":
        raise ValueError(
            "wanted a file .npy or .npz, or fastvi.distributed(read=...), a function from a path "
            "to a matrix"
        )
    with np.load(path, allow_pickle=False) as file:
        shape = tuple(int(n) for n in file["shape"])
        return csr_array((file["data"], file["indices"], file["indptr"]), shape=shape)


def stacked(parts: Any) -> Any:
    """Return a block of a Dask array, or the matrices and rows in a partition of a bag, as one."""
    if not isinstance(parts, (list, tuple)):
        return parts
    if parts and issparse(parts[0]):
        return csr_array(vstack(parts))
    return np.vstack(parts)


def sample_of(heads: Sequence[Any]) -> Any:
    """Stack the first rows of all shards.

    Raises
    ------
    ValueError
        If they have different numbers of columns.
    """
    widths = [head.shape[1] for head in heads]
    for i, width in enumerate(widths):
        if width != widths[0]:
            raise ValueError(
                f"shard {i} has {width} columns and shard 0 has {widths[0]}; wanted as many"
            )
    return stacked(list(heads))


def array_part(X: Any, n_features: int, dtype: Any, make: Callable[[AnyArray], Any]) -> Part:
    """Check rows (n, D) of a shard as those of a fit, and make a source of them."""
    from fastvi.base import checks

    X = np.require(X, dtype, ["C_CONTIGUOUS"])
    if X.shape[1] != n_features:
        raise ValueError(f"{X.shape[1]} columns; wanted {n_features}")
    if not np.all(np.isfinite(X)):
        raise ValueError("NaN or infinity; wanted finite numbers")
    if len(X):
        checks.rows_to_fit(X)
    return Part(make(X))
