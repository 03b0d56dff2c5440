"""Aggressive steps of the encoder (He et al. 2019, "Lagging inference networks and posterior
collapse in variational autoencoders", algorithm 1).

At first the encoder lags behind the decoder, which then learns to do without latent variables. So
the encoder alone takes steps, until its bound is no better than before, and then the decoder takes
one; until the information of latent variables about rows, after a pass, is less than after the pass
before. From then on both take all steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base.typing import Array
from fastvi.kernels.networks import WEIGHTS
from fastvi.kernels.optimizers import adam_in_place
from fastvi.models.autoencoder.model import Autoencoder, Single
from fastvi.models.autoencoder.rows import Rows

__all__ = ["Lagging", "information"]

DECAY, DECAY_SQUARE, EPSILON = 0.9, 0.999, 1e-8  # of Adam
WINDOW, MOST = 15, 100  # steps of the encoder between comparisons, and before one of the decoder
N_ROWS = 512  # for the information
ACTIVE, INNER, SUM, MEAN, INFORMATION, N_ENCODER, N_DECODER, SEEN = range(8)


class Lagging:
    """Steps of parts of an autoencoder.

    Its state is a vector (8,): whether the encoder is ahead, steps since the decoder's last, the
    sum of bounds in this window, their mean in the last one, the information after the last pass in
    which the decoder took steps, numbers of steps of encoder and decoder, and of the decoder then.
    """

    def __init__(self, model: Autoencoder, rows: Rows, rate: float) -> None:
        self.model, self.rows, self.rate = model, rows, rate
        first = int(model.form.decoder.table[0, WEIGHTS])
        last = model.first_of_family
        self.places = ((slice(first), slice(last, None)), (slice(first, last),))

    def begin(self) -> Array:
        """Return the first state."""
        return np.array([1.0, 0.0, 0.0, -np.inf, 0.0, 0.0, 0.0, 0.0])

    def update(
        self, state: Array, bound: float, params: Single, moments: Single, grads: Single
    ) -> None:
        """Let one part, or both, take a step of Adam."""
        if not state[ACTIVE]:
            parts = [0, 1]
        elif self._is_ahead(state, bound):
            parts = [1]
            state[INNER], state[SUM], state[MEAN] = 0.0, 0.0, -np.inf
        else:
            parts = [0]
            state[INNER] += 1
        for part in parts:
            state[N_ENCODER + part] += 1
            t = state[N_ENCODER + part]
            first, second = np.split(moments, 2)
            rate = np.float32(self.rate / (1.0 - DECAY**t))
            correction = np.float32(1.0 / (1.0 - DECAY_SQUARE**t))
            for own in self.places[part]:
                adam_in_place(
                    grads[own], first[own], second[own], np.float32(DECAY),
                    np.float32(DECAY_SQUARE), rate, correction, np.float32(EPSILON), params[own],
                )  # fmt: skip

    @staticmethod
    def _is_ahead(state: Array, bound: float) -> bool:
        """Add a bound; return whether it is the decoder's turn."""
        state[SUM] += bound
        n = int(state[INNER]) + 1
        if n % WINDOW == 0:
            mean = state[SUM] / WINDOW
            if mean < state[MEAN]:
                return True
            state[MEAN], state[SUM] = mean, 0.0
        return n >= MOST

    def after_pass(self, state: Array, params: Single) -> None:
        """Note the information of latent variables; once it falls, both take all steps."""
        if state[ACTIVE] and state[N_DECODER] > state[SEEN]:
            found = information(self.model, params, self.rows)
            state[ACTIVE] = float(found >= state[INFORMATION])
            state[INFORMATION], state[SEEN] = found, state[N_DECODER]


def information(model: Autoencoder, params: Single, rows: Rows) -> float:
    """Mutual information of rows and latent variables under q, nats, estimated by a draw for each
    of the first rows (Hoffman and Johnson 2016).
    """
    n, j = min(N_ROWS, rows.n_rows), model.n_latent
    found: Any = model.encode(params, rows, 0, n, model.encoder_work(n)).astype(np.float64)
    means, log_sd = found[:, :j], found[:, j:]
    z = means + np.exp(log_sd) * np.random.default_rng(0).standard_normal((n, j))
    precisions = np.exp(-2.0 * log_sd)
    squares = np.square(z) @ precisions.T - 2.0 * z @ (precisions * means).T
    logs = -0.5 * (squares + (precisions * np.square(means)).sum(1)) - log_sd.sum(1)
    most = logs.max(axis=1)
    whole = most + np.log(np.exp(logs - most[:, None]).mean(axis=1))
    return float((np.diag(logs) - whole).mean())
