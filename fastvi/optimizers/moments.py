"""Optimizers with a rate for each coordinate, from running moments of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import AnyArray
from fastvi.core import Optimizer
from fastvi.optimizers.arithmetic import decay_weight, positive, squared_norm

__all__ = ["Moments", "adagrad", "adam", "amsgrad", "rmsprop"]

T = TypeVar("T")


class Moments(NamedTuple):
    """Running sums or means of the gradient and its square; those not used are empty."""

    first: object
    second: object
    largest: object
    t: int


def adagrad(learning_rate: float = 0.1, epsilon: float = 1e-8) -> Optimizer:
    """Divide by the root of the sum of squared gradients (Duchi et al. 2011).

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer, params = optimizers.adagrad(0.1), np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 0.1, -0.1])
    """
    numbers = positive("learning_rate", learning_rate), positive("epsilon", epsilon)
    return _per_coordinate(partial(_adagrad, *numbers))


def rmsprop(learning_rate: float = 0.01, decay: float = 0.9, epsilon: float = 1e-8) -> Optimizer:
    """Divide by the root of a running mean of squared gradients (Tieleman and Hinton 2012).

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer, params = optimizers.rmsprop(0.01), np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 0.0316, -0.0316])
    """
    numbers = (
        positive("learning_rate", learning_rate),
        decay_weight("decay", decay),
        positive("epsilon", epsilon),
    )
    return _per_coordinate(partial(_rmsprop, *numbers))


def adam(
    learning_rate: float = 0.01,
    decay: float = 0.9,
    decay_square: float = 0.999,
    epsilon: float = 1e-8,
) -> Optimizer:
    """Bias-corrected running means of the gradient and its square (Kingma and Ba 2015).

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer, params = optimizers.adam(0.01), np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 0.01, -0.01])
    """
    return _per_coordinate(_adam_update(learning_rate, decay, decay_square, epsilon), first=True)


def amsgrad(
    learning_rate: float = 0.01,
    decay: float = 0.9,
    decay_square: float = 0.999,
    epsilon: float = 1e-8,
) -> Optimizer:
    """Adam with a divisor that never decreases, which ensures convergence (Reddi et al. 2018).

    As in Adam, moments are bias-corrected before the maximum is taken.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer, params = optimizers.amsgrad(0.01), np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 0.01, -0.01])
    """
    update = _adam_update(learning_rate, decay, decay_square, epsilon)
    return _per_coordinate(update, first=True, largest=True)


def _adam_update(
    learning_rate: float, decay: float, decay_square: float, epsilon: float
) -> Callable[..., None]:
    decays = decay_weight("decay", decay), decay_weight("decay_square", decay_square)
    return partial(
        _adam, positive("learning_rate", learning_rate), *decays, positive("epsilon", epsilon)
    )


def _per_coordinate(
    update: Callable[..., None], first: bool = False, largest: bool = False
) -> Optimizer:
    start = partial(_no_moments, first, largest)
    return Optimizer(start, partial(_move, update), takes_rows=False, convex=False)


def _no_moments(first: bool, largest: bool, params: object) -> Moments:
    second = tree.zeros_like(params)
    empty = tree.map_leaves(lambda leaf: leaf.reshape(-1)[:0].copy(), second)
    fresh = partial(tree.zeros_like, params)
    return Moments(fresh() if first else empty, second, fresh() if largest else empty, 1)


def _move(
    update: Callable[..., None], gradient: T, state: Moments, params: object
) -> tuple[T, Moments, float]:
    """Step every leaf; the reported rate is the root mean square of the step."""

    def leaf(g: AnyArray, *moments: AnyArray) -> AnyArray:
        shape, g = np.shape(g), np.ascontiguousarray(g)
        step: AnyArray = np.empty_like(g)
        update(g.reshape(-1), [m.reshape(-1) for m in moments], state.t, step.reshape(-1))
        return step.reshape(shape)

    step = tree.map_leaves(leaf, gradient, state.first, state.second, state.largest)
    size = sum(np.size(part) for part in tree.leaves(step))
    rate = float(np.sqrt(squared_norm(step) / max(size, 1)))
    return step, state._replace(t=state.t + 1), rate


def _adagrad(
    rate: float, epsilon: float, g: AnyArray, moments: list[AnyArray], t: int, step: AnyArray
) -> None:
    from fastvi.kernels.optimizers import adagrad

    kind = g.dtype.type
    adagrad(g, moments[1], kind(rate), kind(epsilon), step)


def _rmsprop(
    rate: float, decay: float, epsilon: float,
    g: AnyArray, moments: list[AnyArray], t: int, step: AnyArray,
) -> None:  # fmt: skip
    from fastvi.kernels.optimizers import rmsprop

    kind = g.dtype.type
    rmsprop(g, moments[1], kind(decay), kind(rate), kind(epsilon), step)


def _adam(
    rate: float, decay: float, decay_square: float, epsilon: float,
    g: AnyArray, moments: list[AnyArray], t: int, step: AnyArray,
) -> None:  # fmt: skip
    from fastvi.kernels.optimizers import adam

    kind = g.dtype.type
    rate = rate / (1 - decay**t)
    correction = 1 / (1 - decay_square**t)
    numbers = (kind(x) for x in (decay, decay_square, rate, correction, epsilon))
    adam(g, *moments, *numbers, step)
