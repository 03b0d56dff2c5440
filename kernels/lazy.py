"""Lazy updates of the rows of a table.

Between two writes a row only decays towards its anchor row T: after steps with rates rho the row
is T + (row - T) * prod(1 - rho). With D the float64 running sum of log(1 - rho) and clock (V,)
the value of D at each row's last write, the product is exp(D - clock).
"""

import numpy as np

from ._jit import kernel


@kernel
def read_rows(values, clock, decay, anchor, rows, start, stop, out):
    """out[i] = what row rows[i] is now. values, anchor (V, K), clock (V,), out (n, K)."""
    for i in range(start, stop):
        r = rows[i]
        factor = values.dtype.type(np.exp(decay - clock[r]))
        for k in range(values.shape[1]):
            target = anchor[r, k]
            out[i, k] = target + (values[r, k] - target) * factor


@kernel
def add_rows(values, clock, decay, anchor, rows, step, factor, start, stop):
    """Let the rows catch up to the new `decay` and add factor * step (n, K) to them."""
    scale = values.dtype.type(factor)
    for i in range(start, stop):
        r = rows[i]
        remains = values.dtype.type(np.exp(decay - clock[r]))
        for k in range(values.shape[1]):
            target = anchor[r, k]
            values[r, k] = target + (values[r, k] - target) * remains + scale * step[i, k]
        clock[r] = decay
