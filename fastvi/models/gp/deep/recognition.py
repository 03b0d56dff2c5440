"""Latent inputs of rows, whose q(w) a network reads off inputs and targets.

Salimbeni, Dutordoir, Hensman and Deisenroth (2019), "Deep Gaussian processes with
importance-weighted variational inference". Shapes: n rows, K draws, Q latent inputs with prior
N(0, I), H hidden units.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array

__all__ = ["NO_NETWORK", "Network", "Recognition", "Seen", "initial_network"]

LOG_SD = np.log(0.5)  # of q(w) at the start
SHARE = 0.7  # standard deviation of its means at the start
RIDGE = 1e-2
SMALLEST, LARGEST = -7.0, 2.0  # of the logarithm of q's standard deviations


class Network(NamedTuple):
    """Weights of a network with one hidden layer of tanh; also a gradient."""

    first: Array  # (I, H)
    first_bias: Array  # (H,)
    second: Array  # (H, 2 Q): means, then logarithms of standard deviations
    second_bias: Array  # (2 Q,)


NO_NETWORK = Network(np.empty((0, 0)), np.empty(0), np.empty((0, 0)), np.empty(0))


class Seen(NamedTuple):
    """q(w) of n rows, and what the reverse pass takes."""

    inputs: Array  # (n, I)
    hidden: Array  # (n, H)
    mean: Array  # (n, Q)
    log_sd: Array  # (n, Q)
    inside: AnyArray  # (n, Q), whether log_sd is not cut off


class Recognition(NamedTuple):
    """What is fixed about the network, and where it starts."""

    y_units: Array  # (2, T), means and scales of targets
    start: Network

    @property
    def n_latents(self) -> int:
        """Q."""
        return len(self.start.second_bias) // 2

    def inputs(self, x: Array, y: Array) -> Array:
        """What the network reads: standardised inputs (n, D), and targets, 0 where missing."""
        mean, scale = self.y_units
        return np.concatenate((x, np.nan_to_num((y.reshape(len(y), -1) - mean) / scale)), axis=1)

    def read(self, network: Network, x: Array, y: Array) -> Seen:
        """Return q(w) of rows with standardised inputs x (n, D) and targets y (n,) or (n, T)."""
        inputs, q = self.inputs(x, y), self.n_latents
        hidden = np.tanh(inputs @ network.first + network.first_bias)
        out = hidden @ network.second + network.second_bias
        inside = (out[:, q:] > SMALLEST) & (out[:, q:] < LARGEST)
        return Seen(inputs, hidden, out[:, :q], np.clip(out[:, q:], SMALLEST, LARGEST), inside)

    def reverse(self, network: Network, seen: Seen, by_mean: Array, by_log_sd: Array) -> Network:
        """The gradient by the weights, given that by q's parameters (n, Q)."""
        by_out = np.concatenate((by_mean, by_log_sd * seen.inside), axis=1)
        by_hidden = (by_out @ network.second.T) * (1.0 - np.square(seen.hidden))
        return Network(
            seen.inputs.T @ by_hidden,
            by_hidden.sum(axis=0),
            seen.hidden.T @ by_out,
            by_out.sum(axis=0),
        )


def initial_network(
    x: Array, y: Array, n_latents: int, n_hidden: int, rng: np.random.Generator
) -> Recognition:
    """A network whose means follow what is left of the targets after their regression on x.

    Latent inputs beyond the number of targets follow random functions.
    """
    targets = y.reshape(len(y), -1)
    mean = np.nanmean(targets, axis=0)
    scale = np.nanstd(targets, axis=0)
    units = np.stack((mean, np.where(scale > 0, scale, 1.0)))
    d = x.shape[1] + targets.shape[1]
    first = rng.normal(size=(d, n_hidden)) / np.sqrt(d)
    network = Network(
        first, rng.normal(size=n_hidden), np.zeros((n_hidden, 2 * n_latents)),
        np.concatenate((np.zeros(n_latents), np.full(n_latents, LOG_SD))),
    )  # fmt: skip
    found = Recognition(units, network)
    seen = found.read(network, x, y)
    wanted = rng.normal(size=(len(x), n_latents))
    n = min(n_latents, targets.shape[1])
    wanted[:, :n] = seen.inputs[:, x.shape[1] :][:, :n]
    basis = np.concatenate((x, np.ones((len(x), 1))), axis=1)
    wanted -= basis @ np.linalg.lstsq(basis, wanted, rcond=None)[0]
    wanted *= SHARE / np.maximum(wanted.std(axis=0), 1e-12)
    square = seen.hidden.T @ seen.hidden + RIDGE * len(x) * np.eye(n_hidden)
    weights = np.linalg.solve(square, seen.hidden.T @ wanted)
    network.second[:, :n_latents] = weights
    network.second_bias[:n_latents] = -(seen.hidden @ weights).mean(axis=0)
    return found
