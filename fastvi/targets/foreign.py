"""Targets whose density is computed by Python code, through a callback behind the C signature."""

from __future__ import annotations

import ctypes
import pickle
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, Array
from fastvi.core import Batch
from fastvi.targets.base import Target
from fastvi.targets.code import Compiled
from fastvi.targets.data import Data
from fastvi.targets.failures import TargetError, words_of

__all__ = ["Callback", "Evaluate", "ForeignTarget", "portable"]

FAILED, DONE = 0, 1
# From points (k, n), rows and weights of the batch, and where to write values (k,) and gradients
# (k, n), if they are wanted.
Evaluate = Callable[[Array, NDArray[np.int64] | None, Array | None, Array, Array | None], None]


class Callback:
    """A Python function behind the C signature of targets; each call takes Python's lock.

    Exceptions cannot pass through machine code. They are kept here, and the call fails. So is an
    interrupt that arrived in machine code, which Python raises, and drops, as the call begins.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        from fastvi.kernels._jit import C_TARGET

        self.evaluate = evaluate
        self.error: BaseException | None = None
        self._function = C_TARGET(self._call)
        _keep_interrupts()
        _LIVE.add(self)
        self.address = int(ctypes.cast(self._function, ctypes.c_void_p).value or 0)

    def _call(self, k: int, n: int, Z: int, data: int, values: int, grads: int) -> int:
        from fastvi.kernels import targets

        if self._interrupted:
            return FAILED  # until the interrupt is raised, which compiled loops cannot do
        try:
            table = (ctypes.c_int64 * targets.HEADER).from_address(data)
            rows = weights = None
            if table[targets.ROWS]:
                m = table[targets.N_ROWS]
                rows = _view(table[targets.ROWS], m, ctypes.c_int64)
                weights = _view(table[targets.WEIGHTS], m, ctypes.c_double)
            points, out = (_view(address, k * n, ctypes.c_double) for address in (Z, grads or Z))
            slopes = out.reshape(k, n) if grads else None
            value = _view(values, k, ctypes.c_double)
            self.evaluate(points.reshape(k, n), rows, weights, value, slopes)
        except BaseException as error:  # interrupts as well
            self.error = error
            return FAILED
        return DONE

    @property
    def _interrupted(self) -> bool:
        return self.error is not None and not isinstance(self.error, Exception)

    def raise_interrupt(self) -> None:
        """Raise the interrupt that arrived during a call, if one did."""
        if self._interrupted:
            error, self.error = self.error, None
            assert error is not None
            raise error

    def explain(self, z: Array) -> str:
        """Return the text of the last exception, or raise it if it was an interrupt."""
        self.raise_interrupt()
        return words_of(self.error) if self.error is not None else "(it raised nothing)"


_LIVE: weakref.WeakSet[Callback] = weakref.WeakSet()


class _Keeper:
    """Gives interrupts that Python would drop to the callbacks whose calls they ended."""

    def __init__(self, report: Callable[[Any], object]) -> None:
        self.report = report

    def __call__(self, dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            for callback in _LIVE:  # named by the object, or from Python 3.13 on by the message
                call = callback._call
                if dropped.object == call or repr(call) in (dropped.err_msg or ""):
                    callback.error = dropped.exc_value or KeyboardInterrupt()
                    return
        self.report(dropped)


def _keep_interrupts() -> None:
    """Keep interrupts from now on."""
    if not isinstance(sys.unraisablehook, _Keeper):
        sys.unraisablehook = _Keeper(sys.unraisablehook)


class ForeignTarget(Target):
    """A `Target` whose density is computed by Python code; one thread at a time may call it."""

    def __init__(
        self,
        name: str,
        evaluate: Evaluate,
        parameters: Any,
        data: Data | None = None,
        n_rows: int | None = None,
        *,
        gradient: bool | str = True,
    ) -> None:
        self._callback = Callback(evaluate)
        compiled = Compiled(
            self._callback.address,
            self._callback,
            gradient is True,
            explain=self._callback.explain,
            concurrent=False,
        )
        numerical = gradient == "numerical"
        super().__init__(name, compiled, parameters, data, n_rows, numerical=numerical)

    def attempt(
        self,
        Z: Array,
        batch: Batch | None = None,
        *,
        with_gradient: bool = True,
        terms: bool = False,
    ) -> tuple[Array, Array]:
        """As `Target.attempt`, but raise an interrupt."""
        found = super().attempt(Z, batch, with_gradient=with_gradient, terms=terms)
        self._callback.raise_interrupt()
        return found

    def _failure(self, status: int, z: Array) -> TargetError:
        error = super()._failure(status, z)
        error.__cause__ = self._callback.error
        return error


def portable(function: Any, name: str) -> Any:
    """Return a function that pickle can find by its name, or that cloudpickle may pickle.

    Raises
    ------
    TypeError
        If it can do neither.
    """
    try:
        pickle.dumps(function)
    except Exception as error:
        if "cloudpickle" not in sys.modules:  # which pickles nearly all functions by value
            raise TypeError(
                f"the target {name} cannot be pickled: {error}; wanted a function at the top level "
                "of a module, which pickle finds by its name, or the package cloudpickle"
            ) from None
    return function


def _view(address: int, size: int, kind: Any) -> AnyArray:
    """The array of numbers at an address."""
    return np.frombuffer((kind * size).from_address(address), kind)
