"""Decoders of images that read pixels before each: what follows the features of latent variables.

The dense decoder's outputs of a draw are features u (H W M) of its pixels, of which, and of the
row's own pixels, a causal network (`convolutions.py`) makes the parameters of each pixel's
distribution (Gulrajani et al. 2017, "PixelVAE"). All of it is one function of the C signature
`TARGET`, called by address, so that autoencoders without it are compiled without it.
"""

import numpy as np

from ._jit import kernel
from ._pointers import array_at, call_target
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
from .targets import INTEGER, SUCCESS, address_of
from .vectors import fill

FORWARD, REVERSE = range(2)
N_ROWS, PARAMS, FEATURES, TAPE, OUTPUTS, SPARE, GRADS, N_SLOTS, N_SPARE = range(9)  # of the table
SINGLE = np.dtype(np.float32)


@kernel
def call(head, what, plan, n, n_draws, x, params, u, grads, tape, out, spare, table):
    """Call a decoder at an address: out becomes outputs, or with REVERSE u becomes its adjoint, and
    grads get those of the decoder's parameters. `table` (9,) int64 is overwritten.
    """
    slot = plan[N_LAYERS] * padded_size(plan, plan[MAPS])
    table[N_ROWS], table[PARAMS], table[FEATURES] = n, address_of(params), address_of(u)
    table[TAPE], table[OUTPUTS], table[SPARE] = address_of(tape), address_of(out), address_of(spare)
    table[GRADS], table[N_SLOTS], table[N_SPARE] = address_of(grads), tape.size // slot, spare.size
    return call_target(
        head, what, n * n_draws, address_of(x), address_of(plan), address_of(table), 0
    )


@kernel
def arrays_of(plan, n, table):
    """Parameters, features, tape, outputs, spare numbers and gradients of n draws."""
    P, n_pixels = plan[END], plan[HEIGHT] * plan[WIDTH]
    slot = plan[N_LAYERS] * padded_size(plan, plan[MAPS])
    return (
        array_at(table[PARAMS], (P,), SINGLE),
        array_at(table[FEATURES], (n * n_pixels * plan[MAPS],), SINGLE),
        array_at(table[TAPE], (table[N_SLOTS] * slot,), SINGLE),
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
        i, k = r // (n // n_rows), r % entries[N_SLOTS]
        put(form, form[CHANNELS], given[i * a : (i + 1) * a], image)
        here, maps = u[r * b : (r + 1) * b], tape[k * slot : (k + 1) * slot]
        slopes = out[r * c : (r + 1) * c]
        if what == REVERSE:
            reverse(form, params, weights, image, maps, slopes, adjoints, sums, grads, here)
        else:
            run(form, params, image, here, maps, slopes)
    return SUCCESS
