"""Convolutions of images to fewer pixels, and back to more, forward and reverse.

A pyramid has levels 0 to L: images of H x W pixels and C channels, flat, pixel by pixel, of which
each has one pixel of the next level for S x S of its own. Padding around levels below L is never
written. The convolution to a level sums K x K pixels of the level below for each pixel, with
weights (K, K C, M): pixels of a line are beside each other, so that each line is one run. Its
transpose, from a level to the one below, has the same weights, and each is the other's reverse
pass. So there are three sums, `down`, `up`, and `weights_gradient`.

An encoder goes down from an image to maps a(convolution + bias) of the last level, its features.
A decoder starts there, and goes up by maps a(transpose + bias) to outputs of all pixels, which are
linear and have biases of their own.
"""

from ._jit import kernel
from .networks import ZERO, activate, column_sums, descend
from .tiled import add_outer, add_row, convolve_row
from .vectors import fill

# What a plan (int64) begins with; then come levels, and then lines of a convolution's pixels.
N_LEVELS, SIZE, STRIDE, ACTIVATION, IS_DECODER, N_KINDS = range(6)
FIRST, END, LENGTH, SLOT, LARGEST, PRODUCTS, BACK = range(6, 13)
HEADER = 13
HEIGHT, WIDTH, CHANNELS, TOP, LEFT, PITCH, PLACE, ROOM = range(8)  # in pixels; in numbers
TAPS, WEIGHTS, BIAS, TURNED, COLUMNS = range(8, 13)  # of the convolution from the level below
LEVEL = 13  # numbers of a level


@kernel
def level_of(plan, level):
    """Numbers of a level."""
    return plan[HEADER + level * LEVEL : HEADER + (level + 1) * LEVEL]


@kernel
def image(plan, level, slot, top):
    """The image of a level: in a slot, or the top."""
    form = level_of(plan, level)
    return slot[form[PLACE] : form[PLACE] + form[ROOM]] if level < plan[N_LEVELS] - 1 else top


@kernel
def line(form, r):
    """Place of the first pixel of row r, and the numbers of its pixels."""
    start = ((r + form[TOP]) * form[PITCH] + form[LEFT]) * form[CHANNELS]
    return start, form[WIDTH] * form[CHANNELS]


@kernel
def taps_of(plan, form):
    """Places of the lines of a convolution, from the first."""
    return plan[form[TAPS] : form[TAPS] + plan[SIZE]]


@kernel
def weights_of(plan, level, params):
    """Weights (K, K C, M) of the convolution to a level."""
    form, below = level_of(plan, level), level_of(plan, level - 1)
    n = plan[SIZE] * plan[SIZE] * below[CHANNELS] * form[CHANNELS]
    return params[form[WEIGHTS] : form[WEIGHTS] + n]


@kernel
def down(plan, level, fine, w, coarse):
    """Coarse: sums over the pixels of the level below that each pixel of a level sees."""
    form, below, stride = level_of(plan, level), level_of(plan, level - 1), plan[STRIDE]
    step, run = stride * below[CHANNELS], plan[SIZE] * below[CHANNELS]
    for r in range(form[HEIGHT]):
        convolve_row(
            fine, r * step * below[PITCH], step, taps_of(plan, form), run, w, form[CHANNELS],
            form[WIDTH], coarse, line(form, r)[0],
        )  # fmt: skip


@kernel
def up(plan, level, coarse, turned, products, fine):
    """Fine: each pixel of the level below gets the sum over those that see it. Padding is left
    with numbers that mean nothing. Scratch: products.
    """
    form, below, stride = level_of(plan, level), level_of(plan, level - 1), plan[STRIDE]
    taps, n_maps, width = taps_of(plan, form), form[CHANNELS], form[COLUMNS]
    step, run = stride * below[CHANNELS], plan[SIZE] * below[CHANNELS]
    fill(fine, ZERO)
    for r in range(form[HEIGHT]):
        convolve_row(
            coarse, line(form, r)[0], n_maps, taps[:1], n_maps, turned, width, form[WIDTH],
            products, 0,
        )  # fmt: skip
        for q in range(form[WIDTH]):
            at = step * (r * below[PITCH] + q)
            for t in range(taps.size):
                first, to = q * width + t * run, at + taps[t]
                add_row(products[first : first + run], fine[to : to + run])


@kernel
def weights_gradient(plan, level, fine, coarse, grads):
    """Add to grads (K, K C, M): products of what a level's pixels see with theirs."""
    form, below = level_of(plan, level), level_of(plan, level - 1)
    step, run = plan[STRIDE] * below[CHANNELS], plan[SIZE] * below[CHANNELS]
    n_maps, taps = form[CHANNELS], taps_of(plan, form)
    for t in range(taps.size):
        add_outer(
            fine, taps[t], step, step * below[PITCH], run, coarse, line(form, 0)[0],
            form[PITCH] * n_maps, n_maps, form[HEIGHT], form[WIDTH], grads, t * run * n_maps,
        )  # fmt: skip


@kernel
def turned_weights(plan, level, back):
    """Where weights (M, K K C) for `up` are, rows filled up to multiples of 8."""
    form = level_of(plan, level)
    return back[form[TURNED] : form[TURNED] + form[CHANNELS] * form[COLUMNS]]


@kernel
def turn(plan, params, back):
    """Out: weights of all levels for `up`, from those for `down`."""
    for level in range(1, plan[N_LEVELS]):
        form, w = level_of(plan, level), weights_of(plan, level, params)
        out, n_maps, width = turned_weights(plan, level, back), form[CHANNELS], form[COLUMNS]
        for c in range(w.size // n_maps):
            for m in range(n_maps):
                out[m * width + c] = w[c * n_maps + m]


@kernel
def copy_lines(form, source, to):
    """Copy the pixels of an image."""
    for r in range(form[HEIGHT]):
        start, n = line(form, r)
        for i in range(start, start + n):
            to[i] = source[i]


@kernel
def activate_lines(plan, level, params, maps):
    """Maps of all pixels of a level become a(maps + bias)."""
    form = level_of(plan, level)
    bias = params[form[BIAS] : form[BIAS] + form[CHANNELS]]
    for r in range(form[HEIGHT]):
        start, n = line(form, r)
        activate(plan[ACTIVATION], bias, maps[start : start + n])


@kernel
def descend_lines(plan, level, adjoint, maps):
    """Maps a(x) become adjoints of x, given their own."""
    form = level_of(plan, level)
    for r in range(form[HEIGHT]):
        start, n = line(form, r)
        descend(plan[ACTIVATION], adjoint[start : start + n], maps[start : start + n])


@kernel
def bias_gradient(form, adjoint, sums, grads):
    """Add to grads of a level's biases."""
    here, n_maps = sums[: form[CHANNELS]], form[CHANNELS]
    for r in range(form[HEIGHT]):
        start, n = line(form, r)
        column_sums(adjoint[start : start + n], here)
        add_row(here, grads[form[BIAS] : form[BIAS] + n_maps])


@kernel
def encode(plan, params, x, slot, top):
    """Top: features of an image x (H W C); maps of levels below are left in a slot."""
    form, here = level_of(plan, 0), image(plan, 0, slot, top)
    for r in range(form[HEIGHT]):
        start, n = line(form, r)
        for i in range(n):
            here[start + i] = x[r * n + i]
    for level in range(1, plan[N_LEVELS]):
        fine, coarse = image(plan, level - 1, slot, top), image(plan, level, slot, top)
        down(plan, level, fine, weights_of(plan, level, params), coarse)
        activate_lines(plan, level, params, coarse)


@kernel
def encode_reverse(plan, slot, top, adjoint, back, products, there, sums, grads):
    """Add to grads, given adjoints of features `top`, which are overwritten as the slot is.

    Scratch: products; there, the largest image; sums of its channels. Weights as `turn` leaves
    them.
    """
    descend_lines(plan, plan[N_LEVELS] - 1, adjoint, top)
    for level in range(plan[N_LEVELS] - 1, 0, -1):
        fine, coarse = image(plan, level - 1, slot, top), image(plan, level, slot, top)
        bias_gradient(level_of(plan, level), coarse, sums, grads)
        weights_gradient(plan, level, fine, coarse, weights_of(plan, level, grads))
        if level > 1:
            below = there[: level_of(plan, level - 1)[ROOM]]
            up(plan, level, coarse, turned_weights(plan, level, back), products, below)
            descend_lines(plan, level - 1, below, fine)


@kernel
def place_of_line(plan, r, q, kind):
    """Place of a pixel's channels among outputs: those of a kind are together, in the order of
    images, and how many they are.
    """
    form = level_of(plan, 0)
    n = form[CHANNELS] // plan[N_KINDS]
    return ((kind * form[HEIGHT] + r) * form[WIDTH] + q) * n, n


@kernel
def decode(plan, params, top, slot, back, products, there, out):
    """Out: outputs for features `top`; maps of levels between are left in a slot."""
    for level in range(plan[N_LEVELS] - 1, 0, -1):
        form, fine = level_of(plan, level - 1), image(plan, level - 1, slot, top)
        below = there[: form[ROOM]]
        coarse, w = image(plan, level, slot, top), turned_weights(plan, level, back)
        up(plan, level, coarse, w, products, below)
        copy_lines(form, below, fine)
        if level > 1:
            activate_lines(plan, level - 1, params, fine)
    form, last = level_of(plan, 0), image(plan, 0, slot, top)
    for kind in range(plan[N_KINDS]):
        for r in range(form[HEIGHT]):
            for q in range(form[WIDTH]):
                to, n = place_of_line(plan, r, q, kind)
                at = line(form, r)[0] + q * form[CHANNELS] + kind * n
                for c in range(n):
                    out[to + c] = last[at + c] + params[form[BIAS] + to + c]


@kernel
def decode_reverse(plan, params, slopes, slot, top, there, sums, grads):
    """Add to grads, given slopes of outputs; features `top` become their adjoints, and maps in the
    slot those of theirs. Scratch as in `encode_reverse`.
    """
    form, last = level_of(plan, 0), image(plan, 0, slot, top)
    for kind in range(plan[N_KINDS]):
        for r in range(form[HEIGHT]):
            for q in range(form[WIDTH]):
                at, n = place_of_line(plan, r, q, kind)
                to = line(form, r)[0] + q * form[CHANNELS] + kind * n
                for c in range(n):
                    last[to + c] = slopes[at + c]
                    grads[form[BIAS] + at + c] += slopes[at + c]
    for level in range(1, plan[N_LEVELS]):
        fine, coarse = image(plan, level - 1, slot, top), image(plan, level, slot, top)
        weights_gradient(plan, level, fine, coarse, weights_of(plan, level, grads))
        above = there[: level_of(plan, level)[ROOM]]
        down(plan, level, fine, weights_of(plan, level, params), above)
        descend_lines(plan, level, above, coarse)
        if level < plan[N_LEVELS] - 1:
            bias_gradient(level_of(plan, level), coarse, sums, grads)
