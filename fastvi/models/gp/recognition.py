"""Networks that read Gaussians q(w) of latent variables off rows.

Shapes: n rows of I inputs, Q latent variables, H hidden units.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.models.files import Saved

__all__ = ["NO_NETWORK", "Network", "Read", "fitted", "network_in", "read", "reverse"]

RIDGE = 1e-2
SMALLEST, LARGEST = -7.0, 2.0  # of the logarithm of q's standard deviations


class Network(NamedTuple):
    """Weights of a network with one hidden layer of tanh; also a gradient."""

    first: Array  # (I, H)
    first_bias: Array  # (H,)
    second: Array  # (H, 2 Q): means, then logarithms of standard deviations
    second_bias: Array  # (2 Q,)


NO_NETWORK = Network(np.empty((0, 0)), np.empty(0), np.empty((0, 0)), np.empty(0))


class Read(NamedTuple):
    """q(w) of n rows, and what the reverse pass takes."""

    inputs: Array  # (n, I)
    hidden: Array  # (n, H)
    mean: Array  # (n, Q)
    log_sd: Array  # (n, Q)
    inside: AnyArray  # (n, Q), whether log_sd is not cut off


def read(network: Network, inputs: Array) -> Read:
    """Return q(w) of rows (n, I)."""
    q = len(network.second_bias) // 2
    hidden = np.tanh(inputs @ network.first + network.first_bias)
    out = hidden @ network.second + network.second_bias
    inside = (out[:, q:] > SMALLEST) & (out[:, q:] < LARGEST)
    return Read(inputs, hidden, out[:, :q], np.clip(out[:, q:], SMALLEST, LARGEST), inside)


def reverse(network: Network, seen: Read, by_mean: Array, by_log_sd: Array) -> Network:
    """The gradient by the weights, given that by q's parameters (n, Q)."""
    by_out = np.concatenate((by_mean, by_log_sd * seen.inside), axis=1)
    by_hidden = (by_out @ network.second.T) * (1.0 - np.square(seen.hidden))
    return Network(
        seen.inputs.T @ by_hidden, by_hidden.sum(axis=0), seen.hidden.T @ by_out, by_out.sum(axis=0)
    )


def fitted(
    inputs: Array, wanted: Array, log_sd: float, n_hidden: int, rng: np.random.Generator
) -> Network:
    """A network whose means are near those wanted (n, Q): random hidden units, and a ridge."""
    d, q = inputs.shape[1], wanted.shape[1]
    size = float(np.sqrt(np.square(inputs).sum(axis=1).mean()))
    first = rng.normal(size=(d, n_hidden)) / max(size, 1e-12)
    bias = np.concatenate((np.zeros(q), np.full(q, log_sd)))
    network = Network(first, rng.normal(size=n_hidden), np.zeros((n_hidden, 2 * q)), bias)
    hidden = read(network, inputs).hidden
    centre = hidden.mean(axis=0)
    square = (hidden - centre).T @ (hidden - centre) + RIDGE * np.eye(n_hidden)
    weights = np.linalg.solve(square, (hidden - centre).T @ wanted)
    network.second[:, :q] = weights
    network.second_bias[:q] = wanted.mean(axis=0) - centre @ weights
    return network


def network_in(saved: Saved, name: str, n_inputs: int, n_latents: int) -> Network:
    """The network that a file holds under this name."""
    first = saved.array(f"{name}.first", n_inputs, None)
    h = first.shape[1]
    return Network(
        first,
        saved.array(f"{name}.first_bias", h),
        saved.array(f"{name}.second", h, 2 * n_latents),
        saved.array(f"{name}.second_bias", 2 * n_latents),
    )
