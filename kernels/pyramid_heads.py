"""What stands before the dense encoder and after the dense decoder of images: pyramids."""

import numpy as np

from ._jit import kernel
from ._pointers import array_at
from .networks import ZERO
from .pixel_calls import (
    FEATURES,
    GRADS,
    N_SPARE,
    N_TAPE,
    OUTPUTS,
    PARAMS,
    REVERSE,
    SPARE,
    TAPE,
)
from .pyramids import (
    BACK,
    CHANNELS,
    END,
    FIRST,
    HEIGHT,
    IS_DECODER,
    LARGEST,
    LENGTH,
    N_LEVELS,
    PRODUCTS,
    ROOM,
    SLOT,
    WIDTH,
    decode,
    decode_reverse,
    encode,
    encode_reverse,
    level_of,
    turn,
)
from .targets import INTEGER, SUCCESS
from .vectors import fill

SINGLE = np.dtype(np.float32)


@kernel
def parts_of(plan, spare):
    """Scratch: turned weights, products, the largest image, and sums."""
    a, b = plan[BACK], plan[BACK] + plan[PRODUCTS]
    c = b + plan[LARGEST]
    return spare[:a], spare[a:b], spare[b:c], spare[c:]


def pyramids(what, n, x, plan, table, _):
    """Each of n images, or of draws, in turn.

    An encoder makes features of x, or has gradients, given their adjoints in place of outputs; a
    decoder makes outputs of features, or of slopes of outputs the adjoints in place of features.
    """
    head, entries = array_at(plan, (LENGTH + 1,), INTEGER), array_at(table, (9,), INTEGER)
    form = array_at(plan, (head[LENGTH],), INTEGER)
    first, top = level_of(form, 0), level_of(form, form[N_LEVELS] - 1)[ROOM]
    size = first[HEIGHT] * first[WIDTH] * first[CHANNELS]
    given = size if form[IS_DECODER] else top
    params = array_at(entries[PARAMS], (form[END],), SINGLE)
    grads = array_at(entries[GRADS], (form[END],), SINGLE)
    u = array_at(entries[FEATURES], (n * top,), SINGLE)
    out = array_at(entries[OUTPUTS], (n * given,), SINGLE)
    tape = array_at(entries[TAPE], (entries[N_TAPE],), SINGLE)
    spare = array_at(entries[SPARE], (entries[N_SPARE],), SINGLE)
    back, products, there, sums = parts_of(form, spare)
    images = array_at(x, (0 if form[IS_DECODER] else n * size,), SINGLE)
    if (what == REVERSE) != form[IS_DECODER]:
        turn(form, params, back)
    if what == REVERSE:
        fill(grads[form[FIRST] : form[END]], ZERO)
    for r in range(n):
        k = r % (entries[N_TAPE] // form[SLOT])
        slot, here = tape[k * form[SLOT] : (k + 1) * form[SLOT]], u[r * top : (r + 1) * top]
        rest = out[r * given : (r + 1) * given]
        if form[IS_DECODER] and what == REVERSE:
            decode_reverse(form, params, rest, slot, here, there, sums, grads)
        elif form[IS_DECODER]:
            decode(form, params, here, slot, back, products, there, rest)
        elif what == REVERSE:
            encode_reverse(form, slot, here, rest, back, products, there, sums, grads)
        else:
            encode(form, params, images[r * size : (r + 1) * size], slot, here)
    return SUCCESS
