"""Linear response: the covariance of the target from a fit of independent numbers.

Giordano, Broderick and Jordan (2018), "Covariances, robustness, and variational Bayes". A fit of
independent normal numbers has the right means where the target is close to a Gaussian, but standard
deviations that are too small where numbers are correlated. The response
of its means to a tilt of the log density gives their covariances: the inverse of the negated
Hessian of the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from fastvi.base import checks
from fastvi.base.typing import Array
from fastvi.families.fullrank import FullRank
from fastvi.families.powers import Independent
from fastvi.posteriors.fixed_draws import FixedDraws, fixed_noise, whole_hessian
from fastvi.posteriors.psis import psis
from fastvi.targets.base import Target

__all__ = ["LinearResponse", "chosen", "linear_response"]

LEAST, FEWEST = 16, 4  # draws to begin with; fewest with a density
ACCURATE = 0.02  # relative error of standard deviations at which draws are enough
ALL = 200  # largest dimension whose covariance is computed as a whole by default
N_CHECKED = 1000  # draws for the check
TRUSTED, WIDER = 0.7, 1.13  # as in verdicts
UNEVEN = 0.25  # spread of the curvature above which the target is far from a Gaussian
SOLVED = 1e-4  # relative residual of conjugate gradients
NOT_CONCAVE = (
    "linear_response needs a bound that is concave in means and standard deviations near the fit. "
    "This one is not: the fit stopped before the optimum, or the target is far from a Gaussian"
)


class LinearResponse(NamedTuple):
    """Covariance of the target by linear response.

    Attributes
    ----------
    names : tuple of str
        The unconstrained parameters that it covers.
    cov : (k, k) array
        Their covariance.
    sd : (k,) array
        Their standard deviations.
    error : (k,) array
        Monte Carlo standard errors of `sd`.
    spread : (k,) array
        Relative standard deviation, over draws, of the curvature behind each variance: 0 for a
        Gaussian target.
    khat : float
        Pareto shape of the importance ratios between the target and the Gaussian with the fit's
        means and this covariance; nan if only a part of the covariance is known.
    widths : (k,) array
        Importance-weighted standard deviations divided by `sd`, reliable if `khat` is below 0.7;
        nan if `khat` is.
    n_draws, n_gradients : int
        Draws used, and gradients of the target that this took.
    """

    names: tuple[str, ...]
    cov: Array
    sd: Array
    error: Array
    spread: Array
    khat: float
    widths: Array
    n_draws: int
    n_gradients: int

    @property
    def trusted(self) -> bool:
        """Whether the curvature is nearly constant and importance weights, if known, agree."""
        even = bool(np.max(self.spread, initial=0.0) < UNEVEN)
        if np.isnan(self.khat):
            return even
        near = self.widths.min() > 1.0 / WIDER and self.widths.max() < WIDER
        return bool(even and near and self.khat < TRUSTED)

    def __str__(self) -> str:
        error = float(np.max(self.error / self.sd, initial=0.0))
        words = [
            f"Linear response of {len(self.names)} numbers from {self.n_draws} draws and "
            f"{self.n_gradients} gradients: standard deviations +- {100 * error:.1f} % at most.",
            f"Curvature varies by {100 * np.max(self.spread, initial=0.0):.0f} % over the draws.",
        ]
        if not np.isnan(self.khat):
            words.append(
                f"k-hat {self.khat:.2f}; importance weights multiply standard deviations by "
                f"{self.widths.min():.2f} to {self.widths.max():.2f}."
            )
        if not self.trusted:
            words.append(
                "Do not trust it: where spreads depend on other numbers, as in funnels, linear "
                "response fails."
            )
        return " ".join(words)


def linear_response(
    target: Target,
    member: Independent,
    which: Sequence[int] | None,
    *,
    names: tuple[str, ...],
    n_draws: int,
    seed: int,
) -> LinearResponse:
    """Return the covariance of some numbers of a target, by default of all.

    Parameters
    ----------
    target : Target
        With a gradient.
    member : Independent
        An optimum of the evidence lower bound.
    which : sequence of int or None
        Parameters whose rows are solved for one by one; by default the whole Hessian is inverted.
    names : tuple of str
        Names of the target's unconstrained parameters.
    n_draws : int
        Largest number of draws; they are doubled from 16 until errors are below 2 %.
    seed : int

    Raises
    ------
    ValueError
        If the bound is not concave at the member.
    """
    mean, sd = np.asarray(member.mean), np.asarray(member.sd)
    noise, n = fixed_noise(n_draws, len(mean), seed), min(LEAST, n_draws)
    solve = _Whole() if which is None else _Some(which)
    draws = FixedDraws(target, mean, sd, noise[:n])
    new = draws
    while True:
        if len(draws.noise) < FEWEST:
            target.refuse(mean + sd * noise[:n])
        rows, squares = solve(draws, new)
        variances = np.diag(rows) if which is None else np.diag(rows[:, list(which)])
        spread = squares.std(axis=1, ddof=1) / variances
        relative = 0.5 * spread / np.sqrt(squares.shape[1])
        if n == n_draws or relative.max() < ACCURATE:
            break
        more = min(2 * n, n_draws)
        new = FixedDraws(target, mean, sd, noise[n:more])
        draws, n = draws.joined(new), more
    at = np.arange(len(mean)) if which is None else np.asarray(which)
    cov = sd[at, None] * rows[:, at] * sd[at]
    sds = np.sqrt(np.diag(cov))
    khat, widths = np.nan, np.full(len(at), np.nan)
    if which is None:
        khat, widths = _check(target, mean, cov, seed)
    return LinearResponse(
        tuple(names[i] for i in at), cov, sds, relative * sds, spread, khat, widths, n,
        draws.n_gradients,
    )  # fmt: skip


class _Whole:
    """All rows (D, 2 D) of the inverse of the negated Hessian, and what `_squares` says of them."""

    def __init__(self) -> None:
        self.hessians: list[Array] = []

    def __call__(self, draws: FixedDraws, new: FixedDraws) -> tuple[Array, Array]:
        self.hessians.append(new.hessians())
        hessians = np.concatenate(self.hessians)
        dim = hessians.shape[1]
        try:
            factor = cho_factor(-whole_hessian(draws, hessians), lower=True)
        except ValueError:  # also of a Hessian that is not finite
            raise ValueError(NOT_CONCAVE) from None
        rows = cho_solve(factor, np.eye(2 * dim))[:dim]
        along = rows[:, :dim] + rows[:, dim:] * draws.noise[:, None]  # (n, D, D)
        squares = np.sum((along @ hessians) * along, axis=2).T
        return rows, _by_pairs(squares, draws, rows)


class _Some:
    """Rows (k, 2 D) of chosen numbers, by conjugate gradients, likewise."""

    def __init__(self, which: Sequence[int]) -> None:
        self.which = which

    def __call__(self, draws: FixedDraws, new: FixedDraws) -> tuple[Array, Array]:
        dim = draws.noise.shape[1]
        starts = np.eye(2 * dim)[list(self.which)]
        rows = np.stack([_conjugate_gradients(draws, wanted) for wanted in starts])
        a, b = rows[:, :dim], rows[:, dim:]
        squares = np.stack(
            [np.sum(draws.bent(x) * x, axis=1) for x in a[:, None] + b[:, None] * draws.noise]
        )
        return rows, _by_pairs(squares, draws, rows)


def _by_pairs(squares: Array, draws: FixedDraws, rows: Array) -> Array:
    """Values x'Hx (k, n / 2) of each pair of draws, whose spread is the error of a variance.

    squares: (k, n), the part of the log density's Hessians alone.
    """
    whole = squares + np.square(rows[:, draws.noise.shape[1] :]) @ (draws.slopes * draws.noise).T
    return np.asarray(whole.reshape(len(rows), -1, 2).mean(axis=2))


def _conjugate_gradients(draws: FixedDraws, wanted: Array) -> Array:
    """The solution x of -Hessian x = wanted."""
    found, residual = np.zeros_like(wanted), wanted.copy()
    along, square = residual.copy(), float(wanted @ wanted)
    for _ in range(len(wanted)):
        bent = -draws.product(along)
        curvature = float(along @ bent)
        if not curvature > 0:
            raise ValueError(NOT_CONCAVE)
        found += square / curvature * along
        residual -= square / curvature * bent
        before, square = square, float(residual @ residual)
        if square < SOLVED**2:
            break
        along = residual + square / before * along
    return found


def _check(target: Target, mean: Array, cov: Array, seed: int) -> tuple[float, Array]:
    """k-hat of the Gaussian with these moments, and ratios of weighted sds to its own."""
    gaussian = FullRank.of(mean, cov)
    points = gaussian.draw(N_CHECKED, np.random.default_rng([seed, 4])).points
    values = target.attempt(points, with_gradient=False)[0]
    smoothed = psis(np.where(np.isfinite(values), values, -np.inf) - gaussian.log_prob(points))
    weights = np.exp(smoothed.log_weights)
    away = (points - weights @ points) / gaussian.sd
    return smoothed.khat, np.sqrt(weights @ np.square(away))


def chosen(
    which: int | str | Sequence[int | str] | None, names: tuple[str, ...]
) -> list[int] | None:
    """Numbers by position or name, as positions; None for all of few.

    Raises
    ------
    ValueError
        If one is neither a name nor a position, or none is given where there are many.
    """
    if which is None:
        if len(names) > ALL:
            raise ValueError(
                f"which is None, but the target has {len(names)} numbers; wanted some of them, by "
                f"name or position (all of them at once for at most {ALL})"
            )
        return None
    found = []
    for one in [which] if isinstance(which, (int, str, np.integer)) else which:
        if isinstance(one, str):
            if one not in names:
                raise ValueError(f"which holds {one!r}; wanted names such as {names[0]!r}")
            found.append(names.index(one))
        else:
            found.append(checks.integer(one, "which", 0, len(names) - 1))
    if not found:
        raise ValueError("which is empty; wanted at least one number")
    return found
