"""Correlated topics: modes of documents' log weights of topics, and their curvature.

A document's log weights are eta ~ N(mu, Sigma), its proportions theta = softmax(eta), and a word's
probability is sum_k theta_k w_k with the word's weights w. With the words' assignments summed out
(Wang and Blei 2013, "Variational inference in nonconjugate models"), the mode of eta is found by
Newton steps with the curvature of the complete data, P + n (diag theta - theta theta'), P the
inverse of Sigma, which is always positive definite. With `bound`, the steps ascend the bound of
Blei and Lafferty (2007, "A correlated topic model of Science") instead: eta is the mean of a
Gaussian with variances v, and exp(eta + v / 2) takes the place of exp(eta) in the normaliser.

Shapes: D documents, V words, N entries, K topics padded to a multiple of 8 (padding: weights and
theta 0, the identity in P). Matrices (K, K) are upper triangles; below them is scratch.
"""

import numpy as np

from ._jit import kernel
from ._subnormals import flush_subnormals, restore_subnormals
from .cvb0 import FULL
from .factored import add_square, cholesky, invert, solve_factored
from .responsibilities import responsibility_sums
from .special import exp

LONGEST = 2.0  # of a Newton step, in any topic
KNOWN, FULLY = 1, 2  # how documents' covariances are found
SMALL = 0.02  # tokens of a topic in a document below which its words' uncertainty is left out


@kernel
def _softmax(eta, variance, half, n_topics, theta):
    """Out theta (K,) = softmax of eta + half v, and 0 in the padding."""
    width = eta.shape[0] // 8 * 8
    zero = eta.dtype.type(0)
    for k in range(width):
        theta[k] = eta[k] + half * variance[k]
    top = theta[0]
    for k in range(1, n_topics):
        top = max(top, theta[k])
    for k in range(width):
        theta[k] = exp(theta[k] - top)
    for k in range(n_topics, width):
        theta[k] = zero
    total = zero
    for k in range(width):
        total += theta[k]
    scale = eta.dtype.type(1) / total
    for k in range(width):
        theta[k] *= scale


@kernel
def _slope(precision, mean, eta, length, theta, total, slope):
    """In total (K,): expected tokens of topics; out slope (K,): the gradient by eta, and the
    quadratic form (eta - mean)' P (eta - mean).
    """
    width = eta.shape[0] // 8 * 8
    zero = eta.dtype.type(0)
    for k in range(width):
        slope[k] = eta[k] - mean[k]
    form = zero
    for k in range(width):
        row = precision[k]
        pull = zero
        for j in range(width):
            pull += row[j] * slope[j]
        form += pull * slope[k]
        total[k] -= length * theta[k] + pull
    for k in range(width):
        slope[k] = total[k]
    return form


@kernel
def _curvature(precision, length, theta, bound, matrix):
    """Out: P + n (diag theta - theta theta'), or with `bound` P + n diag theta."""
    n = precision.shape[0] // 8 * 8
    zero = theta.dtype.type(0)
    for k in range(n):
        p, row = precision[k], matrix[k]
        x = length * theta[k]
        y = zero if bound else x
        for j in range(k // 8 * 8, n):
            row[j] = p[j] - y * theta[j]
        row[k] += x


@kernel
def _less_assignments(words, counts, weights, theta, total, ratio, square, matrix):
    """Take the words' uncertainty, diag(sum c phi) - sum c phi phi', out of the curvature.

    ratio (n,) and total (K,) are those of `responsibility_sums` at theta; square (K, K) is scratch.
    """
    n = theta.shape[0] // 8 * 8
    zero = theta.dtype.type(0)
    for k in range(n):
        if theta[k] * total[k] > SMALL:
            row = square[k]
            for j in range(k // 8 * 8, n):
                row[j] = zero
    n_words = words.shape[0]
    for i in range(0, n_words, 4):
        i1, i2, i3 = min(i + 1, n_words - 1), min(i + 2, n_words - 1), min(i + 3, n_words - 1)
        w0, w1, w2, w3 = (
            weights[words[i]],
            weights[words[i1]],
            weights[words[i2]],
            weights[words[i3]],
        )
        s0 = ratio[i] * ratio[i] / counts[i]
        s1 = ratio[i1] * ratio[i1] / counts[i1] if i1 > i else zero
        s2 = ratio[i2] * ratio[i2] / counts[i2] if i2 > i1 else zero
        s3 = ratio[i3] * ratio[i3] / counts[i3] if i3 > i2 else zero
        for k in range(n):
            if theta[k] * total[k] > SMALL:
                row = square[k]
                x0, x1, x2, x3 = s0 * w0[k], s1 * w1[k], s2 * w2[k], s3 * w3[k]
                for j in range(k // 8 * 8, n):
                    row[j] += x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j]
    for k in range(n):
        tokens = theta[k] * total[k]
        if tokens > SMALL:
            row, out = square[k], matrix[k]
            x = theta[k]
            for j in range(k // 8 * 8, n):
                out[j] += x * theta[j] * row[j]
            out[k] -= tokens


@kernel
def _steepen(u, length, theta, slope, x):
    """Make the solution slope (K,) with curvature U'U that with U'U - n theta theta'.

    By Sherman and Morrison; x (K,) is the solution for theta.
    """
    zero, rest = slope.dtype.type(0), slope.dtype.type(1)
    along = zero
    for k in range(x.shape[0]):
        along += theta[k] * slope[k]
        rest -= length * theta[k] * x[k]
    along *= length / max(rest, slope.dtype.type(1e-3))
    for k in range(x.shape[0]):
        slope[k] += along * x[k]


@kernel
def _surplus(u, eta, variance, n_topics, length, theta, bound):
    """What a document's evidence has besides its words and eta: -1/2 log |U'U|, and with `bound`
    the rest of Blei and Lafferty's bound, where theta (K,) is that in U and v its inverse's.
    """
    result = 0.0
    for k in range(n_topics):
        result -= np.log(np.float64(u[k, k]))
    if bound:
        plain, grown, spread = 0.0, 0.0, 0.0
        for k in range(n_topics):
            x, v = np.float64(eta[k]), np.float64(variance[k])
            plain += np.exp(x)
            grown += np.exp(x + 0.5 * v)
            spread += np.float64(theta[k]) * v
        result += np.float64(length) * (0.5 * spread + np.log(plain / grown))
    return result


@kernel
def _weigh(words, counts, table, scale, least, training, g, weights):
    """Out weights (n, K) of a document's words; in training without each token's own share."""
    width = table.shape[1] // 8 * 8
    kind = table.dtype.type
    unit = kind(1 / FULL)
    for j in range(words.shape[0]):
        row, out = table[words[j]], weights[j]
        if training:
            gj = g[j]
            own = unit * min(counts[j], kind(1))
            for k in range(width):
                out[k] = max(row[k] - own * kind(gj[k]), least) * scale[k]
        else:
            for k in range(width):
                out[k] = row[k] * scale[k]


@kernel
def _newton_step(
    precision, mean, n_topics, length, bound, doubled, eta, variance, theta, total, slope, matrix,
    square,
):  # fmt: skip
    """In and out: eta and variance (K,), from theta, the softmax of eta, and total (K,) of
    `responsibility_sums` there. The step's largest component before it is shortened or `doubled`.
    """
    width = eta.shape[0] // 8 * 8
    kind = eta.dtype.type
    for k in range(width):
        total[k] *= theta[k]
    if bound:
        _softmax(eta, variance, kind(0.5), n_topics, theta)
    _slope(precision, mean, eta, length, theta, total, slope)
    _curvature(precision, length, theta, bound, matrix)
    cholesky(matrix)
    solve_factored(matrix, slope)
    if bound:
        for k in range(width):
            total[k] = theta[k]
        solve_factored(matrix, total)
        _steepen(matrix, length, theta, slope, total)
    move = kind(0)
    for k in range(n_topics):
        move = max(move, abs(slope[k]))
    size = min(kind(1), kind(LONGEST) / max(move, kind(1e-9)))
    if doubled and move < 0.5:
        size = kind(2)
    for k in range(n_topics):
        eta[k] += size * slope[k]
    if bound:  # half the way, or unused topics' variances swing to and fro
        invert(matrix, square, slope)
        for k in range(width):
            variance[k] = kind(0.5) * (variance[k] + slope[k]) if variance[k] > 0 else slope[k]
    return move


@kernel
def _remember(counts, weights, theta, ratio, g):
    """Out: responsibilities g (n, K) of a document's tokens, in units of 1 / FULL."""
    width = theta.shape[0] // 8 * 8
    kind = theta.dtype.type
    for j in range(counts.shape[0]):
        out, gj = weights[j], g[j]
        share = kind(FULL) * ratio[j] / counts[j]
        for k in range(width):
            gj[k] = np.uint16(np.int32(theta[k] * out[k] * share + kind(0.5)))


@kernel
def _conclude(
    words, counts, weights, precision, mean, n_topics, length, bound, finish, eta, variance, theta,
    total, ratio, slope, matrix, square, spread,
):  # fmt: skip
    """Out variance (K,) of a document, whose covariance is added to spread (K, K); the part of its
    log evidence besides the words' log-likelihood and log |P| / 2.
    """
    _curvature(precision, length, theta, bound, matrix)
    if finish == FULLY and not bound:
        _less_assignments(words, counts, weights, theta, total, ratio, square, matrix)
    if not cholesky(matrix):
        _curvature(precision, length, theta, bound, matrix)
        cholesky(matrix)
    invert(matrix, square, variance)
    add_square(square, spread)
    rest = _surplus(matrix, eta, variance, n_topics, length, theta, bound)
    form = _slope(precision, mean, eta, length, theta, total, slope)
    return rest - 0.5 * np.float64(form)


@kernel
def fit_documents(
    indptr, words, counts, table, scale, least, precision, means, n_topics, max_iter, tol, bound,
    training, finish, start, stop, eta, variances, theta, g, spread, report,
):  # fmt: skip
    """Up to max_iter Newton steps from eta on documents start..stop.

    The words' weights are max(table - own g, least) * scale: `training`, each token sees the topics
    without its own share; otherwise with all, and every other step is twice as long while steps are
    short, since the curvature takes assignments as known. table (V, K), scale (K,) 0 in the
    padding, precision (K, K) whole, means (D, K). In and out: eta, variances (D, K); out: theta
    (D, K), softmax(eta) or with `bound` softmax(eta + v / 2), and in training responsibilities g
    (N, K) in units of 1 / FULL. report (D, 3): the words' log-likelihood, the last step's largest
    component, and with `finish` the log evidence but for log |P| / 2: Laplace's approximation, or
    the bound. With `finish`, variances are those of the document, whose covariance is added to
    spread (K, K): assignments are taken as known (KNOWN), which takes less time, or summed out
    (FULLY).
    """
    width = table.shape[1] // 8 * 8
    kind = table.dtype.type
    longest = 0
    for d in range(start, stop):
        longest = max(longest, indptr[d + 1] - indptr[d])
    places = np.arange(longest).astype(np.int32)
    weights = np.empty((longest, width), table.dtype)
    ratio = np.empty(longest, table.dtype)
    total = np.empty(width, table.dtype)
    slope = np.empty(width, table.dtype)
    matrix = np.empty((width, width), table.dtype)
    square = np.empty((width, width), table.dtype)
    mode = flush_subnormals()
    for d in range(start, stop):
        a, z = indptr[d], indptr[d + 1]
        n = z - a
        c, r, w, t, e, v = counts[a:z], ratio[:n], places[:n], theta[d], eta[d], variances[d]
        own = g[a:z] if training else g[:0]
        _weigh(words[a:z], c, table, scale, least, training, own, weights)
        length = kind(0)
        for j in range(n):
            length += c[j]
        move = kind(0)
        for i in range(max_iter + 1):  # the last one only looks
            _softmax(e, v, kind(0), n_topics, t)
            responsibility_sums(w, c, weights, t, r, total)
            if i == max_iter or (i > 0 and move < tol):
                break
            doubled = not training and i % 2 == 1 and i + 1 < max_iter
            move = _newton_step(
                precision, means[d], n_topics, length, bound, doubled, e, v, t, total, slope,
                matrix, square,
            )  # fmt: skip
        report[d, 0], report[d, 1] = 0.0, move
        for j in range(n):
            report[d, 0] += np.float64(c[j]) * np.log(np.float64(c[j]) / np.float64(r[j]))
        if training:
            _remember(c, weights, t, r, own)
        if bound:
            _softmax(e, v, kind(0.5), n_topics, t)
        if finish > 0:
            report[d, 2] = report[d, 0] + _conclude(
                w, c, weights, precision, means[d], n_topics, length, bound, finish, e, v, t, total,
                r, slope, matrix, square, spread,
            )  # fmt: skip
            if bound:
                _softmax(e, v, kind(0.5), n_topics, t)
    restore_subnormals(mode)


@kernel
def recount(columns, entries, counts, g, prior, n_topics, start, stop, table):
    """Out: expected counts plus prior of words start..stop, rows of table (V, K).

    columns (V + 1,), entries (N,): the entries of each word.
    """
    width = table.shape[1] // 8 * 8
    scale = table.dtype.type(1 / FULL)
    for v in range(start, stop):
        row = table[v]
        for k in range(width):
            row[k] = prior if k < n_topics else 0
        for i in range(columns[v], columns[v + 1]):
            gj = g[entries[i]]
            unit = scale * counts[entries[i]]
            for k in range(width):
                row[k] += unit * np.float32(gj[k])
