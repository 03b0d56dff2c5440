"""Widths, mean functions and kernels that fits of deep Gaussian processes start from.

Salimbeni and Deisenroth (2017), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel

from fastvi.base import checks
from fastvi.base.typing import Array

__all__ = ["hidden_kernel", "kernel_of_layer", "mean_weights", "propagated", "widths"]

WIDEST = 30  # hidden layers by default
FACTOR = 1e3  # between a hyperparameter at the start and its bounds


def widths(sizes: Any, n_features: int) -> tuple[int, ...]:
    """Units of each hidden layer.

    Raises
    ------
    ValueError
        If `hidden_layer_sizes` is not None, a whole number above 0, or a sequence of them.
    """
    if sizes is None:
        return (min(n_features, WIDEST),)
    parts = sizes if isinstance(sizes, Sequence | np.ndarray) else (sizes,)
    return tuple(checks.integer(part, "hidden_layer_sizes", 1) for part in parts)


def mean_weights(x: Array, n_units: int, n_below: int) -> Array:
    """W (D, T) of the mean function x W: the identity, principal directions, or padded by zeros.

    Only the first `n_below` of the columns of x (n, D) are looked at.
    """
    weights = np.zeros((x.shape[1], n_units))
    if n_units < n_below:
        centred = x[:, :n_below] - x[:, :n_below].mean(axis=0)
        _, directions = np.linalg.eigh(centred.T @ centred)
        directions = directions[:, ::-1][:, :n_units]
        largest = np.abs(directions).argmax(axis=0)
        weights[:n_below] = directions * np.sign(directions[largest, np.arange(n_units)])
    else:
        weights[np.arange(n_below), np.arange(n_below)] = 1.0
    return weights


def propagated(x: Array, weights: Array, below: Array | None) -> Array:
    """Rows of the next layer at its mean; `below` are the model's inputs if it sees them."""
    units = x @ weights
    return units if below is None else np.concatenate((units, below), axis=1)


def hidden_kernel(n_inputs: int) -> Kernel:
    """A constant of 1 times an RBF with a length scale per input, for inputs of variance 1."""
    bounds = (1.0 / FACTOR, FACTOR)
    length = np.full(n_inputs, np.sqrt(n_inputs))
    return ConstantKernel(1.0, bounds) * RBF(length, (bounds[0], bounds[1] * n_inputs**0.5))


def kernel_of_layer(kernel: Any, layer: int, n_layers: int) -> Kernel | None:
    """A copy of what `kernel` says of a layer, None if nothing.

    Raises
    ------
    ValueError
        If it is a sequence of another length than there are layers.
    """
    if kernel is None or isinstance(kernel, Kernel):
        return None if kernel is None else clone(kernel)
    kernels = list(kernel)
    if len(kernels) != n_layers:
        raise ValueError(
            f"kernel has {len(kernels)} parts; wanted one kernel, or one for each of {n_layers} "
            "layers, hidden ones first"
        )
    return None if kernels[layer] is None else clone(kernels[layer])
