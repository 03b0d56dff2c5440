"""Targets from JAX functions, compiled by XLA."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array, DataLike
from fastvi.targets.arguments import Names, as_parameters, count_rows
from fastvi.targets.data import Data, prepare
from fastvi.targets.failures import TargetError, words_of
from fastvi.targets.foreign import ForeignTarget, portable
from fastvi.transforms import Parameters

__all__ = ["JaxTarget", "Vectorised", "from_jax"]


def from_jax(
    logp: Callable[..., Any],
    *,
    dim: int | None = None,
    names: Names | None = None,
    data: DataLike | None = None,
    rows: str | Sequence[str] | None = None,
) -> JaxTarget:
    """Make a target from a log density written in JAX.

    JAX derives the gradient, and XLA compiles one call for all draws of a step, in double
    precision. JAX's own configuration stays as it is: `jax_enable_x64` is on within these calls
    only.

    Parameters
    ----------
    logp : callable
        ``logp(z)`` with z (n,), a JAX array, returns the log density in nats. If `names` have
        constraints, z holds the constrained parameters, concatenated in their order; Jacobians are
        added. With `data` it is called as ``logp(z, data)``, where numbers are Python's, so that
        they may be shapes, and with `rows` as ``logp(z, data, rows, weights)`` (see
        `fastvi.target`).
    dim, names, data
        As in `fastvi.target`.
    rows : str or sequence of str, optional
        Arrays of the data whose first axis batches choose from; none by default.

    Returns
    -------
    JaxTarget

    Raises
    ------
    ImportError
        If jax is not installed.
    TargetError
        If JAX cannot trace the function (its message is quoted), or it does not return a number.
    ValueError
        If an argument is invalid.

    Notes
    -----
    Another number of draws is compiled again. Arrays that the function takes from outside keep
    their precision: without `jax_enable_x64` those of JAX hold float32. The target can be pickled
    if the function can; each process compiles it again.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_jax(lambda z: -0.5 * (z**2).sum(), dim=2)  # doctest: +SKIP
    """
    if not callable(logp):
        raise ValueError(f"logp is {logp!r}; wanted a function")
    rows = (rows,) if isinstance(rows, str) else rows
    prepared = None if data is None else prepare(data)
    return JaxTarget(logp, prepared, as_parameters(dim, names), rows)


class JaxTarget(ForeignTarget):
    """A `Target` whose density is a function of JAX, `function`."""

    def __init__(
        self,
        function: Callable[..., Any],
        data: Data | None,
        parameters: Parameters,
        rows: Sequence[str] | None,
    ) -> None:
        self.function, self._rows = function, rows
        name = getattr(function, "__name__", type(function).__name__)
        n_rows = None if rows is None else count_rows(data, rows, name)
        compute = Vectorised(name, _of_arrays(function, data), _arrays(data))
        compute.check(parameters.n_constrained, n_rows)
        super().__init__(name, compute, parameters, data, n_rows)

    def bind(self, data: DataLike) -> JaxTarget:
        """Return the same density with other data of the same types; it is compiled again.

        Raises
        ------
        ValueError
            If names, numbers of axes or dtypes differ (integers may stand for floats).
        """
        return JaxTarget(self.function, self._data_like(data), self.parameters, self._rows)

    def __reduce__(self) -> tuple[object, ...]:
        function = portable(self.function, self.name)
        return JaxTarget, (function, self._data, self.parameters, self._rows)


class Vectorised:
    """A function of JAX of one vector, compiled for many, with its gradient.

    Parameters
    ----------
    name : str
    function : callable
        Takes z (n,), the arrays, and the rows and weights of a batch if there are any.
    arrays : tuple of array
        Held by JAX once; they are arguments of the compiled code, not constants in it.
    """

    def __init__(self, name: str, function: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
        import jax

        self.name, self._function = name, function
        self._double = jax.enable_x64
        self._axes = (0, None, None, None)
        self._value = jax.jit(jax.vmap(function, self._axes))
        self._both = jax.jit(jax.vmap(jax.value_and_grad(function), self._axes))
        with self._double(True):
            self._arrays = tuple(jax.numpy.asarray(array) for array in arrays)

    def check(self, n: int, n_rows: int | None = None) -> None:
        """Trace the function for vectors of length n.

        Raises
        ------
        TargetError
            If that fails, or the function does not return a real number.
        """
        import jax

        batch = (None, None) if n_rows is None else (np.arange(n_rows), np.ones(n_rows))
        with self._double(True):
            try:
                found = jax.eval_shape(self._function, np.zeros(n), self._arrays, *batch)
            except Exception as error:
                raise TargetError(
                    f"{self.name} cannot be traced by JAX: {words_of(error)}", np.zeros(n)
                ) from error
        shape, kind = getattr(found, "shape", None), getattr(found, "dtype", np.dtype(object)).kind
        if shape != () or kind != "f":
            what = type(found).__name__ if shape is None else f"shape {shape}, dtype {found.dtype}"
            raise TargetError(
                f"{self.name} returns {what}; wanted the log density, a real number", np.zeros(n)
            )

    def __call__(
        self,
        Z: Array,
        rows: NDArray[np.int64] | None,
        weights: Array | None,
        values: Array,
        grads: Array | None,
    ) -> None:
        """Write values (k,) and gradients (k, n) at Z (k, n)."""
        batch = (None, None) if rows is None or weights is None else (rows.copy(), weights.copy())
        with self._double(True):
            if grads is None:
                values[:] = self._value(Z.copy(), self._arrays, *batch)
                return
            found, slopes = self._both(Z.copy(), self._arrays, *batch)
            values[:], grads[:] = found, slopes


def _arrays(data: Data | None) -> tuple[Any, ...]:
    return () if data is None else tuple(array for array in data.arrays if array.ndim)


def _of_arrays(function: Callable[..., Any], data: Data | None) -> Callable[..., Any]:
    """The function of a vector, the arrays of the data, and a batch or None for both its parts."""
    numbers = {} if data is None else {f.name: x.item() for f, x in _pairs(data) if not x.ndim}
    names = () if data is None else tuple(field.name for field in data.fields)
    kind = namedtuple("Data", names) if data is not None and data.named else None

    def of_arrays(z: Any, arrays: tuple[Any, ...], rows: Any, weights: Any) -> Any:
        batch = () if rows is None else (rows, weights)
        if data is None:
            return function(z, *batch)
        left = iter(arrays)
        values = tuple(numbers[name] if name in numbers else next(left) for name in names)
        return function(z, values if kind is None else kind(*values), *batch)

    return of_arrays


def _pairs(data: Data) -> list[tuple[Any, Any]]:
    return list(zip(data.fields, data.arrays))
