"""Densities of numbers as sums over arrays: in Python, compiled, and in derived gradients."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.extending import overload

__all__ = ["by_rows", "compiled", "summed"]

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


def by_rows(function: Callable[..., float]) -> Callable[..., float]:
    """A log density of numbers and a vector, its last argument, made to take several rows as well.

    Then the numbers are (N,) arrays or numbers, the vector is an (N, n) matrix or the same for all
    rows, and the value is the sum. Derived gradients find the density of a row as `of_row`.
    """
    row: Any = compiled(function)
    names = list(inspect.signature(function).parameters)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def density(*args: Any, **kwargs: Any) -> float:
        *numbers, vector = signature.bind(*args, **kwargs).args
        vector = np.asarray(vector)
        shapes = [np.shape(v) for v in numbers]
        sizes = {shape[0] for shape in (*shapes, vector.shape[:-1]) if shape}
        if vector.ndim not in (1, 2) or max(map(len, shapes)) > 1 or len(sizes) > 1:
            raise ValueError(_unfit(function, names, [*shapes, vector.shape]))
        if not sizes:
            return float(row(*numbers, np.ascontiguousarray(vector)))
        (n,) = sizes
        parts = [np.broadcast_to(v, (n,)) for v in numbers]
        vectors = np.broadcast_to(vector, (n, vector.shape[-1]))
        rows = (([p[i].item() for p in parts], np.ascontiguousarray(vectors[i])) for i in range(n))
        return float(sum(row(*of_row, v) for of_row, v in rows))

    density.of_row = row  # type: ignore[attr-defined]
    scope: dict[str, Any] = {"build": functools.partial(_row_loop, function, row, names)}
    arguments = ", ".join(names)
    exec(f"def typed({arguments}):\n    return build([{arguments}])", scope)
    overload(density)(scope["typed"])
    return density


def _unfit(function: Any, names: list[str], shapes: list[tuple[int, ...]]) -> str:
    """What a density of rows says of arguments of other shapes."""
    given = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes))
    return (
        f"{function.__name__} is given shapes {given}; wanted numbers or (N,) arrays, and last a "
        "vector (n,) or a row for each, (N, n)"
    )


def _row_loop(function: Any, row: Any, names: list[str], types: list[Any]) -> Any:
    """The sum over rows of arguments of these types, as a function that Numba compiles."""
    axes = [getattr(t, "ndim", 0) for t in types]
    axes[-1] -= 1
    if not all(0 <= d <= 1 for d in axes):
        shown = ", ".join(f"{n} {t!s}" for n, t in zip(names, types))
        raise numba.core.errors.TypingError(
            f"{function.__name__} is given {shown}; wanted numbers or vectors, and last a vector "
            "or a matrix with a row for each"
        )
    sizes = [f"{n}.shape[0]" for n, d in zip(names, axes) if d]
    parts = [f"{n}[i]" if d else n for n, d in zip(names, axes)]
    call = f"row({', '.join(parts)})"
    lines = [f"return {call}"]
    if sizes:
        checks = [f"if {n} != {sizes[0]}: raise ValueError('shapes differ')" for n in sizes[1:]]
        lines = [*checks, "total = 0.0", f"for i in range({sizes[0]}):", f"    total += {call}",
                 "return total"]  # fmt: skip
    return _defined(f"def sums({', '.join(names)}):", lines, {"row": row})


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
    return _defined(f"def sums({', '.join(names)}):", lines, {"numbers": numbers})


def _defined(head: str, lines: list[str], scope: dict[str, Any]) -> Any:
    """The function `sums` of these lines."""
    exec("\n    ".join([head, *lines]), scope)
    return scope["sums"]
