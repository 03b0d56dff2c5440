"""Planar and radial layers of flows (Rezende and Mohamed 2015), see `flow_rows.py`.

Planar, with parameters w (D,), u (D,) and b: y = x + v h, h = tanh(w'x + b), where v is u with its
part along w changed so that w'v > -1 (their appendix A.1). Radial, with z0 (D,), log alpha and
gamma: y = x + beta (x - z0) / (alpha + r), r = |x - z0|, beta = softplus(gamma) - alpha (A.2).

Each kind of layer has three kernels. `..._push` takes x to y, adds the log determinant of dy / dx
to its row and, if it tracks them, turns slopes (D, LANES) of log q by x into those by y, which path
gradients need. `..._pull` turns slopes of a loss by y into those by x, and adds its gradient by the
parameters to `step` (P,). `..._invert` takes y to x, and adds the same log determinant.
"""

import numpy as np

from ._jit import kernel
from .blocks import sigmoid, softplus
from .flow_rows import DIM, INTO, LANES, LOG_DET, ONE, OUT, OWN, PARAMETER, ZERO, dots, mix, squash
from .special import exp
from .vectors import dot, fill, sum_of

TINY = 1e-300
ROUNDING = 1e-15


@kernel
def direction(params, p, D):
    """(w'u, w'v, the multiple of w in v) of a planar layer."""
    w, u = params[p : p + D], params[p + D : p + 2 * D]
    along = dot(w, u)
    reach = softplus(along) - 1.0
    return along, reach, (reach - along) / (dot(w, w) + TINY)


@kernel
def bend(params, p, D, more, h, tape, x, y, sign):
    """Rows y of the tape become rows x + sign v h."""
    for d in range(D):
        v = sign * (params[p + D + d] + more * params[p + d])
        source, target = tape[x + d], tape[y + d]
        for i in range(LANES):
            target[i] = source[i] + v * h[i]


@kernel
def planar_push(plan, layer, params, tape, slopes, scratch, tracks):
    """From x to y."""
    D, p, x, y = plan[0, DIM], plan[layer, PARAMETER], plan[layer, INTO], plan[layer, OUT]
    _, reach, more = direction(params, p, D)
    h, log_det, into = tape[plan[layer, OWN]], tape[LOG_DET], scratch[0]
    fill(h, params[p + 2 * D])
    mix(params, p, ONE, D, tape, x, h)
    squash(h)
    for i in range(LANES):
        log_det[i] += np.log1p((1.0 - h[i] * h[i]) * reach)
    bend(params, p, D, more, h, tape, x, y, 1.0)
    if tracks == 0:
        return
    fill(into, 0.0)
    mix(params, p + D, ONE, D, slopes, ZERO, into)
    for d in range(D):
        factor, row = more * params[p + d], slopes[d]
        for i in range(LANES):
            into[i] += factor * row[i]
    for i in range(LANES):
        curved = 1.0 - h[i] * h[i]
        share = 1.0 / (1.0 + curved * reach)
        into[i] = curved * share * (into[i] - 2.0 * h[i] * reach * share)
    for d in range(D):
        w, row = params[p + d], slopes[d]
        for i in range(LANES):
            row[i] -= w * into[i]


@kernel
def planar_pull(plan, layer, params, tape, slopes, scratch, step):
    """From slopes by y to those by x."""
    D, p, x = plan[0, DIM], plan[layer, PARAMETER], plan[layer, INTO]
    along, _, more = direction(params, p, D)
    h, into, square = tape[plan[layer, OWN]], scratch[0], TINY
    fill(into, 0.0)
    tilt = 0.0  # along w, of the slope by v
    for d in range(D):
        w, row = params[p + d], slopes[d]
        v, of_v = params[p + D + d] + more * w, dot(row, h)
        for i in range(LANES):
            into[i] += v * row[i]
        step[p + D + d] += of_v
        step[p + d] += more * of_v
        tilt += w * of_v
        square += w * w
    change = tilt * (sigmoid(along) - 1.0) / square
    for d in range(D):
        w, u = params[p + d], params[p + D + d]
        step[p + D + d] += change * w
        step[p + d] += change * u - 2.0 * tilt * more / square * w
    for i in range(LANES):
        into[i] *= 1.0 - h[i] * h[i]
    dots(into, D, tape, x, p, step)
    step[p + 2 * D] += sum_of(into)
    for d in range(D):
        w, row = params[p + d], slopes[d]
        for i in range(LANES):
            row[i] += w * into[i]


@kernel
def height_along(total, reach):
    """A with a + reach tanh(a) = total, which grows with a: Newton's method, kept in a bracket."""
    width = abs(reach)
    low, high, a = total - width, total + width, total
    for _ in range(100):
        h = 1.0 - 2.0 / (exp(2.0 * a) + 1.0)
        off = a + reach * h - total
        if off > 0.0:
            high = a
        else:
            low = a
        new = a - off / (1.0 + reach * (1.0 - h * h))
        if not low < new < high:
            new = 0.5 * (low + high)
        if abs(new - a) <= ROUNDING * (1.0 + abs(a)):
            return new
        a = new
    return a


@kernel
def planar_invert(plan, layer, params, tape, scratch):
    """From y to x."""
    D, p, x, y = plan[0, DIM], plan[layer, PARAMETER], plan[layer, INTO], plan[layer, OUT]
    _, reach, more = direction(params, p, D)
    h, log_det = tape[plan[layer, OWN]], tape[LOG_DET]
    fill(h, params[p + 2 * D])
    mix(params, p, ONE, D, tape, y, h)
    for i in range(LANES):
        h[i] = height_along(h[i], reach)
    squash(h)
    for i in range(LANES):
        log_det[i] += np.log1p((1.0 - h[i] * h[i]) * reach)
    bend(params, p, D, more, h, tape, y, x, -1.0)


@kernel
def distances(params, p, D, tape, x, r):
    """Out r (LANES,): distances of rows x of the tape from z0."""
    fill(r, TINY)
    for d in range(D):
        centre, row = params[p + d], tape[x + d]
        for i in range(LANES):
            r[i] += (row[i] - centre) * (row[i] - centre)
    for i in range(LANES):
        r[i] = np.sqrt(r[i])


@kernel
def radial_log_det(D, alpha, beta, r, log_det):
    """Log_det (LANES,) += those of a radial layer."""
    for i in range(LANES):
        h = 1.0 / (alpha + r[i])
        log_det[i] += (D - 1.0) * np.log1p(beta * h) + np.log1p(beta * alpha * h * h)


@kernel
def radial_push(plan, layer, params, tape, slopes, scratch, tracks):
    """From x to y."""
    D, p, x, y = plan[0, DIM], plan[layer, PARAMETER], plan[layer, INTO], plan[layer, OUT]
    alpha = exp(params[p + D])
    beta = softplus(params[p + D + 1]) - alpha
    r, into = tape[plan[layer, OWN]], scratch[0]
    distances(params, p, D, tape, x, r)
    radial_log_det(D, alpha, beta, r, tape[LOG_DET])
    for d in range(D):
        centre, source, target = params[p + d], tape[x + d], tape[y + d]
        for i in range(LANES):
            target[i] = source[i] + beta * (source[i] - centre) / (alpha + r[i])
    if tracks == 0:
        return
    fill(into, 0.0)
    for d in range(D):
        centre, row, source = params[p + d], slopes[d], tape[x + d]
        for i in range(LANES):
            into[i] += row[i] * (source[i] - centre)
    for i in range(LANES):  # what to add of x - z0, times 1 + beta h
        h = 1.0 / (alpha + r[i])
        across, along = 1.0 + beta * h, 1.0 + beta * alpha * h * h
        rise = -beta * h * h * ((D - 1.0) / across + 2.0 * alpha * h / along) / r[i]
        share = beta * h * h * r[i] / along  # of across / along - 1
        into[i] = share * (into[i] / (r[i] * r[i]) - rise) - rise
    for d in range(D):
        centre, row, source = params[p + d], slopes[d], tape[x + d]
        for i in range(LANES):
            across = 1.0 + beta / (alpha + r[i])
            row[i] = (row[i] + into[i] * (source[i] - centre)) / across


@kernel
def radial_pull(plan, layer, params, tape, slopes, scratch, step):
    """From slopes by y to those by x."""
    D, p, x = plan[0, DIM], plan[layer, PARAMETER], plan[layer, INTO]
    alpha = exp(params[p + D])
    beta = softplus(params[p + D + 1]) - alpha
    r, into, work = tape[plan[layer, OWN]], scratch[0], scratch[1]
    fill(into, 0.0)
    for d in range(D):
        centre, row, source = params[p + d], slopes[d], tape[x + d]
        for i in range(LANES):
            into[i] += row[i] * (source[i] - centre)
    of_beta, of_h = 0.0, 0.0
    for i in range(LANES):
        h = 1.0 / (alpha + r[i])
        of_beta += into[i] * h
        of_h += into[i] * h * h
    step[p + D] -= alpha * (beta * of_h + of_beta)
    step[p + D + 1] += sigmoid(params[p + D + 1]) * of_beta
    for i in range(LANES):
        h = 1.0 / (alpha + r[i])
        into[i] *= beta * h * h / r[i]
    for d in range(D):
        centre, row, source = params[p + d], slopes[d], tape[x + d]
        for i in range(LANES):
            work[i] = beta * row[i] / (alpha + r[i]) - into[i] * (source[i] - centre)
        step[p + d] -= sum_of(work)
        for i in range(LANES):
            row[i] += work[i]


@kernel
def radial_invert(plan, layer, params, tape, scratch):
    """From y to x."""
    D, p, x, y = plan[0, DIM], plan[layer, PARAMETER], plan[layer, INTO], plan[layer, OUT]
    alpha = exp(params[p + D])
    beta = softplus(params[p + D + 1]) - alpha
    r = tape[plan[layer, OWN]]
    distances(params, p, D, tape, y, r)
    for i in range(LANES):  # r of x is the positive root of a quadratic
        half = 0.5 * (r[i] - alpha - beta)
        root = np.sqrt(half * half + alpha * r[i])
        r[i] = half + root if half > 0.0 else alpha * r[i] / (root - half)
    for d in range(D):
        centre, source, target = params[p + d], tape[y + d], tape[x + d]
        for i in range(LANES):
            share = (alpha + r[i]) / (alpha + r[i] + beta)
            target[i] = centre + share * (source[i] - centre)
    radial_log_det(D, alpha, beta, r, tape[LOG_DET])
