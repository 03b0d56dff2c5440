"""The Stein kernel u_p of draws and scores: tiles of its matrix, pairs, and greedy thinning.

For a radial kernel k(x, y) = phi(r2) with r2 = (x - y)' M (x - y), by the Langevin-Stein operator
(Gorham and Mackey 2017, eq. 3; Liu, Lee and Jordan 2016, eq. 12)

    u_p(x, y) = phi s(x)'s(y) - 2 phi' ((x - y)' M (s(x) - s(y)) + tr M) - 4 phi'' |M (x - y)|^2

n draws x of d numbers with scores s = grad log p(x). Rows of X are such that their distances are
sqrt(r2), rows of W are M x, rows of S scores. Four numbers per pair determine u_p: `square` = r2,
`cross` = (x - y)' M (s(x) - s(y)) + tr M, `spread` = |M (x - y)|^2 and `dot` = s(x)'s(y).
"""

import numpy as np

from ._jit import kernel
from .special import exp, log
from .vectors import fill

IMQ, RBF = 0, 1  # phi(t) = (1 + t)^beta and exp(-t / 2)


@kernel
def combine(kind, beta, square, cross, spread, out):
    """In and out (n,): `dot` of pairs, then their u_p; square, cross, spread (n,)."""
    number = out.dtype.type
    one = number(1)
    if kind == RBF:
        for j in range(out.size):
            out[j] = exp(number(-0.5) * square[j]) * (out[j] + cross[j] - spread[j])
    elif beta == -0.5:
        for j in range(out.size):
            inverse = one / (one + square[j])
            inner = cross[j] - number(3) * inverse * spread[j]
            out[j] = np.sqrt(inverse) * (out[j] + inverse * inner)
    else:
        first, power = number(-2.0 * beta), number(beta)
        second = number(2.0 * (beta - 1.0))
        for j in range(out.size):
            inverse = one / (one + square[j])
            inner = cross[j] + second * inverse * spread[j]
            out[j] = exp(-power * log(inverse)) * (out[j] + first * inverse * inner)


@kernel
def tile(kind, beta, trace, uniform, left, right, XX, CC, WW, SS):
    """In and out SS (n, m): products of scores, then u_p of the pairs of two blocks of draws.

    XX, CC, WW (n, m): products of the rows of X, of [W S] with [S W], of W; all are scratch. left
    (3, n), right (3, m): |x|^2, w's and |w|^2 of the draws. uniform: M, if it is a number times
    the unit matrix, and products of W are not wanted; else 0.
    """
    number = SS.dtype.type
    two, level, factor = number(2), number(trace), number(uniform)
    for i in range(SS.shape[0]):
        square, cross, spread = XX[i], CC[i], WW[i]
        x, c, w = left[0, i], left[1, i] + level, left[2, i]
        for j in range(square.size):
            distance = (x + right[0, j]) - two * square[j]
            square[j] = distance if distance > number(0) else number(0)
            cross[j] = (c + right[1, j]) - cross[j]
        if uniform > 0.0:  # factor may be too small for the type, and there are no products of W
            for j in range(spread.size):
                spread[j] = factor * square[j]
        else:
            for j in range(spread.size):
                spread[j] = (w + right[2, j]) - two * spread[j]
        combine(kind, beta, square, cross, spread, SS[i])


@kernel
def clear_diagonal(U):
    """A square tile without the pairs of draws with themselves."""
    for i in range(U.shape[0]):
        U[i, i] = U.dtype.type(0)


@kernel
def add_sums(U, rows, columns):
    """Rows (n,) += sums of the rows of U (n, m), columns (m,) += of columns; sum of squares.

    All float64; columns may be (0,).
    """
    squares = 0.0
    for i in range(U.shape[0]):
        total, row = 0.0, U[i]
        for j in range(row.size):
            value = np.float64(row[j])
            total += value
            squares += value * value
        rows[i] += total
        for j in range(columns.size):
            columns[j] += row[j]
    return squares


@kernel
def add_signed(signs, product, factor, out):
    """Out (B,) float64 += factor times the sums over rows of signs (n, B) times product (n, B)."""
    for i in range(product.shape[0]):
        sign, row = signs[i], product[i]
        for b in range(out.size):
            out[b] += (factor * sign[b]) * row[b]


@kernel
def pairs(kind, beta, trace, X, W, S, scratch, out):
    """Out (n // 2,): u_p of draws 0 and 1, 2 and 3, ...; scratch (3, n // 2)."""
    square, cross, spread = scratch[0], scratch[1], scratch[2]
    for i in range(out.size):
        a, b = 2 * i, 2 * i + 1
        r, c, w, g = 0.0, trace, 0.0, 0.0
        for k in range(X.shape[1]):
            x, y = X[a, k] - X[b, k], W[a, k] - W[b, k]
            r += x * x
            w += y * y
            c += y * (S[a, k] - S[b, k])
            g += S[a, k] * S[b, k]
        square[i], cross[i], spread[i], out[i] = r, c, w, g
    combine(kind, beta, square, cross, spread, out)


@kernel
def column(kind, beta, trace, uniform, XT, WT, ST, new, start, scratch, out):
    """Out (m,): u_p of the m draws from `start` with a draw; draws in columns, scratch (3, m)."""
    number = out.dtype.type
    square, cross, spread = scratch[0], scratch[1], scratch[2]
    stop, root = start + out.size, number(np.sqrt(uniform))
    fill(square, number(0))
    fill(cross, number(trace))
    fill(spread, number(0))
    fill(out, number(0))
    for k in range(XT.shape[0]):
        xs, ss, x_new, s_new = XT[k, start:stop], ST[k, start:stop], XT[k, new], ST[k, new]
        if uniform > 0.0:
            for i in range(out.size):
                x = xs[i] - x_new
                square[i] += x * x
                cross[i] += root * x * (ss[i] - s_new)
                out[i] += ss[i] * s_new
        else:
            ws, w_new = WT[k, start:stop], WT[k, new]
            for i in range(out.size):
                x, w = xs[i] - x_new, ws[i] - w_new
                square[i] += x * x
                spread[i] += w * w
                cross[i] += w * (ss[i] - s_new)
                out[i] += ss[i] * s_new
    if uniform > 0.0:
        for i in range(out.size):
            spread[i] = root * root * square[i]
    combine(kind, beta, square, cross, spread, out)


@kernel
def add_column(kind, beta, trace, uniform, XT, WT, ST, new, start, stop, scratch, total):
    """Total (n,) += u_p(x_i, x_new) for i from start to stop; the first i with the least of them.

    Draws in columns, XT, ST (d, n), and WT (d, n) where M is not `uniform`, see `tile`; scratch (4,
    m), m at a time. Riabiz et al. (2022), eq. 4.
    """
    for begin in range(start, stop, scratch.shape[1]):
        end = min(begin + scratch.shape[1], stop)
        part, values = scratch[:3, : end - begin], scratch[3, : end - begin]
        column(kind, beta, trace, uniform, XT, WT, ST, new, begin, part, values)
        sums = total[begin:end]
        for i in range(sums.size):
            sums[i] += values[i]
    return start + first_least(total[start:stop])


@kernel
def first_least(x):
    """The first number of the least entry of x (n,), n > 0."""
    least = x[0]
    for i in range(x.size):
        least = min(least, x[i])
    for i in range(x.size):
        if x[i] == least:
            return i
    return 0
