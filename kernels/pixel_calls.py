"""Calls of what follows the dense decoder of an autoencoder, by its address.

It is a function of the C signature `TARGET` (`pixels.py`), so that autoencoders without it are
compiled without it. Its arguments are what to do, the number of draws, and the addresses of rows,
of the plan and of the table below.
"""

from ._jit import kernel
from ._pointers import call_target
from .targets import address_of

FORWARD, REVERSE = range(2)
N_ROWS, PARAMS, FEATURES, TAPE, OUTPUTS, SPARE, GRADS, N_TAPE, N_SPARE = range(9)  # of the table


@kernel
def call(head, what, plan, n, n_draws, x, params, u, grads, tape, out, spare, table):
    """Call a decoder at an address: out becomes outputs, or with REVERSE u becomes its adjoint, and
    grads get those of the decoder's parameters. `table` (9,) int64 is overwritten.
    """
    table[N_ROWS], table[PARAMS], table[FEATURES] = n, address_of(params), address_of(u)
    table[TAPE], table[OUTPUTS], table[SPARE] = address_of(tape), address_of(out), address_of(spare)
    table[GRADS], table[N_TAPE], table[N_SPARE] = address_of(grads), tape.size, spare.size
    return call_target(
        head, what, n * n_draws, address_of(x), address_of(plan), address_of(table), 0
    )
