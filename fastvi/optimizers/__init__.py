"""Optimizers: turn a gradient into a step. All of them ascend.

With natural gradients, optimizers that use one rate for all coordinates (`constant`,
`robbins_monro`, `adaptive`, `clip`) keep natural parameters in their domain. Those that scale each
coordinate separately (`adagrad`, `rmsprop`, `adam`, `amsgrad`) are for plain gradients of
unconstrained parameters; see `fastvi.gradients.plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

from fastvi.core import Optimizer
from fastvi.optimizers.combinations import averaged, chain, clip, scaled
from fastvi.optimizers.moments import adagrad, adam, amsgrad, rmsprop
from fastvi.optimizers.rates import adaptive, constant, robbins_monro

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

PER_COORDINATE: dict[str, Callable[..., Optimizer]] = {  # all take a learning rate
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "amsgrad": amsgrad,
}
NAMED = {"adaptive": adaptive, **PER_COORDINATE}


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

    Examples
    --------
    >>> from fastvi import optimizers
    >>> optimizers.chosen(None) is None
    True
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
