"""Collapsed variational Bayes, second order, for latent Dirichlet allocation.

Teh, Newman and Welling (2007), eq. 18: CVB0's update times a correction from the variances of the
counts, whose logarithms are expanded about their means. The order of entries, the start and the
storage are those of `fastvi.kernels.cvb0`. An entry of count c is c tokens that share the
responsibilities g: it adds c g to means and c g (1 - g) to variances. A token sees both without its
own share (in documents and words; the totals of topics include it, as in CVB0).

Shapes as in `cvb0`, with a leading axis of two: [0] means with the prior added, [1] variances.
"""

import numpy as np

from ._jit import kernel
from .cvb0 import FULL, end_run
from .special import exp

# The expansion fails if a mean is close to 0, so corrections in logs are kept within these limits.
# FLOOR is certainty to 16 bits; from there p is not below that of CVB0, and cannot overflow.
FLOOR = np.float32(-40.0)
CEILING = np.float32(20.0)


@kernel
def _begin_run(totals, doc_mean, doc_variance, before, inverse, boost):
    """For a run: reciprocal totals and their part of the correction, the document's rows before."""
    for k in range(totals.shape[1]):
        inverse[k] = 1.0 / totals[0, k]
        spread = max(totals[1, k], 0.0) / (2.0 * totals[0, k] * totals[0, k])
        boost[k] = min(np.float32(spread), CEILING)
        before[0, k] = doc_mean[k]
        before[1, k] = doc_variance[k]


@kernel(inline="always")
def _spread(variance, mean):
    """Variance over twice the squared mean; 0 in the padding, whose means are 0.

    A variance is a difference of running sums, which may be below 0.
    """
    inverse = np.float32(1) / max(mean, np.float32(1e-15))
    return np.float32(0.5) * max(variance, np.float32(0)) * inverse * inverse


@kernel
def update_cell(
    first, last, run_doc, run_start, words, counts, alpha, eta,
    doc_topic, word_topic, totals, g,
):  # fmt: skip
    """One pass over a cell's runs first..last.

    doc_topic (2, D, K), word_topic (2, V, K), totals (2, K); alpha (K,), eta (V,) or (1,): the
    priors, which means less an own share cannot fall below. Changes the first three and g.
    """
    scale = np.float32(1 / FULL)
    one = np.float32(1)
    n_topics = totals.shape[1] // 8 * 8
    inverse = np.empty(n_topics, np.float32)
    boost = np.empty(n_topics, np.float32)
    before = np.empty((2, n_topics), np.float32)
    p = np.empty(n_topics, np.float32)
    for i in range(first, last):
        doc_mean, doc_variance = doc_topic[0, run_doc[i]], doc_topic[1, run_doc[i]]
        _begin_run(totals, doc_mean, doc_variance, before, inverse, boost)
        for j in range(run_start[i], run_start[i + 1]):
            mean, variance = word_topic[0, words[j]], word_topic[1, words[j]]
            gj = g[j]
            own = min(counts[j], one)
            low = eta[words[j] % eta.shape[0]]
            for k in range(n_topics):
                q = np.float32(gj[k]) * scale
                mine = own * q
                noise = mine * (one - q)
                a = max(doc_mean[k] - mine, alpha[k])
                b = max(mean[k] - mine, low)
                spread = _spread(doc_variance[k] - noise, a) + _spread(variance[k] - noise, b)
                p[k] = a * b * inverse[k] * exp(max(boost[k] - spread, FLOOR) - FLOOR)
            total = np.float32(1e-30)
            for k in range(n_topics):  # apart: see `kernel`
                total += p[k]
            share = np.float32(FULL) / total
            unit = counts[j] * scale
            for k in range(n_topics):
                q = np.int32(p[k] * share + np.float32(0.5))
                old = np.int32(gj[k])
                step = np.float32(q - old) * unit
                change = step * (one - np.float32(q + old) * scale)  # of c g (1 - g)
                gj[k] = np.uint16(q)
                doc_mean[k] += step
                mean[k] += step
                doc_variance[k] += change
                variance[k] += change
        end_run(totals[0], doc_mean, before[0])
        end_run(totals[1], doc_variance, before[1])


@kernel
def count_variances(
    first, last, run_doc, run_start, words, counts, g, doc_topic, word_topic
):  # fmt: skip
    """Add the variances of runs first..last to their documents' and words' rows, (D, K), (V, K)."""
    scale = np.float32(1 / FULL)
    n_topics = g.shape[1] // 8 * 8
    for i in range(first, last):
        doc_row = doc_topic[run_doc[i]]
        for j in range(run_start[i], run_start[i + 1]):
            row = word_topic[words[j]]
            for k in range(n_topics):
                q = np.float32(g[j, k]) * scale
                variance = counts[j] * q * (np.float32(1) - q)
                doc_row[k] += variance
                row[k] += variance
