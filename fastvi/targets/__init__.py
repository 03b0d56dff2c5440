"""Log densities from Python, C, Stan, PyMC, JAX and NumPyro, behind one C signature."""

from fastvi.targets.base import Target
from fastvi.targets.c import from_c, from_library
from fastvi.targets.callable import from_callable
from fastvi.targets.decorator import target
from fastvi.targets.failures import TargetError
from fastvi.targets.jax import from_jax
from fastvi.targets.numpyro import from_numpyro
from fastvi.targets.pymc import from_pymc
from fastvi.targets.stan import from_stan

__all__ = [
    "Target",
    "TargetError",
    "from_c",
    "from_callable",
    "from_jax",
    "from_library",
    "from_numpyro",
    "from_pymc",
    "from_stan",
    "target",
]
