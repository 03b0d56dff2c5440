"""Gradients of log densities, derived from their source.

`derive` reads a Python function, lowers it to a small intermediate representation (`ir.py`), and
writes the Python source of a function that returns the value and its gradient, for Numba to
compile. What it does not understand it refuses, with the line (`NotDifferentiable`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fastvi.derivatives.errors import NotDifferentiable

__all__ = ["Derived", "NotDifferentiable", "derive"]


class Derived(NamedTuple):
    """A derived gradient: the function ``(*arguments, grad) -> value``, and its source."""

    function: Callable[..., Any]
    source: str
    arguments: tuple[str, ...]


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
    from fastvi.derivatives import functions
    from fastvi.derivatives.front import lower
    from fastvi.derivatives.reverse import SLOPES, reverse

    program = lower(function, fields, named)
    name = f"{program.name}_and_grad"
    source = reverse(program, name, **options)
    scope = dict(functions.scope())
    exec(compile(source, f"<gradient of {program.name}>", "exec"), scope)
    slopes = tuple(SLOPES[a] for a in program.arguments if a in SLOPES)
    return Derived(scope[name], source, program.arguments + slopes)
