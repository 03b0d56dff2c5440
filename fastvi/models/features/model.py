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
    doubled,
    packed,
    pair_numbers,
    unpacked,
)
from fastvi.models.features.rows import Local as LocalStep

__all__ = ["BetaBernoulli", "Found", "Parameters"]

ROUNDS = 2  # of images, noise and variances, for fixed sums over rows
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
    moments: Array  # (G, K', K') E[A A'] for each feature of the data, or their sum
    log_det: float  # of the covariances, summed over the features of the data
    betas: Array  # (J, 2)
    shares: Shares  # of all features
    noise: float
    variances: Array  # (2,)

    @property
    def squares(self) -> Array:
        """E[sum_d A_kd^2], (K',)."""
        return np.asarray(np.einsum("gkk->k", self.moments))


def _moments(means: Array, covariances: Array) -> Array:
    """E[A A'] (G, K, K) for each feature of the data, or their sum if they share a covariance."""
    if len(covariances) == 1:
        return np.asarray((means @ means.T + means.shape[1] * covariances[0])[None])
    return np.asarray(means.T[:, :, None] * means.T[:, None] + covariances)


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
        least = LEAST * float(params.squares[0] / params.n_values[0]) or 1.0  # data are all 0
        diagonal, is_learned = np.arange(len(used)), self.learns_noise or self.learns_variances
        for _ in range(ROUNDS if is_learned else 1):
            precision = second / noise
            precision[:, diagonal, diagonal] += self._inverse(used, variances)
            inverse = np.linalg.inv(precision)
            covariances = np.asarray(0.5 * (inverse + inverse.transpose(0, 2, 1)), np.float64)
            if self.each:
                means = np.einsum("dkl,ld->kd", covariances, cross) / noise
            else:
                means = covariances[0] @ cross / noise
            moments = _moments(means, covariances)
            if self.learns_noise:  # from the expected squares of residuals
                rest = params.squares[0] - 2.0 * np.vdot(means, cross) + np.vdot(second, moments)
                noise = max(float(rest / params.n_values[0]), least)
            if self.learns_variances:
                variances = self._variances(used, moments, variances)
        log_det = np.linalg.slogdet(covariances)[1].sum() * (1 if self.each else self.width)
        shares = self.shares.expected(betas)
        return Found(
            used, means, covariances, moments, float(log_det), betas, shares, noise, variances
        )

    def _inverse(self, used: Indices, variances: Array) -> Array:
        return np.asarray(1.0 / variances[(used >= self.n_features).astype(int)])

    def _variances(self, used: Indices, moments: Array, variances: Array) -> Array:
        """Return the best prior variances of the images in use, and of the intercept."""
        squares = np.einsum("gkk->k", moments) / self.width
        n_free, result = len(used) - int(self.intercept), variances.copy()
        if n_free:
            result[0] = max(squares[:n_free].mean(), np.finfo(float).tiny)
        if self.intercept:
            result[1] = max(squares[-1], np.finfo(float).tiny)
        return result

    def decoder(
        self, found: Found, rng: np.random.Generator | None = None, *, each: bool = False
    ) -> Decoder:
        """Return what a local step needs, from expectations, or from draws of pi and A.

        With `each`, rows may have missing values.
        """
        free = found.used[found.used < self.n_features]
        shares, means, covariances = found.shares, found.means, found.covariances
        wide = each and not self.each
        if wide:
            covariances = np.broadcast_to(covariances, (self.width, *covariances.shape[1:]))
        moments = _moments(means, covariances) if wide else found.moments
        if rng is not None:
            shares = self.shares.drawn(found.betas, rng)
            noise = rng.standard_normal((self.width, len(means), 1))
            means = means + (np.linalg.cholesky(covariances) @ noise)[:, :, 0].T
            moments = _moments(means, np.zeros_like(covariances))
        products = np.ascontiguousarray(packed(moments).T)
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
        whole = nu
        if len(nu) < len(self.prior.cross):
            whole = np.zeros((len(self.prior.cross), n_rows))
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
        low, high = (used[i] for i in pair_numbers(len(used)))
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
        fit -= np.vdot(doubled(packed(found.moments).T), sums.second)
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
        length, share = rows.squares, np.square(nu).sum(axis=0)
        square = np.square(length)
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
