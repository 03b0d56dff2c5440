"""Optimizers: turn a gradient into a step. All of them ascend.

With natural gradients, optimizers that use one rate for all coordinates (`constant`,
`robbins_monro`, `adaptive`, `clip`) keep natural parameters in their domain. Those that scale each
coordinate separately (`adagrad`, `rmsprop`, `adam`, `amsgrad`) are for plain gradients of
unconstrained parameters; see `fastvi.gradients.plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import NamedTuple, TypeVar

import numpy as np

from fastvi.base import checks, tree
from fastvi.base.typing import AnyArray
from fastvi.core import LazyTable, Optimizer, scale

__all__ = [
    "adagrad",
    "adam",
    "adaptive",
    "amsgrad",
    "averaged",
    "chain",
    "chosen",
    "clip",
    "constant",
    "rmsprop",
    "robbins_monro",
    "scaled",
]

T = TypeVar("T")


def _positive(name: str, value: float) -> float:
    return checks.number(value, name, 0.0, open_low=True)


def _decay(name: str, value: float) -> float:
    """Return `value`, the weight of a running mean's past, if it is in [0, 1)."""
    if not (_is_number(value) and 0 <= value < 1):
        raise ValueError(f"{name} is {value!r}; wanted a number in [0, 1)")
    return float(value)


def _count(name: str, value: int, least: int) -> int:
    """Return `value` if it is a whole number of at least `least`."""
    if not (_is_number(value) and value == np.floor(value) and value >= least):
        raise ValueError(f"{name} is {value!r}; wanted a whole number >= {least}")
    return int(value)


def _is_number(value: object) -> bool:
    return (
        isinstance(value, Real) and not isinstance(value, bool) and bool(np.isfinite(float(value)))
    )


# One rate for the whole step


def constant(learning_rate: float = 1.0) -> Optimizer:
    """The same rate at every step; rate 1 on the natural gradient of all data is CAVI.

    Raises
    ------
    ValueError
        If `learning_rate` is not a number above 0.
    """
    rate = _positive("learning_rate", learning_rate)
    return Optimizer(_first, partial(_constant, rate), convex=rate <= 1)


def _first(params: object) -> int:
    return 1


def _constant(rate: float, gradient: T, t: int, params: object) -> tuple[T, int, float]:
    return scale(gradient, rate), t + 1, rate


def robbins_monro(delay: float = 10.0, exponent: float = 0.7) -> Optimizer:
    """Rate ``(delay + t) ** -exponent`` at step t = 1, 2, ...

    Parameters
    ----------
    delay : float
        tau >= 0; larger values shorten early steps.
    exponent : float
        kappa in (0.5, 1]: sums of rates diverge and sums of their squares converge (Robbins and
        Monro 1951; Hoffman et al. 2013, eq. 26).

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """
    delay = checks.number(delay, "delay", 0.0)
    if not (_is_number(exponent) and 0.5 < exponent <= 1):
        raise ValueError(
            f"exponent is {exponent!r}; Robbins-Monro steps converge for exponents in (0.5, 1]"
        )
    return Optimizer(_first, partial(_robbins_monro, delay, exponent))


def _robbins_monro(
    delay: float, exponent: float, gradient: T, t: int, params: object
) -> tuple[T, int, float]:
    rate = float(delay + t) ** -exponent
    return scale(gradient, rate), t + 1, rate


LEAST_DELAY = 50.0


class AdaptiveState(NamedTuple):
    """Running means of the gradient and its squared norm, their window in steps, and the sum of the
    squared weights of the gradients in them.
    """

    mean: object
    square: float
    window: float
    weight: float
    t: int


def adaptive(n_warm: int = 5) -> Optimizer:
    """The rate that minimises the expected distance to the optimum (Ranganath et al. 2013).

    For natural gradients g it is rho = |E g|^2 / E |g|^2 = |g*|^2 / (|g*|^2 + tr Sigma) (eq. 12),
    with running means of g and |g|^2 over a window that adapts: tau <- tau (1 - rho) + 1 (eq. 14 to
    16). Unlike the paper, this subtracts the noise of the running mean from its squared norm, which
    is |E g|^2 + w tr Sigma, where w is the sum of the squared weights of the gradients (1 /
    `n_warm` at first). Without this, long steps that follow noise can spoil a good start. The rate
    is also at least 1 / (50 + t), so that the sum of the rates diverges.

    Parameters
    ----------
    n_warm : int
        Number of gradients at the starting point that initialise the means, before the first step.

    Raises
    ------
    ValueError
        If `n_warm` is not a whole number of at least 2, the fewest that allow an estimate of noise.
    """
    n_warm = _count("n_warm", n_warm, 2)
    return Optimizer(_adaptive_start, partial(_adaptive, n_warm), takes_rows=False)


def _adaptive_start(params: object) -> AdaptiveState:
    return AdaptiveState(tree.zeros_like(params), 0.0, 1.0, 0.0, 1)


def _adaptive(
    n_warm: int, gradient: T, state: AdaptiveState, params: object
) -> tuple[T, AdaptiveState, float]:
    mean, square, window, weight, t = state
    share = 1.0 / (t if t <= n_warm else window)
    _follow(mean, gradient, share)
    square += share * (_squared_norm(gradient) - square)
    weight = (1.0 - share) ** 2 * weight + share**2
    if t < n_warm:
        waiting = AdaptiveState(mean, square, float(n_warm), weight, t + 1)
        return scale(gradient, 0.0), waiting, 0.0
    signal = (_squared_norm(mean) - weight * square) / (1.0 - weight)
    rate = min(max(signal / square, 1.0 / (LEAST_DELAY + t)), 1.0) if square > 0 else 0.0
    window = max((window if t > n_warm else n_warm) * (1.0 - rate) + 1.0, 2.0)
    return scale(gradient, rate), AdaptiveState(mean, square, window, weight, t + 1), rate


# A rate for each coordinate


class Moments(NamedTuple):
    """Running sums or means of the gradient and its square; those not used are empty."""

    first: object
    second: object
    largest: object
    t: int


def adagrad(learning_rate: float = 0.1, epsilon: float = 1e-8) -> Optimizer:
    """Divide by the root of the sum of squared gradients (Duchi et al. 2011)."""
    numbers = _positive("learning_rate", learning_rate), _positive("epsilon", epsilon)
    return _per_coordinate(partial(_adagrad, *numbers))


def rmsprop(learning_rate: float = 0.01, decay: float = 0.9, epsilon: float = 1e-8) -> Optimizer:
    """Divide by the root of a running mean of squared gradients (Tieleman and Hinton 2012)."""
    numbers = (
        _positive("learning_rate", learning_rate),
        _decay("decay", decay),
        _positive("epsilon", epsilon),
    )
    return _per_coordinate(partial(_rmsprop, *numbers))


def adam(
    learning_rate: float = 0.01,
    decay: float = 0.9,
    decay_square: float = 0.999,
    epsilon: float = 1e-8,
) -> Optimizer:
    """Bias-corrected running means of the gradient and its square (Kingma and Ba 2015)."""
    return _per_coordinate(_adam_update(learning_rate, decay, decay_square, epsilon), first=True)


def amsgrad(
    learning_rate: float = 0.01,
    decay: float = 0.9,
    decay_square: float = 0.999,
    epsilon: float = 1e-8,
) -> Optimizer:
    """Adam with a divisor that never decreases, which ensures convergence (Reddi et al. 2018).

    As in Adam, moments are bias-corrected before the maximum is taken.
    """
    update = _adam_update(learning_rate, decay, decay_square, epsilon)
    return _per_coordinate(update, first=True, largest=True)


def _adam_update(
    learning_rate: float, decay: float, decay_square: float, epsilon: float
) -> Callable[..., None]:
    decays = _decay("decay", decay), _decay("decay_square", decay_square)
    return partial(
        _adam, _positive("learning_rate", learning_rate), *decays, _positive("epsilon", epsilon)
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
    rate = float(np.sqrt(_squared_norm(step) / max(size, 1)))
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


# Wrappers and combinations


def clip(norm: float) -> Optimizer:
    """Shorten gradients longer than `norm` (Pascanu et al. 2013); put it first in a `chain`.

    Raises
    ------
    ValueError
        If `norm` is not a number above 0.
    """
    return Optimizer(_first, partial(_clip, _positive("norm", norm)), takes_rows=False)


def _clip(norm: float, gradient: T, t: int, params: object) -> tuple[T, int, float]:
    length = float(np.sqrt(_squared_norm(gradient)))
    rate = norm / length if length > norm else 1.0
    return scale(gradient, rate), t + 1, rate


def chain(*optimizers: Optimizer) -> Optimizer:
    """Apply optimizers in turn: the step of each is the gradient of the next; rates multiply.

    Raises
    ------
    ValueError
        If there are no optimizers, or one of them averages iterates, which needs the whole step.
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
        If `burn_in` is not a whole number of at least 0, or `optimizer` averages already.
    """
    if _averages(optimizer):
        raise ValueError(
            "averaged(...) of averaged(...); wanted an optimizer that does not average"
        )
    burn_in = _count("burn_in", burn_in, 0)
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
        _follow(state.mean, _dense_params(params), 1.0 / (state.n_steps - burn_in))
    return step, AverageState(state.mean, inner, state.n_steps + 1), rate


def _read_average(burn_in: int, state: AverageState, params: T) -> T:
    n = state.n_steps - burn_in
    if n < 2:
        return params
    mean = tree.map_leaves(np.copy, state.mean)
    _follow(mean, _dense_params(params), 1.0 / n)
    found: T = tree.map_leaves(_in_form_of, params, mean)
    return found


def _in_form_of(leaf: LazyTable | AnyArray, values: AnyArray) -> LazyTable | AnyArray:
    return LazyTable(values, leaf.anchor) if isinstance(leaf, LazyTable) else values


def _dense_params(params: object) -> object:
    return tree.map_leaves(lambda x: x.dense() if isinstance(x, LazyTable) else x, params)


# Arguments

NAMED: dict[str, Callable[[], Optimizer]] = {
    "adaptive": adaptive,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "amsgrad": amsgrad,
}


def chosen(optimizer: Optimizer | str | float | None) -> Optimizer | None:
    """Return the optimizer that a fit's `optimizer` argument names; None keeps the default.

    Parameters
    ----------
    optimizer : Optimizer, {"adaptive", "adagrad", "rmsprop", "adam", "amsgrad"}, float or None
        A number is a constant learning rate.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if optimizer is None or isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str) and optimizer in NAMED:
        return NAMED[optimizer]()
    if isinstance(optimizer, Real) and not isinstance(optimizer, bool):
        return constant(float(optimizer))
    raise ValueError(
        f"optimizer is {optimizer!r}; wanted a fastvi.optimizers.Optimizer, a rate, or one of "
        + ", ".join(map(repr, NAMED))
    )


# Sums over all coordinates


def _follow(mean: object, target: object, share: float) -> None:
    """Move the arrays of `mean` towards `target` by this share, in place."""
    from fastvi.kernels.optimizers import running_mean

    for m, x in zip(tree.leaves(mean), tree.leaves(target)):
        running_mean(np.ascontiguousarray(x).reshape(-1), m.dtype.type(share), m.reshape(-1))


def _squared_norm(gradient: object) -> float:
    from fastvi.kernels.optimizers import squared_norm

    flat = (np.ascontiguousarray(leaf).reshape(-1) for leaf in tree.leaves(gradient))
    return sum(float(squared_norm(leaf)) for leaf in flat)
