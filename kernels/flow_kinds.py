"""All layers of a flow, in one function of the C signature `TARGET` for each kind of layers.

Loops over steps call it by address: they are compiled without layers, and each kind when it is
used. Its arguments are what to do, 0, and the addresses of a tape, of the table that `run` makes,
of slopes, and of the gradient by the parameters.
"""

from ._jit import kernel
from ._pointers import array_at, call_target
from .flow_layers import (
    planar_invert,
    planar_pull,
    planar_push,
    radial_invert,
    radial_pull,
    radial_push,
)
from .flow_masked import masked_back, masked_run
from .flow_rows import DIM, LANES, N_LAYERS, N_PARAMS, N_PLAN, N_ROWS, N_SCRATCH, ONE, ZERO
from .targets import INTEGER, REAL, SUCCESS, address_of

# From noise to draws, the same with slopes of log q, slopes of a loss back, from draws to noise.
PUSH, TRACK, PULL, INVERT = range(4)
PLAN, PARAMS, SCRATCH = range(3)  # addresses in the table


@kernel
def run(layers, what, plan, params, tape, slopes, scratch, step, table):
    """Call the layers at an address; table (3,) int64 is overwritten."""
    table[PLAN] = address_of(plan)
    table[PARAMS] = address_of(params)
    table[SCRATCH] = address_of(scratch)
    return call_target(
        layers, what, ZERO, address_of(tape), address_of(table), address_of(slopes),
        address_of(step),
    )  # fmt: skip


@kernel
def arrays_at(tape, table, slopes, step):
    """The plan, parameters, rows of the tape, slopes, scratch and the gradient."""
    addresses = array_at(table, (3,), INTEGER)
    head = array_at(addresses[PLAN], (1, 8), INTEGER)
    plan = array_at(addresses[PLAN], (head[0, N_PLAN], 8), INTEGER)
    P = head[0, N_PARAMS]
    return (
        plan, array_at(addresses[PARAMS], (P,), REAL),
        array_at(tape, (head[0, N_ROWS], LANES), REAL),
        array_at(slopes, (head[0, DIM], LANES), REAL),
        array_at(addresses[SCRATCH], (head[0, N_SCRATCH], LANES), REAL),
        array_at(step, (P,), REAL),
    )  # fmt: skip


@kernel
def in_turn(what, i, plan):
    """Layer i of those that are to do so."""
    return 1 + i if what < PULL else plan[0, N_LAYERS] - i


def planar(what, n, tape, table, slopes, step):
    """Planar layers."""
    plan, params, rows, by_rows, scratch, gradient = arrays_at(tape, table, slopes, step)
    for i in range(plan[0, N_LAYERS]):
        layer = in_turn(what, i, plan)
        if what == PULL:
            planar_pull(plan, layer, params, rows, by_rows, scratch, gradient)
        elif what == INVERT:
            planar_invert(plan, layer, params, rows, scratch)
        else:
            planar_push(plan, layer, params, rows, by_rows, scratch, what)
    return SUCCESS


def radial(what, n, tape, table, slopes, step):
    """Radial layers."""
    plan, params, rows, by_rows, scratch, gradient = arrays_at(tape, table, slopes, step)
    for i in range(plan[0, N_LAYERS]):
        layer = in_turn(what, i, plan)
        if what == PULL:
            radial_pull(plan, layer, params, rows, by_rows, scratch, gradient)
        elif what == INVERT:
            radial_invert(plan, layer, params, rows, scratch)
        else:
            radial_push(plan, layer, params, rows, by_rows, scratch, what)
    return SUCCESS


@kernel
def masked(what, tape, table, slopes, step, bends):
    """Masked layers; with splines, unless `bends` is None, for which none are compiled."""
    plan, params, rows, by_rows, scratch, gradient = arrays_at(tape, table, slopes, step)
    for i in range(plan[0, N_LAYERS]):
        layer = in_turn(what, i, plan)
        if what != PULL:
            masked_run(plan, layer, params, rows, scratch, what // INVERT, bends)
        if what == PULL:
            masked_back(plan, layer, params, rows, by_rows, scratch, gradient, bends)
        elif what == TRACK:
            masked_back(plan, layer, params, rows, by_rows, scratch, params[:0], bends)
    return SUCCESS


def affine(what, n, tape, table, slopes, step):
    """Masked layers that shift and scale."""
    return masked(what, tape, table, slopes, step, None)


def splines(what, n, tape, table, slopes, step):
    """Masked layers of splines."""
    return masked(what, tape, table, slopes, step, ONE)
