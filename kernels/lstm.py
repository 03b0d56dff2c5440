"""Cells of long short-term memory (Hochreiter and Schmidhuber 1997), forward and reverse.

Shapes: R rows, H units. Gates of a row are four blocks of H numbers: input, forget, output, update.
Arrays are flat.
"""

from ._jit import kernel
from .networks import ONE, TWO
from .special import exp


@kernel(inline="always")
def sigmoid(x):
    """Of a float32."""
    return ONE / (ONE + exp(-x))


@kernel(inline="always")
def tanh(x):
    """Of a float32."""
    return ONE - TWO / (exp(TWO * x) + ONE)


@kernel
def cells(gates, bias, before, after, out, width):
    """Gates (R 4 H), before the bias (4 H) and activation, become gates; out: the next states of
    cells after (R H), and outputs, H numbers each `width`.
    """
    n_units = bias.size // 4
    for r in range(before.size // n_units):
        row, old, new = gates[4 * r * n_units :], before[r * n_units :], after[r * n_units :]
        to = out[r * width :]
        for j in range(3 * n_units):
            row[j] = sigmoid(row[j] + bias[j])
        for j in range(3 * n_units, 4 * n_units):
            row[j] = tanh(row[j] + bias[j])
        for j in range(n_units):
            new[j] = row[n_units + j] * old[j] + row[j] * row[3 * n_units + j]
        for j in range(n_units):
            to[j] = row[2 * n_units + j] * tanh(new[j])


@kernel
def cells_reverse(n_units, gates, before, after, of_outputs, of_cells):
    """Gates become adjoints of what goes into them, given those of outputs (R H); adjoints of
    states after (R H) become those of states before.
    """
    for r in range(before.size // n_units):
        row, first = gates[4 * r * n_units :], r * n_units
        old, new = before[first:], after[first:]
        of_h, of_c = of_outputs[first:], of_cells[first:]
        for j in range(n_units):
            i, f, o, u = row[j], row[n_units + j], row[2 * n_units + j], row[3 * n_units + j]
            t = tanh(new[j])
            d = of_c[j] + of_h[j] * o * (ONE - t * t)
            row[j] = d * u * i * (ONE - i)
            row[n_units + j] = d * old[j] * f * (ONE - f)
            row[2 * n_units + j] = of_h[j] * t * o * (ONE - o)
            row[3 * n_units + j] = d * i * (ONE - u * u)
            of_c[j] = d * f
