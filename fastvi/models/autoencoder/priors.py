"""Priors of the latent variables of autoencoders whose parts are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from fastvi.base.blas import sgemm
from fastvi.base.typing import Array
from fastvi.kernels.autoencoder import Model
from fastvi.kernels.autoencoder_priors import (
    chain_densities,
    chain_slopes,
    mixture_densities,
    mixture_slopes,
    normal_densities,
    normal_slopes,
)
from fastvi.kernels.networks import INPUTS, OUTPUTS, WEIGHTS, SparseRows, forward, reverse
from fastvi.models.autoencoder.rows import COUNTS, Frame, Rows

__all__ = ["NO_ROWS", "Chain", "Mixture", "Normal", "Prior", "Vamp", "mixture_draws"]

Single = NDArray[np.float32]

_WHOLE = np.empty(0, np.int64)
NO_ROWS = SparseRows(_WHOLE, _WHOLE, np.empty(0, np.int32), np.empty(0, np.float32))


class Prior(Protocol):
    """Density of latent variables z (R J), with parameters of its own in the vector of all.

    Densities leave out J log(2 pi) / 2.
    """

    def settle(self, form: Model, first: int) -> int:
        """Take the networks, and the first place of its parameters; return their number."""

    def start(self, params: Single, rows: Rows, rng: np.random.Generator) -> None:
        """Set initial parameters."""

    def work(self, n_all: int) -> Any:
        """Return scratch for up to R draws."""

    def ready(self, params: Single, work: Any) -> None:
        """Note these parameters in the scratch, which all of the following then are under."""

    def densities(self, z: Single, work: Any, values: Array) -> None:
        """Out: log densities (R,)."""

    def slopes(
        self, z: Single, weights: Single, beta: float, work: Any, pull: Single, grads: Single
    ) -> None:
        """Out: slopes by z in pull (R J), and the gradient of beta times the weighted sum."""

    def finish(self, params: Single, work: Any, grads: Single) -> None:
        """Add to the encoder's gradient, which is in place."""

    def draws(self, params: Single, n: int, rng: np.random.RandomState) -> Array:
        """Draw latent variables (n, J)."""


class Normal:
    """Standard normal."""

    def __init__(self, n_latent: int, frame: Frame, options: Mapping[str, Any]) -> None:
        self.n_latent = n_latent

    def settle(self, form: Model, first: int) -> int:
        """See `Prior`."""
        return 0

    def start(self, params: Single, rows: Rows, rng: np.random.Generator) -> None:
        """See `Prior`."""

    def work(self, n_all: int) -> Any:
        """See `Prior`."""
        return None

    def ready(self, params: Single, work: Any) -> None:
        """See `Prior`."""

    def densities(self, z: Single, work: Any, values: Array) -> None:
        """See `Prior`."""
        normal_densities(z, values)

    def slopes(
        self, z: Single, weights: Single, beta: float, work: Any, pull: Single, grads: Single
    ) -> None:
        """See `Prior`."""
        normal_slopes(z, pull)

    def finish(self, params: Single, work: Any, grads: Single) -> None:
        """See `Prior`."""

    def draws(self, params: Single, n: int, rng: np.random.RandomState) -> Array:
        """See `Prior`."""
        return np.asarray(rng.standard_normal((n, self.n_latent)))


def mixture_draws(
    parts: Single, n_parts: int, n_latent: int, n: int, rng: np.random.RandomState
) -> Array:
    """Draw (n, J) from a mixture: logits of weights, means and logs of sd of its parts, flat."""
    z = rng.standard_normal((n, n_latent))
    logits, means, log_sd = np.split(parts.astype(np.float64), [n_parts, n_parts * (1 + n_latent)])
    which = (logits + rng.gumbel(size=(n, n_parts))).argmax(axis=1)
    sd = np.exp(log_sd.reshape(n_parts, n_latent))
    return np.asarray(means.reshape(n_parts, n_latent)[which] + sd[which] * z)


class _Parts:
    """What a batch needs of a mixture."""

    def __init__(self, n_all: int, n_parts: int, n_latent: int) -> None:
        self.shares = np.empty(n_all * n_parts, np.float32)
        self.vector = np.zeros(n_parts * (1 + 2 * n_latent), np.float32)
        self.grads = np.empty_like(self.vector)


class Mixture:
    """Mixture of Gaussians whose weights, means and standard deviations are learned."""

    def __init__(self, n_latent: int, frame: Frame, options: Mapping[str, Any]) -> None:
        self.n_latent, self.n_parts = n_latent, int(options["n_parts"])
        self.first = 0

    @property
    def _own(self) -> slice:
        return slice(self.first, self.first + self.n_parts * (1 + 2 * self.n_latent))

    def settle(self, form: Model, first: int) -> int:
        """See `Prior`."""
        self.first = first
        return self.n_parts * (1 + 2 * self.n_latent)

    def start(self, params: Single, rows: Rows, rng: np.random.Generator) -> None:
        """See `Prior`."""
        first, size = self.first + self.n_parts, self.n_parts * self.n_latent
        params[first : first + size] = rng.standard_normal(size)

    def work(self, n_all: int) -> _Parts:
        """See `Prior`."""
        return _Parts(n_all, self.n_parts, self.n_latent)

    def ready(self, params: Single, work: _Parts) -> None:
        """See `Prior`."""
        work.vector = params[self._own]

    def densities(self, z: Single, work: _Parts, values: Array) -> None:
        """See `Prior`."""
        shares = work.shares[: len(values) * self.n_parts]
        mixture_densities(work.vector, self.n_parts, z, shares, values)

    def slopes(
        self, z: Single, weights: Single, beta: float, work: _Parts, pull: Single, grads: Single
    ) -> None:
        """See `Prior`."""
        shares = work.shares[: len(weights) * self.n_parts]
        mixture_slopes(
            work.vector, self.n_parts, z, shares, weights, np.float32(beta), pull, grads[self._own]
        )

    def finish(self, params: Single, work: _Parts, grads: Single) -> None:
        """See `Prior`."""

    def draws(self, params: Single, n: int, rng: np.random.RandomState) -> Array:
        """See `Prior`."""
        return mixture_draws(params[self._own], self.n_parts, self.n_latent, n, rng)


class Chain(Normal):
    """Latent variables in a chain, each with correlation alpha with the one before, so that
    independent Gaussians are at least delta nats away (Razavi et al. 2019, "Preventing posterior
    collapse with delta-VAEs", section 2.2).
    """

    def __init__(self, n_latent: int, frame: Frame, options: Mapping[str, Any]) -> None:
        super().__init__(n_latent, frame, options)
        if n_latent < 2:
            raise ValueError(f"kl='delta' needs n_components >= 2; it is {n_latent}")
        self.alpha = correlation(float(options["delta"]), n_latent)

    def densities(self, z: Single, work: Any, values: Array) -> None:
        """See `Prior`."""
        chain_densities(z, self.alpha, values)

    def slopes(
        self, z: Single, weights: Single, beta: float, work: Any, pull: Single, grads: Single
    ) -> None:
        """See `Prior`."""
        chain_slopes(z, self.n_latent, self.alpha, pull)

    def draws(self, params: Single, n: int, rng: np.random.RandomState) -> Array:
        """See `Prior`."""
        z = super().draws(params, n, rng)
        rest = np.sqrt(1.0 - float(self.alpha) ** 2)
        for j in range(1, self.n_latent):
            z[:, j] = self.alpha * z[:, j - 1] + rest * z[:, j]
        return z


def correlation(delta: float, n_latent: int) -> float:
    """Return alpha, for which the least divergence, ((J - 2) log(1 + alpha^2) - log(1 - alpha^2))
    / 2, is delta.
    """

    def excess(square: float) -> float:
        return float(0.5 * ((n_latent - 2) * np.log1p(square) - np.log1p(-square)) - delta)

    return float(np.sqrt(brentq(excess, 0.0, -np.expm1(-2.0 * delta - 1e-9))))


class _PseudoInputs(_Parts):
    """What a batch needs of posteriors of pseudo-inputs."""

    def __init__(self, n_all: int, n_parts: int, n_latent: int, form: Model) -> None:
        super().__init__(n_all, n_parts, n_latent)
        table = form.encoder.table
        width, widest = int(table[0, INPUTS]), int(table[:, INPUTS].max())
        self.encoded = np.empty(n_parts * int(table[:, OUTPUTS].sum()), np.float32)
        self.spare = np.empty(n_parts * widest, np.float32)
        self.back = np.empty(n_parts * width, np.float32)
        self.of_encoder = np.empty(int(form.decoder.table[0, WEIGHTS]), np.float32)


class Vamp:
    """Equal mixture of the posteriors of pseudo-inputs, rows that are learned (Tomczak and Welling
    2018, "VAE with a VampPrior", eq. 9).

    A pseudo-input is a row as the encoder sees it. Where it leaves the range of rows, it is moved
    back, and gradients that point outside are left out.
    """

    def __init__(self, n_latent: int, frame: Frame, options: Mapping[str, Any]) -> None:
        self.n_latent, self.n_parts = n_latent, int(options["n_parts"])
        self.width, self.first = frame.n_entries, 0
        self.low = -np.inf if frame.likelihood == "gaussian" else 0.0
        self.high = np.inf if frame.likelihood in ("gaussian", *COUNTS) else 1.0
        self.are_counts = frame.likelihood in COUNTS

    @property
    def _own(self) -> slice:
        return slice(self.first, self.first + self.n_parts * self.width)

    def settle(self, form: Model, first: int) -> int:
        """See `Prior`."""
        if len(form.front_plan):
            raise ValueError(
                "prior='vamp' learns rows through the dense encoder; wanted another prior with "
                "decoder='conv'"
            )
        self.form, self.first = form, first
        return self.n_parts * self.width

    def start(self, params: Single, rows: Rows, rng: np.random.Generator) -> None:
        """Rows at random, so that parts are where rows are."""
        chosen = rng.choice(rows.n_rows, self.n_parts, replace=rows.n_rows < self.n_parts)
        found, data = np.zeros((self.n_parts, self.width), np.float32), rows.data
        for i, row in enumerate(chosen):
            if rows.is_sparse:
                entries = slice(data.indptr[row], data.indptr[row + 1])
                found[i, data.indices[entries]] = data.inputs[entries]
            else:
                found[i] = np.log1p(data.dense[row]) if self.are_counts else data.dense[row]
        params[self._own] = found.ravel()

    def pseudo_inputs(self, params: Single) -> Single:
        """Return them (n_parts, E), as the encoder sees rows."""
        return params[self._own].clip(self.low, self.high).reshape(self.n_parts, self.width)

    def work(self, n_all: int) -> _PseudoInputs:
        """See `Prior`."""
        return _PseudoInputs(n_all, self.n_parts, self.n_latent, self.form)

    def ready(self, params: Single, work: _PseudoInputs) -> None:
        """See `Prior`."""
        inputs = self.pseudo_inputs(params).ravel()
        forward(sgemm(), self.form.encoder, params, inputs, NO_ROWS, self.n_parts, work.encoded)
        out = self._outputs(work)[:, : 2 * self.n_latent].reshape(self.n_parts, 2, -1)
        work.vector[self.n_parts :] = out.swapaxes(0, 1).ravel()

    def _outputs(self, work: _PseudoInputs) -> Single:
        """Return the encoder's outputs (n_parts, O)."""
        width = int(self.form.encoder.table[-1, OUTPUTS])
        return work.encoded[-self.n_parts * width :].reshape(self.n_parts, width)

    def densities(self, z: Single, work: _PseudoInputs, values: Array) -> None:
        """See `Prior`."""
        shares = work.shares[: len(values) * self.n_parts]
        mixture_densities(work.vector, self.n_parts, z, shares, values)

    def slopes(
        self, z: Single, weights: Single, beta: float, work: _PseudoInputs, pull: Single,
        grads: Single,
    ) -> None:  # fmt: skip
        """See `Prior`."""
        shares = work.shares[: len(weights) * self.n_parts]
        mixture_slopes(
            work.vector, self.n_parts, z, shares, weights, np.float32(beta), pull, work.grads
        )

    def finish(self, params: Single, work: _PseudoInputs, grads: Single) -> None:
        """See `Prior`."""
        out = self._outputs(work)
        slopes = work.grads[self.n_parts :].reshape(2, self.n_parts, -1)
        out[:, : 2 * self.n_latent] = slopes.swapaxes(0, 1).reshape(self.n_parts, -1)
        out[:, 2 * self.n_latent :] = 0.0
        raw, inputs = params[self._own], self.pseudo_inputs(params).ravel()
        reverse(
            sgemm(), self.form.encoder, params, inputs, NO_ROWS, self.n_parts, work.encoded,
            work.spare, work.of_encoder, work.back,
        )  # fmt: skip
        grads[: len(work.of_encoder)] += work.of_encoder
        leaves = (raw >= self.high) & (work.back > 0) | (raw <= self.low) & (work.back < 0)
        grads[self._own] = np.where(leaves, 0.0, work.back)

    def draws(self, params: Single, n: int, rng: np.random.RandomState) -> Array:
        """See `Prior`."""
        work = self.work(0)
        self.ready(params, work)
        return mixture_draws(work.vector, self.n_parts, self.n_latent, n, rng)
