"""Supervised topics: local steps on documents with a number or a label, and the labels' gradient.

The response y of a document depends on the shares z = mean of its N words' assignments: a number is
N(b'z, variance), a label has probabilities softmax(b_c'z) (Blei and McAuliffe 2007, "Supervised
topic models"; Wang, Blei and Fei-Fei 2009). With words' assignments phi_n, the bound needs only
their mean m = E[z], since by Jensen's inequality

    E[(y - b'z)^2] <= (y - b'm)^2 + (sum_k m_k (b_k - b'm)^2) / N,
    E[log sum_c exp(b_c'z)] <= log sum_c (sum_k m_k exp(b_ck / N))^N.

So the best phi_nk is proportional to h_k w_nk with one vector h of the document, as in latent
Dirichlet allocation, and local steps share its pass over the words. A step moves log h only by the
share 1 / (1 + L / N) to E[log theta] + the response's gradient: the bound on the response has a
curvature of at most L relative to the entropy of the assignments, so that the bound never falls.

Shapes: D documents, U words, N entries, K topics padded to a multiple of 8, C responses (one for a
number). Coefficients are float64 (C, K), 0 in the padding.
"""

import numpy as np

from ._jit import kernel
from ._subnormals import flush_subnormals, restore_subnormals
from .lda import dirichlet_divergence
from .responsibilities import responsibility_sums
from .special import digamma, exp, log


@kernel
def label_moments(m, length, coefficients, tops, x, q, p):
    """Log of sum_c (sum_k m_k exp(b_ck / length))^length; leaves what gradients need.

    m (K,), coefficients (C, K) with their largest in each row tops (C,); out: x (C, K) exp((b_ck -
    top_c) / length), q (C,) sum_k m_k x_ck, p (C,) shares of the labels in the sum.
    """
    inverse = 1.0 / length
    best = -np.inf
    for c in range(coefficients.shape[0]):
        row = coefficients[c]
        for k in range(row.shape[0]):
            x[c, k] = exp((row[k] - tops[c]) * inverse)
        total = 1e-300
        for k in range(row.shape[0]):
            total += m[k] * x[c, k]
        q[c] = total
        p[c] = length * log(total) + tops[c]
        best = max(best, p[c])
    total = 0.0
    for c in range(p.shape[0]):
        total += exp(p[c] - best)
    value = log(total) + best
    for c in range(p.shape[0]):
        p[c] = exp(p[c] - value)
    return value


@kernel
def _label_response(m, length, label, coefficients, tops, x, q, p, slope):
    """Bound on the label's log probability; out: slope (K,) by a word's assignment."""
    value = -label_moments(m, length, coefficients, tops, x, q, p)
    row = coefficients[label]
    for k in range(row.shape[0]):
        value += row[k] * m[k]
    for k in range(row.shape[0]):
        slope[k] = row[k] / length
    for c in range(q.shape[0]):
        factor = p[c] / q[c]
        for k in range(row.shape[0]):
            slope[k] -= factor * x[c, k]
    return value


@kernel
def _number_response(m, length, y, row, variance, slope):
    """Bound on the number's log density; out: slope (K,) by a word's assignment."""
    mean = 0.0
    for k in range(row.shape[0]):
        mean += row[k] * m[k]
    spread = 0.0
    for k in range(row.shape[0]):
        spread += m[k] * (row[k] - mean) ** 2
    for k in range(row.shape[0]):
        change = (y - mean) * row[k] - 0.5 * (row[k] - mean) ** 2 / length
        slope[k] = change / (variance * length)
    square = (y - mean) ** 2 + spread / length
    return -0.5 * (square / variance + log(2.0 * np.pi * variance))


@kernel
def _exponentials(u, n_topics, h):
    """Out h (K,) = exp(u - top); the largest of u[:n_topics], top."""
    top = u[0]
    for k in range(1, n_topics):
        top = max(top, u[k])
    for k in range(n_topics):
        h[k] = exp(u[k] - top)
    return top


@kernel
def supervised_step(
    indptr, words, counts, weights, shift, alpha, n_topics, targets, coefficients, tops, variance,
    weight, curvature, max_iter, tol, start, stop, u, h, ratio, means, report,
):  # fmt: skip
    """Fit documents start..stop, and leave what statistics need.

    indptr (D+1,), words (N,), counts (N,), weights (U, K) and shift (U,) as `fastvi.kernels.lda`
    has them, alpha (K,); targets (D,): numbers, or numbers of labels, whose `variance` is 0; weight
    of the responses; in and out: u (D, K) log h, from the last sweep; out: h (D, K), ratio (N,),
    means (D, K) float64 E[z], report (D, 2): bound in nats, and the largest change of E[z].
    """
    width = u.shape[1]
    total = np.empty(width, u.dtype)
    logs, gamma = np.empty(width), np.empty(width, u.dtype)
    slope = np.zeros(width)
    before = np.empty(width)
    n_labels = coefficients.shape[0]
    x, q, p = np.empty((n_labels, width)), np.empty(n_labels), np.empty(n_labels)
    mode = flush_subnormals()
    for d in range(start, stop):
        a = indptr[d]
        b = indptr[d + 1]
        w, c, r, m = words[a:b], counts[a:b], ratio[a:b], means[d]
        length = 0.0
        for j in range(c.shape[0]):
            length += c[j]
        for k in range(width):
            before[k] = m[k]
            h[d, k] = 0
        report[d, 0] = 0.0
        report[d, 1] = 0.0
        if length == 0:
            continue
        share = 1.0 / (1.0 + curvature / length)
        for i in range(max_iter):
            top = _exponentials(u[d], n_topics, h[d])
            responsibility_sums(w, c, weights, h[d], r, total)
            moved = 0.0
            for k in range(width):
                moved = max(moved, abs(h[d, k] * total[k] / length - m[k]))
            for k in range(width):
                m[k] = h[d, k] * total[k] / length
            if variance > 0:
                value = _number_response(m, length, targets[d], coefficients[0], variance, slope)
            else:
                value = _label_response(
                    m, length, int(targets[d]), coefficients, tops, x, q, p, slope
                )
            _expected_logs(alpha, m, length, n_topics, logs)
            if i + 1 == max_iter or (i > 0 and moved < tol):
                break
            for k in range(n_topics):
                wanted = logs[k] + weight * slope[k]
                u[d, k] += share * (wanted - u[d, k])
        report[d, 0] = weight * value + _words_bound(
            w, c, r, shift, alpha, m, length, n_topics, logs, u[d], top, gamma
        )
        for k in range(n_topics):
            report[d, 1] = max(report[d, 1], abs(m[k] - before[k]))
    restore_subnormals(mode)


@kernel
def _expected_logs(alpha, m, length, n_topics, out):
    """Out (K,) = E[log theta] under Dirichlet(alpha + length m)."""
    total = length
    for k in range(n_topics):
        total += alpha[k]
    centre = digamma(total)
    for k in range(n_topics):
        out[k] = digamma(alpha[k] + length * m[k]) - centre


@kernel
def _words_bound(words, counts, ratio, shift, alpha, m, length, n_topics, logs, u, top, gamma):
    """What a document's bound has besides its response, nats: words, assignments, proportions.

    gamma (K,) is scratch.
    """
    result = 0.0
    for j in range(words.shape[0]):
        c = np.float64(counts[j])
        if c > 0:
            result += c * (log(c / np.float64(ratio[j])) + shift[words[j]])
    for k in range(n_topics):
        if m[k] > 0:
            result += length * m[k] * (logs[k] - (np.float64(u[k]) - top))
    for k in range(n_topics):
        gamma[k] = alpha[k] + length * m[k]
    return result + dirichlet_divergence(gamma, alpha, n_topics)


@kernel
def label_gradient(means, lengths, labels, coefficients, tops, start, stop, gradient):
    """Sum over documents start..stop of the bound on log p(label); adds its gradient.

    means (D, K), lengths (D,), labels (D,) int64, coefficients (C, K), tops (C,); in and out:
    gradient (C, K).
    """
    n_labels, width = coefficients.shape
    x, q, p = np.empty((n_labels, width)), np.empty(n_labels), np.empty(n_labels)
    value = 0.0
    for d in range(start, stop):
        if lengths[d] == 0:
            continue
        m = means[d]
        value -= label_moments(m, lengths[d], coefficients, tops, x, q, p)
        own = coefficients[labels[d]]
        for k in range(width):
            value += own[k] * m[k]
        mine = gradient[labels[d]]
        for k in range(width):
            mine[k] += m[k]
        for c in range(n_labels):
            row = gradient[c]
            factor = p[c] / q[c]
            for k in range(width):
                row[k] -= factor * x[c, k] * m[k]
    return value
