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
from .responsibilities import responsibility_sums
from .special import exp

LONGEST = 2.0  # of a Newton step, in any topic
KNOWN, FULLY = 1, 2  # how documents' covariances are found
SMALL = 0.02  # tokens of a topic in a document below which its words' uncertainty is left out


@kernel
def cholesky(a):
    """In and out a (K, K), which becomes U with a = U'U; whether it is positive definite.

    Four rows are finished at a time and taken from all rows below at once.
    """
    n = a.shape[0] // 8 * 8
    one = a.dtype.type(1)
    tiny = a.dtype.type(1e-6)
    for top in range(0, n, 4):
        left = top // 8 * 8
        for k in range(top, top + 4):
            row = a[k]
            if not row[k] > tiny:
                return False
            scale = one / np.sqrt(row[k])
            for j in range(left, n):
                row[j] *= scale
            for i in range(k + 1, top + 4):
                below = a[i]
                x = row[i]
                for j in range(left, n):
                    below[j] -= x * row[j]
        r0, r1, r2, r3 = a[top], a[top + 1], a[top + 2], a[top + 3]
        for i in range(top + 4, n):
            row = a[i]
            x0, x1, x2, x3 = r0[i], r1[i], r2[i], r3[i]
            for j in range(i // 8 * 8, n):
                row[j] -= x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j]
    return True


@kernel
def solve_factored(u, b):
    """In and out b (K,): the solution x of U'U x = b."""
    n = b.shape[0]
    zero = b.dtype.type(0)
    for i in range(n):
        row = u[i]
        b[i] /= row[i]
        x = b[i]
        for j in range(i + 1, n):
            b[j] -= x * row[j]
    for i in range(n - 1, -1, -1):
        row = u[i]
        x = zero
        for j in range(i + 1, n):
            x += row[j] * b[j]
        b[i] = (b[i] - x) / row[i]


@kernel
def invert(u, inverse, diagonal):
    """Out: the lower triangle (K, K) of U'^-1, and the diagonal (K,) of (U'U)^-1."""
    n = u.shape[0] // 8 * 8
    zero, one = u.dtype.type(0), u.dtype.type(1)
    for i in range(n):
        row = inverse[i]
        for j in range(n):
            row[j] = zero
        row[i] = one
    for top in range(0, n, 4):
        right = top // 8 * 8 + 8
        for k in range(top, top + 4):
            row = inverse[k]
            scale = one / u[k, k]
            for j in range(right):
                row[j] *= scale
            for i in range(k + 1, top + 4):
                below = inverse[i]
                x = u[k, i]
                for j in range(right):
                    below[j] -= x * row[j]
        r0, r1, r2, r3 = inverse[top], inverse[top + 1], inverse[top + 2], inverse[top + 3]
        u0, u1, u2, u3 = u[top], u[top + 1], u[top + 2], u[top + 3]
        for i in range(top + 4, n):
            row = inverse[i]
            x0, x1, x2, x3 = u0[i], u1[i], u2[i], u3[i]
            for j in range(right):
                row[j] -= x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j]
    for j in range(n):
        diagonal[j] = zero
    for i in range(n):
        row = inverse[i]
        for j in range(i // 8 * 8 + 8):
            diagonal[j] += row[j] * row[j]


@kernel
def _add_square(inverse, total):
    """In and out total (K, K) += X'X, the inverse of U'U, of the lower triangle X."""
    n = inverse.shape[0] // 8 * 8
    for top in range(0, n, 4):
        right = top // 8 * 8 + 8
        r0, r1, r2, r3 = inverse[top], inverse[top + 1], inverse[top + 2], inverse[top + 3]
        for i in range(top + 4):
            row = total[i]
            x0, x1, x2, x3 = r0[i], r1[i], r2[i], r3[i]
            for j in range(i // 8 * 8, right):
                row[j] += x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j]


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
    unit = kind(1 / FULL)
    half = kind(0.5) if bound else kind(0)
    mode = flush_subnormals()
    for d in range(start, stop):
        a, n = indptr[d], indptr[d + 1] - indptr[d]
        c, r, w, t, e, v = counts[a : a + n], ratio[:n], places[:n], theta[d], eta[d], variances[d]
        length = kind(0)
        for j in range(n):
            length += c[j]
        for j in range(n):
            row, out = table[words[a + j]], weights[j]
            if training:
                gj = g[a + j]
                own = unit * min(c[j], kind(1))
                for k in range(width):
                    out[k] = max(row[k] - own * kind(gj[k]), least) * scale[k]
            else:
                for k in range(width):
                    out[k] = row[k] * scale[k]
        move = kind(0)
        form = kind(0)
        for i in range(max_iter + 1):  # the last one only looks
            _softmax(e, v, kind(0), n_topics, t)
            responsibility_sums(w, c, weights, t, r, total)
            if i == max_iter or (i > 0 and move < tol):
                break
            for k in range(width):
                total[k] *= t[k]
            if bound:
                _softmax(e, v, half, n_topics, t)
            _slope(precision, means[d], e, length, t, total, slope)
            _curvature(precision, length, t, bound, matrix)
            cholesky(matrix)
            solve_factored(matrix, slope)
            if bound:
                for k in range(width):
                    total[k] = t[k]
                solve_factored(matrix, total)
                _steepen(matrix, length, t, slope, total)
            move = kind(0)
            for k in range(n_topics):
                move = max(move, abs(slope[k]))
            size = min(kind(1), kind(LONGEST) / max(move, kind(1e-9)))
            if not training and i % 2 == 1 and move < 0.5 and i + 1 < max_iter:
                size = kind(2)
            for k in range(n_topics):
                e[k] += size * slope[k]
            if bound:  # half the way, or unused topics' variances swing to and fro
                invert(matrix, square, slope)
                for k in range(width):
                    v[k] = kind(0.5) * (v[k] + slope[k]) if v[k] > 0 else slope[k]
        report[d, 0], report[d, 1] = 0.0, move
        for j in range(n):
            report[d, 0] += np.float64(c[j]) * np.log(np.float64(c[j]) / np.float64(r[j]))
        if training:
            for j in range(n):
                out, gj = weights[j], g[a + j]
                share = kind(FULL) * r[j] / c[j]
                for k in range(width):
                    gj[k] = np.uint16(np.int32(t[k] * out[k] * share + kind(0.5)))
        if bound:
            _softmax(e, v, half, n_topics, t)
        if finish > 0:
            _curvature(precision, length, t, bound, matrix)
            if finish == FULLY and not bound:
                _less_assignments(w, c, weights, t, total, r, square, matrix)
            if not cholesky(matrix):
                _curvature(precision, length, t, bound, matrix)
                cholesky(matrix)
            invert(matrix, square, v)
            _add_square(square, spread)
            rest = _surplus(matrix, e, v, n_topics, length, t, bound)
            form = _slope(precision, means[d], e, length, t, total, slope)
            report[d, 2] = report[d, 0] + rest - 0.5 * np.float64(form)
            if bound:
                _softmax(e, v, half, n_topics, t)
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
