"""What expectation propagation finds in the family of a prior that is not Gaussian."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi.base import archive, checks
from fastvi.base.typing import AnyArray, Array, Path, RandomState
from fastvi.propagation.conjugate import Family, dirichlet, gamma
from fastvi.propagation.posterior import complete, course, read_course

__all__ = ["FamilyPosterior"]

KIND = "ep-family-posterior"

# By the natural parameters of the prior.
FAMILIES: dict[str, Callable[[Array], Family]] = {
    "dirichlet": dirichlet,
    "gamma": lambda natural: gamma(natural[0], -natural[1]),
}


class FamilyPosterior(NamedTuple):
    """An approximation from the prior's family; made by `fastvi.ep`.

    Attributes
    ----------
    family : Family
    parameters : (P,) array
        The usual ones: shape and rate, or concentrations.
    log_evidence : float
        The estimate of log Z, in nats; NaN if sites have failed.
    sites : (n, P) array
        What the factors add to the natural parameters: to shape and minus the rate, or to
        concentrations.
    failed : tuple of str
        Names of factors without a proper cavity at the end.
    settled : bool
        Whether the passes converged, with no failed factors.
    n_iter : int
    method : str
    history : dict of str to array
        As of `EPPosterior`.
    """

    family: Family
    parameters: Array
    log_evidence: float
    sites: Array
    failed: tuple[str, ...]
    settled: bool
    n_iter: int
    method: str
    history: dict[str, AnyArray]

    @property
    def mean(self) -> Array:
        """Means, (D,)."""
        return self.family.mean(self.parameters)

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        return np.asarray(np.sqrt(self.family.variance(self.parameters)))

    def sample(self, n: int, random_state: RandomState = None) -> Array:
        """Draw from it, (n, D).

        Parameters
        ----------
        n : int
        random_state : int, RandomState, Generator or None
        """
        n = checks.integer(n, "n", 1)
        rng = checks.generator(random_state, "random_state")
        return self.family.sample(self.parameters, n, rng)

    def save(self, path: Path) -> None:
        """Write it, as a numpy archive with a JSON header; atomic. `fastvi.load` reads it.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be written; an old file is then kept.
        """
        header, arrays = course(self)
        header["family"] = self.family.name
        arrays |= {"prior": self.family.natural, "parameters": self.parameters}
        archive.save(path, KIND, header, arrays | {"sites": self.sites})

    @classmethod
    def load(cls, path: Path) -> FamilyPosterior:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be opened.
        ValueError
            If it is damaged or not such a posterior.
        """
        header, arrays = archive.load(path, KIND)
        with complete(path):
            family = FAMILIES[header["family"]](arrays["prior"])
            parameters, sites = arrays["parameters"], arrays["sites"]
            found = cls(family, parameters, sites=sites, **read_course(path, header, arrays))
        width = family.natural.shape
        if parameters.shape != width or sites.ndim != 2 or sites.shape[1:] != width:
            raise ValueError(
                f"{path}: parameters have shape {parameters.shape} and sites {sites.shape}; "
                f"wanted {width} and (n, {width[0]})"
            )
        if not family.is_proper(family.parameters(parameters[None]))[0]:
            raise ValueError(f"{path}: parameters are {parameters}; wanted numbers above 0")
        return found
