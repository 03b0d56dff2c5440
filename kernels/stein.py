"""Sums over pairs of particles, in tiles that stay in a core's cache: Stein variational gradients.

Particles u (n, D) are in units in which the kernel is a function of s = |u - u'|^2. With K = k(s)
and F = -2 k'(s), the direction of Liu and Wang (2016), eq. 8, takes K times scores and F times
particles: matrix products around one pass over each tile. Both are symmetric, so a tile off the
diagonal is used twice, and no n x n matrix is stored. Blocks of rows, in a grid that depends only
on n, are paired so that parallel tasks write to different rows.
"""

import numpy as np

from ._jit import kernel
from .special import exp
from .vectors import fill

RBF, IMQ = 0, 1  # exp(-s / 2), for which F = K; (1 + s)^(-1/2)
TILE = 128  # rows and columns: 64 or 128 KiB of a second-level cache


@kernel
def prepare(x, centre, inverse, u, half):
    """Out u (n, D) = (x - centre) * inverse and half (n,) = |u|^2 / 2."""
    for i in range(x.shape[0]):
        row, out = x[i], u[i]
        for j in range(row.size):
            out[j] = (row[j] - centre[j]) * inverse[j]
        half[i] = _square(out) * half.dtype.type(0.5)


@kernel
def _square(row):
    total = row.dtype.type(0)
    for j in range(row.size):
        total += row[j] * row[j]
    return total


@kernel
def _rbf(products, a, b):
    """In and out products (r, m): u u' becomes K, given halves of squares a (r,) and b (m,)."""
    zero = products.dtype.type(0)
    for i in range(products.shape[0]):
        row, own = products[i], a[i]
        for j in range(row.size):
            t = row[j] - own - b[j]
            row[j] = exp(t if t < zero else zero)


@kernel
def _imq(products, a, b, slopes):
    """As `_rbf`; out slopes (r, m) is F."""
    zero, one, two = products.dtype.type(0), products.dtype.type(1), products.dtype.type(2)
    for i in range(products.shape[0]):
        row, slope, own = products[i], slopes[i], a[i]
        for j in range(row.size):
            t = own + b[j] - row[j]
            value = one / np.sqrt(one + two * (t if t > zero else zero))
            row[j] = value
            slope[j] = value * value * value


@kernel
def _add(part, total):
    """Total (r, p) += part."""
    for i in range(part.shape[0]):
        row, out = part[i], total[i]
        for j in range(row.size):
            out[j] += row[j]


@kernel
def _add_both(tile, off_diagonal, rows, columns, right, scratch, total):
    """Total[rows] += tile right[columns], and its mirror image where the tile is not its own."""
    (lo, hi), (start, stop) = rows, columns
    p = right.shape[1]
    part = scratch[: (hi - lo) * p].reshape((hi - lo, p))
    np.dot(tile, right[start:stop], part)
    _add(part, total[lo:hi])
    if off_diagonal:
        part = scratch[: (stop - start) * p].reshape((stop - start, p))
        np.dot(tile.T, right[lo:hi], part)
        _add(part, total[start:stop])


@kernel
def add_pairs(kind, rows, columns, u, half, values, slopes, of_values, of_slopes):
    """Add K values (n, p) and F slopes (n, q) over the pairs of two blocks of particles.

    rows and columns are (first, last + 1) of the blocks, the same or apart; in and out of_values
    (n, p) and of_slopes (n, q), both of whose blocks gain. For `RBF`, F = K: give q = 0.
    """
    number, p, q = u.dtype, values.shape[1], slopes.shape[1]
    tiles = np.empty((2, TILE * TILE), number)
    scratch = np.empty(TILE * max(p, q), number)
    same = rows[0] == columns[0]
    for lo in range(rows[0], rows[1], TILE):
        hi = min(lo + TILE, rows[1])
        for start in range(lo if same else columns[0], columns[1], TILE):
            stop = min(start + TILE, columns[1])
            size, shape = (hi - lo) * (stop - start), (hi - lo, stop - start)
            tile = tiles[0, :size].reshape(shape)
            np.dot(u[lo:hi], u[start:stop].T, tile)
            apart = start != lo
            if kind == RBF:
                _rbf(tile, half[lo:hi], half[start:stop])
            else:
                second = tiles[1, :size].reshape(shape)
                _imq(tile, half[lo:hi], half[start:stop], second)
                _add_both(second, apart, (lo, hi), (start, stop), slopes, scratch, of_slopes)
            _add_both(tile, apart, (lo, hi), (start, stop), values, scratch, of_values)


@kernel
def add_rounds(kind, bounds, u, half, values, slopes, of_values, of_slopes):
    """`add_pairs` over all pairs of the blocks from bounds[i] to bounds[i + 1], round after round.

    In round r block i meets block (r - i) mod the number of blocks: no block meets two others.
    """
    n_blocks = bounds.size - 1
    for r in range(n_blocks):
        for i in range(n_blocks):
            j = (r - i) % n_blocks
            if i <= j:
                rows, columns = (bounds[i], bounds[i + 1]), (bounds[j], bounds[j + 1])
                add_pairs(kind, rows, columns, u, half, values, slopes, of_values, of_slopes)


@kernel
def square_distances(x, out):
    """Out (n (n - 1) / 2,): squared distances of each pair of rows of x (n, D)."""
    n = x.shape[0]
    products = np.dot(x, x.T)
    squares = np.empty(n, x.dtype)
    for i in range(n):
        squares[i] = products[i, i]
    two, zero, at = x.dtype.type(2), x.dtype.type(0), 0
    for i in range(n):
        row, pairs = products[i], out[at : at + n - 1 - i]
        for j in range(pairs.size):
            t = squares[i] + squares[i + 1 + j] - two * row[i + 1 + j]
            pairs[j] = t if t > zero else zero
        at += pairs.size


@kernel
def take_scores(values, slopes, scores, weights):
    """Out scores (n, D), slopes in the particles' type, and weights (n,): 0 for rows not finite.

    values (n,), slopes (n, D) float64; returns how many rows have weight 1.
    """
    kind, n_taken = scores.dtype.type, 0
    for i in range(slopes.shape[0]):
        row, out = slopes[i], scores[i]
        n_bad = 0 if np.isfinite(values[i]) else 1
        for j in range(row.size):
            n_bad += 0 if np.isfinite(row[j]) else 1
        finite = n_bad == 0
        for j in range(row.size):
            out[j] = kind(row[j]) if finite else kind(0)
        weights[i] = kind(1) if finite else kind(0)
        n_taken += 1 if finite else 0
    return n_taken


@kernel
def join(scores, u, inverse, weights, out):
    """Out (n, D + 1) = weights (n,) times [scores - u * inverse, 1], for K of `RBF` to multiply."""
    d = scores.shape[1]
    for i in range(scores.shape[0]):
        weight = weights[i]
        row, own, score = out[i], u[i], scores[i]
        for j in range(d):
            row[j] = weight * (score[j] - own[j] * inverse[j])
        row[d] = weight


@kernel
def assemble(sums, slope_sums, u, inverse, share, phi):
    """Out phi (n, D) from K and F times what `join` gives, or their two parts apart.

    sums (n, D + 1) ends in the masses that scores are weighed with; slope_sums (n, D + 1) is F
    times [-u * inverse, 1], or (n, 0) where it is in `sums`. share is one by the number of
    particles.
    """
    d = phi.shape[1]
    apart = slope_sums.shape[1] > 0
    for i in range(phi.shape[0]):
        out, own, total = phi[i], u[i], sums[i]
        if apart:
            slope = slope_sums[i]
            for j in range(d):
                out[j] = share * (total[j] + slope[j] + own[j] * inverse[j] * slope[d])
        else:
            for j in range(d):
                out[j] = share * (total[j] + own[j] * inverse[j] * total[d])


@kernel
def means(x, out):
    """Out (D,) float64: means of rows x (n, D), about the first so that few digits cancel."""
    first = x[0]
    fill(out, 0.0)
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(row.size):
            out[j] += row[j] - first[j]
    share = 1.0 / x.shape[0]
    for j in range(out.size):
        out[j] = first[j] + share * out[j]


@kernel
def add_squares(x, centre, out):
    """Out (D,) float64 += sums over the rows of x (n, D) of (x - centre)^2."""
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(row.size):
            away = row[j] - centre[j]
            out[j] += away * away


@kernel
def forces(phi, scores, masses, scale):
    """(sum of (phi scale)^2, sum of (mass score scale)^2) over particles: what is left of a pull.

    phi and scores (n, D), masses (n,), scale (D,).
    """
    left, pull = 0.0, 0.0
    for i in range(phi.shape[0]):
        a, b = _weighted(phi[i], scale), _weighted(scores[i], scale)
        mass = np.float64(masses[i])
        left += a
        pull += mass * mass * b
    return left, pull


@kernel
def _weighted(row, scale):
    total = row.dtype.type(0)
    for j in range(row.size):
        t = row[j] * scale[j]
        total += t * t
    return np.float64(total)
