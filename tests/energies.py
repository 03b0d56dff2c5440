"""The energies U1 ... U4 of Rezende and Mohamed (2015, table 1) and a ring, as targets.

U2 to U4 are improper along the first number, so both numbers are confined to a box. `LOG_Z` are the
logarithms of the integrals of exp(-U) over the boxes, by quadrature.
"""

import functools

import numpy as np

import fastvi
from fastvi.transforms import bounded

BOXES = {"U1": 8.0, "U2": 4.0, "U3": 4.0, "U4": 4.0}
LOG_Z = {"U1": 1.8775, "U2": 2.08259, "U3": 2.64221, "U4": 2.68524}


def u1(z):
    r = np.sqrt(z[0] * z[0] + z[1] * z[1])
    right, left = (z[0] - 2.0) / 0.6, (z[0] + 2.0) / 0.6
    away = (r - 2.0) / 0.4
    return -0.5 * away * away + np.logaddexp(-0.5 * right * right, -0.5 * left * left)


def u2(z):
    away = (z[1] - np.sin(0.5 * np.pi * z[0])) / 0.4
    return -0.5 * away * away


def u3(z):
    hill = 3.0 * np.exp(-0.5 * ((z[0] - 1.0) / 0.6) ** 2)
    away = z[1] - np.sin(0.5 * np.pi * z[0])
    return np.logaddexp(-0.5 * (away / 0.35) ** 2, -0.5 * ((away + hill) / 0.35) ** 2)


def u4(z):
    step = 3.0 / (1.0 + np.exp(-(z[0] - 1.0) / 0.3))
    away = z[1] - np.sin(0.5 * np.pi * z[0])
    return np.logaddexp(-0.5 * (away / 0.4) ** 2, -0.5 * ((away + step) / 0.35) ** 2)


def ring(z):
    """Of radius 3 and width 0.5."""
    away = (np.sqrt(z[0] * z[0] + z[1] * z[1]) - 3.0) / 0.5
    return -0.5 * away * away


ENERGIES = {"U1": u1, "U2": u2, "U3": u3, "U4": u4}


@functools.cache
def energy(name):
    """The target of this name."""
    if name == "ring":
        return fastvi.target(ring, dim=2)
    return fastvi.target(ENERGIES[name], names={"z": bounded(-BOXES[name], BOXES[name], 2)})
