"""What every family of approximating distributions offers, and what some offer besides.

A member of a family is a value: a NamedTuple of arrays with the methods of `Family`. What only some
families can do is a power, which a member names in `Family.powers`: code that needs one asks for
that, never for the type of the member. A new family is one file here, one file in `kernels/` if it
has loops of its own, one plain twin in `tests/naive/`, and one line of the table in
`fastvi.families`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Compiled",
    "Draws",
    "Driver",
    "Entropy",
    "Family",
    "Frame",
    "Natural",
    "Near",
    "Pathwise",
    "Powers",
    "Product",
    "ProductForm",
    "Relaxed",
    "column",
    "stored",
]

Array = NDArray[np.float64]
Near = Callable[[Array, Array], "Family"]  # from a mean (D,) and a covariance (D, D) to a member


class Draws(NamedTuple):
    """Draws, and the noise that a member made them of.

    Attributes
    ----------
    points : (k, D) array
    noise : (k, W) array
        What pullbacks differentiate by. A family that has no such noise puts the points here.
    """

    points: Array
    noise: Array

    def kept(self, which: NDArray[Any]) -> Draws:
        """Some of the draws, by number or mask."""
        return Draws(self.points[which], self.noise[which])


class Family(Protocol):
    """A member of a family of distributions of D numbers.

    A member may be batched by row, one distribution per row of the data, as inference networks hand
    them out: its arrays then have a leading axis of n rows, and so has all that it returns, in
    front of the axes named below (points (n, k, D), log densities (n, k), means (n, D)). Only its
    `dim` stays D. No member in this package is batched yet.
    """

    @property
    def dim(self) -> int:
        """Numbers in a draw, D."""
        ...

    @property
    def powers(self) -> Powers:
        """What the member can do besides, and how far its figures are exact."""
        ...

    @property
    def mean(self) -> Array:
        """Means, (D,); estimated from draws if `Powers.moments` says so, as `sd` and `cov` are."""
        ...

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        ...

    @property
    def cov(self) -> Array:
        """Covariance, (D, D)."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, antithetic where the family can."""
        ...

    def log_prob(self, Z: Array) -> Array:
        """Log densities (k,) of points Z (k, D), nats, as exact as `Powers.density` says."""
        ...

    def log_prob_of(self, draws: Draws) -> Array:
        """`log_prob` of the member's own draws, which is cheaper where the noise gives it."""
        ...

    def free(self) -> Any:
        """Parameters without constraints, a tree of arrays."""
        ...

    def from_free(self, free: Any) -> Self:
        """The member of the same form that has these parameters."""
        ...

    def divergence(self, other: Any) -> float:
        """Symmetrised KL divergence from a member of the same form, nats."""
        ...

    def save(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""
        ...

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], dim: int) -> Self:
        """The member of `dim` numbers that `save` gave the arrays of.

        Raises
        ------
        KeyError
            If an array is missing.
        ValueError
            If the arrays are not those of a member of so many numbers; names the array.
        """
        ...


class Pathwise(Protocol):
    """Gradients through draws, by the noise that they move smoothly with."""

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> Any:
        """The gradient of a loss with respect to `Family.free`.

        The loss is a weighted sum over draws, ``weights @ losses``. How the log density depends on
        the parameters at a fixed point is left out ("Sticking the landing", Roeder et al. 2017):
        for even weights that part has mean zero.

        Parameters
        ----------
        draws : Draws
            Of this member.
        of_points : (k, D) array
            Gradients of the losses with respect to the points.
        of_log_q : float or (k,) array
            Derivatives of the losses with respect to the log densities of the points.
        weights : (k,) array
        """
        ...


class Natural(Protocol):
    """Steps along natural gradients, in the frame where the member is standard.

    A step is a NamedTuple of arrays whose ``gain()`` estimates the symmetrised divergence, in nats,
    that a step of unit rate gains.
    """

    def natural(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> Any:
        """The natural gradient of a loss; arguments as in `Pathwise.pullback`."""
        ...

    def natural_entropy(self) -> Any:
        """The natural gradient of the entropy."""
        ...

    def moved(self, step: Any) -> Any:
        """The member that a step leads to, whatever the step."""
        ...


class Entropy(Protocol):
    """An entropy in closed form."""

    def entropy(self) -> float:
        """The entropy, nats."""
        ...

    def entropy_pullback(self) -> Any:
        """Its gradient with respect to `Family.free`."""
        ...


class Frame(Protocol):
    """Units of its own, in which one rate suits all parameters."""

    @property
    def units(self) -> Array:
        """What turns numbers near 1 into ones of the member's scale, (D,) or (D, D)."""
        ...

    def standard(self) -> Any:
        """The member in its own units and about its own mean."""
        ...

    def mapped(self, centre: Array, units: Array) -> Any:
        """What the member becomes by x -> centre + units x."""
        ...


class Driver(NamedTuple):
    """A loop over steps in machine code, see `fastvi.kernels.drivers`.

    Attributes
    ----------
    run : callable
        The kernel.
    step : type or None
        NamedTuple of the parts of a natural gradient; None for plain ones, which have the form of
        the parameters.
    """

    run: Callable[..., Any]
    step: type[Any] | None


class Compiled(Protocol):
    """Many steps of a fit to the ELBO at once."""

    def driver(self, natural: bool) -> Driver | None:
        """For natural or plain gradients; None where steps in Python are as fast."""
        ...


class Product(Family, Protocol):
    """A product of B independent parts whose scores are known.

    A score is the gradient of a log density with respect to the P numbers of `Family.free`.
    """

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where in a draw the numbers of each part begin, (B,)."""
        ...

    def dispersed(
        self, log_tau: Array, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Draws (n, D) of overdispersed parts, and log densities (n, B): of these, and of those."""
        ...

    def score_pullback(self, Z: Array, weights: Array, signals: Array, controlled: bool) -> Array:
        """The mean (P,) over draws of weights x signals x scores.

        Parameters
        ----------
        Z : (n, D) array
        weights, signals : (n, B) or (n, 1) array
            Of each part, or of all.
        controlled : bool
            Take the control variate that is the score itself.
        """
        ...

    def dispersion_slopes(
        self, log_tau: Array, Z: Array, weights: Array, signals: Array, controlled: bool
    ) -> Array:
        """Minus the relative change of the variance of `score_pullback` with log_tau, (B,)."""
        ...

    def step_units(self, free: Array) -> Array:
        """How far a parameter moves for one standard deviation's worth of change, (P,)."""
        ...


class Relaxed(Protocol):
    """Draws between categories, which move smoothly with noise."""

    def relaxed(
        self, temperature: float, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Noise, soft draws and the categories that these are near, (n, D) each."""
        ...

    def relaxed_pullback(
        self, temperature: float, noise: Array, soft: Array, of_points: Array
    ) -> tuple[Array, float]:
        """Gradient (P,) of the mean loss plus the entropy of the categories; that entropy, nats."""
        ...


class ProductForm(NamedTuple):
    """A member as a product of independent parts, and the way back from such a product."""

    product: Product
    back: Callable[[Any], Any]


class Powers(NamedTuple):
    """What a member can do beyond what every one can, None or False where it cannot.

    Attributes
    ----------
    density : {"exact", "bound", "none"}
        What `Family.log_prob` gives: the log density, a lower bound of it, or nothing, as for
        implicit members, which only draw.
    moments : {"exact", "draws"}
        Where means, standard deviations and the covariance come from.
    pathwise, natural, entropy, frame, compiled, relaxed
        The member itself, as one that has the power.
    score : ProductForm or None
        Score-function gradients, of the member as a product of independent parts.
    discrete : bool
        Some of its numbers are discrete.
    full_covariance : bool
        The family has a member with any mean and covariance.
    """

    density: Literal["exact", "bound", "none"] = "exact"
    moments: Literal["exact", "draws"] = "exact"
    pathwise: Pathwise | None = None
    natural: Natural | None = None
    entropy: Entropy | None = None
    frame: Frame | None = None
    compiled: Compiled | None = None
    score: ProductForm | None = None
    relaxed: Relaxed | None = None
    discrete: bool = False
    full_covariance: bool = False


def column(of_log_q: float | Array) -> Array:
    """One number, or one per draw, in a form that multiplies gradients (k, D)."""
    return np.asarray(of_log_q, np.float64)[..., None]


def stored(
    arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...], dtype: Any = np.float64
) -> NDArray[Any]:
    """An array of a file, if it has this shape (-1 is any length) and type and is finite.

    Raises
    ------
    KeyError
        If it is missing.
    ValueError
        If it is another.
    """
    array = arrays[name]
    fits = array.ndim == len(shape) and all(
        wanted in (-1, length) for length, wanted in zip(array.shape, shape)
    )
    if array.dtype != dtype or not fits:
        wanted = ", ".join("any" if length < 0 else str(length) for length in shape)
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}; wanted {np.dtype(dtype)} ({wanted})"
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must hold finite numbers")
    return array
