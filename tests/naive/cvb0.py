"""Plain twins of `fastvi.kernels.cvb0`: float64 but for responsibilities in 16 bits."""

import numpy as np

FULL = 65535


def cells(rows, order, doc_block, word_block, n_blocks):
    """For each cell of the grid its runs, (document, [(word, count), ...]), in order."""
    result = [[] for _ in range(n_blocks**2)]
    for d in order:
        for block in range(n_blocks):
            entries = [(w, c) for w, c in rows[d] if word_block[w] == block]
            if entries:
                result[doc_block[d] * n_blocks + block].append((d, entries))
    return result


def quantise(p):
    """Proportions in units of 1 / 65535, each rounded to the nearest."""
    return np.floor(p / p.sum() * FULL + 0.5)


def start(runs_by_document, words, counts, weights, doc_topic, follow):
    """First responsibilities (N, K); runs_by_document: (document, [(first, last), ...]) in order.

    After each entry its responsibilities in `follow` are taken instead of those found, so that a
    rounding the other way has no consequences.
    """
    g = np.zeros((len(words), weights.shape[1]))
    for d, runs in runs_by_document:
        for first, last in runs:
            for j in range(first, last):
                g[j] = quantise(doc_topic[d] * weights[words[j]])
                doc_topic[d] += counts[j] * np.float64(follow[j]) / FULL
    return g


def update_cell(runs, words, counts, alpha, eta, doc_topic, word_topic, totals, g, follow):
    """One pass over runs (document, first, last), in place, each token less its own share.

    As in `start`, `follow` is taken instead of what was found; the largest difference returned.
    """
    worst = 0
    for d, first, last in runs:
        before, fixed = doc_topic[d].copy(), totals.copy()
        for j in range(first, last):
            own = min(counts[j], 1) * g[j] / FULL
            p = np.maximum(doc_topic[d] - own, alpha) * np.maximum(word_topic[words[j]] - own, eta)
            new = np.float64(follow[j])
            worst = max(worst, abs(quantise(p / fixed) - new).max())
            doc_topic[d] += counts[j] * (new - g[j]) / FULL
            word_topic[words[j]] += counts[j] * (new - g[j]) / FULL
            g[j] = new
        totals += doc_topic[d] - before
    return worst


def count(owners, words, counts, g, n_documents, n_words):
    """Expected counts by document and by word; `owners` (N,) are the entries' documents."""
    doc_topic = np.zeros((n_documents, g.shape[1]))
    word_topic = np.zeros((n_words, g.shape[1]))
    for j in range(len(words)):
        doc_topic[owners[j]] += counts[j] * np.float64(g[j]) / FULL
        word_topic[words[j]] += counts[j] * np.float64(g[j]) / FULL
    return doc_topic, word_topic
