"""Log densities from Python, C, Stan and PyMC, behind one C signature."""

from fastvi.targets.base import Target
from fastvi.targets.c import from_c, from_library
from fastvi.targets.decorator import target
from fastvi.targets.failures import TargetError
from fastvi.targets.pymc import from_pymc
from fastvi.targets.stan import from_stan

__all__ = [
    "Target",
    "TargetError",
    "from_c",
    "from_library",
    "from_pymc",
    "from_stan",
    "target",
]
