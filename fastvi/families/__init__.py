"""Families of approximating distributions.

`fastvi.families.base` describes what a member of a family can do. Each family is one line of
`FAMILIES`; no code outside this folder depends on its type.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import AnyArray, RandomState
from fastvi.families.annealed import Annealed, Hamiltonian, Langevin, annealed
from fastvi.families.base import Family, Near, Powers
from fastvi.families.copulas import Copula, FactorCopula, copula
from fastvi.families.flows import IAF, MAF, MEMBERS, NSF, Flow, Planar, Radial, RealNVP, flow
from fastvi.families.fullrank import FullRank
from fastvi.families.hierarchical import VGP, Hierarchical
from fastvi.families.hierarchical_sizes import hierarchical, vgp
from fastvi.families.kinds import (
    Block,
    bernoulli,
    beta,
    categorical,
    gamma,
    gaussian,
    lognormal,
    one_hot,
    poisson,
)
from fastvi.families.lowrank import LowRank, lowrank
from fastvi.families.meanfield import MeanField
from fastvi.families.mixtures import GaussianMixture
from fastvi.families.powers import Draws
from fastvi.families.products import Blocks, blocks
from fastvi.families.vines import PairCopula

__all__ = [
    "FAMILIES",
    "IAF",
    "MAF",
    "NSF",
    "VGP",
    "Annealed",
    "Block",
    "Blocks",
    "Copula",
    "Draws",
    "FactorCopula",
    "Family",
    "Flow",
    "FullRank",
    "GaussianMixture",
    "Hamiltonian",
    "Hierarchical",
    "Langevin",
    "LowRank",
    "MeanField",
    "PairCopula",
    "Planar",
    "Powers",
    "Radial",
    "RealNVP",
    "Registered",
    "annealed",
    "bernoulli",
    "beta",
    "blocks",
    "categorical",
    "copula",
    "flow",
    "gamma",
    "gaussian",
    "hierarchical",
    "is_member",
    "load",
    "lognormal",
    "lowrank",
    "name_of",
    "one_hot",
    "poisson",
    "sample",
    "vgp",
]


class Registered(NamedTuple):
    """A family: the class of its members, and a function that makes one near a Gaussian.

    `near` is None if that makes no sense; fits then start from a given member.

    Examples
    --------
    >>> from fastvi import families
    >>> families.FAMILIES["fullrank"].member.__name__
    'FullRank'
    """

    member: type[Family]
    near: Near | None


FAMILIES: dict[str, Registered] = {
    "fullrank": Registered(FullRank, FullRank.of),
    "meanfield": Registered(MeanField, MeanField.of),
    "lowrank": Registered(LowRank, LowRank.of),
    "mixture": Registered(GaussianMixture, GaussianMixture.of),
    "copula": Registered(Copula, Copula.of),
    "factor-copula": Registered(FactorCopula, FactorCopula.of),
    "pair-copula": Registered(PairCopula, PairCopula.of),
    **{name: Registered(member, member.of) for name, member in MEMBERS.items()},
    "hamiltonian": Registered(Hamiltonian, Hamiltonian.of),
    "langevin": Registered(Langevin, Langevin.of),
    "hierarchical": Registered(Hierarchical, Hierarchical.of),
    "vgp": Registered(VGP, VGP.of),
    "blocks": Registered(Blocks, None),
}


def is_member(value: object) -> TypeGuard[Family]:
    """Whether it is a member of a registered family.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.MeanField(np.zeros(2), np.ones(2))
    >>> families.is_member(member), families.is_member("fullrank")
    (True, False)
    """
    return any(type(value) is family.member for family in FAMILIES.values())


def name_of(member: Family) -> str:
    """Return the name of a member's family.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.name_of(families.MeanField(np.zeros(2), np.ones(2)))
    'meanfield'
    """
    return next(name for name, family in FAMILIES.items() if type(member) is family.member)


def load(name: str, arrays: Mapping[str, AnyArray], dim: int) -> Family:
    """Load a member of a family from a file, see `fastvi.families.base.Family.load`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.MeanField(np.zeros(2), np.ones(2))
    >>> families.load("meanfield", member.save(), 2).sd
    array([1., 1.])
    """
    member: Family = FAMILIES[name].member.load(arrays, dim)
    return member


def sample(member: Family, n: int, random_state: RandomState = None) -> NDArray[np.float64]:
    """Draw n points (n, D) of a member.

    Parameters
    ----------
    member : Family
    n : int
    random_state : int, RandomState, Generator or None

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.MeanField(np.array([5.0, 0.0]), np.full(2, 0.1))
    >>> families.sample(member, 1000, random_state=0).mean(axis=0).round(1)
    array([5., 0.])
    """
    rng = checks.generator(random_state, "random_state")
    return member.draw(checks.integer(n, "n", 0), rng).points
