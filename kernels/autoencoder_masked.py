"""Masked autoregressive flows as posteriors of autoencoders (Papamakarios et al. 2017, eq. 4).

As inverse autoregressive functions of `autoencoder_flows`, y = s x + (1 - s) m, but networks see
the latent variables before each in y, not in x: what is drawn for one changes the distribution of
those after it. Units are found as soon as what they see is known, so that a draw costs a single
pass through a network, in J thin products for each layer; the reverse pass goes against the order.

Column i + 1 of `ends` (J + 1, L) is how many units of each layer see nothing after the first i
latent variables; shapes and the other arguments as in `autoencoder_flows`.
"""

from ._blas import product
from ._jit import kernel
from .autoencoder_flows import OPEN, join, network_of, part, turn
from .networks import (
    ACTIVATION,
    BIAS,
    INPUTS,
    ITEM,
    ONE,
    OUTPUTS,
    REACH,
    WEIGHTS,
    ZERO,
    activate,
    column_sums,
    descend,
    outputs,
    softplus,
)
from .special import exp
from .targets import address_of
from .vectors import fill


@kernel
def find_units(blas, net, ends, i, params, inputs, n, out):
    """Out: outputs of units that see the first i latent variables, and not the first i - 1 alone;
    those of units before are there.
    """
    source, end = address_of(inputs), 0
    for layer in range(net.table.shape[0]):
        row, a, b = net.table[layer], ends[i, layer], ends[i + 1, layer]
        width, bias = row[OUTPUTS], row[BIAS]
        start, end = end, end + n * width
        here, weights = address_of(out) + ITEM * start, address_of(params) + ITEM * row[WEIGHTS]
        if b > a:
            product(
                blas, n, b - a, net.reach[row[REACH] + b - 1], source, row[INPUTS], False,
                weights + ITEM * a, width, False, False, here + ITEM * a, width,
            )  # fmt: skip
            for at in range(start, end, width):
                activate(row[ACTIVATION], params[bias + a : bias + b], out[at + a : at + b])
        source = here


@kernel
def units_slopes(blas, net, ends, i, params, inputs, n, out, spare, grads, back):
    """From slopes by outputs of the units of `find_units`, in `spare`, or of the last layer by what
    is before activations, in `out`: there, the slopes of the others; gradients by their weights;
    and what they add to slopes by what they see, in `spare` and in back (n I).
    """
    stop = n * outputs(net)[0]
    for layer in range(net.table.shape[0] - 1, -1, -1):
        row, a, b = net.table[layer], ends[i, layer], ends[i + 1, layer]
        width, n_in = row[OUTPUTS], row[INPUTS]
        start, end, stop = stop - n * width, stop, stop - n * width
        if b == a:
            continue
        if layer < net.table.shape[0] - 1:
            for at in range(start, end, width):
                descend(row[ACTIVATION], spare[at + a : at + b], out[at + a : at + b])
        before, reach = ITEM * (start - n * n_in), net.reach[row[REACH] + b - 1]
        source = address_of(out) + before if layer > 0 else address_of(inputs)
        target = address_of(spare) + before if layer > 0 else address_of(back)
        here, first = address_of(out) + ITEM * (start + a), ITEM * (row[WEIGHTS] + a)
        product(
            blas, reach, b - a, n, source, n_in, True, here, width, False, False,
            address_of(grads) + first, width,
        )  # fmt: skip
        product(
            blas, n, reach, b - a, here, width, False, address_of(params) + first, width, True,
            True, target, n_in,
        )  # fmt: skip


@kernel
def masked_push(blas, flow, params, sparse, posterior, n_outputs, tape, inputs, outs, log_q):
    """As `inverse_push`."""
    R = log_q.size
    size = tape.size // (flow.n_functions + 1)
    J, wide = size // R, R * flow.n_context + size
    total = R * outputs(network_of(flow, 0))[0]
    for t in range(flow.n_functions):
        x, y = tape[t * size : (t + 1) * size], tape[(t + 1) * size : (t + 2) * size]
        here, out = inputs[t * wide : (t + 1) * wide], outs[t * total : (t + 1) * total]
        join(posterior, n_outputs, flow.n_context, x, here)
        last = out[total - 2 * size :]
        for i in range(J):
            find_units(blas, network_of(flow, t), flow.ends, i, params, here, R, out)
            for r in range(R):
                at = r * J + i
                m, a = last[2 * at], last[2 * at + 1] + OPEN
                y[at] = m + (x[at] - m) / (ONE + exp(-a))
                here[r * (flow.n_context + J) + flow.n_context + i] = y[at]
                log_q[r] += softplus(-a)
        turn(y, J)


@kernel
def number_slopes(x, shares, i, last, wide_back, back):
    """Of latent variable i: slopes by y in back (R J) become those by x, with those of later ones
    from `wide_back`, which become 0; and outputs of the network, in `last`, slopes by them.
    """
    R = shares.size
    J, width = back.size // R, wide_back.size // R
    for r in range(R):
        at, seen = r * J + i, (r + 1) * width - J + i
        m, s = last[2 * at], ONE / (ONE + exp(-(last[2 * at + 1] + OPEN)))
        g = back[at] + wide_back[seen]
        wide_back[seen] = ZERO
        last[2 * at] = g * (ONE - s)
        last[2 * at + 1] = (ONE - s) * (s * g * (x[at] - m) + shares[r])
        back[at] = g * s


@kernel
def masked_pull(
    blas, flow, params, sparse, n_outputs, tape, inputs, outs, spare, wide_back, back, shares,
    slopes, grads,
):  # fmt: skip
    """As `inverse_pull`; the scratch `spare` holds n rows of all layers of a network."""
    R, size = shares.size, back.size
    wide, total = R * flow.n_context + size, R * outputs(network_of(flow, 0))[0]
    for t in range(flow.n_functions - 1, -1, -1):
        net, x = network_of(flow, t), tape[t * size : (t + 1) * size]
        here, out = inputs[t * wide : (t + 1) * wide], outs[t * total : (t + 1) * total]
        turn(back, size // R)
        fill(spare[:total], ZERO)
        fill(wide_back[:wide], ZERO)
        for layer in range(net.table.shape[0]):
            fill(grads[net.table[layer, WEIGHTS] : net.table[layer, BIAS]], ZERO)
        for i in range(size // R - 1, -1, -1):
            number_slopes(x, shares, i, out[total - 2 * size :], wide_back[:wide], back)
            units_slopes(
                blas, net, flow.ends, i, params, here, R, out, spare, grads, wide_back[:wide]
            )
        part(wide_back[:wide], n_outputs, flow.n_context, back, slopes)
        end = 0
        for layer in range(net.table.shape[0]):
            width, bias = net.table[layer, OUTPUTS], net.table[layer, BIAS]
            start, end = end, end + R * width
            column_sums(out[start:end], grads[bias : bias + width])
