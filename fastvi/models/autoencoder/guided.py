"""Autoencoders whose posteriors follow the slopes of log p(x, z)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base.blas import sgemm
from fastvi.base.typing import AnyArray
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels import autoencoder_stages as stages
from fastvi.kernels.networks import WEIGHTS, SparseRows
from fastvi.models.autoencoder.families import N_DRAWS, N_ROWS
from fastvi.models.autoencoder.model import Single
from fastvi.models.autoencoder.rows import Rows
from fastvi.models.autoencoder.staged import Staged

__all__ = ["Guided"]

APART = 0.002  # of differences of slopes, in standard deviations


class _Decoder:
    """See `paths.Guide`; of a standard normal prior. It uses the scratch of the batch."""

    def __init__(self, form: kernels.Model, n_params: int) -> None:
        self.form, self.first = form, int(form.decoder.table[0, WEIGHTS])
        self.grads = np.zeros(n_params, np.float32)

    def of(self, sparse: SparseRows, n: int, n_draws: int, inner: kernels.Work) -> None:
        """Take a batch."""
        self.sparse, self.n, self.n_draws, self.inner = sparse, n, n_draws, inner

    def _weighted(self, params: Single, z: Single, weights: Single | float) -> Single:
        """Return slopes (R, J) of weighted log likelihoods; those by the decoder go to `grads`."""
        inner, of_batch = self.inner, (self.sparse, self.n, self.n_draws)
        inner.z[: z.size] = z.ravel()
        inner.weights[: len(z)] = weights
        kernels.decode_draws(sgemm(), self.form, params, *of_batch, inner)
        stages.decoder_back(sgemm(), self.form, params, *of_batch, inner, self.grads)
        return np.array(inner.back[: z.size].reshape(z.shape))

    def slopes(self, params: Single, z: Single) -> Single:
        """See `Guide`."""
        return self._weighted(params, z, 1.0) - z

    def curve(
        self, params: Single, z: Single, units: Single, along: Single, grads: Single
    ) -> Single:
        """See `Guide`."""
        size = np.sqrt((along * along).sum(axis=1))
        unit = along / np.maximum(size, np.finfo(np.float32).tiny)[:, None]
        move, weights = np.float32(APART) * units * unit, size / np.float32(2 * APART)
        total = -units * along
        for sign in (1, -1):
            total += self._weighted(params, z + sign * move, sign * weights)
            grads[self.first :] += self.grads[self.first :]
        return total


class Guided(Staged):
    """Autoencoder of `paths.Hamiltonian` or `paths.Langevin`."""

    @property
    def makes_posteriors(self) -> bool:
        """See `Autoencoder`."""
        return False

    def work(self, rows: Rows, n: int, n_draws: int, *, with_gradient: bool = True) -> Any:
        """See `Autoencoder`; slopes are needed for draws alone, too."""
        made = super().work(rows, n, n_draws)
        made.family.guide = _Decoder(self.form_of(rows), self.n_params)
        return made

    def _forward(
        self, objective: kernels.Objective, params: Single, rows: Rows, numbers: AnyArray,
        sparse: SparseRows, work: Any,
    ) -> tuple[Single, float]:  # fmt: skip
        """See `Staged`; slopes are those of these rows."""
        work.family.guide.of(sparse, len(numbers), objective.n_draws, work.inner)
        return super()._forward(objective, params, rows, numbers, sparse, work)

    def encode(self, params: Single, rows: Rows, first: int, last: int, work: Single) -> Single:
        """See `Autoencoder`; those of 64 ends of paths for each row, the same noise for all."""
        rng = np.random.default_rng(0)
        half = rng.standard_normal((N_DRAWS // 2, self.n_noise), np.float32)
        noise, out = np.concatenate([half, -half]), []
        scratch = self.evaluation_work(params, rows, N_ROWS, N_DRAWS)
        objective = kernels.Objective(kernels.SAMPLED, N_DRAWS, 0.0, 1.0, 0.0)
        for i in range(first, last, N_ROWS):
            numbers = np.arange(i, min(i + N_ROWS, last))
            n_all = len(numbers) * N_DRAWS
            scratch.eps[: n_all * self.n_noise] = np.tile(noise, (len(numbers), 1)).ravel()
            self.evaluate(objective, params, rows, numbers, scratch)
            z = scratch.z[: n_all * self.n_latent].reshape(len(numbers), N_DRAWS, -1)
            out.append(np.concatenate([z.mean(axis=1), np.log(z.std(axis=1, ddof=1))], axis=1))
        return np.concatenate(out) if out else np.empty((0, 2 * self.n_latent), np.float32)
