"""Posteriors made of particles, the result of Stein variational gradient descent."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, JsonObject, Options, RandomState
from fastvi.families import FullRank
from fastvi.posteriors.approximation import Approximation
from fastvi.posteriors.judged import Judged, gaussian_near
from fastvi.stein.discrepancy import Discrepancy, ksd
from fastvi.targets.base import Target

__all__ = ["ParticlePosterior"]

FAR = 0.25  # error of means that is worth a word, in standard deviations


class ParticlePosterior(Judged):
    """Particles that represent a target, with diagnostics of their quality.

    Attributes
    ----------
    particles : (n, D) array
        Unconstrained parameters.
    scores : (n, D) array
        Gradients of the log density at the particles, over all rows.
    target : Target or None
        The fitted target; None after `load` without it.
    names : tuple of str
        Names of the D unconstrained parameters.
    settled : bool
        Whether the particles have converged.
    n_iter : int
        Number of steps.
    history : dict of str to array
        Values that each step reported, see `fastvi.gradients.stein.stein`.
    n_lost : int
        Number of particles left out because their density or gradient is not finite.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (-0.5 * z @ z, -z), dim=1)
    >>> particles = fastvi.svgd(target, 30, max_iter=100, verdict=False, random_state=0)
    >>> particles.particles.shape
    (30, 1)
    """

    _kind = "particle-posterior"

    def __init__(
        self,
        particles: AnyArray,
        scores: AnyArray,
        target: Target | None,
        *,
        n_lost: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(target, **options)
        self.particles, self.scores, self.n_lost = particles, scores, n_lost

    def _kind_in_words(self) -> str:
        return f"{len(self.particles)} particles, {self.n_iter} steps"

    @property
    def mean(self) -> Array:
        """Means of the unconstrained parameters, (D,)."""
        return np.asarray(self.particles.mean(axis=0, dtype=np.float64))

    @property
    def cov(self) -> Array:
        """Covariance of the unconstrained parameters, (D, D), with divisor n."""
        away = self._away
        return np.asarray(away.T @ away / len(away))

    @property
    def sd(self) -> Array:
        """Standard deviations of the unconstrained parameters, (D,)."""
        return np.asarray(self.particles.std(axis=0, dtype=np.float64))

    @property
    def _away(self) -> Array:
        return np.asarray(self.particles - self.mean)

    def _sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw particles in random order, equally often to within one."""
        size = len(self.particles)
        rounds = [rng.permutation(size) for _ in range(-(-n // size))]
        order = np.concatenate(rounds)[:n] if rounds else np.empty(0, int)
        return np.asarray(self.particles[order], np.float64)

    def distinct(self, n: int) -> int:
        """Number of n draws that can differ from each other."""
        return min(n, len(self.particles))

    @property
    def parameters(self) -> dict[str, Array]:
        """The particles as named parameters, within their constraints: (n, *shape) each."""
        return self._named(np.asarray(self.particles, np.float64))

    # How good it is

    @cached_property
    def width(self) -> Array:
        """Ratios of variances to those that Stein's identity requires, (D,); below 1 is too narrow.

        It knows the target only where particles are, so that 1 certifies nothing; see `verdict`.
        Computed as -E[(z - m) score], which is 1 under the target. For a Gaussian target with
        independent coordinates it is the variance of the particles divided by that of the target.
        """
        return np.asarray(-(self._away * self.scores).mean(axis=0))

    @cached_property
    def shift(self) -> float:
        """Largest distance of the means from where scores have mean 0, in standard deviations.

        It knows the target only where particles are; see `verdict`. Computed by a Newton step with
        the covariance of the particles, exact for a Gaussian target with that covariance.
        """
        pull = self.scores.mean(axis=0, dtype=np.float64)
        step = self._away.T @ (self._away @ pull) / len(self.particles)
        sd = self.sd
        return float(np.max(np.abs(step) / np.where(sd > 0, sd, 1.0), initial=0.0))

    def _nearby(self) -> FullRank:
        """The particles' Gaussian, with smaller correlations where they are few."""
        return gaussian_near(self.mean, self.cov, len(self.particles))

    def ksd(self, **options: Any) -> Discrepancy:
        """Squared Stein discrepancy between the particles and the target, see `fastvi.ksd`."""
        return ksd(self._target(), self.particles, scores=self.scores, **options)

    def _words(self) -> list[str]:
        words = Approximation._words(self)
        if self.n_lost:
            words.append(
                f"{self.n_lost} particles ended where the density is not finite, and are left out."
            )
        if self.shift >= FAR:
            words.append(f"Scores would move a mean by {self.shift:.2f} standard deviations.")
        low, high = float(self.width.min()), float(self.width.max())
        words.append(f"Variances are {low:.2f} to {high:.2f} of what Stein's identity requires.")
        return words + self._verdict_in_words()

    def _table_draws(self) -> Array:
        return np.asarray(self.particles, np.float64)

    def to_arviz(
        self, n: int | None = None, random_state: RandomState = 0, *, n_chains: int = 1,
        **options: Any,
    ) -> Any:  # fmt: skip
        """Return the particles (or n draws of them per chain) as an ArviZ container.

        Parameters
        ----------
        n : int, optional
            Draws per chain; by default as many as there are particles.
        random_state, n_chains, **options
            As in `Posterior.to_arviz`, but with one chain by default.

        Raises
        ------
        ImportError
            If ArviZ is not installed.
        ValueError
            As in `Posterior.to_arviz`.
        """
        n = len(self.particles) if n is None else n
        return super().to_arviz(n, random_state, n_chains=n_chains, **options)

    # Files

    def _saved(self) -> tuple[JsonObject, dict[str, AnyArray]]:
        header = {"n_lost": self.n_lost, **self._verdict_header()}
        return header, {"particles": self.particles, "scores": self.scores}

    @classmethod
    def _restored(
        cls, header: JsonObject, arrays: dict[str, Array], path: str, options: Options
    ) -> Self:
        particles, scores = arrays["particles"], arrays["scores"]
        shape = (len(particles), len(options["names"]))
        for name, array in (("particles", particles), ("scores", scores)):
            if array.dtype.kind != "f" or array.shape != shape or not shape[0]:
                raise ValueError(f"{path}: {name} does not fit {shape[1]} names")
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{path}: {name} must hold finite numbers")
        n_lost = checks.integer(header["n_lost"], f"{path}: n_lost", 0)
        return cls(particles, scores, n_lost=n_lost, **options)._with_verdict(header, path)
