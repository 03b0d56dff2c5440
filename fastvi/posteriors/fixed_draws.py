"""The evidence lower bound of independent normal numbers, as a function of fixed draws.

With fixed noise the bound is a smooth function of the means and standard deviations, with a
gradient, a Hessian, and an error that follows from the spread over draws.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from fastvi.base.typing import Array
from fastvi.families.gaussians import antithetic
from fastvi.targets.base import Target

__all__ = ["FixedDraws", "fixed_noise", "whole_hessian"]

STEP = 1e-3  # of differences of gradients, in standard deviations


def fixed_noise(n: int, dim: int, seed: int) -> Array:
    """Draw noise (n, dim) in antithetic pairs, for even n.

    Pairs are adjacent, and with the same seed fewer rows are the first of more.
    """
    half = antithetic(n, dim, np.random.default_rng([seed, 3]))[: n // 2]
    return np.stack((half, -half), axis=1).reshape(n, dim)


class FixedDraws:
    """The bound at one mean and standard deviation, and its derivatives there.

    Derivatives are with respect to (delta, lambda) at 0, where draws are
    ``mean + sd (delta + exp(lambda) noise)``: in units of the standard deviations.

    Parameters
    ----------
    target : Target
        With a gradient.
    mean, sd : (D,) array
    noise : (n, D) array
        In pairs of opposite sign, see `fixed_noise`. Pairs without a density are left out.

    Attributes
    ----------
    values : (n,) array
        Log densities at the draws.
    slopes : (n, D) array
        Their gradients, in units of the standard deviations.
    n_gradients : int
        Gradients evaluated so far.
    """

    def __init__(self, target: Target, mean: Array, sd: Array, noise: Array) -> None:
        self.target, self.mean, self.sd = target, mean, sd
        values, grads = target.attempt(mean + sd * noise)
        slopes = grads * sd
        fine = np.isfinite(values) & np.isfinite(slopes).all(axis=1)
        kept = np.repeat(fine.reshape(-1, 2).all(axis=1), 2)
        self.complete = bool(kept.all())
        self.noise, self.values, self.slopes = noise[kept], values[kept], slopes[kept]
        self.n_gradients = len(noise)

    def joined(self, other: FixedDraws) -> FixedDraws:
        """Return these draws and others, at the same mean and standard deviations."""
        both = FixedDraws(self.target, self.mean, self.sd, self.noise[:0])
        for name in ("noise", "values", "slopes"):
            setattr(both, name, np.concatenate((getattr(self, name), getattr(other, name))))
        both.complete = self.complete and other.complete
        both.n_gradients = self.n_gradients + other.n_gradients
        return both

    @property
    def bound(self) -> float:
        """The evidence lower bound in nats; -inf if a draw has no density."""
        if not self.complete:
            return -np.inf
        entropy = np.log(self.sd).sum() + 0.5 * len(self.sd) * (1.0 + np.log(2.0 * np.pi))
        return float(self.values.mean() + entropy)

    @cached_property
    def gradients(self) -> Array:
        """Gradients (n / 2, 2 D) of the bound of each pair of draws."""
        both = np.concatenate((self.slopes, self.slopes * self.noise + 1.0), axis=1)
        return np.asarray(both.reshape(-1, 2, both.shape[1]).mean(axis=1))

    def product(self, along: Array) -> Array:
        """Product (2 D,) of the bound's Hessian with a vector (2 D,)."""
        a, b = np.split(along, 2)
        bent = self.bent(a + self.noise * b)
        pulled = self.noise * (bent + self.slopes * b)
        return np.concatenate((bent.mean(axis=0), pulled.mean(axis=0)))

    def hessians(self) -> Array:
        """Hessians (n, D, D) of the log density at each draw, in units of the sds."""
        n, dim = self.noise.shape
        found = np.empty((n, dim, dim))
        for j in range(dim):
            found[:, j] = self.bent(np.broadcast_to(np.eye(dim)[j], (n, dim)))
        return np.asarray(0.5 * (found + found.transpose(0, 2, 1)))

    def bent(self, along: Array) -> Array:
        """Derivatives (n, D) of the slopes of each draw along its own vector, (n, D)."""
        size = np.abs(along).max(axis=1, keepdims=True)
        h = STEP / np.where(size > 0, size, 1.0)
        points, away = self.mean + self.sd * self.noise, self.sd * h * along
        grads = self.target.attempt(np.concatenate((points + away, points - away)))[1]
        self.n_gradients += len(grads)
        n = len(points)
        return np.asarray((grads[:n] - grads[n:]) * self.sd / (2.0 * h))


def whole_hessian(draws: FixedDraws, hessians: Array) -> Array:
    """Hessian (2 D, 2 D) of the bound from those of the log density at each draw, (n, D, D)."""
    n, dim = draws.noise.shape
    whole = np.empty((2 * dim, 2 * dim))
    noise = draws.noise
    whole[:dim, :dim] = hessians.mean(axis=0)
    whole[:dim, dim:] = np.einsum("nij,nj->ij", hessians, noise) / n
    whole[dim:, :dim] = whole[:dim, dim:].T
    whole[dim:, dim:] = np.einsum("ni,nij,nj->ij", noise, hessians, noise, optimize=True) / n
    whole[dim:, dim:] += np.diag((draws.slopes * noise).mean(axis=0))
    return whole
