"""Latent Dirichlet allocation: local steps on documents, word statistics, bounds and scores.

Shapes: D documents, U distinct words of a batch, N stored entries (nnz), K topics padded to a
multiple of 8 with topics whose prior and weight are zero. Equations: Hoffman, Blei, Wang and
Paisley (2013), "Stochastic variational inference"; Foulds et al. (2013) for the collapsed form.
"""

import numpy as np

from ._jit import kernel
from ._subnormals import flush_subnormals, restore_subnormals
from .responsibilities import largest, responsibility_sums
from .special import digamma, exp, exp_digamma, gammaln, log

LONG_STEP = 3.0


@kernel
def mean_weights(values, column_sums, n_topics, start, stop):
    """Turn rows of the table, values (U, K), into E[beta]; column_sums (K,) float64."""
    width = values.shape[1] // 8 * 8
    factor = np.zeros(width, values.dtype)
    for k in range(n_topics):
        factor[k] = 1.0 / column_sums[k]
    for u in range(start, stop):
        row = values[u]
        for k in range(width):
            row[k] *= factor[k]


@kernel
def word_weights(values, column_sums, n_topics, start, stop, shift):
    """Turn rows of the table into weights exp(E[log beta] - shift) of topics for each word.

    shift is the row's largest E[log beta], since only ratios within a row matter and small priors
    leave float32's range.

    In and out: values (U, K); column_sums (K,) float64; out: shift (U,).
    """
    zero = values.dtype.type(0)
    width = values.shape[1] // 8 * 8
    offset = np.empty(width, values.dtype)
    best = np.empty(8, values.dtype)
    for k in range(n_topics, width):
        offset[k] = zero
    for k in range(n_topics):
        offset[k] = digamma(column_sums[k])
    for u in range(start, stop):
        row = values[u]
        for k in range(width):
            row[k] = digamma(row[k]) - offset[k]
        top = largest(row, n_topics, best)
        shift[u] = top
        for k in range(width):
            row[k] = exp(row[k] - top)
        for k in range(n_topics, width):
            row[k] = zero


@kernel
def _topic_weights(gamma, e):
    """Write exp(digamma(gamma)) up to a factor, whose log is returned.

    Short documents with many topics have small gamma only, all of whose weights would be 0.
    """
    mass = gamma.dtype.type(0)
    for k in range(gamma.shape[0]):
        mass += gamma[k]
    if mass < 0.1 * gamma.shape[0]:  # otherwise the largest is above 0.1
        top = largest(gamma, gamma.shape[0], e)  # e is written below
        if top < 0.1:
            centre = digamma(top)
            for k in range(gamma.shape[0]):
                e[k] = exp(digamma(gamma[k]) - centre)
            return centre
    for k in range(gamma.shape[0]):
        e[k] = exp_digamma(gamma[k])
    return gamma.dtype.type(0)


@kernel
def _replace(gamma, new):
    """Make gamma new; the sum of absolute changes."""
    change = gamma.dtype.type(0)
    for k in range(gamma.shape[0]):  # apart: see `kernel`
        change += abs(new[k] - gamma[k])
    for k in range(gamma.shape[0]):
        gamma[k] = new[k]
    return change


@kernel
def _fixed_point(words, counts, weights, alpha, max_iter, tol, gamma, e, total, ratio):
    """Iterate gamma = alpha + e * total until the sum of absolute changes is below tol."""
    for _ in range(max_iter):
        _topic_weights(gamma, e)
        responsibility_sums(words, counts, weights, e, ratio, total)
        for k in range(gamma.shape[0]):
            total[k] = alpha[k] + e[k] * total[k]
        if _replace(gamma, total) < tol:
            break


@kernel
def _collapsed_fixed_point(words, counts, weights, alpha, max_iter, tol, gamma, total, ratio):
    """As `_fixed_point`, with gamma as weights.

    Every other step is LONG_STEP times as long, which halves their number (over-relaxation as in
    Salakhutdinov and Roweis 2003, "Adaptive overrelaxed bound optimization"); the plain step after
    it takes back what it overshot, and is the last.
    """
    long_step = gamma.dtype.type(LONG_STEP)
    for i in range(max_iter):
        responsibility_sums(words, counts, weights, gamma, ratio, total)
        for k in range(gamma.shape[0]):
            new = alpha[k] + gamma[k] * total[k]
            if i % 2 == 0 and i + 1 < max_iter:
                new = max(gamma[k] + long_step * (new - gamma[k]), alpha[k])
            total[k] = new
        if _replace(gamma, total) < tol:
            break


@kernel
def dirichlet_divergence(gamma, alpha, n_topics):
    """E_q[log p(theta | alpha) - log q(theta | gamma)] of one Dirichlet, in nats (float64)."""
    total = 0.0
    prior_total = 0.0
    result = 0.0
    for k in range(n_topics):
        total += gamma[k]
        prior_total += alpha[k]
    centre = digamma(total)
    for k in range(n_topics):
        g = np.float64(gamma[k])
        a = np.float64(alpha[k])
        result += gammaln(g) - gammaln(a) + (a - g) * (digamma(g) - centre)
    return result + gammaln(prior_total) - gammaln(total)


@kernel
def _document_bound(words, counts, ratio, shift, factor, gamma, alpha, n_topics):
    """One document's part of the ELBO, nats, where ratio belongs to gamma.

    Hoffman et al. (2013), eq. 15 with the best phi put in: sum_n c_n log sum_k exp(E[log theta]
    + E[log beta]) plus the Dirichlet terms. words, counts, ratio (n,), shift (U,), gamma (K,);
    factor: the log that `_topic_weights` returned.
    """
    total = 0.0
    for k in range(n_topics):
        total += gamma[k]
    centre = digamma(total) - factor
    result = dirichlet_divergence(gamma, alpha, n_topics)
    for j in range(words.shape[0]):
        c = np.float64(counts[j])
        if c > 0:
            result += c * (log(c / np.float64(ratio[j])) + shift[words[j]] - centre)
    return result


@kernel
def local_step(
    indptr, words, counts, weights, shift, alpha, n_topics, remember, max_iter, tol,
    start, stop, gamma, e, ratio, bound,
):  # fmt: skip
    """Fit documents start..stop and leave what their statistics need.

    indptr (D+1,), words (N,) rows of weights (U, K) and shift (U,), counts (N,), alpha (K,); in
    and out: gamma (D, K); out: e (D, K) topic weights and ratio (N,) at the final gamma, bound
    (D,) in nats. With `remember` gamma comes from an earlier call: a document goes back to it if
    the fresh fit has a lower bound, so that the ELBO never falls.
    """
    total = np.empty(gamma.shape[1], gamma.dtype)
    before = np.empty(gamma.shape[1], gamma.dtype)
    mode = flush_subnormals()
    for d in range(start, stop):
        a = indptr[d]
        b = indptr[d + 1]
        w, c, r = words[a:b], counts[a:b], ratio[a:b]
        bound[d] = -np.inf
        for attempt in range(0 if remember else 1, 3):  # the earlier gamma, a fresh one, again
            if attempt == 0:
                for k in range(before.shape[0]):
                    before[k] = gamma[d, k]
            elif attempt == 1:
                start_gamma(c, alpha, gamma[d])
            else:
                for k in range(before.shape[0]):
                    gamma[d, k] = before[k]
            if attempt > 0:
                _fixed_point(w, c, weights, alpha, max_iter, tol, gamma[d], e[d], total, r)
            factor = _topic_weights(gamma[d], e[d])
            responsibility_sums(w, c, weights, e[d], r, total)
            bound_before = bound[d]
            bound[d] = _document_bound(w, c, r, shift, factor, gamma[d], alpha, n_topics)
            if attempt == 1 and bound[d] >= bound_before:
                break
    restore_subnormals(mode)


@kernel
def collapsed_step(
    indptr, words, counts, weights, alpha, max_iter, tol, start, stop, gamma, ratio
):  # fmt: skip
    """As `local_step`, in the collapsed form, where topic weights are gamma."""
    total = np.empty(gamma.shape[1], gamma.dtype)
    mode = flush_subnormals()
    for d in range(start, stop):
        a = indptr[d]
        b = indptr[d + 1]
        w, c, r = words[a:b], counts[a:b], ratio[a:b]
        start_gamma(c, alpha, gamma[d])
        _collapsed_fixed_point(w, c, weights, alpha, max_iter, tol, gamma[d], total, r)
        responsibility_sums(w, c, weights, gamma[d], r, total)
    restore_subnormals(mode)


@kernel
def collapsed_statistics(
    columns, documents, entries, counts, ratio, alpha, e, doc_weights, start, stop, weights
):  # fmt: skip
    """As `fastvi.kernels.responsibilities.statistics`, but each token sees its document's counts
    without its own share, as in Asuncion et al. (2009), eq. 9: topic k gets a share proportional to
    w_k max(e_k - p_k, alpha_k), where p_k is the share with it. Otherwise a token makes its own
    topic likelier, and where topics are many, they learn single documents by heart. Topics' counts
    keep the share: how much of it they hold depends on when the document was last seen.

    columns (U+1,), documents (N,), entries (N,): the transposed batch; counts, ratio (N,), alpha
    (K,), e (D, K), doc_weights (D,); in and out: weights (U, K).
    """
    zero = weights.dtype.type(0)
    one = weights.dtype.type(1)
    tiny = weights.dtype.type(1e-30)
    n_topics = weights.shape[1] // 8 * 8
    total = np.empty(n_topics, weights.dtype)
    for u in range(start, stop):
        row = weights[u]
        for k in range(n_topics):
            total[k] = 0
        end = columns[u + 1]
        for i in range(columns[u], end, 2):
            pair = min(i + 1, end - 1)  # a single last entry is its own, with share 0
            j0, j1 = entries[i], entries[pair]
            d0, d1 = documents[i], documents[pair]
            e0, e1 = e[d0], e[d1]
            own0, own1 = ratio[j0] / max(counts[j0], one), ratio[j1] / max(counts[j1], one)
            mass0, mass1 = tiny, tiny
            for k in range(n_topics):
                mass0 += max(e0[k] * (one - own0 * row[k]), alpha[k]) * row[k]
                mass1 += max(e1[k] * (one - own1 * row[k]), alpha[k]) * row[k]
            share0 = counts[j0] * doc_weights[d0] / mass0
            share1 = counts[j1] * doc_weights[d1] / mass1 if pair > i else zero
            for k in range(n_topics):  # apart: see `kernel`
                total[k] += share0 * max(e0[k] * (one - own0 * row[k]), alpha[k]) + share1 * max(
                    e1[k] * (one - own1 * row[k]), alpha[k]
                )
        for k in range(n_topics):
            row[k] *= total[k]


@kernel
def collapsed_norms(indptr, words, counts, weights, ratio, alpha, e, start, stop, out):
    """Out (D,) = norm of each document's part of `collapsed_statistics`, over words and topics."""
    one = weights.dtype.type(1)
    for d in range(start, stop):
        squares = 0.0
        for j in range(indptr[d], indptr[d + 1]):
            row = weights[words[j]]
            own = ratio[j] / max(counts[j], one)
            mass = weights.dtype.type(1e-30)
            square = weights.dtype.type(0)
            for k in range(row.shape[0]):
                x = max(e[d, k] * (one - own * row[k]), alpha[k]) * row[k]
                mass += x
                square += x * x
            squares += np.float64(counts[j] / mass) ** 2 * square
        out[d] = np.sqrt(squares)


@kernel
def infer(
    indptr, words, counts, weights, alpha, collapsed, max_iter, tol, start, stop, gamma
):  # fmt: skip
    """Fit gamma (D, K) of documents start..stop, from the prior's mean times the length."""
    e = np.empty(gamma.shape[1], gamma.dtype)
    total = np.empty(gamma.shape[1], gamma.dtype)
    longest = 0
    for d in range(start, stop):
        longest = max(longest, indptr[d + 1] - indptr[d])
    ratio = np.empty(longest, gamma.dtype)
    mode = flush_subnormals()
    for d in range(start, stop):
        a = indptr[d]
        b = indptr[d + 1]
        start_gamma(counts[a:b], alpha, gamma[d])
        w, c, g = words[a:b], counts[a:b], gamma[d]
        if collapsed:
            _collapsed_fixed_point(w, c, weights, alpha, max_iter, tol, g, total, ratio)
        else:
            _fixed_point(w, c, weights, alpha, max_iter, tol, g, e, total, ratio)
    restore_subnormals(mode)


@kernel
def start_gamma(counts, alpha, gamma):
    """gamma = alpha + length / K for topics whose prior is not zero (the padding's is)."""  # noqa: D403
    length = gamma.dtype.type(0)
    for j in range(counts.shape[0]):
        length += counts[j]
    n_topics = 0
    for k in range(alpha.shape[0]):
        n_topics += alpha[k] > 0
    share = gamma.dtype.type(length / max(n_topics, 1))
    for k in range(alpha.shape[0]):
        gamma[k] = alpha[k] + share if alpha[k] > 0 else alpha[k]


@kernel
def score_documents(indptr, words, counts, weights, theta, start, stop, out):
    """Out (D,) = sum_n c_n log sum_k theta_k E[beta]_kn in nats, for document completion."""
    for d in range(start, stop):
        result = 0.0
        row = theta[d]
        for j in range(indptr[d], indptr[d + 1]):
            w = weights[words[j]]
            p = row.dtype.type(0)
            for k in range(row.shape[0]):
                p += row[k] * w[k]
            result += counts[j] * np.log(np.float64(p))
        out[d] = result
