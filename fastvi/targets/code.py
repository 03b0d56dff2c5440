"""Machine code of a log density, and the layers around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastvi.base.typing import Array
from fastvi.transforms import Parameters

__all__ = ["Compiled", "layered"]


class Compiled(NamedTuple):
    """Machine code that an adapter made from a user's density, and how to use it.

    `address` points to a function with the C signature, which lives as long as `owner`. `header`
    holds words of the table that it needs. `explain(z)` may return a message about a failure at z.
    """

    address: int
    owner: object
    has_gradient: bool
    n_terms: int = 1
    header: tuple[tuple[int, int], ...] = ()
    explain: Callable[[Array], str] | None = None
    status: Callable[[int], int] = int
    concurrent: bool = True
    hit: bool = False


def layered(
    compiled: Compiled, parameters: Parameters, *, numerical: bool
) -> tuple[int, dict[int, int]]:
    """Wrap transforms and finite differences around a density: address, header of its table."""
    from fastvi.kernels import targets
    from fastvi.kernels._jit import adapter

    header = {targets.N_TERMS: compiled.n_terms, **dict(compiled.header)}
    address = compiled.address
    if not parameters.identity:
        header[targets.CONSTRAINED] = address
        header[targets.N_CONSTRAINED] = parameters.n_constrained
        header[targets.BLOCKS] = parameters.blocks.ctypes.data
        header[targets.BOUNDS] = parameters.bounds.ctypes.data
        header[targets.N_BLOCKS] = len(parameters.blocks)
        address = adapter(targets.constrained)[0]
    if numerical:
        header[targets.DIFFERENTIATED] = address
        address = adapter(targets.numerical)[0]
    return address, header
