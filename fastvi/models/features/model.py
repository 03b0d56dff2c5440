"""Latent binary features without scikit-learn: the conjugate model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array, Indices
from fastvi.core import Batch, Coordinates, Local, add, scale
from fastvi.models.features.priors import Shares, SharesPrior
from fastvi.models.features.rows import (
    FRESH,
    ONE_SWEEP,
    Decoder,
    Rows,
    Sums,
    Sweeps,
    packed,
    unpacked,
)
from fastvi.models.features.rows import Local as LocalStep

__all__ = ["BetaBernoulli", "Found", "Parameters"]

ROUNDS = 3  # of images, noise and variances, for fixed sums over rows
LEAST = 1e-12  # of the noise's variance, relative to the mean square of the data


class Parameters(NamedTuple):
    """Sums over rows, from which the images of features follow, and what is learned besides.

    There are J features, and K = J + 1 with an intercept, which all rows have. A feature with a
    usage of exactly 0 was taken out.
    """

    n_rows: Array  # (1,)
    n_values: Array  # (1,) not missing
    usage: Array  # (J,) sums of E[z]
    second: Array  # (P, G) sums of E[z z'], for all features of the data at once (G = 1) or each
    cross: Array  # (K, D) sums of E[z] x'
    squares: Array  # (1,) sum of x^2
    betas: Array  # (J, 2) of the Beta distributions of shares
    noise: Array  # (1,) variance
    variances: Array  # (2,) prior variances of images, and of the intercept


class Found(NamedTuple):
    """The posterior of images and shares, for the features in use."""

    used: Indices  # (K',) numbers of features, with the intercept's
    means: Array  # (K', D) of images
    covariances: Array  # (G, K', K')
    log_det: float  # of the covariances, summed over the features of the data
    betas: Array  # (J, 2)
    shares: Shares  # of all features
    noise: float
    variances: Array  # (2,)

    @property
    def products(self) -> Array:
        """E[A A'], packed, for each feature of the data or their sum, (P', G)."""
        if len(self.covariances) == 1:
            whole = self.means @ self.means.T + self.means.shape[1] * self.covariances[0]
            return packed(whole)[:, None]
        outer = np.einsum("kd,ld->dkl", self.means, self.means)
        return packed(outer + self.covariances).T

    @property
    def squares(self) -> Array:
        """E[sum_d A_kd^2], (K',)."""
        spread = np.einsum("gkk->k", self.covariances)
        if len(self.covariances) == 1:
            spread = spread * self.means.shape[1]
        return np.asarray(np.square(self.means).sum(axis=1) + spread)


class BetaBernoulli:
    """The conjugate model of `fastvi.BetaBernoulliFeatures`.

    ``x_n = z_n A + noise``, or x_n binary with log odds z_n A, with ``z_nk ~ Bernoulli(pi_k)``. The
    posterior is q(Z) q(pi) q(A), with q(A) joint over the features. A local step is a full pass of
    coordinate ascent: q(A), the noise and the prior variances from the sums in `params`, then
    q(pi), then q(Z).

    Parameters
    ----------
    n_features : int
        Features of the rows, J.
    width : int
        Features of the data, D.
    prior : SharesPrior
    binary, intercept, missing : bool
        Whether the data are binary, there is an intercept, and values may be missing.
    structured : bool
        Condition the rows on draws of pi and A instead of expectations (Hoffman and Blei 2015).
    learn : tuple of bool
        Whether the noise and the prior variances are learned.
    n_threads : int
        Threads to use; results do not depend on it.
    """

    coordinates: Coordinates | None = None

    def __init__(
        self,
        n_features: int,
        width: int,
        shares: SharesPrior,
        *,
        binary: bool = False,
        intercept: bool = False,
        missing: bool = False,
        structured: bool = False,
        learn: tuple[bool, bool] = (True, True),
        n_threads: int = 1,
    ) -> None:
        self.n_features, self.width, self.shares = n_features, width, shares
        self.binary, self.intercept, self.structured = binary, intercept, structured
        self.learns_noise, self.learns_variances = learn[0] and not binary, learn[1]
        self.n_threads = n_threads
        k = n_features + intercept
        self.each = binary or missing
        groups = width if self.each else 1
        self.prior = Parameters(
            np.zeros(1), np.zeros(1), np.zeros(n_features), np.zeros((k * (k + 1) // 2, groups)),
            np.zeros((k, width)), np.zeros(1), np.zeros((n_features, 2)), np.zeros(1), np.zeros(2),
        )  # fmt: skip
        self._last: tuple[Parameters, Found] | None = None

    # Images and shares

    def found(self, params: Parameters) -> Found:
        """Compute q(A), the noise, the variances and q(pi), in this order."""
        if self._last is None or not all(map(np.array_equal, self._last[0], params)):
            kept = Parameters(*(part.copy() for part in params))  # steps write into params
            self._last = kept, self._found(params)
        return self._last[1]

    def _found(self, params: Parameters) -> Found:
        used = np.flatnonzero(np.append(params.usage > 0, np.ones(int(self.intercept), bool)))
        second = unpacked(params.second.T)[:, used[:, None], used]
        cross = params.cross[used]
        noise, variances = float(params.noise[0]), params.variances
        betas = self.shares.updated(params.betas, params.usage, float(params.n_rows[0]))
        found = Found(
            used, cross, second, 0.0, betas, self.shares.expected(betas), noise, variances
        )
        least = LEAST * float(params.squares[0] / params.n_values[0]) or 1.0  # data are all 0
        for _ in range(ROUNDS):
            precision = second / noise
            precision[:, np.arange(len(used)), np.arange(len(used))] += self._inverse(
                used, variances
            )
            covariances = np.linalg.inv(precision)
            covariances = 0.5 * (covariances + covariances.transpose(0, 2, 1))
            if len(second) == 1:
                means = covariances[0] @ cross / noise
            else:
                means = np.einsum("dkl,ld->kd", covariances, cross) / noise
            found = found._replace(means=means, covariances=covariances)
            if self.learns_noise:
                noise = max(self._residual(found, params) / float(params.n_values[0]), least)
            if self.learns_variances:
                variances = self._variances(found, variances)
            if not (self.learns_noise or self.learns_variances):
                break
        log_det = np.linalg.slogdet(covariances)[1].sum() * (self.width if len(second) == 1 else 1)
        return found._replace(log_det=float(log_det), noise=noise, variances=variances)

    def _inverse(self, used: Indices, variances: Array) -> Array:
        return np.asarray(1.0 / variances[(used >= self.n_features).astype(int)])

    def _residual(self, found: Found, params: Parameters) -> float:
        """Expected sum of squared residuals."""
        second = unpacked(params.second.T)[:, found.used[:, None], found.used]
        fit = np.vdot(second, unpacked(found.products.T))
        return float(params.squares[0] - 2.0 * np.vdot(found.means, params.cross[found.used]) + fit)

    def _variances(self, found: Found, variances: Array) -> Array:
        """Return the best prior variances of the images in use, and of the intercept."""
        squares, result = found.squares / self.width, variances.copy()
        free = found.used < self.n_features
        if free.any():
            result[0] = max(squares[free].mean(), np.finfo(float).tiny)
        if self.intercept:
            result[1] = max(squares[-1], np.finfo(float).tiny)
        return result

    def decoder(
        self, found: Found, rng: np.random.Generator | None = None, *, each: bool = False
    ) -> Decoder:
        """Return what a local step needs, from expectations, or from draws of pi and A.

        With `each`, rows may have missing values.
        """
        if each and not self.each:
            d = self.width
            wide = np.broadcast_to(found.covariances, (d, *found.covariances.shape[1:]))
            found = found._replace(covariances=wide)
        free = found.used[found.used < self.n_features]
        shares, means, products = found.shares, found.means, found.products
        if rng is not None:
            shares = self.shares.drawn(found.betas, rng)
            lower = np.linalg.cholesky(found.covariances)
            noise = rng.standard_normal((self.width, len(means), 1))
            means = means + (lower @ noise)[:, :, 0].T
            drawn = found._replace(means=means, covariances=np.zeros_like(found.covariances))
            products = drawn.products
        return Decoder(
            means, products, Shares(shares.on[free], shares.off[free]), found.noise,
            each or self.each, self.binary,
        )  # fmt: skip

    # Rows

    def local(
        self,
        params: Parameters,
        batch: Batch,
        start: Array | None,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Fit the features of a batch; see `fastvi.core.Conjugate`.

        `Local.variables` are probabilities (K, n).
        """
        return self.sweep(params, batch, start, FRESH if start is None else ONE_SWEEP, rng, norms)

    def sweep(
        self,
        params: Parameters,
        batch: Batch,
        start: Array | None,
        sweeps: Sweeps,
        rng: np.random.Generator | None = None,
        norms: bool = False,
    ) -> Local:
        """As `local`, with other sweeps over the rows."""
        found = self.found(params)
        decoder = self.decoder(found, rng if self.structured else None)
        rows: Rows = batch.rows
        n_rows = len(rows.values)
        nu = decoder.fresh(n_rows) if start is None else start[found.used]
        work = LocalStep(decoder, rows, np.asarray(batch.weights, np.float64), nu)
        sums = work.run(sweeps, self.n_threads)
        statistics = self._statistics(found, batch, sums)
        whole = np.zeros((self.n_features + self.intercept, n_rows))
        whole[found.used] = nu
        bound = self._local_bound(found, statistics, sums)
        common = sum(float(np.vdot(part, part)) for part in statistics[-3:])
        lengths = self._norms(rows, nu) if norms else None
        return Local(statistics, bound, whole, lengths, common)

    def _statistics(self, found: Found, batch: Batch, sums: Sums) -> Parameters:
        weights, used = batch.weights, found.used
        n_free = np.count_nonzero(used < self.n_features)
        usage, cross = np.zeros_like(self.prior.usage), np.zeros_like(self.prior.cross)
        usage[used[:n_free]], cross[used] = sums.usage, sums.cross
        second = np.zeros_like(self.prior.second)
        low, high = (used[i] for i in np.tril_indices(len(used)))
        second[low * (low + 1) // 2 + high] = sums.second
        n_rows, n_values = float(np.sum(weights)), float(np.sum(weights)) * self.width
        if batch.rows.seen.size:
            n_values = float(weights @ batch.rows.seen.sum(axis=1))
        return Parameters(
            np.array([n_rows]), np.array([n_values]), usage, second, cross,
            np.array([sums.squares]), found.betas, np.array([found.noise]), found.variances,
        )  # fmt: skip

    def _local_bound(self, found: Found, statistics: Parameters, sums: Sums) -> float:
        """E_q[log p(x, z | A, pi) - log q(z)] of rows with these statistics, in nats."""
        fit = 2.0 * np.vdot(found.means, sums.cross)
        factors = np.where(np.equal(*np.tril_indices(len(found.used))), 1.0, 2.0)
        fit -= factors @ np.sum(found.products * sums.second, axis=1)
        n_values = float(statistics.n_values[0])
        constant = sums.constant
        if not self.binary:
            fit -= sums.squares
            constant = -0.5 * n_values * np.log(2.0 * np.pi * found.noise)
        on, off = found.shares
        chosen = statistics.usage @ on + (statistics.n_rows[0] - statistics.usage) @ off
        return float(0.5 * fit / found.noise + constant + chosen + sums.entropy)

    def _norms(self, rows: Rows, nu: Array) -> Array:
        """Norms of each row's own statistics, roughly for binary data, (n,)."""
        length = np.einsum("ij,ij->i", rows.values, rows.values)
        share, square = np.square(nu).sum(axis=0), np.square(length)
        return np.asarray(np.sqrt(1.0 + share + np.square(share) + share * length + square))

    def global_bound(self, params: Parameters) -> float:
        """E_q[log p - log q] of images and shares, in nats."""
        found = self.found(params)
        inverse = self._inverse(found.used, found.variances)
        width = self.width
        images = 0.5 * (found.log_det + width * (np.log(inverse).sum() + len(inverse)))
        images -= 0.5 * float(inverse @ found.squares)
        return float(images - self.shares.divergence(found.betas))

    def confine(self, params: Parameters, step: Parameters) -> Parameters:
        """Return the step, halved until it stays in the domain."""
        for halvings in range(60):
            short: Parameters = scale(step, 0.5**halvings)
            there = add(Parameters(*(part.copy() for part in params)), short)
            if self._is_valid(params, there):
                return short
        nothing: Parameters = scale(step, 0.0)
        return nothing

    def _is_valid(self, before: Parameters, there: Parameters) -> bool:
        rows = there.n_rows[0]
        kept = [np.all(new >= 0.1 * old) for old, new in zip(before, there) if old.ndim == 1]
        if not all(kept) or not np.all(there.usage <= rows):
            return False
        second = unpacked(there.second.T)
        second += 1e-9 * rows * np.eye(second.shape[-1])
        return bool(np.linalg.eigvalsh(second).min() > 0)
