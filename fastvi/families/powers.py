"""Protocols of powers: what only some families can do, and the steps of a fit use.

Powers that return other members or products of independent parts are in `fastvi.families.base`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from fastvi.base.typing import AnyArray, Array, Tree

__all__ = [
    "Auxiliary",
    "Compiled",
    "Draws",
    "Driver",
    "Entropy",
    "Guided",
    "Independent",
    "Natural",
    "Pace",
    "Pathwise",
    "Relaxed",
    "Warp",
]


class Draws(NamedTuple):
    """Draws, and the noise from which a member made them.

    Attributes
    ----------
    points : (k, D) array
    noise : (k, W) array
        Noise that pullbacks use. A family without such noise stores the points here.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.MeanField(np.zeros(2), np.full(2, 3.0))
    >>> draws = member.draw(1, np.random.default_rng(0))
    >>> np.allclose(draws.points, 3.0 * draws.noise)
    True
    """

    points: Array
    noise: Array

    def kept(self, which: AnyArray) -> Draws:
        """Return some of the draws, by number or mask."""
        return Draws(self.points[which], self.noise[which])


class Pace(NamedTuple):
    """How plain gradients climb.

    Attributes
    ----------
    rate : float
        Of Adam at first, in the member's own units.
    n_steps : int
        Of a stage at this rate.
    growth : float
        Power of 1 / rate with which later stages are longer, to average noise.
    n_draws : int or None
        Per step; None for the number that suits the dimension.
    by_dimension : bool
        Count the numbers of a draw and their correlations in tolerances instead of parameters.
    """

    rate: float = 0.1
    n_steps: int = 200
    growth: float = 0.5
    n_draws: int | None = None
    by_dimension: bool = False


class Pathwise(Protocol):
    """Pathwise gradients, through draws that depend smoothly on noise."""

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> Tree:
        """Return the gradient of a loss with respect to `Family.free`.

        The loss is a weighted sum over draws, ``weights @ losses``. The dependence of the log
        density on the parameters at a fixed point is left out ("Sticking the landing", Roeder et
        al. 2017); for equal weights that part has mean zero.

        Parameters
        ----------
        draws : Draws
            Draws of this member.
        of_points : (k, D) array
            Gradients of the losses with respect to the points.
        of_log_q : float or (k,) array
            Derivatives of the losses with respect to the log densities of the points.
        weights : (k,) array
        """
        ...


class Guided(Protocol):
    """Draws that follow the slopes of a target."""

    def guided_by(self, target: Any) -> Self:
        """Return the member that follows a target, given in its own units and about its centre."""
        ...


class Natural(Protocol):
    """Natural gradients, in the frame in which the member is standard.

    A step is a NamedTuple of arrays; its ``gain()`` estimates the gain of a unit-rate step as a
    symmetrised divergence in nats.
    """

    def natural(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> Tree:
        """Return the natural gradient of a loss; arguments as in `Pathwise.pullback`."""
        ...

    def natural_entropy(self) -> Tree:
        """Return the natural gradient of the entropy."""
        ...

    def moved(self, step: Tree) -> Self:
        """Return the member that a step leads to; any step is valid."""
        ...


class Entropy(Protocol):
    """An entropy in closed form."""

    def entropy(self) -> float:
        """Entropy in nats."""
        ...

    def entropy_pullback(self) -> Tree:
        """Return its gradient with respect to `Family.free`."""
        ...


class Independent(Protocol):
    """Independent normal numbers, for which linear response and fixed draws are worked out."""

    @property
    def mean(self) -> Array:
        """Means, (D,)."""
        ...

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        ...


class Auxiliary(Protocol):
    """Discrete numbers that depend on an auxiliary continuous number."""

    def auxiliary_pullback(self, draws: Draws, log_ratios: Array) -> Tree:
        """Return the gradient of the mean of log ratios (n,) of p to q with respect to `free`."""
        ...


class Driver(NamedTuple):
    """A compiled loop over steps, see `fastvi.kernels.drivers`.

    Attributes
    ----------
    run : callable
        The kernel.
    step : type or None
        NamedTuple type of natural gradients; None for plain gradients, which have the form of the
        parameters.
    width : int or None
        Numbers of noise of a draw; None for its dimension.
    """

    run: Callable[..., Any]
    step: type[Any] | None
    width: int | None = None


class Compiled(Protocol):
    """Compiled blocks of steps that maximise the ELBO."""

    def driver(self, natural: bool) -> Driver | None:
        """Return the driver for natural or plain gradients; None if steps in Python are as fast."""
        ...


class Warp(Protocol):
    """Draws that are a smooth map of D standard normal numbers, which pictures show as a grid."""

    def at(self, noise: Array) -> Draws:
        """Return the draws that belong to noise (n, D)."""
        ...


class Relaxed(Protocol):
    """Relaxed draws between categories, which depend smoothly on noise."""

    def relaxed(
        self, temperature: float, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Return noise, soft draws and their nearest categories, (n, D) each."""
        ...

    def relaxed_pullback(
        self, temperature: float, noise: Array, soft: Array, of_points: Array
    ) -> tuple[Array, float]:
        """Return the gradient (P,) of mean loss plus category entropy, and that entropy (nats)."""
        ...
