"""Protocols of approximating distributions: what all families offer, and what some offer.

A member of a family is a NamedTuple of arrays with the methods of `Family`. What only some families
can do is a power (`fastvi.families.powers`), which a member names in `Family.powers`; code that
needs a power asks for it, never for the type of the member. A new family takes one file here, one
file in `kernels/` if it has its own loops, one plain twin in `tests/naive/`, and one line of the
table in `fastvi.families`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, Array, DTypeLike, Tree
from fastvi.families.powers import (
    Auxiliary,
    Compiled,
    Draws,
    Entropy,
    Guided,
    Independent,
    Natural,
    Pace,
    Pathwise,
    Relaxed,
    Warp,
)

__all__ = [
    "Components",
    "Dispersed",
    "Dispersible",
    "Family",
    "Frame",
    "Near",
    "Powers",
    "Product",
    "ProductForm",
    "column",
    "stored",
]

Near = Callable[[Array, Array], "Family"]  # from a mean (D,) and a covariance (D, D) to a member


class Family(Protocol):
    """A member of a family of distributions over D numbers.

    A member may be batched by row, with one distribution per row of the data, as inference networks
    return them. Its arrays, and all that it returns, then have a leading axis of n rows in front of
    the axes named below (points (n, k, D), log densities (n, k), means (n, D)). Only `dim` stays D.
    No member in this package is batched yet.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.MeanField(np.zeros(2), np.ones(2))
    >>> draws = member.draw(4, np.random.default_rng(0))
    >>> draws.points.shape
    (4, 2)
    >>> member.log_prob(np.zeros((1, 2))).round(4)
    array([-1.8379])
    """

    @property
    def dim(self) -> int:
        """Length of a draw, D."""
        ...

    @property
    def powers(self) -> Powers:
        """What else the member can do, and which of its results are exact."""
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
        """Draw n points, antithetic if the family supports it."""
        ...

    def log_prob(self, Z: Array) -> Array:
        """Log densities (k,) of points Z (k, D), in nats; exact or not as `Powers.density` says."""
        ...

    def log_prob_of(self, draws: Draws) -> Array:
        """`log_prob` of the member's own draws, which may be cheaper given their noise."""
        ...

    def free(self) -> Tree:
        """Return the unconstrained parameters, a tree of arrays."""
        ...

    def from_free(self, free: Tree) -> Self:
        """Return the member of the same form with these unconstrained parameters."""
        ...

    def divergence(self, other: Self) -> float:
        """Symmetrised KL divergence from a member of the same form, in nats."""
        ...

    def save(self) -> dict[str, AnyArray]:
        """Return the arrays to store in a file."""
        ...

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from the arrays of `save`.

        Raises
        ------
        KeyError
            If an array is missing.
        ValueError
            If the arrays are not those of a member of this dimension; the message names the array.
        """
        ...


class Frame(Protocol):
    """The member's own units, in which one learning rate suits all parameters."""

    @property
    def centre(self) -> Array:
        """Where these units begin, (D,)."""
        ...

    @property
    def units(self) -> Array:
        """Factors that scale standard numbers to the member, (D,) or (D, D)."""
        ...

    def standard(self) -> Any:
        """Return the member in its own units and about its own centre."""
        ...

    def mapped(self, centre: Array, units: Array) -> Family:
        """Return the member after the map x -> centre + units x."""
        ...


class Product(Family, Protocol):
    """A product of B independent parts with known scores.

    A score is the gradient of a log density with respect to the P numbers of `Family.free`.
    """

    @property
    def starts(self) -> NDArray[np.int64]:
        """Offsets of the parts in a draw, (B,)."""
        ...

    def dispersed(
        self, log_tau: Array, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Draw (n, D) from overdispersed parts; log densities (n, B) of the parts and of these."""
        ...

    def score_pullback(self, Z: Array, weights: Array, signals: Array, controlled: bool) -> Array:
        """Return the mean (P,) over draws of weights x signals x scores.

        Parameters
        ----------
        Z : (n, D) array
        weights, signals : (n, B) or (n, 1) array
            For each part, or for all.
        controlled : bool
            Use the score itself as a control variate.
        """
        ...

    def dispersion_slopes(
        self, log_tau: Array, Z: Array, weights: Array, signals: Array, controlled: bool
    ) -> Array:
        """Return minus the derivatives of the log variance of `score_pullback` by log_tau, (B,)."""
        ...

    def step_units(self, free: Array) -> Array:
        """Return the change of each parameter that corresponds to one standard deviation, (P,)."""
        ...


class Components(Protocol):
    """A mixture, whose components are fitted side by side or one by one."""

    def at(self, means: Array, covs: Array, log_weights: Array) -> Family:
        """Return the mixture of K components, whose weights are normalised."""
        ...


class Dispersed(Protocol):
    """A product whose parts are wider than a member's, with a known density."""

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points (n, D)."""
        ...

    def block_log_prob(self, Z: Array) -> Array:
        """Log densities (n, B) of each part in Z (n, D), in nats; -inf outside its range."""
        ...


class Dispersible(Family, Protocol):
    """A product of B independent parts, each of which can be made wider."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """Offsets of the parts in a draw, (B,)."""
        ...

    @property
    def choices(self) -> list[Array | None]:
        """For each part, its possible values (C, width); None if these cannot be listed."""
        ...

    def block_log_prob(self, Z: Array) -> Array:
        """Log densities (n, B) of each part in Z (n, D), in nats; -inf outside its range."""
        ...

    def dispersal(self, log_tau: Array) -> Dispersed:
        """Return the product with parts overdispersed by exp(log_tau), (B,)."""
        ...


class ProductForm(NamedTuple):
    """A member as a product of independent parts, with the map back."""

    product: Product
    back: Callable[[Any], Any]


class Powers(NamedTuple):
    """Optional powers of a member; None or False if it lacks them.

    Attributes
    ----------
    density : {"exact", "bound", "none"}
        What `Family.log_prob` returns: the log density, a lower bound on it, or nothing, for
        implicit members, which can only draw.
    moments : {"exact", "draws"}
        How means, standard deviations and the covariance are computed.
    pathwise, natural, entropy, frame, compiled, relaxed, auxiliary, independent, components
        The member itself, if it has the power.
    guided, warp
        The member itself, if it has the power.
    score : ProductForm or None
        The member as a product of independent parts, for score-function gradients.
    dispersible : Dispersible or None
        The member itself, if its numbers are a product of parts that need not be Gaussian.
    pace : Pace
        How plain gradients climb.
    spans : bool
        Whether members bend over several modes, so that fits begin over all that are known.
    discrete : bool
        Whether some of its numbers are discrete.
    full_covariance : bool
        Whether the family has a member with any given mean and covariance.
    gaussian : bool
        Whether it is a normal distribution.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> powers = families.MeanField(np.zeros(2), np.ones(2)).powers
    >>> powers.gaussian, powers.density, powers.full_covariance
    (True, 'exact', False)
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
    auxiliary: Auxiliary | None = None
    independent: Independent | None = None
    dispersible: Dispersible | None = None
    components: Components | None = None
    guided: Guided | None = None
    warp: Warp | None = None
    pace: Pace = Pace()
    spans: bool = False
    discrete: bool = False
    full_covariance: bool = False
    gaussian: bool = False


def column(of_log_q: float | Array) -> Array:
    """Reshape a number, or one per draw, to multiply gradients (k, D)."""
    return np.asarray(of_log_q, np.float64)[..., None]


def stored(
    arrays: Mapping[str, AnyArray], name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float64
) -> AnyArray:
    """Return an array of a file, if it has this shape (-1 is any length) and dtype and is finite.

    Raises
    ------
    KeyError
        If it is missing.
    ValueError
        If it is anything else.
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
