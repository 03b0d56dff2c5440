"""Shares of components in counts, for topic models and Poisson factorization.

A count c_n of a document (or row) d is split among K components in proportion to e_dk w_nk. Shapes:
D documents, U distinct words of a batch, N stored entries, K padded to a multiple of 8 with
components of weight zero.
"""

import numpy as np

from ._jit import kernel
from ._registers import AVAILABLE, register_sums


@kernel(inline="always")
def largest(row, n, best):
    """The largest of row[:n]; best (8,) is scratch, since one maximum would not vectorise."""
    for k in range(8):
        best[k] = row[0]
    whole = n // 8 * 8
    for i in range(0, whole, 8):
        for k in range(8):
            x = row[i + k]
            best[k] = x if x > best[k] else best[k]
    top = best[0]
    for k in range(1, 8):
        top = max(top, best[k])
    for k in range(whole, n):
        top = max(top, row[k])
    return top


@kernel
def responsibility_sums(words, counts, weights, e, ratio, total):
    """One pass over a document's words: ratio_n = c_n / sum_k e_k w_nk and
    total_k = sum_n ratio_n w_nk.
    """
    if AVAILABLE:
        register_sums(words, counts, weights, e, ratio, total)
        return
    tiny = e.dtype.type(1e-30)
    n_topics = e.shape[0] // 8 * 8  # tells the compiler that the length is a multiple of 8
    for k in range(n_topics):
        total[k] = 0
    n = words.shape[0]
    j = 0
    while j + 4 <= n:
        w0 = weights[words[j]]
        w1 = weights[words[j + 1]]
        w2 = weights[words[j + 2]]
        w3 = weights[words[j + 3]]
        s0 = tiny
        s1 = tiny
        s2 = tiny
        s3 = tiny
        for k in range(n_topics):
            s0 += e[k] * w0[k]
            s1 += e[k] * w1[k]
            s2 += e[k] * w2[k]
            s3 += e[k] * w3[k]
        s0 = counts[j] / s0
        s1 = counts[j + 1] / s1
        s2 = counts[j + 2] / s2
        s3 = counts[j + 3] / s3
        ratio[j] = s0
        ratio[j + 1] = s1
        ratio[j + 2] = s2
        ratio[j + 3] = s3
        for k in range(n_topics):
            total[k] += s0 * w0[k] + s1 * w1[k] + s2 * w2[k] + s3 * w3[k]
        j += 4
    while j < n:
        w0 = weights[words[j]]
        s0 = tiny
        for k in range(n_topics):
            s0 += e[k] * w0[k]
        s0 = counts[j] / s0
        ratio[j] = s0
        for k in range(n_topics):
            total[k] += s0 * w0[k]
        j += 1


@kernel
def statistics(columns, documents, entries, ratio, e, doc_weights, start, stop, weights):
    """Turn weights into expected word-topic counts of words start..stop, each one caller's own.

    columns (U+1,), documents (N,), entries (N,): the transposed batch; ratio (N,), e (D, K),
    doc_weights (D,); in and out: weights (U, K), multiplied by sum_d doc_weight ratio e.
    """
    n_topics = weights.shape[1] // 8 * 8
    total = np.empty(n_topics, weights.dtype)
    for u in range(start, stop):
        for k in range(n_topics):
            total[k] = 0
        i = columns[u]
        while i + 2 <= columns[u + 1]:
            d0 = documents[i]
            d1 = documents[i + 1]
            x0 = ratio[entries[i]] * doc_weights[d0]
            x1 = ratio[entries[i + 1]] * doc_weights[d1]
            e0 = e[d0]
            e1 = e[d1]
            for k in range(n_topics):
                total[k] += x0 * e0[k] + x1 * e1[k]
            i += 2
        if i < columns[u + 1]:
            d0 = documents[i]
            x0 = ratio[entries[i]] * doc_weights[d0]
            e0 = e[d0]
            for k in range(n_topics):
                total[k] += x0 * e0[k]
        row = weights[u]
        for k in range(n_topics):
            row[k] *= total[k]


@kernel
def document_norms(indptr, words, weights, e, ratio, start, stop, out):
    """Out (D,) = norm of each document's expected counts ratio_n e_k w_nk over words and topics.

    weights (U, K), e (D, K), ratio (N,) as `local_step` leaves them.
    """
    for d in range(start, stop):
        squares = 0.0
        row = e[d]
        for j in range(indptr[d], indptr[d + 1]):
            w = weights[words[j]]
            r = ratio[j]
            total = row.dtype.type(0)
            for k in range(row.shape[0]):
                expected = r * row[k] * w[k]
                total += expected * expected
            squares += np.float64(total)
        out[d] = np.sqrt(squares)
