"""Fits with fixed draws: a smooth bound, a second-order optimiser, and the error of the answer.

Giordano, Ingram and Broderick (2024), "Black box variational inference with a deterministic
objective: faster, more accurate, and even more black box". All steps use the same draws, so the
bound has an exact optimum. How far it would move with other draws follows from the spread of the
draws' gradients (the sandwich covariance).
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from fastvi.base.typing import Array
from fastvi.families.powers import Independent
from fastvi.posteriors.fixed_draws import FixedDraws, fixed_noise, whole_hessian
from fastvi.targets.base import Target

__all__ = ["Fixed", "deterministic", "n_draws_for"]

LEAST, MOST = 30, 120  # draws by default; in between, four times the dimension
SECOND_ORDER = 1000  # largest dimension of Newton steps by conjugate gradients; L-BFGS above
WITH_ERRORS = 200  # largest dimension whose Hessian is computed as a whole, for errors
GRADIENT = 1e-6  # length at which the optimiser ends, in units of the start's sds
FARTHEST = 30.0  # largest change of a log standard deviation that is tried
HALVINGS = 30  # of the start's standard deviations, at most, until all draws have a density
IMPOSSIBLE = 1e300  # of the negated bound where it is not finite


class Fixed(NamedTuple):
    """The optimum of the bound with fixed draws.

    Attributes
    ----------
    mean, sd : (D,) array
    settled : bool
    n_iter : int
        Steps of the optimiser.
    history : dict of str to array
        `elbo` and `seconds` of each step; `mean_error` and `sd_error` (D,), Monte Carlo standard
        errors of the means and of the standard deviations, if D is at most 200.
    """

    mean: Array
    sd: Array
    settled: bool
    n_iter: int
    history: dict[str, NDArray[np.float64]]


def n_draws_for(dim: int) -> int:
    """Default number of draws: enough to make their noise uncorrelated, up to a limit."""
    return max(LEAST, min(4 * dim, MOST))


def balanced_noise(n: int, dim: int, seed: int) -> tuple[Array, bool]:
    """Return noise (n, dim) in pairs with sample variances 1, and whether it is uncorrelated.

    The optimum for a Gaussian target is then exact: its means always, its standard deviations if
    there are at least as many pairs as parameters.
    """
    noise = fixed_noise(n, dim, seed)
    half = noise[::2]
    if dim > len(half):
        return noise / np.sqrt(np.square(noise).mean(axis=0)), False
    q, r = np.linalg.qr(half)
    half = q * np.sign(np.diag(r)) * np.sqrt(len(half))
    return np.stack((half, -half), axis=1).reshape(n, dim), True


class _Bound:
    """The negated bound and its derivatives, as functions of x: means and log sds in units of the
    start's standard deviations.
    """

    def __init__(self, target: Target, start: Independent, noise: Array) -> None:
        self.target, self.noise = target, noise
        self.mean, self.sd = np.asarray(start.mean), np.asarray(start.sd)
        self.dim, self.began = len(self.mean), time.perf_counter()
        self.elbo: list[float] = []
        self.seconds: list[float] = []
        self._x: Array | None = None

    def at(self, x: Array) -> FixedDraws:
        """The draws at x."""
        if self._x is None or not np.array_equal(self._x, x):
            mean, log_scale = np.split(x, 2)
            scale = np.exp(np.clip(log_scale, -FARTHEST, FARTHEST))
            self._draws = FixedDraws(
                self.target, self.mean + self.sd * mean, self.sd * scale, self.noise
            )
            self._x = np.array(x)
        return self._draws

    def value(self, x: Array) -> tuple[float, Array]:
        """The negated bound and its gradient."""
        draws = self.at(x)
        if not np.isfinite(draws.bound) or np.abs(x[self.dim :]).max() > FARTHEST:
            return IMPOSSIBLE, np.zeros(len(x))
        return -draws.bound, -draws.gradients.mean(axis=0) / self._units(draws)

    def product(self, x: Array, along: Array) -> Array:
        """The negated bound's Hessian times a vector."""
        draws = self.at(x)
        units = self._units(draws)
        return -draws.product(along / units) / units

    def _units(self, draws: FixedDraws) -> Array:
        """A unit of the draws' own derivatives in those of x."""
        return np.concatenate((draws.sd / self.sd, np.ones(self.dim)))

    def note(self, x: Array) -> None:
        """Record the bound after a step."""
        self.elbo.append(self.at(x).bound)
        self.seconds.append(time.perf_counter() - self.began)


def deterministic(
    target: Target, start: Independent, *, n_draws: int, tol: float, max_iter: int, seed: int
) -> Fixed:
    """Maximise the bound of independent normal numbers with fixed draws.

    Parameters
    ----------
    target : Target
        With a gradient.
    start : Independent
    n_draws : int
        Draws, in antithetic pairs; odd numbers are rounded up.
    tol : float
        The fit has settled when a Newton step would move the optimum by less, as a root mean square
        over parameters in standard deviations.
    max_iter : int
        Steps of the optimiser.
    seed : int

    Raises
    ------
    TargetError
        If the density is not finite at some draw, however narrow the start is made.
    """
    dim = len(np.asarray(start.mean))
    noise, uncorrelated = balanced_noise(n_draws + n_draws % 2, dim, seed)
    bound = _Bound(target, start, noise)
    x = _first(bound)
    second = dim <= SECOND_ORDER
    found = minimize(
        bound.value, x, jac=True, hessp=bound.product if second else None, callback=bound.note,
        method="trust-ncg" if second else "L-BFGS-B",
        options={"maxiter": max_iter, "gtol": GRADIENT},
    )  # fmt: skip
    draws = bound.at(np.asarray(found.x))
    settled = bool(found.success)
    errors: dict[str, NDArray[np.float64]] = {}
    if dim <= WITH_ERRORS:
        left, errors = _errors(draws, uncorrelated)
        settled = left < tol * tol * 2 * dim
    history = {"elbo": np.array(bound.elbo), "seconds": np.array(bound.seconds), **errors}
    return Fixed(draws.mean, draws.sd, settled, int(found.nit), history)


def _first(bound: _Bound) -> Array:
    """Where the optimiser begins: at the start, with less spread if a draw has no density."""
    x = np.zeros(2 * bound.dim)
    for halvings in range(HALVINGS):
        x[bound.dim :] = -halvings * np.log(2.0)
        if bound.at(x).complete:
            return x
    at = bound.mean + bound.sd * np.exp(x[bound.dim :]) * bound.noise
    values, grads = bound.target.attempt(at)
    bound.target.refuse(at[~(np.isfinite(values) & np.isfinite(grads).all(axis=1))])


def _errors(draws: FixedDraws, uncorrelated: bool) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """Return twice the gain of a Newton step, in nats, and standard errors by the sandwich.

    A bound that is not concave has no optimum: the gain is then inf, and there are no errors.
    Balanced noise can only lower the errors, so the smaller of two estimates is taken: with and
    without the part that is quadratic in the noise.
    """
    dim, hessians = len(draws.mean), draws.hessians()
    try:
        factor = cho_factor(-whole_hessian(draws, hessians), lower=True)
    except (np.linalg.LinAlgError, ValueError):
        return np.inf, {}
    mean = draws.gradients.mean(axis=0)
    plain = draws.gradients - mean
    rest = plain - _without_error(draws.noise, hessians, uncorrelated)
    n = len(plain)
    moved = [cho_solve(factor, part.T) for part in (plain, rest)]  # the optimum, by each pair
    errors = np.sqrt(np.min(np.square(moved).sum(axis=2), axis=0) / (n * (n - 1)))
    left = float(mean @ cho_solve(factor, mean))
    return left, {"mean_error": draws.sd * errors[:dim], "sd_error": draws.sd * errors[dim:]}


def _without_error(noise: Array, hessians: Array, uncorrelated: bool) -> Array:
    """Return the part (n / 2, 2 D) of the gradients whose error balanced noise removes.

    It is quadratic in the noise: through the mean Hessian for log standard deviations, and through
    third derivatives, which are mean products of Hessians and noise, for means.
    """
    (n, dim), half = noise.shape, noise[::2]
    curvature = hessians.mean(axis=0)
    third = (hessians.transpose(1, 2, 0).reshape(-1, n) @ noise / n).reshape(dim, dim, dim)
    if not uncorrelated:  # only squares are balanced
        squares = np.square(half) - 1.0
        return np.concatenate(
            (0.5 * squares @ np.einsum("ijj->ji", third), squares * np.diag(curvature)), axis=1
        )
    bent = np.einsum("ijp,pj->pi", third @ half.T, half) - np.einsum("ijj->i", third)
    return np.concatenate((0.5 * bent, half * (half @ curvature) - np.diag(curvature)), axis=1)
