"""Masked autoregressive layers of flows, and coupling layers, which are the same with two groups.

The D numbers are in an order of dependence. Number i becomes y_i = f(x_i) by a monotone function
(`flow_splines.py`) whose parameters are outputs of a network with one layer of hidden units and
direct connections, which for number i reads only numbers before it: of x in inverse
autoregressive flows (Kingma et al. 2016) and coupling layers (Dinh et al. 2017), of y in masked
autoregressive ones (Papamakarios et al. 2017). Masks (Germain et al. 2015) are ranges: hidden
units are sorted by how many numbers they read, so that products skip what is zero. The network is
evaluated along the order, each unit as soon as what it reads is known, so that both directions
cost one evaluation.

Weights are, for each number and output: bias, direct connections, hidden units; for each hidden
unit: bias, what it reads. Own rows of the tape: x, y, dy / dx and the derivative of its logarithm
(D each, in order), hidden units, outputs.
"""

from ._jit import kernel
from .flow_rows import (
    AT,
    DIM,
    INNER,
    INTO,
    KIND,
    LANES,
    N_BINS,
    N_UNITS,
    ONE,
    OUT,
    OUTPUT,
    OWN,
    PLACE,
    REACH,
    READ,
    START,
    WEIGHTS,
    copy,
    dots,
    mix,
    squash,
)
from .flow_splines import curved, curved_slopes, straight, straight_slopes
from .vectors import fill, sum_of

READS_X, READS_Y = 2, 3  # kinds of layers


@kernel
def outputs_of(n_bins):
    """Number of outputs of the network for each of the D numbers."""
    return 2 + 3 * n_bins - 1 if n_bins > 0 else 2


@kernel
def masked_run(plan, layer, params, tape, scratch, inverse, bends):
    """From x to y, or with `inverse` from y to x; adds the log determinant of dy / dx.

    The functions of numbers are splines, unless `bends` is None.
    """
    D, own, at, H = plan[0, DIM], plan[layer, OWN], plan[layer, AT], plan[layer, N_UNITS]
    K, T = plan[layer, N_BINS], outputs_of(plan[layer, N_BINS])
    read = own if plan[layer, KIND] == READS_X else own + D
    hidden, given = own + 4 * D, plan[layer, OUT] if inverse != 0 else plan[layer, INTO]
    found, n_done = plan[layer, INTO] if inverse != 0 else plan[layer, OUT], 0
    for i in range(D):
        copy(tape[given + plan[at + i, PLACE]], tape[own + i if inverse == 0 else own + D + i])
        start, n, p, first = (
            plan[at + i, START], plan[at + i, READ], plan[at + i, WEIGHTS], plan[at + i, OUTPUT],
        )  # fmt: skip
        for t in range(T):
            row, q = tape[first + t], p + t * (1 + start + n)
            fill(row, params[q])
            mix(params, q + 1, ONE, start, tape, read, row)
            mix(params, q + 1 + start, ONE, n, tape, hidden, row)
        x, y, steepness, bent = (
            tape[own + i], tape[own + D + i], tape[own + 2 * D + i], tape[own + 3 * D + i],
        )  # fmt: skip
        if bends is None:
            straight(tape, first, x, y, steepness, bent, inverse)
        else:
            curved(tape, first, K, x, y, steepness, bent, scratch, inverse)
        copy(tape[own + D + i if inverse == 0 else own + i], tape[found + plan[at + i, PLACE]])
        while n_done < H and plan[at + D + n_done, REACH] <= i + 1:
            p, row = plan[at + D + n_done, INNER], tape[hidden + n_done]
            fill(row, params[p])
            mix(params, p + 1, ONE, plan[at + D + n_done, REACH], tape, read, row)
            squash(row)
            n_done += 1


@kernel
def units_back(plan, layer, params, tape, i, first, last, scratch, step):
    """Units first ... last - 1, which read positions 0 ... i: slopes by what goes into them, and
    from there by what they read. Scratch: D rows of these, and rows for each unit.
    """
    D, own, at = plan[0, DIM], plan[layer, OWN], plan[layer, AT]
    read = own if plan[layer, KIND] == READS_X else own + D
    for k in range(first, last):
        row, unit = scratch[D + k], tape[own + 4 * D + k]
        for s in range(LANES):
            row[s] *= 1.0 - unit[s] * unit[s]
        if step.size > 0:
            p = plan[at + D + k, INNER]
            step[p] += sum_of(row)
            dots(row, i + 1, tape, read, p + 1, step)
    p = plan[at + D + first, INNER] + 1
    for j in range(i + 1):
        mix(params, p + j, i + 2, last - first, scratch, D + first, scratch[j])


@kernel
def outputs_back(plan, layer, params, tape, i, T, scratch, step):
    """As `units_back`, from slopes by the outputs of number i, after the rows for units."""
    D, own, at, H = plan[0, DIM], plan[layer, OWN], plan[layer, AT], plan[layer, N_UNITS]
    read = own if plan[layer, KIND] == READS_X else own + D
    start, n, p = plan[at + i, START], plan[at + i, READ], plan[at + i, WEIGHTS]
    width = 1 + start + n
    for j in range(start):
        mix(params, p + 1 + j, width, T, scratch, D + H, scratch[j])
    for k in range(n):
        mix(params, p + 1 + start + k, width, T, scratch, D + H, scratch[D + k])
    if step.size == 0:
        return
    for t in range(T):
        row, q = scratch[D + H + t], p + t * width
        step[q] += sum_of(row)
        dots(row, start, tape, read, q + 1, step)
        dots(row, n, tape, own + 4 * D, q + 1 + start, step)


@kernel
def masked_back(plan, layer, params, tape, slopes, scratch, step, bends):
    """Against the order: slopes (D, LANES) of a loss by y become those by x, and step (P,) gets its
    gradient; or, with step (0,), slopes of log q by x become those by y, by back substitution.
    """
    D, own, at, H = plan[0, DIM], plan[layer, OWN], plan[layer, AT], plan[layer, N_UNITS]
    K, T, n_left = plan[layer, N_BINS], outputs_of(plan[layer, N_BINS]), plan[layer, N_UNITS]
    reads_x, solves = plan[layer, KIND] == READS_X, step.size == 0
    of_log, more = 1.0 if solves else 0.0, scratch[D + H + T :]
    for k in range(D + H):
        fill(scratch[k], 0.0)
    for i in range(D - 1, -1, -1):
        first = n_left
        while first > 0 and plan[at + D + first - 1, REACH] > i:
            first -= 1
        if first < n_left:
            units_back(plan, layer, params, tape, i, first, n_left, scratch, step)
            n_left = first
        row, rest, of_y = slopes[plan[at + i, PLACE]], scratch[i], more[0]
        steepness, bent = tape[own + 2 * D + i], tape[own + 3 * D + i]
        before, after = rest, more[1]  # what to add before and after the function of number i
        fill(after, 0.0)
        if reads_x != solves:
            before, after = more[1], rest
        if solves:
            for s in range(LANES):
                of_y[s] = (row[s] - before[s] - bent[s]) / steepness[s]
            for s in range(LANES):
                row[s] = of_y[s] - after[s]
        else:
            for s in range(LANES):
                of_y[s] = row[s] + before[s]
            for s in range(LANES):
                row[s] = of_y[s] * steepness[s] + after[s]
        x, y, work, first = tape[own + i], tape[own + D + i], more[2:], plan[at + i, OUTPUT]
        straight_slopes(tape, first, y, of_y, of_log, work[0], scratch, D + H)
        if bends is not None:
            curved_slopes(tape, first, K, x, of_y, of_log, work, scratch, D + H)
        outputs_back(plan, layer, params, tape, i, T, scratch, step)
