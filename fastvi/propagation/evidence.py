"""What sites of one number add to the evidence, and how far they are from a fixed point."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array

__all__ = ["change_of_sites", "evidence_of_sites"]


def evidence_of_sites(
    log_z: Array,
    sites: Array | tuple[Array, Array],
    mean: Array,
    variance: Array,
    power: float = 1.0,
) -> Array:
    """What each row adds to log Z: the likelihood's integral over the site's, to 1 / `power`.

    Rasmussen and Williams (2006), eqs 3.65, 3.73 and 3.74, with the terms of each row together:
    they neither grow with the cavities' precisions nor cancel.

    Parameters
    ----------
    log_z : (n,) array
        Log integrals of the likelihoods, to this power, under the cavities.
    sites : (2, n) array
        Precisions and shifts of the sites ``exp(-precision f^2 / 2 + shift f)``.
    mean, variance : (n,) arrays
        Of the cavities.
    power : float
    """
    precision, shift = (power * part for part in sites)
    grown = 1.0 + precision * variance
    square = shift * (shift * variance + 2.0 * mean) - precision * mean * mean
    return np.asarray((log_z - 0.5 * (square / grown - np.log(grown))) / power)


def change_of_sites(found: Array, sites: Array) -> float:
    """Relative change of sites (2, n): their precisions, and their linear terms."""
    size = np.maximum(np.square(found).sum(axis=1), 1e-300)
    return float(np.sqrt((np.square(found - sites).sum(axis=1) / size).sum()))
