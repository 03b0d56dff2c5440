"""Whether the bound of an implicit posterior, which a ratio estimates, can be trusted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from fastvi.base.blas import sgemm
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels.noise import normals
from fastvi.models.autoencoder.implicit import Implicit, Single
from fastvi.models.autoencoder.rows import Rows

__all__ = ["RatioCheck"]

N_ROWS, N_DRAWS, N_CHUNK = 64, 16, 8
SD = 3.0  # standard errors that chance may explain
WIDEST = 1.0  # nats between which draws must tell the divergence


class RatioCheck(NamedTuple):
    """The estimated bound of an implicit posterior against what draws prove, in nats per row.

    A draw comes from one of many Gaussians of its row. Its log density is, in expectation, at most
    the log of the mean of all of them, itself among these, and at least that without it (Sobolev
    and Vetrov 2019, "Importance weighted hierarchical variational inference"). So the
    divergence from the prior lies between `least` and `most`, however the ratio was learned. The
    first is also a density from which draws may be weighted, and `log_prob` at most log p(x) in
    expectation. Draws are fresh, on up to 64 of the rows.

    An estimate is trusted if its divergence is not below `least` and its bound not above
    `log_prob`, by more than three standard errors, and if `least` and `most` are within a nat. It
    may still be too high, by no more than ``most - divergence``.

    Attributes
    ----------
    divergence, bound : float
        As the ratio has them.
    least, most : float
        Between which the divergence is.
    log_prob : float
        Log probability of rows by importance sampling.
    error_of_divergence, error_of_bound : float
        Standard errors of the differences from `least` and from `log_prob`.
    """

    divergence: float
    bound: float
    least: float
    most: float
    log_prob: float
    error_of_divergence: float
    error_of_bound: float

    @property
    def is_trusted(self) -> bool:
        """Whether draws agree with the bound."""
        return bool(
            self.divergence >= self.least - SD * self.error_of_divergence
            and self.bound <= self.log_prob + SD * self.error_of_bound
            and self.most - self.least <= WIDEST
        )

    @property
    def verdict(self) -> str:
        """The word for it: "trusted" or "untrusted"."""
        return "trusted" if self.is_trusted else "untrusted"

    def __str__(self) -> str:
        return (
            f"the bound is {self.verdict}: by the ratio the divergence is {self.divergence:.3g} "
            f"nats per row and the bound {self.bound:.4g}; by draws the divergence is "
            f"{self.least:.3g} to {self.most:.3g}, and log p(x) at least {self.log_prob:.4g}"
        )

    @classmethod
    def of(cls, model: Implicit, params: Single, rows: Rows, seed: int) -> RatioCheck:
        """Check on some of the rows, all of them if they are few."""
        n = min(N_ROWS, rows.n_rows)
        chosen = np.random.default_rng(seed).permutation(rows.n_rows)[:n]
        work, found = model.work(rows, N_CHUNK, N_DRAWS, with_gradient=False), []
        model.prior.ready(params, work.prior)
        with single_threaded_blas():
            for i in range(0, n, N_CHUNK):
                key = np.uint64((seed << 20 | i + 1) % 2**64)
                found.append(_logs(model, params, rows, chosen[i : i + N_CHUNK], key, work))
        likelihood, prior, log_q, high, low = np.concatenate(found, axis=1)
        weights = logsumexp(likelihood + prior - high, axis=1) - np.log(N_DRAWS)
        bounds = (likelihood + prior - log_q).mean(axis=1)
        errors = (_error((log_q - low).mean(axis=1)), _error(bounds - weights))
        divergences = (float((part - prior).mean()) for part in (log_q, low, high))
        divergence, least, most = divergences
        return cls(divergence, float(bounds.mean()), least, most, float(weights.mean()), *errors)


def _error(differences: Array) -> float:
    """Return the standard error of the mean of rows."""
    return (
        float(differences.std(ddof=1) / np.sqrt(len(differences))) if len(differences) > 1 else 0.0
    )


def _logs(
    model: Implicit, params: Single, rows: Rows, numbers: AnyArray, key: np.uint64, work: Any
) -> Array:
    """Return log p(x | z), log p(z), and log q(z | x) by the ratio, too high, and too low, of draws
    of rows (5, n, K).
    """
    n, inner, form, family = len(numbers), work.inner, model.form_of(rows), model.family
    n_all = n * N_DRAWS
    eps, z = inner.eps[: n_all * family.n_noise], inner.z[: n_all * model.n_latent]
    normals(key, eps)
    first = kernels.encode_rows(sgemm(), form, params, rows.data, numbers, inner)
    context = inner.encoded[first : first + n * family.n_outputs]
    out = np.empty((5, n_all))
    drawn = family.bracket(params, context, eps, work.family, z, out[3], out[4])
    family.ratio.estimate(params, drawn, z, out[2])
    kernels.decode_draws(sgemm(), form, params, rows.sparse(numbers), n, N_DRAWS, inner)
    out[0] = inner.values[:n_all]
    model.prior.densities(z, work.prior, out[1])
    found = out.reshape(5, n, N_DRAWS)
    found[0] += rows.constants[numbers][:, None]
    return found
