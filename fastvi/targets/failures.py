"""What is said when a log density or its gradient is wrong, and where."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TargetError", "compare", "describe", "not_finite", "warn_of_cost"]

SHOWN = 8  # components of a vector in an error's text


class TargetError(ArithmeticError):
    """A log density failed, or gave a number that is not finite.

    Attributes
    ----------
    z : (dim,) array
        Where it was evaluated, in free numbers.
    component : int or None
        The gradient's component at fault; None if it was the value.
    """

    def __init__(self, message: str, z: NDArray[np.float64], component: int | None = None) -> None:
        super().__init__(message)
        self.z = z
        self.component = component

    def __reduce__(self) -> tuple[Any, ...]:
        return TargetError, (self.args[0], self.z, self.component)


def describe(names: Sequence[str], z: NDArray[np.float64]) -> str:
    """A vector with the names of its components, cut short."""
    parts = [f"{name}={value:.8g}" for name, value in zip(names[:SHOWN], z)]
    more = [f"... ({len(z)} numbers)"] if len(z) > SHOWN else []
    return ", ".join(parts + more)


def not_finite(
    name: str,
    names: Sequence[str],
    z: NDArray[np.float64],
    numbers: NDArray[np.float64],
    component: int,
) -> TargetError:
    """The error for values (n_terms,) at z, component -1, or for a component of a gradient."""
    where = describe(names, z)
    if component >= 0:
        which = f"gradient's component {component} ({names[component]})"
        bad = numbers[component]
        return TargetError(f"{name}: the {which} is {bad} at {where}", z.copy(), component)
    term = int(np.argmin(np.isfinite(numbers)))
    which = f"log density's term {term}" if len(numbers) > 1 else "log density"
    return TargetError(f"{name}: the {which} is {numbers[term]} at {where}", z.copy())


def compare(
    name: str,
    names: Sequence[str],
    points: NDArray[np.float64],
    grads: NDArray[np.float64],
    wanted: NDArray[np.float64],
    rtol: float,
    rounding: NDArray[np.float64],
) -> float:
    """Largest error of gradients (k, n), relative to their components or to 1.

    Raises
    ------
    TargetError
        If one exceeds rtol and the rounding (k, 1) of differences, or those are not finite.
    """
    scale = np.maximum(1.0, np.maximum(np.abs(grads), np.abs(wanted)))
    error = np.abs(grads - wanted) / scale
    excess = np.where(np.isfinite(error), error - rtol - rounding / scale, np.inf)
    if (excess > 0).any():
        s, j = (int(i) for i in np.unravel_index(np.argmax(excess), excess.shape))
        raise TargetError(
            f"{name}: the gradient's component {j} ({names[j]}) is {grads[s, j]:.8g}, and by "
            f"finite differences {wanted[s, j]:.8g}, at {describe(names, points[s])}",
            points[s].copy(),
            j,
        )
    return float(error.max(initial=0.0))


def warn_of_cost(name: str, gradient: Any, stacklevel: int) -> None:
    """Warn if the gradient asked for is the numerical one."""
    if isinstance(gradient, str) and gradient == "numerical":
        warnings.warn(
            f"{name} gets a numerical gradient, each of which costs 4 x dim values; a function "
            "that writes its own costs about as much as one or two",
            stacklevel=stacklevel + 1,
        )
