"""Targets from Python functions that return a value and a gradient, and are not compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, DataLike
from fastvi.targets.arguments import Names, as_parameters, count_rows
from fastvi.targets.data import Data, prepare
from fastvi.targets.foreign import ForeignTarget, portable
from fastvi.transforms import Parameters

__all__ = ["CallableTarget", "from_callable"]


def from_callable(
    function: Callable[..., Any],
    *,
    dim: int | None = None,
    names: Names | None = None,
    data: DataLike | None = None,
    rows: str | Sequence[str] | None = None,
    batched: bool = False,
    gradient: bool | str = True,
) -> CallableTarget:
    """Make a target from any Python function: of PyTorch, of TensorFlow, of a simulator.

    The function is called as it is, and is not compiled, so each call costs what it costs in
    Python. `fastvi.target` and `from_jax` make machine code.

    Parameters
    ----------
    function : callable
        Takes a vector (n,) float64, a copy that it may keep, and returns the log density in nats
        and its gradient (n,): ``value, gradient = function(z)``. If `names` have constraints, the
        vector holds the constrained parameters, concatenated in their order; Jacobians are added.
        With `data` it is called as ``function(z, data)``, and with `rows` as ``function(z, data,
        rows, weights)``, for densities with mini-batches (see `fastvi.target`).
    dim, names, data
        As in `fastvi.target`.
    rows : str or sequence of str, optional
        Arrays of the data whose first axis batches choose from; none by default.
    batched : bool
        Whether it takes vectors (k, n) instead and returns values (k,) and gradients (k, n), which
        costs one call for all draws of a step.
    gradient : {True, False, "numerical"}
        Whether it returns a gradient. With False or "numerical" it returns the value only;
        "numerical" takes finite differences, at 4 x dim values for a gradient.

    Returns
    -------
    CallableTarget

    Raises
    ------
    ValueError
        If an argument is invalid.

    Notes
    -----
    What the function raises is raised as a `TargetError` with its text, and so is a result of
    another shape. During a fit, draws for which it fails are left out, unless all of them fail. The
    target can be pickled if the function can.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> def banana(z):
    ...     bend = z[1] - z[0] ** 2
    ...     gradient = np.array([4.0 * bend * z[0] - z[0], -2.0 * bend])
    ...     return -(bend**2) - 0.5 * z[0] ** 2, gradient
    >>> target = fastvi.targets.from_callable(banana, dim=2)
    >>> target.log_prob([1.0, 2.0])
    -1.5
    """
    if not callable(function):
        raise ValueError(f"function is {function!r}; wanted a function")
    if isinstance(gradient, bool | np.bool_):
        gradient = bool(gradient)
    elif gradient != "numerical":
        raise ValueError(f"gradient is {gradient!r}; wanted True, False or 'numerical'")
    rows = (rows,) if isinstance(rows, str) else rows
    prepared = None if data is None else prepare(data)
    parameters = as_parameters(dim, names)
    batched = checks.flag(batched, "batched")
    return CallableTarget(function, prepared, parameters, rows, batched, gradient)


class CallableTarget(ForeignTarget):
    """A `Target` whose density is a Python function, `function`, that is called as it is."""

    def __init__(
        self,
        function: Callable[..., Any],
        data: Data | None,
        parameters: Parameters,
        rows: Sequence[str] | None,
        batched: bool,
        gradient: bool | str,
    ) -> None:
        self.function = function
        self._rest = rows, batched, gradient
        name = getattr(function, "__name__", type(function).__name__)
        n_rows = None if rows is None else count_rows(data, rows, name)
        self._given = () if data is None else (data.as_given,)
        super().__init__(name, self._compute, parameters, data, n_rows, gradient=gradient)

    def _compute(
        self,
        Z: Array,
        rows: NDArray[np.int64] | None,
        weights: Array | None,
        values: Array,
        grads: Array | None,
    ) -> None:
        batch = () if rows is None or weights is None else (rows.copy(), weights.copy())
        _, batched, gradient = self._rest
        if batched:
            value, grad = self._call(Z.copy(), batch, gradient)
            values[:] = _checked(value, values.shape, "values")
            if grads is not None:
                grads[:] = _checked(grad, grads.shape, "gradients")
            return
        for i in range(len(Z)):
            value, grad = self._call(Z[i].copy(), batch, gradient)
            values[i] = _checked(value, (), "value")
            if grads is not None:
                grads[i] = _checked(grad, Z[i].shape, "gradient")

    def _call(self, z: Array, batch: tuple[Any, ...], gradient: bool | str) -> tuple[Any, Any]:
        found = self.function(z, *self._given, *batch)
        if gradient is not True:
            return found, None
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise TypeError(
                f"it returned a {type(found).__name__}; wanted (value, gradient), or "
                "gradient=False in from_callable"
            )
        return found[0], found[1]

    def bind(self, data: DataLike) -> CallableTarget:
        """Return the same density with other data of the same types; see `PythonTarget.bind`."""
        return CallableTarget(self.function, self._data_like(data), self.parameters, *self._rest)

    def __reduce__(self) -> tuple[object, ...]:
        function = portable(self.function, self.name)
        return CallableTarget, (function, self._data, self.parameters, *self._rest)


def _checked(x: Any, shape: tuple[int, ...], what: str) -> AnyArray:
    """Return an array of real numbers of a shape; one number may have axes of length 1."""
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"it returned a {what} of dtype {array.dtype}; wanted real numbers")
    if array.shape != shape and not (array.size == 1 and shape == ()):
        wanted = "a number" if shape == () else f"shape {shape}"
        raise ValueError(f"it returned a {what} of shape {array.shape}; wanted {wanted}")
    return array.reshape(shape)
