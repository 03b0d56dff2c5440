"""Forms of networks: what each layer does, and where its parameters are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastvi.kernels.networks import (
    ACTIVATION,
    BIAS,
    DENSE,
    INPUTS,
    KIND,
    MASKED,
    OUTPUTS,
    REACH,
    SPARSE,
    WEIGHTS,
    Layers,
)  # fmt: skip

__all__ = ["ACTIVATIONS", "dense", "initial", "masked", "n_parameters"]

ACTIVATIONS = ("none", "softplus", "tanh", "relu", "elu")  # in the order of the kernels' numbers


def _table(
    sizes: Sequence[int], activation: str, last: str, kinds: Sequence[int], first: int
) -> NDArray[np.int64]:
    table = np.zeros((len(sizes) - 1, 7), np.int64)
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        row = table[layer]
        row[KIND], row[INPUTS], row[OUTPUTS] = kinds[layer], inputs, outputs
        row[WEIGHTS], row[BIAS] = first, first + inputs * outputs
        is_last = layer == len(sizes) - 2
        row[ACTIVATION] = ACTIVATIONS.index(last if is_last else activation)
        first += (inputs + 1) * outputs
    return table


def dense(
    sizes: Sequence[int],
    activation: str = "softplus",
    *,
    last: str = "none",
    sparse: bool = False,
    first: int = 0,
) -> Layers:
    """Layers that see all outputs of the layer before.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of inputs, of units of each hidden layer, and of outputs.
    activation, last : {"none", "softplus", "tanh", "relu", "elu"}
        Of the hidden layers, and of the last one.
    sparse : bool
        Whether rows come from a CSR matrix, at a cost that is proportional to their entries.
    first : int
        Place of the first weight in the vector of parameters.
    """
    kinds = [DENSE] * (len(sizes) - 1)
    if sparse:
        kinds[0] = SPARSE
    return Layers(_table(sizes, activation, last, kinds, first), np.empty(0, np.int64))


def masked(
    n_inputs: int,
    hidden: Sequence[int],
    n_outputs: int,
    activation: str = "softplus",
    *,
    n_context: int = 0,
    first: int = 0,
) -> Layers:
    """Layers of an autoregressive network: outputs of input i depend on inputs before i alone.

    Units have rising degrees (Germain et al. 2015, "MADE: masked autoencoder for distribution
    estimation", eqs. 12 and 13), so that each sees the first so many units of the layer before, and
    the blocks of zeros are left out of products.

    Parameters
    ----------
    n_inputs : int
    hidden : sequence of int
        Units of each hidden layer.
    n_outputs : int
        Outputs of each input, which stand beside each other.
    activation : {"none", "softplus", "tanh", "relu", "elu"}
    n_context : int
        Further numbers, which come before the inputs, and which all units see; outputs of the first
        input then depend on them, too.
    first : int
        Place of the first weight in the vector of parameters.
    """
    sizes = [n_context + n_inputs, *hidden, n_inputs * n_outputs]
    table = _table(sizes, activation, "none", [MASKED] * (len(sizes) - 1), first)
    degrees = np.concatenate([np.zeros(n_context, np.int64), np.arange(1, n_inputs + 1)])
    least = 0 if n_context else 1
    reach: list[NDArray[np.int64]] = []
    for layer, size in enumerate(sizes[1:]):
        row = table[layer]
        if layer < len(hidden):  # degrees least, ..., n_inputs - 1, each about equally often
            own = least + np.arange(size) * max(n_inputs - least, 1) // size
        else:
            own = np.repeat(np.arange(n_inputs), n_outputs)  # sees degrees below that of its input
        row[REACH] = sum(len(part) for part in reach)
        reach.append(np.searchsorted(degrees, own, side="right").astype(np.int64))
        degrees = own
    return Layers(table, np.concatenate(reach))


def n_parameters(net: Layers) -> int:
    """Number of weights and biases."""
    return int(((net.table[:, INPUTS] + 1) * net.table[:, OUTPUTS]).sum())


def initial(net: Layers, rng: np.random.Generator, out: NDArray[np.float32]) -> None:
    """Set the parameters of the layers in `out` to random weights and to biases of 0.

    Weights are uniform, of variance 2 / (inputs + outputs) (Glorot and Bengio 2010), or
    2 / inputs before ReLU (He et al. 2015).
    """
    for row in net.table:
        inputs, outputs = int(row[INPUTS]), int(row[OUTPUTS])
        rectified = row[ACTIVATION] == ACTIVATIONS.index("relu")
        limit = np.sqrt(6.0 / (inputs if rectified else inputs + outputs))
        weights = rng.uniform(-limit, limit, (inputs, outputs))
        if row[KIND] == MASKED:
            reach = net.reach[row[REACH] : row[REACH] + outputs]
            weights[np.arange(inputs)[:, None] >= reach] = 0.0
        out[row[WEIGHTS] : row[BIAS]] = weights.ravel()
        out[row[BIAS] : row[BIAS] + outputs] = 0.0
