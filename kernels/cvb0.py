"""Collapsed variational Bayes, zeroth order, for latent Dirichlet allocation.

Asuncion, Welling, Smyth and Teh (2009), eq. 9, over distinct words of a document: each token of a
word sees the counts without its own responsibility (topic totals include it, as it matters little
there). Entries lie in a grid of document blocks x word blocks; the cells of one diagonal share
neither a document nor a word, so they run in parallel, and bits do not depend on the threads.

Shapes: D documents, V words, N entries in the order of the grid, K topics padded to a multiple of
8 (padding: counts 0, totals 1). doc_topic (D, K) and word_topic (V, K) hold expected counts with
the prior added, topic totals (K,) are float64. Responsibilities g (N, K) are uint16, g / 65535.
"""

import numpy as np

from ._jit import kernel

FULL = 65535  # the responsibility 1 in 16 bits


@kernel
def grid(indptr, indices, order, doc_block, word_block, n_blocks, cell, runs):
    """Count entries (cell) and runs of one document (runs) in each cell; both (B * B + 1,)."""
    seen = np.empty(n_blocks * n_blocks, np.int64)
    for c in range(n_blocks * n_blocks):
        seen[c] = -1
    for i in range(order.shape[0]):
        d = order[i]
        for j in range(indptr[d], indptr[d + 1]):
            c = doc_block[d] * n_blocks + word_block[indices[j]]
            cell[c + 1] += 1
            if seen[c] != d:
                seen[c] = d
                runs[c + 1] += 1
    for c in range(n_blocks * n_blocks):
        cell[c + 1] += cell[c]
        runs[c + 1] += runs[c]


@kernel
def fill_grid(
    indptr, indices, data, order, doc_block, word_block, n_blocks, cell, runs,
    words, counts, run_doc, run_start, doc_runs,
):  # fmt: skip
    """Sort entries by cell, documents in `order`: words (N,), counts (N,), and for each run its
    document and first entry (R,), (R+1,).
    """
    seen = np.empty(n_blocks * n_blocks, np.int64)
    place = np.empty(n_blocks * n_blocks, np.int64)
    run_place = np.empty(n_blocks * n_blocks, np.int64)
    for c in range(n_blocks * n_blocks):
        seen[c], place[c], run_place[c] = -1, cell[c], runs[c]
    for i in range(order.shape[0]):
        d = order[i]
        for j in range(indptr[d], indptr[d + 1]):
            c = doc_block[d] * n_blocks + word_block[indices[j]]
            if seen[c] != d:
                seen[c] = d
                run_doc[run_place[c]] = d
                doc_runs[d, word_block[indices[j]]] = run_place[c]
                run_start[run_place[c]] = place[c]
                run_place[c] += 1
            words[place[c]] = indices[j]
            counts[place[c]] = data[j]
            place[c] += 1
    run_start[run_start.shape[0] - 1] = words.shape[0]


@kernel
def _begin_run(totals, doc_row, before, inverse):
    """Reciprocal totals for a run, and the document's counts before it."""
    for k in range(totals.shape[0]):
        inverse[k] = 1.0 / totals[k]
        before[k] = doc_row[k]


@kernel
def end_run(totals, doc_row, before):
    """Add to topic totals (K,) what a run has changed in a document's row."""
    for k in range(totals.shape[0]):
        totals[k] += np.float64(doc_row[k]) - np.float64(before[k])


@kernel
def start(first, last, doc_runs, run_start, words, counts, weights, doc_topic, g):
    """First responsibilities of documents first..last, from E[beta] and the document so far.

    doc_runs (D, B): each document's runs, -1 for none; weights (V, K) float32; doc_topic (D, K)
    holds the prior and is scratch. Writes g.
    """
    n_topics = doc_topic.shape[1] // 8 * 8
    p = np.empty(n_topics, np.float32)
    for d in range(first, last):
        doc_row = doc_topic[d]
        for i in doc_runs[d]:
            if i < 0:
                continue
            for j in range(run_start[i], run_start[i + 1]):
                row = weights[words[j]]
                gj = g[j]
                for k in range(n_topics):
                    p[k] = doc_row[k] * row[k]
                total = np.float32(1e-30)
                for k in range(n_topics):  # apart: see `kernel`
                    total += p[k]
                share = np.float32(FULL) / total
                unit = counts[j] / np.float32(FULL)
                for k in range(n_topics):
                    q = np.int32(p[k] * share + np.float32(0.5))
                    gj[k] = np.uint16(q)
                    doc_row[k] += np.float32(q) * unit


@kernel
def update_cell(
    first, last, run_doc, run_start, words, counts, alpha, eta,
    doc_topic, word_topic, totals, g,
):  # fmt: skip
    """One pass over a cell's runs first..last.

    alpha (K,), eta (V,) or (1,): the priors, which counts less an own share cannot fall below.
    Changes doc_topic, word_topic, totals and g.
    """
    scale = np.float32(1 / FULL)
    n_topics = totals.shape[0] // 8 * 8
    inverse = np.empty(n_topics, np.float32)
    before = np.empty(n_topics, np.float32)
    p = np.empty(n_topics, np.float32)
    for i in range(first, last):
        doc_row = doc_topic[run_doc[i]]
        _begin_run(totals, doc_row, before, inverse)
        for j in range(run_start[i], run_start[i + 1]):
            row = word_topic[words[j]]
            gj = g[j]
            own = scale * min(counts[j], np.float32(1))
            low = eta[words[j] % eta.shape[0]]
            total = np.float32(1e-30)
            for k in range(n_topics):  # may sum and store, see `kernel`: gj is of another width
                mine = np.float32(gj[k]) * own
                p[k] = max(doc_row[k] - mine, alpha[k]) * max(row[k] - mine, low) * inverse[k]
                total += p[k]
            share = np.float32(FULL) / total
            unit = counts[j] * scale
            for k in range(n_topics):
                q = np.int32(p[k] * share + np.float32(0.5))
                step = np.float32(q - np.int32(gj[k])) * unit
                gj[k] = np.uint16(q)
                doc_row[k] += step
                row[k] += step
        end_run(totals, doc_row, before)


@kernel
def count_runs(
    first, last, run_doc, run_start, words, counts, g, doc_topic, word_topic
):  # fmt: skip
    """Add the expected counts of runs first..last to their documents' and words' rows."""
    scale = np.float32(1 / FULL)
    n_topics = g.shape[1] // 8 * 8
    for i in range(first, last):
        doc_row = doc_topic[run_doc[i]]
        for j in range(run_start[i], run_start[i + 1]):
            row = word_topic[words[j]]
            unit = counts[j] * scale
            for k in range(n_topics):
                count = np.float32(g[j, k]) * unit
                doc_row[k] += count
                row[k] += count
