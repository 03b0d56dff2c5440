"""Densities of numbers as sums over arrays: in Python, compiled, and in derived gradients."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.extending import overload

__all__ = ["compiled", "summed"]


F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """A function that densities call, compiled into them."""
    return cast(F, numba.njit(function, error_model="numpy"))


def summed(function: Callable[..., float]) -> Callable[..., float]:
    """A log density of numbers, made to take arrays as well and to give the sum over them.

    Arrays are broadcast as NumPy does, but an axis of length 1 is repeated only in Python.
    Derived gradients find the density of numbers as the attribute `of_numbers`.
    """
    numbers: Any = compiled(function)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def density(*args: Any, **kwargs: Any) -> float:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        parts = np.broadcast(*bound.args)
        if not parts.ndim:
            return float(numbers(*bound.args))
        return float(sum(numbers(*(v.item() for v in row)) for row in parts))

    density.of_numbers = numbers  # type: ignore[attr-defined]
    names = list(signature.parameters)
    scope: dict[str, Any] = {"build": functools.partial(_loops, numbers, names)}
    arguments = ", ".join(names)
    exec(f"def typed({arguments}):\n    return build([{arguments}])", scope)
    overload(density)(scope["typed"])
    return density


def _loops(numbers: Any, names: list[str], types: list[Any]) -> Any:
    """The sum over arrays of these types, as a function that Numba compiles."""
    axes = [getattr(t, "ndim", 0) for t in types]
    most = max(axes)
    lines, parts = [], []
    for axis in range(most):
        own = [f"{n}.shape[{axis - most + d}]" for n, d in zip(names, axes) if d >= most - axis]
        lines.append(f"n{axis} = {own[0]}")
        lines += [f"if {size} != n{axis}: raise ValueError('shapes differ')" for size in own[1:]]
    for name, d in zip(names, axes):
        index = ", ".join(f"i{axis}" for axis in range(most - d, most))
        parts.append(f"{name}[{index}]" if d else name)
    call = f"numbers({', '.join(parts)})"
    if most:
        lines.append("total = 0.0")
        lines += ["    " * axis + f"for i{axis} in range(n{axis}):" for axis in range(most)]
        lines += ["    " * most + f"total += {call}", "return total"]
    else:
        lines.append(f"return {call}")
    source = "\n    ".join([f"def sums({', '.join(names)}):", *lines])
    scope: dict[str, Any] = {"numbers": numbers}
    exec(source, scope)
    return scope["sums"]
