"""Monotone functions of one number with parameters of its own for each draw, see `flow_masked.py`.

y = shift + scale u(x), where log scale = a / sqrt(1 + (a / LIMIT)^2) is bounded, so that no draw
goes astray. u is x, or a rational-quadratic spline of K bins (Durkan et al. 2019, eq. 4-8): the
identity outside of [-EDGE, EDGE], with K widths and K heights (their logits) and K - 1 slopes at
the knots between. Outputs of a network are rows: shift, a, widths, heights, slopes, which have an
offset so that zeros stand for the identity.
"""

import numpy as np

from ._jit import kernel
from .flow_rows import LANES, LOG_DET, ONE, ZERO
from .special import exp, log
from .vectors import fill

LIMIT = 3.0  # of log scales
EDGE = 5.0  # where splines end
LEAST = 1e-3  # width and height of a bin as a share of all, and slope at a knot
IDENTITY = 0.539742417236952  # softplus of it is 1 - LEAST
# Scratch rows of a spline: shares of widths and heights (2 K) come after these.
LEFT, WIDTH, LOW, HEIGHT, FIRST, LAST, BIN, TOTAL, N_OWN = range(9)


@kernel
def log_scale(a, out):
    """Out (LANES,) = a / sqrt(1 + (a / LIMIT)^2)."""
    for i in range(LANES):
        out[i] = a[i] / np.sqrt(1.0 + a[i] * a[i] * (1.0 / (LIMIT * LIMIT)))


@kernel
def scales(tape, outputs, out):
    """Out (LANES,): the scale, whose logarithm is added to the tape's log determinants."""
    log_det = tape[LOG_DET]
    log_scale(tape[outputs + 1], out)
    for i in range(LANES):
        log_det[i] += out[i]
    for i in range(LANES):
        out[i] = exp(out[i])


@kernel
def straight(tape, outputs, x, y, steepness, bent, inverse):
    """`curved` if u is x."""
    shift = tape[outputs]
    scales(tape, outputs, steepness)
    fill(bent, 0.0)
    if inverse != 0:
        for i in range(LANES):
            x[i] = (y[i] - shift[i]) / steepness[i]
    else:
        for i in range(LANES):
            y[i] = shift[i] + steepness[i] * x[i]


@kernel
def straight_slopes(tape, outputs, y, of_y, of_log, logs, slopes, to):
    """Rows of slopes from `to` on: of a loss by shift and scale. Out: logs (LANES,) of scales."""
    shift, a, of_shift, of_a = tape[outputs], tape[outputs + 1], slopes[to], slopes[to + 1]
    log_scale(a, logs)
    for i in range(LANES):
        ratio = 1.0 / (1.0 + a[i] * a[i] * (1.0 / (LIMIT * LIMIT)))
        of_a[i] = (of_y[i] * (y[i] - shift[i]) + of_log) * ratio * np.sqrt(ratio)
    for i in range(LANES):
        of_shift[i] = of_y[i]


@kernel
def shares(tape, first, K, work, to, total):
    """Rows from `to` on of work: K shares of a whole, softmax of rows of the tape."""
    top = work[to]
    for i in range(LANES):
        top[i] = tape[first, i]
    for k in range(1, K):
        row = tape[first + k]
        for i in range(LANES):
            top[i] = max(top[i], row[i])
    for i in range(LANES):
        total[i] = 0.0
    for k in range(K - 1, -1, -1):  # the first row holds the maximum until its turn
        row, out = tape[first + k], work[to + k]
        for i in range(LANES):
            out[i] = exp(row[i] - top[i])
        for i in range(LANES):
            total[i] += out[i]
    for k in range(K):
        out = work[to + k]
        for i in range(LANES):
            out[i] = LEAST + (1.0 - K * LEAST) * (out[i] / total[i])


@kernel
def knot(tape, first, k, K, out):
    """Out (LANES,): slope at knot k of 0 ... K; the ends have slope 1."""
    if k == 0 or k == K:
        for i in range(LANES):
            out[i] = 1.0
        return
    row = tape[first + k - 1]
    for i in range(LANES):
        x = row[i] + IDENTITY
        out[i] = LEAST + max(x, 0.0) + np.log1p(exp(-abs(x)))


@kernel
def pick(where, work, first, K, begin, size, start):
    """Out (LANES,): where bins begin and how large they are, from K rows of shares in work."""
    for i in range(LANES):
        start[i] = -EDGE
        begin[i] = -EDGE
        size[i] = 2.0 * EDGE
    for k in range(K):
        row = work[first + k]
        for i in range(LANES):
            begin[i] = start[i] if where[i] == k else begin[i]
            size[i] = 2.0 * EDGE * row[i] if where[i] == k else size[i]
        for i in range(LANES):
            start[i] += 2.0 * EDGE * row[i]


@kernel
def find(tape, outputs, K, x, inverse, work):
    """Rows of work: where the bins of x (LANES,) begin, how large they are, and slopes there.

    With `inverse` x is u.
    """
    widths, heights = N_OWN, N_OWN + K
    shares(tape, outputs, K, work, widths, work[TOTAL])
    shares(tape, outputs + K, K, work, heights, work[TOTAL])
    where, start, top = work[BIN], work[TOTAL], widths if inverse == 0 else heights
    for i in range(LANES):
        where[i] = -1.0
        start[i] = -EDGE
    for k in range(K):
        row = work[top + k]
        for i in range(LANES):
            where[i] = k if x[i] >= start[i] else where[i]
        for i in range(LANES):
            start[i] += 2.0 * EDGE * row[i]
    for i in range(LANES):
        where[i] = where[i] if x[i] < EDGE else -1.0
    pick(where, work, widths, K, work[LEFT], work[WIDTH], start)
    pick(where, work, heights, K, work[LOW], work[HEIGHT], start)
    here, first, last = work[TOTAL], work[FIRST], work[LAST]
    for i in range(LANES):
        first[i] = 1.0
        last[i] = 1.0
    for k in range(K + 1):
        knot(tape, outputs + 2 * K, k, K, here)
        for i in range(LANES):
            first[i] = here[i] if where[i] == k else first[i]
            last[i] = here[i] if where[i] == k - 1 else last[i]


@kernel
def spline(tape, outputs, K, x, u, steepness, bent, work):
    """Out (LANES,): u(x), its derivative, and that of the derivative's logarithm."""
    find(tape, outputs, K, x, ZERO, work)
    left, width, low, height = work[LEFT], work[WIDTH], work[LOW], work[HEIGHT]
    first, last, where = work[FIRST], work[LAST], work[BIN]
    for i in range(LANES):
        t = (x[i] - left[i]) / width[i]
        s = height[i] / width[i]
        inside, both = t * (1.0 - t), first[i] + last[i] - 2.0 * s
        below = s + both * inside
        above = last[i] * t * t + 2.0 * s * inside + first[i] * (1.0 - t) * (1.0 - t)
        y = low[i] + height[i] * (s * t * t + first[i] * inside) / below
        slope = s * s * above / (below * below)
        turn = 2.0 * (last[i] * t + s * (1.0 - 2.0 * t) - first[i] * (1.0 - t)) / above
        turn = (turn - 2.0 * both * (1.0 - 2.0 * t) / below) / width[i]
        u[i] = y if where[i] >= 0.0 else x[i]
        steepness[i] = slope if where[i] >= 0.0 else 1.0
        bent[i] = turn if where[i] >= 0.0 else 0.0


@kernel
def spline_inverse(tape, outputs, K, u, x, work):
    """Out x (LANES,) with u(x) = u: the root of a quadratic in its bin."""
    find(tape, outputs, K, u, ONE, work)
    left, width, low, height = work[LEFT], work[WIDTH], work[LOW], work[HEIGHT]
    first, last, where = work[FIRST], work[LAST], work[BIN]
    for i in range(LANES):
        s, up = height[i] / width[i], u[i] - low[i]
        both = first[i] + last[i] - 2.0 * s
        a = height[i] * (s - first[i]) + up * both
        b = height[i] * first[i] - up * both
        c = -s * up
        root = np.sqrt(max(b * b - 4.0 * a * c, 0.0))
        x[i] = left[i] + width[i] * (-2.0 * c) / (b + root) if where[i] >= 0.0 else u[i]


@kernel
def ends(where, of_begin, of_size, work, first, K, slopes, to):
    """Slopes by logits of shares, from those by where a bin begins and by its size.

    Work has the shares in K rows from the first on.
    """
    mean, free = work[TOTAL], 1.0 - K * LEAST
    for i in range(LANES):
        mean[i] = 0.0
    for k in range(K):
        row, out = work[first + k], slopes[to + k]
        for i in range(LANES):
            g = of_begin[i] if where[i] > k else 0.0
            out[i] = 2.0 * EDGE * (of_size[i] if where[i] == k else g)
        for i in range(LANES):
            mean[i] += (row[i] - LEAST) / free * out[i]
    for k in range(K):
        row, out = work[first + k], slopes[to + k]
        for i in range(LANES):
            out[i] = (row[i] - LEAST) * (out[i] - mean[i])


@kernel
def spline_slopes(tape, outputs, K, x, of_u, of_log, work, slopes, to):
    """Rows of slopes from `to` on: of a loss by the outputs, from those (LANES,) by u(x) and by the
    logarithm of its derivative, which is the same number `of_log` for all draws.
    """
    find(tape, outputs, K, x, ZERO, work)
    left, width, low, height = work[LEFT], work[WIDTH], work[LOW], work[HEIGHT]
    first, last, where, widths = work[FIRST], work[LAST], work[BIN], N_OWN
    for i in range(LANES):  # slopes by the numbers of the bin take their places
        t, s = (x[i] - left[i]) / width[i], height[i] / width[i]
        inside, both = t * (1.0 - t), first[i] + last[i] - 2.0 * s
        below, part = s + both * inside, s * t * t + first[i] * inside
        above = last[i] * t * t + 2.0 * s * inside + first[i] * (1.0 - t) * (1.0 - t)
        g = of_u[i] if where[i] >= 0.0 else 0.0
        e = of_log if where[i] >= 0.0 else 0.0
        of_part = g * height[i] / below
        of_below = -(g * height[i] * part / below + 2.0 * e) / below
        of_above = e / above
        of_s = of_part * t * t + of_below * (1.0 - 2.0 * inside)
        of_s = of_s + of_above * 2.0 * inside + 2.0 * e / s
        of_inside = of_part * first[i] + of_below * both + 2.0 * of_above * s
        of_t = 2.0 * of_part * s * t + of_inside * (1.0 - 2.0 * t)
        of_t = of_t + 2.0 * of_above * (last[i] * t - first[i] * (1.0 - t))
        first[i] = of_part * inside + of_below * inside + of_above * (1.0 - t) * (1.0 - t)
        last[i] = of_below * inside + of_above * t * t
        low[i] = g
        left[i] = -of_t / width[i]
        height_slope = g * part / below + of_s / width[i]
        width[i] = -(of_s * s + of_t * t) / width[i]
        height[i] = height_slope
    ends(where, left, width, work, widths, K, slopes, to)
    ends(where, low, height, work, widths + K, K, slopes, to + K)
    for k in range(1, K):
        row, out = tape[outputs + 2 * K + k - 1], slopes[to + 2 * K + k - 1]
        for i in range(LANES):
            g = first[i] if where[i] == k else 0.0
            g = last[i] if where[i] == k - 1 else g
            out[i] = g / (1.0 + exp(-(row[i] + IDENTITY)))


@kernel
def curved(tape, outputs, K, x, y, steepness, bent, work, inverse):
    """From x to y, or with `inverse` from y to x; adds log dy / dx to the tape's log determinants.

    Out (LANES,) also: dy / dx, and the derivative of its logarithm by x.
    """
    shift, scale, slope, u, more = tape[outputs], work[0], work[1], work[2], work[3:]
    scales(tape, outputs, scale)
    if inverse != 0:
        for i in range(LANES):
            u[i] = (y[i] - shift[i]) / scale[i]
        spline_inverse(tape, outputs + 2, K, u, x, more)
    spline(tape, outputs + 2, K, x, u, slope, bent, more)
    log_det = tape[LOG_DET]
    for i in range(LANES):
        log_det[i] += log(slope[i])
    for i in range(LANES):
        steepness[i] = scale[i] * slope[i]
    if inverse == 0:
        for i in range(LANES):
            y[i] = shift[i] + scale[i] * u[i]


@kernel
def curved_slopes(tape, outputs, K, x, of_y, of_log, work, slopes, to):
    """Further rows, of a loss by the outputs for the spline, after `straight_slopes`, which has put
    logarithms of scales into the first row of work.
    """
    logs, of_u = work[0], work[1]
    for i in range(LANES):
        of_u[i] = of_y[i] * exp(logs[i])
    spline_slopes(tape, outputs + 2, K, x, of_u, of_log, work[2:], slopes, to + 2)
