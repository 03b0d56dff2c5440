"""Optimizers made of other optimizers, and clipping."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from fastvi.base import checks, tree
from fastvi.base.typing import AnyArray
from fastvi.core import LazyTable, Optimizer, scale
from fastvi.optimizers.arithmetic import first_step, follow, positive, squared_norm

__all__ = ["AverageState", "averaged", "chain", "clip", "scaled"]

T = TypeVar("T")


def clip(norm: float) -> Optimizer:
    """Shorten gradients longer than `norm` (Pascanu et al. 2013); put it first in a `chain`.

    Raises
    ------
    ValueError
        If `norm` is not a number above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer, params = optimizers.clip(1.0), np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 0.6, -0.8])
    """
    return Optimizer(first_step, partial(_clip, positive("norm", norm)), takes_rows=False)


def _clip(norm: float, gradient: T, t: int, params: object) -> tuple[T, int, float]:
    length = float(np.sqrt(squared_norm(gradient)))
    rate = norm / length if length > norm else 1.0
    return scale(gradient, rate), t + 1, rate


def chain(*optimizers: Optimizer) -> Optimizer:
    """Apply optimizers in turn: the step of each is the gradient of the next; rates multiply.

    Raises
    ------
    ValueError
        If there are no optimizers, or one of them averages iterates, which needs the whole step.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer = optimizers.chain(optimizers.clip(1.0), optimizers.adam(0.01))
    >>> params = np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 0.01, -0.01])
    """
    if not optimizers:
        raise ValueError("chain() got no optimizers; wanted at least one")
    if any(map(_averages, optimizers)):
        raise ValueError("averaged(...) must be outside of chain(...): it needs the whole step")
    return Optimizer(
        partial(_start_all, optimizers),
        partial(_one_after_another, optimizers),
        takes_rows=all(part.takes_rows for part in optimizers),
        convex=all(part.convex for part in optimizers),
    )


def _averages(optimizer: Optimizer) -> bool:
    return optimizer.read is not Optimizer._field_defaults["read"]


def _start_all(optimizers: tuple[Optimizer, ...], params: object) -> tuple[object, ...]:
    return tuple(part.init(params) for part in optimizers)


def _one_after_another(
    optimizers: tuple[Optimizer, ...], gradient: T, states: tuple[object, ...], params: object
) -> tuple[T, tuple[object, ...], float]:
    new, rate = [], 1.0
    for part, state in zip(optimizers, states):
        gradient, state, factor = part.update(gradient, state, params)
        new.append(state)
        rate *= factor
    return gradient, tuple(new), rate


def scaled(optimizer: Optimizer, units: Callable[[T], T]) -> Optimizer:
    """Let an optimizer work in other units, which may change with the parameters.

    Parameters
    ----------
    optimizer : Optimizer
        One with a rate per coordinate, for which all coordinates should be on the same scale.
    units : callable
        ``units(params)`` has the form of the parameters: the size of a unit step in each of them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> params, units = np.zeros(2), np.array([1.0, 10.0])
    >>> optimizer = optimizers.scaled(optimizers.constant(1.0), lambda params: units)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([   3., -400.])
    """
    return optimizer._replace(update=partial(_scaled, optimizer, units), takes_rows=False)


def _scaled(
    optimizer: Optimizer, units: Callable[[T], T], gradient: T, state: object, params: T
) -> tuple[T, object, float]:
    here = units(params)
    inner = tree.map_leaves(np.multiply, gradient, here)
    step, state, rate = optimizer.update(inner, state, params)
    return tree.map_leaves(np.multiply, step, here), state, rate


class AverageState(NamedTuple):
    """Mean of the iterates before the last, state of the inner optimizer, and number of steps.

    The last iterate is left out because its step may still be shortened to stay in the domain.
    """

    mean: object
    inner: object
    n_steps: int


def averaged(optimizer: Optimizer, burn_in: int = 0) -> Optimizer:
    """Average the iterates (Polyak and Juditsky 1992); steps are those of `optimizer`.

    Parameters
    ----------
    optimizer : Optimizer
    burn_in : int
        Number of initial steps left out of the average; until then the result is the last iterate.

    Raises
    ------
    ValueError
        If `burn_in` is not an integer of at least 0, or `optimizer` averages already.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer, params = optimizers.averaged(optimizers.constant(0.5)), np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 1.5, -2. ])
    """
    if _averages(optimizer):
        raise ValueError(
            "averaged(...) of averaged(...); wanted an optimizer that does not average"
        )
    burn_in = checks.integer(burn_in, "burn_in", 0)
    return Optimizer(
        partial(_average_start, optimizer),
        partial(_average, optimizer, burn_in),
        takes_rows=False,
        convex=optimizer.convex,
        read=partial(_read_average, burn_in),
    )


def _average_start(optimizer: Optimizer, params: object) -> AverageState:
    return AverageState(tree.zeros_like(params), optimizer.init(params), 0)


def _average(
    optimizer: Optimizer, burn_in: int, gradient: T, state: AverageState, params: object
) -> tuple[T, AverageState, float]:
    step, inner, rate = optimizer.update(gradient, state.inner, params)
    if state.n_steps > burn_in:
        follow(state.mean, _dense_params(params), 1.0 / (state.n_steps - burn_in))
    return step, AverageState(state.mean, inner, state.n_steps + 1), rate


def _read_average(burn_in: int, state: AverageState, params: T) -> T:
    n = state.n_steps - burn_in
    if n < 2:
        return params
    mean = tree.map_leaves(np.copy, state.mean)
    follow(mean, _dense_params(params), 1.0 / n)
    found: T = tree.map_leaves(_in_form_of, params, mean)
    return found


def _in_form_of(leaf: LazyTable | AnyArray, values: AnyArray) -> LazyTable | AnyArray:
    return LazyTable(values, leaf.anchor) if isinstance(leaf, LazyTable) else values


def _dense_params(params: object) -> object:
    return tree.map_leaves(lambda x: x.dense() if isinstance(x, LazyTable) else x, params)
