"""Gradients of log densities, derived from their source.

`derive` reads a Python function, lowers it to a small intermediate representation (`ir.py`), and
writes the Python source of a function that returns the value and its gradient, for Numba to
compile. What it does not understand it refuses, with the line (`NotDifferentiable`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastvi.derivatives.errors import NotDifferentiable

__all__ = ["Derived", "NotDifferentiable", "derive", "index_checks"]


class Derived(NamedTuple):
    """A derived gradient: the function ``(*arguments, grad) -> value``, and its source.

    `lanes` is the same for all draws Z at once, where it is known: ``(*lanes_arguments) -> None``.
    """

    function: Callable[..., Any]
    source: str
    arguments: tuple[str, ...]
    lanes: Callable[..., Any] | None = None
    lanes_source: str = ""
    lanes_arguments: tuple[str, ...] = ()

    def alone(self) -> Derived:
        """The same for one draw only, which takes less time to compile."""
        return self._replace(lanes=None, lanes_source="", lanes_arguments=())


def derive(
    function: Callable[..., Any], fields: Sequence[Any] = (), named: bool = True, **options: Any
) -> Derived:
    """The value and gradient of a log density.

    Parameters
    ----------
    function : callable
        With the arguments of `fastvi.target`, except grad and grads.
    fields : sequence of Field
        The data's arrays and numbers.
    named : bool
        Whether the data is a NamedTuple; otherwise a plain tuple.
    **options
        Of `reverse`, for tests.

    Raises
    ------
    NotDifferentiable
        If the function uses something that is not differentiated.
    """
    from fastvi.derivatives.front import lower
    from fastvi.derivatives.joining import join_loops
    from fastvi.derivatives.lanes import side_by_side
    from fastvi.derivatives.reverse import SLOPES, reverse

    program = lower(function, fields, named)
    name = f"{program.name}_and_grad"
    source = reverse(program, name, **options)
    slopes = tuple(SLOPES[a] for a in program.arguments if a in SLOPES)
    made = Derived(_defined(source, name, program.name), source, program.arguments + slopes)
    joined = lower(function, fields, named)
    several = side_by_side(reverse(joined, name, **options) if join_loops(joined) else source)
    if several is None:
        return made
    return made._replace(
        lanes=_defined(several.source, name, program.name),
        lanes_source=several.source,
        lanes_arguments=several.arguments,
    )


def index_checks(
    function: Callable[..., Any], fields: Sequence[Any] = (), named: bool = True
) -> Callable[..., None] | None:
    """What raises IndexError, for the arguments of a log density, if it leaves its arrays.

    None if it cannot, or if what it uses is not understood. Branches and helper functions are
    followed; only what indices depend on is computed, by Python.

    Parameters
    ----------
    function, fields, named
        As in `derive`; the function may take grad or grads.
    """
    from fastvi.derivatives.bounds import index_checks as checks
    from fastvi.derivatives.front import lower

    try:
        program = lower(function, fields, named)
    except NotDifferentiable:
        return None
    loosely = checks(program, loose=True)
    if loosely is None:
        return None
    exactly = functools.cache(lambda: checks(program, loose=False))

    def check(*arguments: Any) -> None:
        try:
            loosely(*arguments)
        except Exception:  # perhaps where a branch keeps it from happening
            exact = exactly()
            if exact is not None:
                exact(*arguments)

    return check


def _defined(source: str, name: str, of: str) -> Callable[..., Any]:
    """The function of a source."""
    from fastvi.derivatives import functions

    scope = dict(functions.scope())
    exec(compile(source, f"<gradient of {of}>", "exec"), scope)
    defined: Callable[..., Any] = scope[name]
    return defined
