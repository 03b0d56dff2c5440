"""Posteriors of rows whose latent variables follow each other, by masked networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base.blas import sgemm
from fastvi.base.typing import Array
from fastvi.kernels import autoencoder_flows as flows
from fastvi.kernels import autoencoder_masked as kernels
from fastvi.kernels.networks import BIAS, OUTPUTS, REACH, WEIGHTS, Layers
from fastvi.models.autoencoder.families import Flow, Single, Tape
from fastvi.models.autoencoder.priors import NO_ROWS
from fastvi.networks.layers import initial, masked, n_parameters

__all__ = ["Inverse", "Masked"]


class _NetworkTape(Tape):
    """The same, of masked networks."""

    def __init__(self, n_rows: int, n_all: int, flow: Inverse) -> None:
        super().__init__(n_rows, n_all, flow)
        wide, size = flow.n_context + flow.n_latent, int(flow.one.table[:, OUTPUTS].sum())
        self.inputs = np.empty(flow.n_functions * n_all * wide, np.float32)
        self.outs = np.empty(flow.n_functions * n_all * size, np.float32)
        self.spare = np.empty(n_all * max(size, wide), np.float32)
        self.back = np.empty(n_all * wide, np.float32)


class Inverse(Flow):
    """Inverse autoregressive functions (Kingma et al. 2016), with context of the encoder."""

    push: Callable[..., None] = staticmethod(flows.inverse_push)
    pull: Callable[..., None] = staticmethod(flows.inverse_pull)

    def __init__(self, n_latent: int, options: Mapping[str, Any]) -> None:
        super().__init__(n_latent, options)
        self.n_context = int(options["n_context"])
        self.one = masked(n_latent, options["flow_units"], 2, "elu", n_context=self.n_context)

    def _more(self, options: Mapping[str, Any]) -> int:
        return int(options["n_context"])

    def settle(self, first: int) -> int:
        """See `Family`."""
        size, tables = n_parameters(self.one), []
        for t in range(self.n_functions):
            table = self.one.table.copy()
            table[:, [WEIGHTS, BIAS]] += first + t * size
            tables.append(table)
        layers = Layers(np.concatenate(tables), self.one.reach)
        self.flow = flows.Inverse(layers, self.n_functions, self.n_context, self._ends())
        return self.n_functions * size

    def _ends(self) -> NDArray[np.int64]:
        """Return how many units of each layer see nothing after the first i latent variables,
        at i + 1 of (J + 1, L); and 0 before.
        """
        ends = np.zeros((self.n_latent + 1, len(self.one.table)), np.int64)
        for i in range(self.n_latent):
            known = self.n_context + i
            for layer, row in enumerate(self.one.table):
                reach = self.one.reach[row[REACH] : row[REACH] + row[OUTPUTS]]
                known = int(np.searchsorted(reach, known, side="right"))
                ends[i + 1, layer] = known
        return ends

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """See `Family`."""
        initial(self.flow.layers, rng, params)

    def work(self, n: int, n_all: int) -> _NetworkTape:
        """See `Family`."""
        return _NetworkTape(n, n_all, self)

    def _places(self, n_all: int, work: Any) -> tuple[Single, Single]:
        wide = self.n_context + self.n_latent
        size = int(self.one.table[:, OUTPUTS].sum())
        inputs = work.inputs[: self.n_functions * n_all * wide]
        return inputs, work.outs[: self.n_functions * n_all * size]

    def _push(
        self, params: Single, posterior: Single, tape: Single, work: Any, log_q: Array
    ) -> None:
        type(self).push(
            sgemm(), self.flow, params, NO_ROWS, posterior, self.n_outputs, tape,
            *self._places(len(log_q), work), log_q,
        )  # fmt: skip

    def _pull(
        self, params: Single, posterior: Single, tape: Single, work: Any, back: Single,
        shares: Single, slopes: Single, grads: Single,
    ) -> None:  # fmt: skip
        type(self).pull(
            sgemm(), self.flow, params, NO_ROWS, self.n_outputs, tape,
            *self._places(len(shares), work), work.spare, work.back, back, shares, slopes, grads,
        )  # fmt: skip


class Masked(Inverse):
    """Masked autoregressive functions (Papamakarios et al. 2017), with context of the encoder."""

    push = staticmethod(kernels.masked_push)
    pull = staticmethod(kernels.masked_pull)
