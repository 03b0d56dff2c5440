"""Optimizers: from a gradient to a step. All ascend."""

from __future__ import annotations

from typing import Any

from fastvi.core import Optimizer, scale

__all__ = ["constant", "robbins_monro"]


def constant(rate: float = 1.0) -> Optimizer:
    """The same rate at every step; on a natural gradient of all data, rate 1 is CAVI."""

    def update(gradient: Any, state: int, params: Any) -> tuple[Any, int, float]:
        return scale(gradient, rate), state + 1, rate

    return Optimizer(lambda params: 0, update, takes_rows=True)


def robbins_monro(delay: float = 10.0, exponent: float = 0.7) -> Optimizer:
    """Rate ``(delay + t) ** -exponent`` at step t = 1, 2, ...

    Parameters
    ----------
    delay : float
        tau >= 0; larger values make early steps smaller.
    exponent : float
        kappa in (0.5, 1]: sums of rates diverge and sums of their squares converge (Robbins and
        Monro 1951; Hoffman et al. 2013, eq. 26).

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """
    if not delay >= 0:
        raise ValueError(f"delay is {delay}; wanted a number >= 0")
    if not 0.5 < exponent <= 1:
        raise ValueError(
            f"exponent is {exponent}; Robbins-Monro steps converge for exponents in (0.5, 1]"
        )

    def update(gradient: Any, t: int, params: Any) -> tuple[Any, int, float]:
        rate = float(delay + t) ** -exponent
        return scale(gradient, rate), t + 1, rate

    return Optimizer(lambda params: 1, update, takes_rows=True)
