"""Sparse batches: rows gathered, words renumbered within the batch, the batch transposed."""

import numpy as np

from ._jit import kernel


@kernel
def take_rows(indptr, indices, data, rows, out_indptr, out_indices, out_data):
    """Gather CSR rows; out_indptr (n+1,) is given, the other two are filled."""
    for i in range(rows.shape[0]):
        a = indptr[rows[i]]
        for j in range(out_indptr[i + 1] - out_indptr[i]):
            out_indices[out_indptr[i] + j] = indices[a + j]
            out_data[out_indptr[i] + j] = data[a + j]


@kernel
def distinct(indices, marker, out):
    """Write the distinct values of indices (N,) to out, in the order of their first places; how
    many there are. marker (V,) int32 is -1 everywhere before; 0 at each value afterwards.
    """
    n = 0
    for j in range(indices.shape[0]):
        w = indices[j]
        if marker[w] < 0:
            marker[w] = 0
            out[n] = w
            n += 1
    return n


@kernel
def renumber(indices, marker, distinct_values, out):
    """Write the place of each index among the distinct values; the marker is -1 afterwards."""
    for i in range(distinct_values.shape[0]):
        marker[distinct_values[i]] = i
    for j in range(indices.shape[0]):
        out[j] = marker[indices[j]]
    for i in range(distinct_values.shape[0]):
        marker[distinct_values[i]] = -1


@kernel
def transpose(indptr, words, columns, documents, entries):
    """Counting sort of entries by word: columns (U+1,), documents (N,), entries (N,)."""
    n_words = columns.shape[0] - 1
    for u in range(n_words + 1):
        columns[u] = 0
    for j in range(words.shape[0]):
        columns[words[j] + 1] += 1
    place = np.empty(n_words + 1, np.int64)
    place[0] = 0
    for u in range(n_words):
        columns[u + 1] += columns[u]
        place[u + 1] = columns[u + 1]
    for d in range(indptr.shape[0] - 1):
        for j in range(indptr[d], indptr[d + 1]):
            i = place[words[j]]
            documents[i] = d
            entries[i] = j
            place[words[j]] = i + 1


@kernel
def check_csr(indptr, indices, data, n_columns):
    """Status of a CSR matrix: 0 canonical, 1 rows unsorted, duplicates or zeros, 2 a malformed
    indptr, 3 an index out of range, 4 a count that is not finite, 5 a negative one.
    """
    status = 0
    n = indices.shape[0]
    if indptr[0] != 0 or indptr[indptr.shape[0] - 1] != n or data.shape[0] != n:
        return 2
    for d in range(indptr.shape[0] - 1):
        if indptr[d + 1] < indptr[d]:
            return 2
    for d in range(indptr.shape[0] - 1):
        last = -1
        for j in range(indptr[d], indptr[d + 1]):
            w = indices[j]
            if w < 0 or w >= n_columns:
                return 3
            if w <= last:
                status = 1
            last = w
            x = data[j]
            if not np.isfinite(x):
                return 4
            if x < 0:
                return 5
            if x == 0:
                status = 1
    return status
