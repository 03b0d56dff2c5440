"""Posteriors made of weighted draws, the result of importance sampling around paths to modes."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np

from fastvi.base.typing import AnyArray, Array, JsonObject, Options
from fastvi.families import FullRank
from fastvi.posteriors.judged import Judged, gaussian_near
from fastvi.posteriors.psis import Smoothed, psis
from fastvi.targets.base import Target

__all__ = ["WeightedPosterior", "tempered"]

LEAST = 0.2  # share of the draws that weighted ones are worth
HALVINGS = 30  # of the interval in which a power is sought


def tempered(log_weights: Array) -> tuple[Array, float]:
    """Normalised weights (n,), and the largest power, at most 1, that leaves a fifth of the draws.

    Where few draws have nearly all weight, these are noise, and moments of theirs worse than those
    of equal weights.
    """

    def raised(power: float) -> Array:
        weights = np.exp(power * (log_weights - log_weights.max()))
        return np.asarray(weights / weights.sum())

    def is_even(weights: Array) -> bool:
        return bool(1.0 / np.square(weights).sum() >= LEAST * len(weights))

    with np.errstate(invalid="ignore"):
        low, high = 0.0, 1.0
        if is_even(raised(1.0)) or not np.isfinite(log_weights).any():
            return np.exp(log_weights), 1.0
        for _ in range(HALVINGS):
            power = 0.5 * (low + high)
            low, high = (power, high) if is_even(raised(power)) else (low, power)
    return raised(low) if low > 0.0 else np.exp(log_weights), low


class WeightedPosterior(Judged):
    """Draws from an approximation with importance weights, see `fastvi.pathfinder`.

    Moments are weighted, and `sample` draws with replacement in proportion to the weights.

    Attributes
    ----------
    draws : (n, D) array
        Unconstrained parameters.
    log_ratios : (n,) array
        Log density of the target less that of the approximation, nats; -inf without a density.
    target : Target or None
        The fitted target; None after `load` without it.
    names : tuple of str
        Names of the D unconstrained parameters.
    settled : bool
        Whether all paths have arrived at a mode.
    n_iter : int
        Number of steps of all paths.
    history : dict of str to array
        One number for each path: `elbo` (nats) of its best Gaussian, `weight` of that in the
        approximation, `steps` and `best_step`.
    modes : tuple of Mode
        Where paths arrived, with the covariances of their best Gaussians, up to 1000 numbers.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (-0.5 * z @ z, -z), dim=2)
    >>> draws = fastvi.pathfinder(target, random_state=0)
    >>> abs(draws.mean).max() < 0.2
    np.True_
    """

    _kind = "weighted-posterior"

    def __init__(
        self, draws: Array, log_ratios: Array, target: Target | None, **options: Any
    ) -> None:
        super().__init__(target, **options)
        self.draws, self.log_ratios = draws, log_ratios

    @cached_property
    def _smoothed(self) -> Smoothed:
        return psis(self.log_ratios)

    @cached_property
    def _tempered(self) -> tuple[Array, float]:
        return tempered(self._smoothed.log_weights)

    @property
    def weights(self) -> Array:
        """Smoothed importance weights of the draws, (n,), to the power `power`; their sum is 1."""
        return self._tempered[0]

    @property
    def power(self) -> float:
        """To which weights are raised: 1, or what leaves draws worth a fifth of their number."""
        return self._tempered[1]

    @property
    def khat(self) -> float:
        """Pareto shape of the importance ratios; weights can be trusted below 0.7."""
        return self._smoothed.khat

    @property
    def elbo(self) -> float:
        """Evidence lower bound of the approximation before weighting, nats."""
        return float(np.mean(self.log_ratios))

    @property
    def log_evidence(self) -> float:
        """Log evidence by smoothed importance sampling (nats), if `khat` is small."""
        return self._smoothed.log_mean

    @property
    def mean(self) -> Array:
        """Means of the unconstrained parameters, (D,)."""
        return np.asarray(self.weights @ self.draws)

    @property
    def cov(self) -> Array:
        """Covariance of the unconstrained parameters, (D, D)."""
        away = self.draws - self.mean
        return np.asarray((self.weights[:, None] * away).T @ away)

    @property
    def sd(self) -> Array:
        """Standard deviations of the unconstrained parameters, (D,)."""
        return np.asarray(np.sqrt(self.weights @ np.square(self.draws - self.mean)))

    @property
    def efficiency(self) -> float:
        """Effective share of draws, 1 / (n sum w^2) for smoothed weights w, in (0, 1]."""
        return float(1.0 / (len(self.draws) * np.square(self.weights).sum()))

    def _nearby(self) -> FullRank:
        """The weighted draws' Gaussian, with smaller correlations where they are worth few."""
        return gaussian_near(self.mean, self.cov, 1.0 / float(np.square(self.weights).sum()))

    def _sample(self, n: int, rng: np.random.Generator) -> Array:
        chosen = rng.choice(len(self.draws), n, p=self.weights / self.weights.sum())
        return np.asarray(self.draws[chosen])

    def distinct(self, n: int) -> int:
        """Number of n draws that can differ from each other."""
        return min(n, len(self.draws))

    def _kind_in_words(self) -> str:
        n_paths = len(self.history["weight"])
        return f"{len(self.draws)} draws around {n_paths} paths, {self.n_iter} steps"

    def _words(self) -> list[str]:
        used = int(np.count_nonzero(self.history["weight"] > 0.01))
        of = len(self.history["weight"])
        share = f"{100 * self.efficiency:.1f} %"
        words = [
            f"{of} paths took {self.n_iter} steps; draws are from Gaussians around {used}.",
            f"k-hat {self.khat:.2f}, weights to the power {self.power:.2f}: draws are worth "
            f"{share} of their number.",
        ]
        return words + self._verdict_in_words()

    # Files

    def _saved(self) -> tuple[JsonObject, dict[str, AnyArray]]:
        return self._verdict_header(), {"draws": self.draws, "log_ratios": self.log_ratios}

    @classmethod
    def _restored(
        cls, header: JsonObject, arrays: dict[str, Array], path: str, options: Options
    ) -> Self:
        draws, log_ratios = arrays["draws"], arrays["log_ratios"]
        shape = (len(draws), len(options["names"]))
        if draws.dtype != np.float64 or draws.shape != shape or not np.isfinite(draws).all():
            raise ValueError(f"{path}: draws must hold finite float64 numbers {shape}")
        if log_ratios.dtype != np.float64 or log_ratios.shape != shape[:1]:
            raise ValueError(f"{path}: log_ratios must hold {shape[0]} float64 numbers")
        if "weight" not in options["history"]:
            raise ValueError(f"{path}: history has no weights of paths")
        return cls(draws, log_ratios, **options)._with_verdict(header, path)
