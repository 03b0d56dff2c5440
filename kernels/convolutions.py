"""Causal masked convolutions of images (van den Oord et al. 2016, "Pixel recurrent neural
networks"), forward and reverse, for one image at a time.

Images of H x W pixels and C channels are flat, pixel by pixel, with P pixels of zeros around them:
padding is never written, so that sums over taps need no tests of borders. A tap is the place of a
pixel that is read, relative to the one that is written. Weights are (taps, C, M) for M maps, a
multiple of 8; taps that masks forbid have no weights.

A network of L layers reads an image x and features u (H W M): the maps of the first layer are
a(u + convolution of x + bias), those of others a(convolution of the maps before + bias), and the
outputs of a pixel are linear in the last maps of it, plus a bias of their own. In the first layer
taps are pixels before the one that is written, row by row; in others it is one of them. So outputs
depend on x at pixels before them alone.
"""

from ._jit import kernel
from .networks import ZERO, activate, column_sums, descend
from .tiled import add_outer, add_row, convolve_row, one_pixel
from .vectors import fill

# What a plan (int64) begins with; then come, for each layer, places of its taps in the plan, of
# those in reverse, how many they are, and places of weights and biases among the parameters.
HEIGHT, WIDTH, CHANNELS, MAPS, PAD, N_LAYERS, N_OUTPUTS, ACTIVATION = range(8)
LAST_WEIGHTS, LAST_BIAS, FIRST, END, LENGTH = range(8, 13)  # END of parameters; of the plan
HEADER = 13
TAPS, BACK_TAPS, N_TAPS, WEIGHTS, BIAS = range(5)
LAYER = 5  # numbers of a layer


@kernel
def row_start(plan, r, n_channels):
    """Place of the first pixel of row r in a padded image."""
    pad = plan[PAD]
    return ((r + pad) * (plan[WIDTH] + 2 * pad) + pad) * n_channels


@kernel
def padded_size(plan, n_channels):
    """Numbers of a padded image."""
    pad = plan[PAD]
    return (plan[HEIGHT] + 2 * pad) * (plan[WIDTH] + 2 * pad) * n_channels


@kernel
def put(plan, n_channels, x, image):
    """Copy x (H W C) into a padded image."""
    width = plan[WIDTH] * n_channels
    for r in range(plan[HEIGHT]):
        source, to = x[r * width : (r + 1) * width], image[row_start(plan, r, n_channels) :]
        for i in range(width):
            to[i] = source[i]


@kernel
def convolve(plan, n_channels, x, taps, w, n_maps, out):
    """Out: maps of all pixels of a padded image x."""
    for r in range(plan[HEIGHT]):
        at, to = row_start(plan, r, n_channels), row_start(plan, r, n_maps)
        convolve_row(x, at, n_channels, taps, n_channels, w, n_maps, plan[WIDTH], out, to)


@kernel
def convolve_gradient(plan, n_channels, x, taps, adjoint, n_maps, grads):
    """Add to grads (taps C M), given adjoints of maps."""
    at, first = row_start(plan, 0, n_channels), row_start(plan, 0, n_maps)
    line = plan[WIDTH] + 2 * plan[PAD]
    for t in range(taps.size):
        add_outer(
            x, at + taps[t], n_channels, line * n_channels, n_channels, adjoint, first,
            line * n_maps, n_maps, plan[HEIGHT], plan[WIDTH], grads, t * n_channels * n_maps,
        )  # fmt: skip


@kernel
def layer_of(plan, layer, reverse):
    """Taps of a layer, forward or in reverse, and places of its weights and of its bias."""
    at = HEADER + layer * LAYER
    first = plan[at + (BACK_TAPS if reverse else TAPS)]
    return plan[first : first + plan[at + N_TAPS]], plan[at + WEIGHTS], plan[at + BIAS]


@kernel
def activate_rows(plan, bias, maps):
    """Maps of all pixels become a(maps + bias)."""
    width = plan[WIDTH] * plan[MAPS]
    for r in range(plan[HEIGHT]):
        start = row_start(plan, r, plan[MAPS])
        activate(plan[ACTIVATION], bias, maps[start : start + width])


@kernel
def place_of_output(plan, pixel, o):
    """Place of output o of a pixel among all: those of a kind are together, in the order of x."""
    n_channels = plan[CHANNELS]
    kind = o // n_channels * (plan[HEIGHT] * plan[WIDTH])
    return (kind + pixel) * n_channels + o % n_channels


@kernel
def last_outputs(plan, params, maps, at, pixel, out):
    """Outputs of a pixel, whose maps begin at `at`."""
    n_maps, first = plan[MAPS], plan[LAST_WEIGHTS]
    for o in range(plan[N_OUTPUTS]):
        total, w = ZERO, params[first + o * n_maps : first + (o + 1) * n_maps]
        for m in range(n_maps):
            total += maps[at + m] * w[m]
        place = place_of_output(plan, pixel, o)
        out[place] = total + params[plan[LAST_BIAS] + place]


@kernel
def run(plan, params, image, u, tape, out):
    """Out: outputs of an image, and in the tape (L, padded M) the maps of all layers, for a padded
    image and features u (H W M).
    """
    n_maps, size = plan[MAPS], padded_size(plan, plan[MAPS])
    width = plan[WIDTH] * n_maps
    for layer in range(plan[N_LAYERS]):
        taps, first, bias = layer_of(plan, layer, False)
        maps, n_channels = tape[layer * size : (layer + 1) * size], n_maps
        source = tape[(layer - 1) * size : layer * size] if layer > 0 else image
        if layer == 0:
            n_channels = plan[CHANNELS]
        w = params[first : first + taps.size * n_channels * n_maps]
        convolve(plan, n_channels, source, taps, w, n_maps, maps)
        for r in range(plan[HEIGHT] if layer == 0 else 0):
            start = row_start(plan, r, n_maps)
            add_row(u[r * width : (r + 1) * width], maps[start : start + width])
        activate_rows(plan, params[bias : bias + n_maps], maps)
    last = tape[(plan[N_LAYERS] - 1) * size :]
    for pixel in range(plan[HEIGHT] * plan[WIDTH]):
        at = row_start(plan, pixel // plan[WIDTH], n_maps) + pixel % plan[WIDTH] * n_maps
        last_outputs(plan, params, last, at, pixel, out)


@kernel
def next_pixel(plan, params, pixel, image, u, tape, out):
    """Out: outputs of one pixel, given those before it in a padded image; maps of earlier pixels
    are in the tape, from earlier calls, and those of this one are added.
    """
    n_maps, size, r, q = (
        plan[MAPS], padded_size(plan, plan[MAPS]), pixel // plan[WIDTH], pixel % plan[WIDTH],
    )  # fmt: skip
    at = row_start(plan, r, n_maps) + q * n_maps
    for layer in range(plan[N_LAYERS]):
        taps, first, bias = layer_of(plan, layer, False)
        maps, n_channels = tape[layer * size : (layer + 1) * size], n_maps
        source = tape[(layer - 1) * size : layer * size] if layer > 0 else image
        if layer == 0:
            n_channels = plan[CHANNELS]
        w = params[first : first + taps.size * n_channels * n_maps]
        here = row_start(plan, r, n_channels) + q * n_channels
        one_pixel(source, here, taps, n_channels, w, n_maps, maps, at)
        if layer == 0:
            add_row(u[pixel * n_maps : (pixel + 1) * n_maps], maps[at : at + n_maps])
        activate(plan[ACTIVATION], params[bias : bias + n_maps], maps[at : at + n_maps])
    last_outputs(plan, params, tape[(plan[N_LAYERS] - 1) * size :], at, pixel, out)


@kernel
def next_pixels(plan, params, pixel, images, u, tapes, out):
    """The same of n images (n, .), with features u (n, H W M), tapes (n, .) and out (n, O)."""
    for i in range(images.shape[0]):
        next_pixel(plan, params, pixel, images[i], u[i], tapes[i], out[i])


@kernel
def last_reverse(plan, params, maps, slopes, adjoint, grads):
    """Out: adjoints of the last maps (padded), given those of outputs; adds to grads."""
    n_maps, first = plan[MAPS], plan[LAST_WEIGHTS]
    for pixel in range(plan[HEIGHT] * plan[WIDTH]):
        at = row_start(plan, pixel // plan[WIDTH], n_maps) + pixel % plan[WIDTH] * n_maps
        here, map_ = adjoint[at : at + n_maps], maps[at : at + n_maps]
        fill(here, ZERO)
        for o in range(plan[N_OUTPUTS]):
            place, k = place_of_output(plan, pixel, o), first + o * n_maps
            slope, w, g = slopes[place], params[k : k + n_maps], grads[k : k + n_maps]
            grads[plan[LAST_BIAS] + place] += slope
            for m in range(n_maps):
                g[m] += slope * map_[m]
                here[m] += slope * w[m]


@kernel
def turned(plan, params, out):
    """Out: weights of layers after the first with inputs and maps exchanged, each after another."""
    n_maps, at = plan[MAPS], 0
    for layer in range(1, plan[N_LAYERS]):
        taps, first, _ = layer_of(plan, layer, False)
        for t in range(taps.size):
            for c in range(n_maps):
                for m in range(n_maps):
                    out[at + (t * n_maps + m) * n_maps + c] = params[first]
                    first += 1
        at += taps.size * n_maps * n_maps


@kernel
def reverse(plan, params, back_weights, image, tape, slopes, adjoints, sums, grads, u):
    """Given slopes of outputs, add to grads, of all parameters of the model; u becomes its adjoint.

    Scratch: adjoints, two padded images of maps; sums (M,); weights as `turned` leaves them.
    """
    n_maps, size = plan[MAPS], padded_size(plan, plan[MAPS])
    here, there, end = adjoints[:size], adjoints[size : 2 * size], back_weights.size
    last = tape[(plan[N_LAYERS] - 1) * size : plan[N_LAYERS] * size]
    last_reverse(plan, params, last, slopes, here, grads)
    for layer in range(plan[N_LAYERS] - 1, -1, -1):
        taps, first, bias = layer_of(plan, layer, False)
        descend(plan[ACTIVATION], here, tape[layer * size : (layer + 1) * size])
        maps = tape[layer * size : (layer + 1) * size]  # now adjoints of what goes into a
        column_sums(maps, sums)
        add_row(sums, grads[bias : bias + n_maps])
        n_channels = n_maps if layer > 0 else plan[CHANNELS]
        source = tape[(layer - 1) * size : layer * size] if layer > 0 else image
        n = taps.size * n_channels * n_maps
        convolve_gradient(plan, n_channels, source, taps, maps, n_maps, grads[first : first + n])
        if layer > 0:
            w = back_weights[end - n : end]
            end -= n
            convolve(plan, n_maps, maps, layer_of(plan, layer, True)[0], w, n_maps, there)
            here, there = there, here
    width = plan[WIDTH] * n_maps
    for r in range(plan[HEIGHT]):
        start, to = row_start(plan, r, n_maps), u[r * width : (r + 1) * width]
        for i in range(width):
            to[i] = tape[start + i]
