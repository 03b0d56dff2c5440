"""Random bits and normal numbers that depend on a key and a place alone, on no generator's state.

Each place has random bits of its own (SplitMix64: Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators"), so that draws do not depend on the number of threads.
"""

import math

import numpy as np

from ._jit import kernel
from .special import ORDERED, log

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S8, S27, S30, S31, S40 = map(np.uint64, (8, 27, 30, 31, 40))
LOW = np.uint64(0xFFFFFF)
# Of the normal quantile by the logarithm of its density, with the highest power first.
CENTRE = tuple(
    math.sqrt(2.0) * a
    for a in (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
              -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)
)  # fmt: skip
TAIL = tuple(
    math.sqrt(2.0) * a
    for a in (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
              -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)
)  # fmt: skip
CENTRE_SINGLE, TAIL_SINGLE = (tuple(map(np.float32, c)) for c in (CENTRE, TAIL))
ONE, HALF, MIDDLE, UNIT = map(np.float32, (1.0, 0.5, 2.5, 2.0**-23))
THREE, BORDER = np.float32(3.0), np.float32(5.0)
HALF_RANGE = np.int32(2**23)


@kernel(inline="always")
def mixed(state):
    """64 random bits for a state."""
    z = (state ^ (state >> S30)) * FIRST
    z = (z ^ (z >> S27)) * SECOND
    return z ^ (z >> S31)


@kernel(inline="always")
def horner(x, coefficients):
    """Of the coefficients, highest power first, at x."""
    total = coefficients[0]
    for a in coefficients[1:]:
        total = total * x + a
    return total


@kernel(fastmath=ORDERED, inline="always")
def normal_of(bits):
    """The quantile of the standard normal in float32 (Giles 2010) for 24 random bits.

    Of s in (-1, 1), both 1 - s and 1 + s are exact, unless sums are reordered; the largest number
    is 5.4.
    """
    s = (np.float32(np.int32(bits) - HALF_RANGE) + HALF) * UNIT
    w = -log((ONE - s) * (ONE + s))
    centre = horner(w - MIDDLE, CENTRE_SINGLE)
    tail = horner(np.sqrt(w) - THREE, TAIL_SINGLE)
    return s * (centre if w < BORDER else tail)


@kernel
def normals(key, out):
    """Out (n,) float32: standard normal numbers, those of the key, a uint64."""
    half = (out.size + 1) // 2
    first = mixed(np.uint64(key))
    for i in range(out.size - half):
        bits = mixed(first + np.uint64(i) * GOLDEN)
        out[i] = normal_of(bits >> S40)
        out[half + i] = normal_of((bits >> S8) & LOW)
    for i in range(out.size - half, half):
        out[i] = normal_of(mixed(first + np.uint64(i) * GOLDEN) >> S40)
