"""Likelihoods of one latent number as power expectation propagation takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.likelihoods import Bernoulli, Gaussian, Poisson, StudentT
from fastvi.models.gp.ordinal import Ordinal
from fastvi.propagation import tilted
from fastvi.propagation.tilted import Site, Tilted

__all__ = ["SITEWISE", "Sitewise", "of_name"]

NOTHING: Array = np.zeros(0)


class Sitewise:
    """A likelihood, and its tilted moments: parameters of its own are learned with the kernel's.

    Parameters
    ----------
    likelihood : Likelihood
        Checks targets and predicts.
    make : callable
        ``make(noise)`` is its site, with the variance of the kernel's white noise.
    """

    def __init__(self, likelihood: Likelihood, make: Callable[[float], Site]) -> None:
        self.likelihood, self._make = likelihood, make

    def site(self, noise: float, own: Array) -> Site:
        """What integrates the likelihood against cavities."""
        return self._make(noise)

    def start(self, y: Array) -> Array:
        """Its own parameters to start from, unconstrained."""
        return NOTHING

    def slopes(self, found: Tilted, y: Array, counts: Array, own: Array) -> tuple[float, Array]:
        """Derivatives of the evidence by log noise and by its own parameters."""
        return float(counts @ found.by_first) if self.likelihood.is_noisy else 0.0, NOTHING


class OrdinalSites(Sitewise):
    """Levels between cut points, of which the first and the logarithms of gaps are learned."""

    def __init__(self) -> None:
        super().__init__(Ordinal(), lambda noise: tilted.probit)

    def site(self, noise: float, own: Array) -> Site:
        """See `Sitewise`."""
        return tilted.ordinal(Ordinal.cuts(own))

    def start(self, y: Array) -> Array:
        """See `Sitewise`; the quantiles of the levels."""
        return Ordinal.start_for(y)

    def slopes(self, found: Tilted, y: Array, counts: Array, own: Array) -> tuple[float, Array]:
        """See `Sitewise`."""
        level, n = y.astype(np.int64), len(own) + 1
        above = np.bincount(level, counts * found.by_second, n)[: n - 1]
        below = np.bincount(level, counts * found.by_first, n)[1:]
        by_cut = above + below
        later = np.cumsum(by_cut[::-1])[::-1]  # a gap moves all later cut points
        return 0.0, np.concatenate((later[:1], later[1:] * np.exp(own[1:])))


SITEWISE: dict[str, Callable[[float], Sitewise]] = {
    "gaussian": lambda df: Sitewise(Gaussian(), tilted.gaussian),
    "student-t": lambda df: Sitewise(StudentT(df), lambda noise: tilted.student(noise, df)),
    "poisson": lambda df: Sitewise(Poisson(), lambda noise: tilted.poisson),
    "bernoulli-probit": lambda df: Sitewise(Bernoulli("probit"), lambda noise: tilted.probit),
    "bernoulli-logit": lambda df: Sitewise(Bernoulli("logit"), lambda noise: tilted.logit),
    "ordinal": lambda df: OrdinalSites(),
}


def of_name(name: Any, df: Any) -> Sitewise:
    """The likelihood of this name, with `df` degrees of freedom where it has them.

    Raises
    ------
    ValueError
        If the name is unknown, or the likelihood has degrees of freedom and `df` is not above 2.
    """
    name = checks.choice(name, "likelihood", tuple(SITEWISE))
    if name == "student-t":
        df = checks.number(df, "df", 2.0, open_low=True)
    return SITEWISE[name](df)
