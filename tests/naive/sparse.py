"""Plain twins of `fastvi.kernels.sparse`: rows as lists of (index, value)."""

from itertools import pairwise

import numpy as np


def rows_of(indptr, indices, data):
    pairs = list(zip(indices.tolist(), data.tolist()))
    return [pairs[a:b] for a, b in pairwise(indptr)]


def csr(rows, dtype):
    """Parts (indptr int64, indices int32, data) of rows given as lists of (index, value)."""
    flat = [pair for row in rows for pair in row]
    return (
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([index for index, _ in flat], np.int32),
        np.array([value for _, value in flat], dtype),
    )


def transpose(indptr, words, n_words):
    """For each word its (document, entry) pairs in order of appearance."""
    columns = [[] for _ in range(n_words)]
    for d in range(len(indptr) - 1):
        for j in range(indptr[d], indptr[d + 1]):
            columns[words[j]].append((d, j))
    return columns
