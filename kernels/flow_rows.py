"""Flows: how a plan lies in memory, and sums over rows of draws.

A flow is a sequence of layers between x and y, D numbers each, with all parameters in one flat
array. `LANES` draws go through it together: whatever is known of them is a row (LANES,), and all
rows together are a *tape* (n, LANES), with the sum of log determinants in row `LOG_DET` and the
noise below it. A *plan* (n, 8) int64 says where everything is:

=========  =====================================================================
row        columns
=========  =====================================================================
0          D, number of layers, rows of the tape, rows of scratch, number of parameters,
           rows of the plan
1 ...      layers: kind, first parameter, first own row of the tape, first row of x,
           first row of y, first of its positions in the plan, number of hidden
           units, number of bins of splines
positions  of masked layers, in the order of their dependence: place among the D
           numbers, how many positions and hidden units it reads, first weight,
           first output
units      hidden units, in the same order: how many positions it reads, first weight
=========  =====================================================================
"""

import numpy as np

from ._jit import kernel
from .special import exp

LANES = 64
DIM, N_LAYERS, N_ROWS, N_SCRATCH, N_PARAMS, N_PLAN = range(6)
KIND, PARAMETER, OWN, INTO, OUT, AT, N_UNITS, N_BINS = range(8)
PLACE, START, READ, WEIGHTS, OUTPUT = range(5)
REACH, INNER = range(2)
LOG_DET, NOISE = 0, 1  # rows of the tape
ZERO, ONE = np.int64(0), np.int64(1)  # each of Python's numbers would be compiled by itself


@kernel
def mix(weights, p, stride, n, rows, first, out):
    """Out (LANES,) += sum over j < n of weights[p + stride j] rows[first + j]."""
    j = 0
    while j + 4 <= n:
        q = p + stride * j
        a, b = weights[q], weights[q + stride]
        c, d = weights[q + 2 * stride], weights[q + 3 * stride]
        w, x, y, z = rows[first + j], rows[first + j + 1], rows[first + j + 2], rows[first + j + 3]
        for i in range(LANES):
            out[i] += (a * w[i] + b * x[i]) + (c * y[i] + d * z[i])
        j += 4
    while j < n:
        a, w = weights[p + stride * j], rows[first + j]
        for i in range(LANES):
            out[i] += a * w[i]
        j += 1


@kernel
def dots(row, n, rows, first, p, out):
    """Out[p + j] += the product of row (LANES,) with rows[first + j], for j < n."""
    j = 0
    while j + 4 <= n:
        w, x, y, z = rows[first + j], rows[first + j + 1], rows[first + j + 2], rows[first + j + 3]
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for i in range(LANES):
            a += row[i] * w[i]
            b += row[i] * x[i]
            c += row[i] * y[i]
            d += row[i] * z[i]
        out[p + j] += a
        out[p + j + 1] += b
        out[p + j + 2] += c
        out[p + j + 3] += d
        j += 4
    while j < n:
        w, a = rows[first + j], 0.0
        for i in range(LANES):
            a += row[i] * w[i]
        out[p + j] += a
        j += 1


@kernel
def copy(row, out):
    """Out = row."""
    for i in range(LANES):
        out[i] = row[i]


@kernel
def squash(row):
    """Hyperbolic tangent, in place."""
    for i in range(LANES):
        row[i] = 1.0 - 2.0 / (exp(2.0 * row[i]) + 1.0)
