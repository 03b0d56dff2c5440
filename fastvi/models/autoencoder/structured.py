"""Autoencoders with a structured prior: a Bayesian mixture of Gaussians over latent variables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from fastvi.base.blas import sgemm
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import autoencoder as plain
from fastvi.kernels import autoencoder_stages as stages
from fastvi.kernels import autoencoder_steps as steps
from fastvi.kernels import structured as kernels
from fastvi.kernels.networks import BIAS, WEIGHTS
from fastvi.kernels.noise import normals
from fastvi.kernels.optimizers import adam_in_place
from fastvi.models.autoencoder.model import Autoencoder, Single
from fastvi.models.autoencoder.rows import Rows
from fastvi.models.mixture.model import Mixture, Parameters, Prior
from fastvi.models.mixture.rows import Frame

__all__ = ["StructuredAutoencoder"]

SPREAD = 0.5  # prior standard deviation of the parts
REACH = 4.0  # that of their means, in units of this
LOG_SD = -2.0  # of observations at the start
LEAST = 1e-6  # standard deviation of observations that is not taken for 0
BLOCK = 64  # rows beside each other, and how many such blocks the start looks at
TOLERANCE, MOST = 1e-6, 100  # of mean field: of shares, and rounds
MEMORY = 10.0  # passes over rows that the posterior of the parts remembers


class Scratch(NamedTuple):
    """Scratch of networks and of mean field."""

    networks: plain.Work
    local: kernels.Local
    sums: kernels.Sums
    extra: kernels.Sums

    @property
    def x(self) -> Any:
        """Those of the networks."""
        return self.networks.x

    @property
    def eps(self) -> Any:
        """Those of the networks."""
        return self.networks.eps

    @property
    def z(self) -> Any:
        """Those of the networks."""
        return self.networks.z

    @property
    def values(self) -> Any:
        """Those of the networks."""
        return self.networks.values

    @property
    def divergences(self) -> Any:
        """Those of the networks."""
        return self.networks.divergences


class StructuredAutoencoder(Autoencoder):
    """Autoencoder whose latent variables come from a mixture of Gaussians with unknown parameters.

    Weights have a Dirichlet prior that leaves parts empty that are not needed, means and precisions
    Normal-Wishart priors. Their posterior is conjugate; it follows natural gradients (Johnson et
    al. 2016, proposition 4.1), by statistics of rows and by what moves the rows' posteriors. It
    stands where other priors have parameters: counts (C,), sums (C J) and packed squares of
    `fastvi.models.mixture.model.Parameters`.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        j, c = self.n_latent, self.choice.options["n_parts"]
        dof = j + 2.0
        prior = Prior(1.0 / c, False, 1.0 / REACH**2, np.zeros(j), dof, dof * SPREAD**2 * np.eye(j))
        self.mixture = Mixture(prior, Frame(np.zeros(j), np.ones(j)), c, "full")
        self.n_params = self.form.prior_at + c * (1 + j + j * (j + 1) // 2)

    @property
    def n_parts(self) -> int:
        """Not of the kernels of other priors."""
        return 0

    @property
    def objectives(self) -> tuple[str, ...]:
        """See `Autoencoder`."""
        return ("elbo",)

    @property
    def makes_posteriors(self) -> bool:
        """The encoder makes observations."""
        return False

    @property
    def is_sampled(self) -> bool:
        """Not the divergence, but all of its parts are needed together."""
        return True

    def start(self, rows: Rows, rng: np.random.Generator) -> Single:
        """Return initial parameters.

        The encoder's last layer is scaled to observations of variance 1 over rows, of little noise,
        and the parts begin at those of random rows: from observations near 0, groups of rows would
        not come apart.
        """
        params, (c, j) = super().start(rows, rng), (self.mixture.n_components, self.n_latent)
        seen = self._observations(params, rows)
        centre, spread = seen.mean(axis=0), np.maximum(seen.std(axis=0), LEAST)
        last = self.form.encoder.table[-1]
        weights = params[last[WEIGHTS] : last[BIAS]].reshape(-1, 2 * j)
        weights[:, :j] /= spread
        params[last[BIAS] : last[BIAS] + 2 * j] = np.append(-centre / spread, np.full(j, LOG_SD))
        means = ((seen - centre) / spread)[rng.integers(len(seen), size=c)]
        mixture, counts = self.mixture, np.full(c, rows.n_rows / c)
        scatter = mixture.scatter * (1.0 + counts[0] / mixture.hyper.dof)
        self._put(mixture.params_of(counts, means, np.tile(scatter, (c, 1))), params)
        return params

    def _observations(self, params: Single, rows: Rows) -> Array:
        """Return what the encoder makes of some rows from everywhere, (n, J)."""
        size, work = min(BLOCK, rows.n_rows), super().encoder_work(BLOCK)
        firsts = np.unique(np.linspace(0, rows.n_rows - size, BLOCK).astype(int))
        blocks = [
            super(StructuredAutoencoder, self).encode(params, rows, i, i + size, work).copy()
            for i in firsts
        ]
        return np.concatenate(blocks)[:, : self.n_latent].astype(np.float64)

    def _put(self, found: Parameters, params: Single) -> None:
        params[self.form.prior_at :] = np.concatenate([part.ravel() for part in found])

    def globals_of(self, params: Single) -> Parameters:
        """Return the posterior of the parts, in natural parameters."""
        c, j = self.mixture.n_components, self.n_latent
        flat = params[self.form.prior_at :].astype(np.float64)
        counts, sums, squares = np.split(flat, [c, c * (1 + j)])
        return Parameters(counts, sums.reshape(c, j), squares.reshape(c, -1))

    def parts_of(self, found: Parameters) -> kernels.Parts:
        """Return expectations of the parameters of parts."""
        mixture, q = self.mixture, self.mixture.posterior(found)
        precisions = q.dof[:, None] * q.inverse.packed
        slopes = mixture.shape.times(precisions, q.means)
        constants = 0.5 * (mixture.expected_log_det(q) - self.n_latent / q.kappa)
        constants += q.log_weights - 0.5 * (slopes * q.means).sum(axis=1)
        return kernels.Parts(constants, slopes, mixture.shape.unpack(precisions))

    def mixture_of(self, params: Single) -> tuple[Array, Array, Array]:
        """Return weights (C,), means (C, J) and covariances (C, J, J): what rows are drawn from."""
        found = self.globals_of(params)
        q = self.mixture.posterior(found)
        covariances = self.mixture.shape.unpack(q.scatter / q.dof[:, None])
        return self.mixture.weights(found.counts), q.means, covariances

    def prior_draws(self, params: Single, n: int, rng: np.random.RandomState) -> Array:
        """Draw latent variables (n, J) from the mixture."""
        weights, means, covariances = self.mixture_of(params)
        which = rng.choice(len(weights), size=n, p=weights)
        eps = rng.standard_normal((n, self.n_latent, 1))
        return np.asarray(means[which] + (np.linalg.cholesky(covariances)[which] @ eps)[:, :, 0])

    # Scratch

    def local(self, n: int) -> kernels.Local:
        """Return scratch of mean field for n rows."""
        c, j = self.mixture.n_components, self.n_latent
        shapes = (n, c), (n, j), (n, j, j), (n, j, j), (n,), (c,), (4, j), (4, j, j)
        return kernels.Local(*map(np.empty, shapes))

    def work(self, rows: Rows, n: int, n_draws: int, *, with_gradient: bool = True) -> Any:
        """Return scratch for batches of up to n of the rows."""
        c, j = self.mixture.n_components, self.n_latent
        both = (kernels.Sums(*map(np.empty, ((c,), (c, j), (c, j, j)))) for _ in range(2))
        return Scratch(
            super().work(rows, n, n_draws, with_gradient=with_gradient), self.local(n), *both
        )

    def encoder_work(self, n: int) -> Any:
        """Return scratch for n rows."""
        return super().encoder_work(n), self.local(n)

    # Rows

    def encode(self, params: Single, rows: Rows, first: int, last: int, work: Any) -> Single:
        """Return means and logs of standard deviations of q (n, 2 J)."""
        local, n = self.infer(params, rows, first, last, work), last - first
        variances = np.diagonal(local.covariances[:n], axis1=1, axis2=2)
        return np.concatenate([local.means[:n], 0.5 * np.log(variances)], axis=1, dtype=np.float32)

    def infer(self, params: Single, rows: Rows, first: int, last: int, work: Any) -> kernels.Local:
        """Return what mean field finds for rows from first to last."""
        observed = super().encode(params, rows, first, last, work[0])
        parts, local = self.parts_of(self.globals_of(params)), work[1]
        kernels.infer(parts, observed.reshape(-1), TOLERANCE, MOST, local)
        return local

    def _forward(
        self, parts: kernels.Parts, n_draws: int, params: Single, rows: Rows, numbers: AnyArray,
        work: Scratch,
    ) -> Single:  # fmt: skip
        """Put log likelihoods into `work.values`, q into `work.local` and draws into `work.z`;
        return what the encoder makes of rows (n 2 J).
        """
        n, inner, form = len(numbers), work.networks, self.form_of(rows)
        first = plain.encode_rows(sgemm(), form, params, rows.data, numbers, inner)
        observed: Single = inner.encoded[first : first + 2 * n * self.n_latent]
        kernels.infer(parts, observed, TOLERANCE, MOST, work.local)
        kernels.draw(work.local, n_draws, inner.eps, inner.z[: n * n_draws * self.n_latent])
        sparse = rows.sparse(numbers)
        plain.decode_draws(sgemm(), form, params, sparse, n, n_draws, inner)
        return observed

    def evaluate(
        self, objective: plain.Objective, params: Single, rows: Rows, numbers: AnyArray, work: Any
    ) -> None:
        """Put what draws add to the bound, or log weights under the mixture at the means of its
        parameters, into `work.values` (R,), and draws into `work.z`.
        """
        n, k, j = len(numbers), objective.n_draws, self.n_latent
        parts = self.parts_of(self.globals_of(params))
        self._forward(parts, k, params, rows, numbers, work)
        values = work.values[: n * k].reshape(n, k)
        work.divergences[...] = 0.0
        if objective.kind != plain.WEIGHTED:
            values += work.local.values[:n, None]
            return
        eps = work.eps[: n * k * j].reshape(n, k, j).astype(np.float64)
        roots = np.diagonal(work.local.roots[:n], axis1=1, axis2=2)
        values += 0.5 * np.square(eps).sum(axis=2) + np.log(roots).sum(axis=1)[:, None]
        values += self._log_prior(params, work.z[: n * k * j].reshape(-1, j)).reshape(n, k)

    def _log_prior(self, params: Single, z: Single) -> Array:
        """Return log densities (R,), without J log(2 pi) / 2."""
        weights, means, covariances = self.mixture_of(params)
        whitening = np.linalg.inv(np.linalg.cholesky(covariances))
        away = np.einsum("cij,rcj->rci", whitening, z[:, None] - means)
        logs = np.log(weights) + np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum(axis=1)
        return np.asarray(logsumexp(logs - 0.5 * np.square(away).sum(axis=2), axis=1))

    def step(
        self, objective: plain.Objective, params: Single, rows: Rows, numbers: AnyArray,
        key: np.uint64, adam: steps.Adam, moments: Single, work: Any, grads: Single,
    ) -> tuple[float, float, int]:  # fmt: skip
        """Take a step on the rows of these numbers: of networks, and a natural one of parts."""
        n, n_draws, inner, form = len(numbers), objective.n_draws, work.networks, self.form_of(rows)
        n_all = n * n_draws
        size = n_all * self.n_latent
        if key != 0:
            normals(key, inner.eps[:size])
        before = self.globals_of(params)
        parts, of_parts = self.parts_of(before), self.mixture.global_bound(before) / rows.n_rows
        observed = self._forward(parts, n_draws, params, rows, numbers, work)
        divergence = -float(work.local.values[:n].mean())
        bound = float(inner.values[:n_all].mean()) - divergence
        if not np.isfinite(bound):
            return bound, divergence, int(steps.not_finite(form, n, n_draws, inner))
        inner.weights[:n_all] = 1.0 / n_all
        sparse = rows.sparse(numbers)
        grads[self.form.prior_at :] = 0.0
        stages.decoder_back(sgemm(), form, params, sparse, n, n_draws, inner, grads)
        for part in (*work.sums, *work.extra):
            part.fill(0.0)
        kernels.pull_back(
            parts, objective.beta / n, n_draws, inner.eps[:size], inner.back[:size], TOLERANCE,
            MOST, observed, work.local, work.sums, work.extra,
        )  # fmt: skip
        plain.encoder_back(sgemm(), form, params, sparse, n, inner, grads)
        if adam.rate > 0.0:
            adam_in_place(
                grads, moments[: grads.size], moments[grads.size :], *map(np.float32, adam), params
            )
        self._put(self._moved(before, rows.n_rows, n, work), params)
        return bound + of_parts, divergence, steps.FINE

    def _moved(self, before: Parameters, n_rows: int, n: int, work: Scratch) -> Parameters:
        """Return the posterior of the parts after a natural step.

        What moves the rows' posteriors may take a part out of range; that part goes without.
        """
        mixture, rate = self.mixture, -np.expm1(-n / (MEMORY * n_rows))
        sums, extra = (
            Parameters(s.counts, s.linear, mixture.shape.pack(s.squares))
            for s in (work.sums, work.extra)
        )
        target = Parameters(*(p + n_rows * s for p, s in zip(mixture.prior, sums)))
        plainly = Parameters(*(a + rate * (b - a) for a, b in zip(before, target)))
        change = Parameters(*(rate * n_rows * e for e in extra))
        step = mixture.confine(plainly, change)
        return Parameters(*(a + b for a, b in zip(plainly, step)))
