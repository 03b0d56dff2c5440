"""Decoders of images that read pixels before each: what follows the features of latent variables.

The dense decoder's outputs of a draw are features u (H W M) of its pixels, of which, and of the
row's own pixels, a causal network (`convolutions.py`) makes the parameters of each pixel's
distribution (Gulrajani et al. 2017, "PixelVAE").
"""

import numpy as np

from ._jit import kernel
from ._pointers import array_at
from .convolutions import (
    CHANNELS,
    END,
    FIRST,
    HEIGHT,
    LENGTH,
    MAPS,
    N_LAYERS,
    N_OUTPUTS,
    WIDTH,
    padded_size,
    put,
    reverse,
    run,
    turned,
)
from .networks import ZERO
from .pixel_calls import (
    FEATURES,
    GRADS,
    N_ROWS,
    N_SPARE,
    N_TAPE,
    OUTPUTS,
    PARAMS,
    REVERSE,
    SPARE,
    TAPE,
)
from .targets import INTEGER, SUCCESS
from .vectors import fill

SINGLE = np.dtype(np.float32)


@kernel
def arrays_of(plan, n, table):
    """Parameters, features, tape, outputs, spare numbers and gradients of n draws."""
    P, n_pixels = plan[END], plan[HEIGHT] * plan[WIDTH]
    return (
        array_at(table[PARAMS], (P,), SINGLE),
        array_at(table[FEATURES], (n * n_pixels * plan[MAPS],), SINGLE),
        array_at(table[TAPE], (table[N_TAPE],), SINGLE),
        array_at(table[OUTPUTS], (n * n_pixels * plan[N_OUTPUTS],), SINGLE),
        array_at(table[SPARE], (table[N_SPARE],), SINGLE), array_at(table[GRADS], (P,), SINGLE),
    )  # fmt: skip


def pixels(what, n, x, plan, table, _):
    """Each of n draws in turn; those of a row follow each other."""
    head, entries = array_at(plan, (LENGTH + 1,), INTEGER), array_at(table, (9,), INTEGER)
    form = array_at(plan, (head[LENGTH],), INTEGER)
    params, u, tape, out, spare, grads = arrays_of(form, n, entries)
    n_pixels, n_maps, n_rows = form[HEIGHT] * form[WIDTH], form[MAPS], entries[N_ROWS]
    a, b, c = n_pixels * form[CHANNELS], n_pixels * n_maps, n_pixels * form[N_OUTPUTS]
    given = array_at(x, (n_rows * a,), SINGLE)
    slot, size = form[N_LAYERS] * padded_size(form, n_maps), padded_size(form, n_maps)
    start = padded_size(form, form[CHANNELS])  # of scratch after the padded image
    image, adjoints = spare[:start], spare[start : start + 2 * size]
    sums, weights = spare[start + 2 * size :][:n_maps], spare[start + 2 * size + n_maps :]
    if what == REVERSE:
        turned(form, params, weights)
        fill(grads[form[FIRST] : form[END]], ZERO)
    for r in range(n):
        i, k = r // (n // n_rows), r % (tape.size // slot)
        put(form, form[CHANNELS], given[i * a : (i + 1) * a], image)
        here, maps = u[r * b : (r + 1) * b], tape[k * slot : (k + 1) * slot]
        slopes = out[r * c : (r + 1) * c]
        if what == REVERSE:
            reverse(form, params, weights, image, maps, slopes, adjoints, sums, grads, here)
        else:
            run(form, params, image, here, maps, slopes)
    return SUCCESS
