"""Plain twin of `kernels/margins.py`: monotone maps of one number."""

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq

KNOTS = np.linspace(-4.0, 4.0, 13)


def sinh_arcsinh(shape, x):
    """Jones and Pewsey (2009), moved and scaled so that 0 stays 0 with slope 1."""
    e, delta = shape[0], np.exp(shape[1])
    return (np.sinh(delta * np.arcsinh(x) + e) - np.sinh(e)) / (delta * np.cosh(e))


def yeo_johnson(shape, x):
    """The root of Yeo and Johnson's transform (2000, eq. 2.1)."""
    lam = 1.0 + 0.95 * np.tanh(0.5 * shape[0])

    def forward(z):
        if z >= 0:
            return ((z + 1.0) ** lam - 1.0) / lam
        return -((1.0 - z) ** (2.0 - lam) - 1.0) / (2.0 - lam)

    return brentq(lambda z: forward(z) - x, -1e6, 1e6, xtol=1e-13, rtol=1e-14)


def spline(shape, x):
    """The integral of a slope that is linear between knots."""
    inner = [k for k in KNOTS if min(0.0, x) < k < max(0.0, x)]
    return quad(lambda t: np.interp(t, KNOTS, np.exp(shape)), 0.0, x, points=inner or None)[0]


MAPS = {"sinh-arcsinh": sinh_arcsinh, "yeo-johnson": yeo_johnson, "spline": spline}
