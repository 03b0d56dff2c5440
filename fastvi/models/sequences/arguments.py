"""Checks of what hidden Markov models are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base.typing import AnyArray, Array

__all__ = ["distribution", "prior"]

NEAR = 1e-5  # of 1, in sums of probabilities that were written with five digits


def distribution(values: Any, name: str, *shape: int) -> Array:
    """Check probabilities that sum to 1 along the last axis."""
    found: AnyArray = np.asarray(values, np.float64)
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}; wanted {shape}")
    if not np.all(found >= 0):
        raise ValueError(f"{name} must hold probabilities >= 0")
    total = found.sum(axis=-1)
    if not np.all(np.abs(total - 1) <= NEAR):
        raise ValueError(f"{name} must sum to 1 along its last axis; got {total}")
    return np.ascontiguousarray(found)


def prior(values: Any, name: str, *shape: int, low: float = 0.0) -> Array:
    """Check finite numbers from `low` on, of this shape or of one that can be repeated to it."""
    found: AnyArray = np.asarray(values, np.float64)
    try:
        whole = np.broadcast_to(found, shape)
    except ValueError:
        raise ValueError(f"{name} has shape {found.shape}; wanted {shape}") from None
    if not np.isfinite(whole).all() or np.any(whole < low):
        wanted = f"finite numbers >= {low:g}" if np.isfinite(low) else "finite numbers"
        raise ValueError(f"{name} must hold {wanted}")
    return np.array(whole)
