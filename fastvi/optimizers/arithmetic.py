"""What all optimizers need: checks of numbers, and sums over all coordinates."""

from __future__ import annotations

import numpy as np

from fastvi.base import checks, tree


def positive(name: str, value: float) -> float:
    """Check that `value` is a number above 0."""
    return checks.number(value, name, 0.0, open_low=True)


def decay_weight(name: str, value: float) -> float:
    """Check that `value`, the weight of a running mean's past, is in [0, 1)."""
    return checks.number(value, name, 0.0, 1.0, open_high=True)


def first_step(params: object) -> int:
    """Return the state of optimizers that only count steps."""
    return 1


def follow(mean: object, target: object, share: float) -> None:
    """Move the arrays of `mean` towards `target` by this share, in place."""
    from fastvi.kernels.optimizers import running_mean

    for m, x in zip(tree.leaves(mean), tree.leaves(target)):
        running_mean(np.ascontiguousarray(x).reshape(-1), m.dtype.type(share), m.reshape(-1))


def squared_norm(gradient: object) -> float:
    """Return the sum of squares of all coordinates."""
    from fastvi.kernels.optimizers import squared_norm

    flat = (np.ascontiguousarray(leaf).reshape(-1) for leaf in tree.leaves(gradient))
    return sum(float(squared_norm(leaf)) for leaf in flat)
