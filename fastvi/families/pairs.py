"""Pair copulas: distributions of two uniform numbers, by conditional distributions.

``h(u | v)`` is the distribution function of u given v; its derivative by u is the density c(u, v).
Angles are unconstrained and of order 1; 0 is independence. Formulas as in Aas, Czado, Frigessi and
Bakken (2009), "Pair-copula constructions of multiple dependence".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from fastvi.base.typing import Array

__all__ = ["EDGE", "PAIRS", "Pair", "density_of_normal"]

EDGE = 1e-14  # uniform numbers stay so far from 0 and 1
LEAST = 1e-4  # parameter, in size, below which formulas would divide by nothing
ROOT = np.sqrt(2.0 * np.pi)


class Slopes(NamedTuple):
    """At pairs (n,): log c and its slopes by u and v, and the slopes of h by v and the angle."""

    log_c: Array
    of_u: Array
    of_v: Array
    h_v: Array
    h_angle: Array


class Pair(NamedTuple):
    """A kind of dependence.

    Attributes
    ----------
    h, inverse : callable
        ``h(u, v, angle)``, and its inverse ``inverse(w, v, angle)`` in u.
    slopes : callable
        ``slopes(u, v, angle)``, see `Slopes`.
    angle : callable
        The angle of a normal correlation.
    """

    h: Callable[[Array, Array, float], Array]
    inverse: Callable[[Array, Array, float], Array]
    slopes: Callable[[Array, Array, float], Slopes]
    angle: Callable[[float], float]


def density_of_normal(x: Array) -> Array:
    """Standard normal densities."""
    return np.asarray(np.exp(-0.5 * x * x) / ROOT)


# Gaussian: the correlation is the hyperbolic tangent of the angle


def _gaussian_h(u: Array, v: Array, angle: float) -> Array:
    rho = np.tanh(angle)
    return np.asarray(ndtr((ndtri(u) - rho * ndtri(v)) * np.cosh(angle)))


def _gaussian_inverse(w: Array, v: Array, angle: float) -> Array:
    return np.asarray(ndtr(ndtri(w) / np.cosh(angle) + np.tanh(angle) * ndtri(v)))


def _gaussian_slopes(u: Array, v: Array, angle: float) -> Slopes:
    y, x, rho, root = ndtri(u), ndtri(v), np.tanh(angle), np.cosh(angle)
    rest = (y - rho * x) * root  # 1 / cosh is the root of 1 - rho^2
    of_y, of_x = y - rest * root, rest * rho * root
    own = density_of_normal(rest)
    log_c = np.log(root) + 0.5 * (y * y - rest * rest)
    bent = (y - rho * x) * np.sinh(angle) - x / root  # d rest / d angle
    return Slopes(
        log_c, of_y / density_of_normal(y), of_x / density_of_normal(x),
        -own * rho * root / density_of_normal(x), own * bent,
    )  # fmt: skip


def _gaussian_angle(rho: float) -> float:
    return float(np.arctanh(rho))


# Frank: symmetric, without dependence in the tails; its parameter is 8 times the angle

FRANK = 8.0


def _frank(angle: float) -> float:
    theta = FRANK * angle
    return theta if abs(theta) > LEAST else (LEAST if theta >= 0 else -LEAST)


def _frank_h(u: Array, v: Array, angle: float) -> Array:
    t = _frank(angle)
    first, second = np.expm1(-t * u), np.expm1(-t * v)
    return np.asarray((1.0 + second) * first / (np.expm1(-t) + first * second))


def _frank_inverse(w: Array, v: Array, angle: float) -> Array:
    t = _frank(angle)
    inner = w * np.expm1(-t) / (1.0 + (1.0 - w) * np.expm1(-t * v))
    return np.asarray(-np.log1p(np.maximum(inner, -1.0 + 1e-16)) / t)


def _frank_slopes(u: Array, v: Array, angle: float) -> Slopes:
    t = _frank(angle)
    first, second, whole = np.expm1(-t * u), np.expm1(-t * v), np.expm1(-t)
    rest = whole + first * second
    a, b, h = first + 1.0, second + 1.0, (second + 1.0) * first / rest
    log_c = np.log(-t * whole) - t * (u + v) - 2.0 * np.log(np.abs(rest))
    of_t = h * (-v - u * a / first + (np.exp(-t) + u * a * second + v * b * first) / rest)
    return Slopes(
        log_c, -t + 2.0 * t * a * second / rest, -t + 2.0 * t * b * first / rest,
        -t * h * (1.0 - h), FRANK * of_t,
    )  # fmt: skip


def _frank_angle(rho: float) -> float:
    """By Kendall's tau, roughly: 9 tau / (1 - tau) near independence and beyond."""
    tau = 2.0 / np.pi * np.arcsin(rho)
    return float(9.0 * tau / (1.0 - 0.8 * abs(tau)) / FRANK)


# Clayton: dependence in the lower tail; its parameter is twice the size of the angle, and v is
# turned to 1 - v where that is negative


def _clayton(v: Array, angle: float) -> tuple[float, Array, float]:
    t = max(2.0 * abs(angle), LEAST)
    return (t, v, 1.0) if angle >= 0 else (t, 1.0 - v, -1.0)


def _clayton_h(u: Array, v: Array, angle: float) -> Array:
    t, v, _ = _clayton(v, angle)
    total = _total(u, v, t)
    return np.asarray(np.exp(-(1.0 + t) * np.log(v) - (1.0 + 1.0 / t) * total))


def _total(u: Array, v: Array, t: float) -> Array:
    """Log of u^-t + v^-t - 1."""
    a, b = -t * np.log(u), -t * np.log(v)
    top = np.maximum(a, b)
    return np.asarray(top + np.log1p(np.exp(np.minimum(a, b) - top) - np.exp(-top)))


def _clayton_inverse(w: Array, v: Array, angle: float) -> Array:
    t, v, _ = _clayton(v, angle)
    away = np.expm1(-t / (1.0 + t) * np.log(w))
    steep = np.log(away) - t * np.log(v)
    return np.asarray(np.exp(-np.logaddexp(steep, 0.0) / t))


def _clayton_slopes(u: Array, v: Array, angle: float) -> Slopes:
    t, v, sign = _clayton(v, angle)
    of_u, of_v, total = np.log(u), np.log(v), _total(u, v, t)
    share_u, share_v = np.exp(-t * of_u - total), np.exp(-t * of_v - total)
    log_h = -(1.0 + t) * of_v - (1.0 + 1.0 / t) * total
    log_c = np.log1p(t) - (1.0 + t) * (of_u + of_v) - (2.0 + 1.0 / t) * total
    h = np.exp(log_h)
    by_t = -of_v + total / t**2 + (1.0 + 1.0 / t) * (of_u * share_u + of_v * share_v)
    return Slopes(
        log_c,
        (-(1.0 + t) + (2.0 * t + 1.0) * share_u) / u,
        sign * (-(1.0 + t) + (2.0 * t + 1.0) * share_v) / v,
        sign * h * (-(1.0 + t) + (t + 1.0) * share_v) / v,
        2.0 * sign * h * by_t,
    )


def _clayton_angle(rho: float) -> float:
    """By Kendall's tau: t = 2 tau / (1 - tau)."""
    tau = 2.0 / np.pi * np.arcsin(rho)
    return float(tau / (1.0 - abs(tau)))


# The same turned around: dependence in the upper tail


def _upper_h(u: Array, v: Array, angle: float) -> Array:
    return np.asarray(1.0 - _clayton_h(1.0 - u, 1.0 - v, angle))


def _upper_inverse(w: Array, v: Array, angle: float) -> Array:
    return np.asarray(1.0 - _clayton_inverse(1.0 - w, 1.0 - v, angle))


def _upper_slopes(u: Array, v: Array, angle: float) -> Slopes:
    lower = _clayton_slopes(1.0 - u, 1.0 - v, angle)
    return Slopes(lower.log_c, -lower.of_u, -lower.of_v, lower.h_v, -lower.h_angle)


PAIRS = {  # in the order of files
    "gaussian": Pair(_gaussian_h, _gaussian_inverse, _gaussian_slopes, _gaussian_angle),
    "frank": Pair(_frank_h, _frank_inverse, _frank_slopes, _frank_angle),
    "clayton": Pair(_clayton_h, _clayton_inverse, _clayton_slopes, _clayton_angle),
    "upper-clayton": Pair(_upper_h, _upper_inverse, _upper_slopes, _clayton_angle),
}
