"""Autoencoders whose posterior and prior are chosen: steps go from part to part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.blas import sgemm
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels import autoencoder_stages as stages
from fastvi.kernels import autoencoder_steps as steps
from fastvi.kernels.networks import SparseRows
from fastvi.kernels.noise import normals
from fastvi.kernels.optimizers import adam_in_place
from fastvi.models.autoencoder.choice import Choice
from fastvi.models.autoencoder.families import Family
from fastvi.models.autoencoder.model import Autoencoder, Single
from fastvi.models.autoencoder.priors import Prior
from fastvi.models.autoencoder.rows import Frame, Rows

__all__ = ["Staged"]


class _Work(NamedTuple):
    """Scratch of a batch."""

    inner: Any  # kernels.Work
    family: Any
    prior: Any
    log_q: Array  # (R,)
    nothing: Single  # (n J) zeros
    draw: Callable[..., None]  # of the family

    @property
    def x(self) -> Any:
        """Rows (n E)."""
        return self.inner.x

    @property
    def eps(self) -> Any:
        """Noise (R J)."""
        return self.inner.eps

    @property
    def z(self) -> Any:
        """Draws (R J)."""
        return self.inner.z

    @property
    def values(self) -> Any:
        """Log weights (R,)."""
        return self.inner.values

    @property
    def divergences(self) -> Single:
        """Zeros (n J): divergences are sampled."""
        return self.nothing


class Staged(Autoencoder):
    """Autoencoder of a family of posteriors and of a prior, see `families` and `priors`.

    Divergences come from draws; free bits are those of all latent variables together (Kingma et al.
    2016, eq. 15, with one group).
    """

    def __init__(
        self, frame: Frame, n_latent: int, hidden: Sequence[int], activation: str,
        noise: str | float, choice: Choice,
    ) -> None:  # fmt: skip
        self.family: Family = choice.parts["family"](n_latent, choice.options)
        n_latent = self.family.n_latent
        self.prior: Prior = choice.parts["prior"](n_latent, frame, choice.options)
        super().__init__(frame, n_latent, hidden, activation, noise, choice)
        self.n_params += self.prior.settle(self.form, self.n_params)
        self._first_of_family = self.n_params
        self.n_params += self.family.settle(self.n_params)

    @property
    def n_parts(self) -> int:
        """See `Autoencoder`."""
        return 0

    @property
    def n_encoded(self) -> int:
        """See `Autoencoder`."""
        return self.family.n_outputs

    @property
    def n_noise(self) -> int:
        """See `Autoencoder`."""
        return self.family.n_noise

    @property
    def objectives(self) -> tuple[str, ...]:
        """See `Autoencoder`."""
        return self.family.objectives

    @property
    def is_sampled(self) -> bool:
        """See `Autoencoder`."""
        return True

    @property
    def has_free_bits(self) -> bool:
        """See `Autoencoder`."""
        return True

    @property
    def first_of_family(self) -> int:
        """See `Autoencoder`."""
        return self._first_of_family

    def start(self, rows: Rows, rng: np.random.Generator) -> Single:
        """See `Autoencoder`."""
        params = super().start(rows, rng)
        self.prior.start(params, rows, rng)
        self.family.start(params, rng)
        return params

    def work(self, rows: Rows, n: int, n_draws: int, *, with_gradient: bool = True) -> Any:
        """See `Autoencoder`."""
        n_all = n * n_draws
        return _Work(
            super().work(rows, n, n_draws, with_gradient=with_gradient),
            self.family.work(n, n_all), self.prior.work(n_all), np.empty(n_all),
            np.zeros(n * self.n_latent, np.float32), self.family.draw,
        )  # fmt: skip

    def evaluation_work(self, params: Single, rows: Rows, n: int, n_draws: int) -> _Work:
        """See `Autoencoder`."""
        work: _Work = self.work(rows, n, n_draws, with_gradient=False)
        self.prior.ready(params, work.prior)
        return work._replace(draw=self.family.exact)

    def _forward(
        self, objective: kernels.Objective, params: Single, rows: Rows, numbers: AnyArray,
        sparse: SparseRows, work: _Work,
    ) -> tuple[Single, float]:  # fmt: skip
        """Fill `work`; return the encoder's outputs and the mean of log p(z) / q(z)."""
        n, inner, form = len(numbers), work.inner, self.form_of(rows)
        n_all, wide = n * objective.n_draws, n * self.n_encoded
        first = kernels.encode_rows(sgemm(), form, params, rows.data, numbers, inner)
        posterior, log_q = inner.encoded[first : first + wide], work.log_q[:n_all]
        size, densities = n_all * self.n_latent, inner.densities[:n_all]
        z = inner.z[:size]
        eps = inner.eps[: n_all * self.n_noise]
        work.draw(params, posterior, eps, work.family, z, log_q)
        kernels.decode_draws(sgemm(), form, params, sparse, n, objective.n_draws, inner)
        self.prior.densities(z, work.prior, densities)
        densities -= log_q
        inner.values[:n_all] += objective.beta * densities
        return posterior, float(densities.mean())

    def evaluate(
        self, objective: kernels.Objective, params: Single, rows: Rows, numbers: AnyArray, work: Any
    ) -> None:
        """See `Autoencoder`."""
        self._forward(objective, params, rows, numbers, rows.sparse(numbers), work)

    def step(
        self, objective: kernels.Objective, params: Single, rows: Rows, numbers: AnyArray,
        key: np.uint64, adam: steps.Adam, moments: Single, work: Any, grads: Single,
    ) -> tuple[float, float, int]:  # fmt: skip
        """See `Autoencoder`."""
        n, inner, form = len(numbers), work.inner, self.form_of(rows)
        n_all = n * objective.n_draws
        size = n_all * self.n_latent
        if key != 0:
            normals(key, inner.eps[: n_all * self.n_noise])
        self.prior.ready(params, work.prior)
        sparse = rows.sparse(numbers)
        posterior, ratio = self._forward(objective, params, rows, numbers, sparse, work)
        nothing, values = work.nothing[: n * self.n_latent], inner.values[:n_all]
        bound = steps.weigh(objective, n, inner, nothing, values)
        if not np.isfinite(bound):
            return bound, -ratio, self._failed(form, n, objective.n_draws, inner)
        if objective.free > 0.0 and -ratio < objective.free * self.n_latent:
            objective = objective._replace(beta=0.0)
        weights, pull, z = inner.weights[:n_all], inner.pull[:size], inner.z[:size]
        stages.decoder_back(sgemm(), form, params, sparse, n, objective.n_draws, inner, grads)
        self.prior.slopes(z, weights, objective.beta, work.prior, pull, grads)
        self.family.slopes(objective, params, posterior, inner, work.family, grads)
        kernels.encoder_back(sgemm(), form, params, sparse, n, inner, grads)
        self.prior.finish(params, work.prior, grads)
        if adam.rate > 0.0:
            adam_in_place(
                grads, moments[: grads.size], moments[grads.size :], *map(np.float32, adam), params
            )
        return bound, -ratio, steps.FINE

    def _failed(self, form: kernels.Model, n: int, n_draws: int, inner: kernels.Work) -> int:
        """Return the number of what was not finite: draws are after layers and the likelihood."""
        failed = int(steps.not_finite(form, n, n_draws, inner))
        n_encoder, n_decoder = len(form.encoder.table), len(form.decoder.table)
        size = n * n_draws * self.n_latent
        if failed >= n_encoder and not np.isfinite(inner.z[:size]).all():
            return n_encoder + n_decoder + 1
        return failed

    def layer_name(self, number: int) -> str:
        """See `Autoencoder`."""
        n_layers = len(self.form.encoder.table) + len(self.form.decoder.table)
        return "the draws of posteriors" if number > n_layers else super().layer_name(number)

    def prior_draws(self, params: Single, n: int, rng: np.random.RandomState) -> Array:
        """See `Autoencoder`."""
        return self.prior.draws(params, n, rng)

    def encode(self, params: Single, rows: Rows, first: int, last: int, work: Single) -> Single:
        """See `Autoencoder`."""
        return self.family.moments(params, super().encode(params, rows, first, last, work))
