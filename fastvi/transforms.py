"""Constrained parameters, and the unconstrained ones that inference works on.

>>> parameters = Parameters({"beta": 2, "sigma": positive()})
>>> parameters.dim, parameters.names
(3, ('beta[0]', 'beta[1]', 'sigma'))
>>> z = parameters.unconstrain({"beta": [0.5, -1.0], "sigma": 2.0})
>>> float(parameters.constrain(z)["sigma"].round(6))
2.0

Definitions are those of the Stan Reference Manual, "Constraint Transforms", with stick breaking for
the simplex. Arrays are laid out in C order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import ArrayLike

__all__ = [
    "Parameters",
    "Transform",
    "bounded",
    "cholesky_corr",
    "cholesky_cov",
    "ordered",
    "positive",
    "positive_ordered",
    "real",
    "simplex",
    "unit_vector",
    "zero_sum",
]

KINDS = (
    "real",
    "lower",
    "upper",
    "interval",
    "ordered",
    "positive_ordered",
    "simplex",
    "cholesky_corr",
    "unit_vector",
    "zero_sum",
    "cholesky_cov",
)


class Transform(NamedTuple):
    """A constrained parameter: its shape, and the number of its unconstrained parameters.

    Examples
    --------
    >>> from fastvi.transforms import simplex
    >>> transform = simplex(3)
    >>> transform.shape, transform.n_free
    ((3,), 2)
    """

    kind: str
    shape: tuple[int, ...]
    n_free: int
    low: float = -np.inf
    high: float = np.inf

    @property
    def size(self) -> int:
        """Number of constrained values."""
        return int(np.prod(self.shape))


def real(shape: int | tuple[int, ...] = ()) -> Transform:
    """Unconstrained numbers.

    Examples
    --------
    >>> from fastvi.transforms import Parameters, real
    >>> Parameters({"x": real((2, 2))}).constrain([1.0, 2.0, 3.0, 4.0])["x"]
    array([[1., 2.],
           [3., 4.]])
    """
    shape = _shape(shape)
    return Transform("real", shape, int(np.prod(shape)))


def positive(shape: int | tuple[int, ...] = ()) -> Transform:
    """Numbers > 0: x = exp(y).

    Examples
    --------
    >>> from fastvi.transforms import Parameters, positive
    >>> Parameters({"sigma": positive()}).constrain([0.0])["sigma"]
    array(1.)
    """
    return bounded(0.0, np.inf, shape)


def bounded(
    low: float = -np.inf, high: float = np.inf, shape: int | tuple[int, ...] = ()
) -> Transform:
    """Numbers between two bounds, or on one side of a single bound.

    x = low + exp(y), x = high - exp(y) or x = low + (high - low) / (1 + exp(-y)).

    Raises
    ------
    ValueError
        If not low < high, or a bound is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi.transforms import Parameters, bounded
    >>> Parameters({"p": bounded(0.0, 1.0)}).constrain([0.0])["p"]
    array(0.5)
    """
    if not low < high:
        raise ValueError(f"bounds are {low} and {high}; wanted low < high")
    shape = _shape(shape)
    kind = KINDS[bool(np.isfinite(low)) + 2 * bool(np.isfinite(high))]
    return Transform(kind, shape, int(np.prod(shape)), float(low), float(high))


def ordered(size: int) -> Transform:
    """Increasing numbers: x_1 = y_1, x_k = x_(k-1) + exp(y_k).

    Examples
    --------
    >>> from fastvi.transforms import Parameters, ordered
    >>> Parameters({"cuts": ordered(3)}).constrain([-1.0, 0.0, 0.0])["cuts"]
    array([-1.,  0.,  1.])
    """
    return Transform("ordered", _shape(_positive_size(size, 1)), size)


def positive_ordered(size: int) -> Transform:
    """Increasing numbers > 0: x_1 = exp(y_1), x_k = x_(k-1) + exp(y_k).

    Examples
    --------
    >>> from fastvi.transforms import Parameters, positive_ordered
    >>> Parameters({"x": positive_ordered(2)}).constrain([0.0, 0.0])["x"]
    array([1., 2.])
    """
    return Transform("positive_ordered", _shape(_positive_size(size, 1)), size)


def simplex(size: int) -> Transform:
    """Positive numbers with sum 1, by stick breaking from size - 1 unconstrained numbers.

    The density is with respect to the first size - 1 of them.

    Examples
    --------
    >>> from fastvi.transforms import Parameters, simplex
    >>> Parameters({"p": simplex(4)}).constrain([0.0, 0.0, 0.0])["p"]
    array([0.25, 0.25, 0.25, 0.25])
    """
    return Transform("simplex", _shape(_positive_size(size, 1)), size - 1)


def cholesky_corr(size: int) -> Transform:
    """Lower Cholesky factor (size, size) of a correlation matrix.

    It has size (size - 1) / 2 unconstrained numbers. The density is with respect to the entries
    below the diagonal, by rows.

    Examples
    --------
    >>> from fastvi.transforms import Parameters, cholesky_corr
    >>> Parameters({"L": cholesky_corr(2)}).constrain([0.0])["L"]
    array([[1., 0.],
           [0., 1.]])
    """
    _positive_size(size, 1)
    return Transform("cholesky_corr", (size, size), size * (size - 1) // 2)


def cholesky_cov(size: int) -> Transform:
    """Lower factor (size, size) of a covariance matrix; size (size + 1) / 2 numbers, by rows.

    Its diagonal is exp(y). Its density is with respect to the entries on and below the diagonal.

    Examples
    --------
    >>> from fastvi.transforms import Parameters, cholesky_cov
    >>> Parameters({"L": cholesky_cov(2)}).constrain([0.0, 0.5, 0.0])["L"]
    array([[1. , 0. ],
           [0.5, 1. ]])
    """
    _positive_size(size, 1)
    return Transform("cholesky_cov", (size, size), size * (size + 1) // 2)


def unit_vector(size: int) -> Transform:
    """A vector of length 1: x = y / |y|, from as many unconstrained numbers.

    Its density is with respect to area on the sphere; the length of y, about which it says nothing,
    gets a distribution of its own.

    Examples
    --------
    >>> from fastvi.transforms import Parameters, unit_vector
    >>> Parameters({"x": unit_vector(2)}).constrain([3.0, 4.0])["x"]
    array([0.6, 0.8])
    """
    size = _positive_size(size, 1)
    return Transform("unit_vector", (size,), size)


def zero_sum(size: int) -> Transform:
    """Numbers with sum 0, by a symmetric orthonormal map of size - 1 unconstrained numbers.

    Its density is with respect to volume in the plane of such vectors.

    Examples
    --------
    >>> from fastvi.transforms import Parameters, zero_sum
    >>> abs(Parameters({"x": zero_sum(3)}).constrain([1.0, 2.0])["x"].sum().round(12))
    np.float64(0.0)
    """
    size = _positive_size(size, 1)
    return Transform("zero_sum", (size,), size - 1)


class Parameters:
    """Named parameters, concatenated in the order in which a density takes them.

    Parameters
    ----------
    parts : mapping of str to Transform, int or tuple of int
        A number or a shape means unconstrained numbers, `()` a single one.

    Attributes
    ----------
    parts : dict of str to Transform
    dim, n_constrained : int
        Numbers of unconstrained and of constrained values.
    names : tuple of str
        Names of the unconstrained parameters: "sigma", "beta[0]"; "theta[0]" of a simplex is its
        first unconstrained number.
    identity : bool
        Whether no parameter has a constraint.

    Examples
    --------
    >>> from fastvi.transforms import Parameters, positive
    >>> parameters = Parameters({"mu": 2, "sigma": positive()})
    >>> parameters.dim, parameters.constrain([0.0, 1.0, 0.0])
    (3, {'mu': array([0., 1.]), 'sigma': array(1.)})
    """

    def __init__(self, parts: Mapping[str, Transform | int | tuple[int, ...]]) -> None:
        if not parts:
            raise ValueError("there are no parameters; wanted at least one name with its shape")
        self.parts = {
            _name(name): part if isinstance(part, Transform) else real(part)
            for name, part in parts.items()
        }
        values = list(self.parts.values())
        free = np.cumsum([0, *(part.n_free for part in values)])
        full = np.cumsum([0, *(part.size for part in values)])
        self.dim, self.n_constrained = int(free[-1]), int(full[-1])
        kinds = [KINDS.index(part.kind) for part in values]
        self.blocks = np.column_stack([kinds, free[:-1], free[1:], full[:-1], full[1:]])
        self.blocks = np.ascontiguousarray(self.blocks, np.int64)
        self.bounds = np.array([(part.low, part.high) for part in values], np.float64)
        self.identity = not any(kinds)
        self.names = tuple(
            label for name, part in self.parts.items() for label in _labels(name, part)
        )

    def __repr__(self) -> str:
        return f"Parameters({self.parts})"

    def __reduce__(self) -> tuple[object, ...]:
        return Parameters, (self.parts,)

    def constrain(self, z: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Map unconstrained (..., dim) to parameters by name, each (..., *shape).

        Raises
        ------
        ValueError
            If the last axis of z is not `dim`.
        """
        X, _ = self._constrained(z)
        return {
            name: X[..., start:stop].reshape((*X.shape[:-1], *part.shape))
            for (name, part), (start, stop) in zip(self.parts.items(), self.blocks[:, 3:])
        }

    def unconstrained(self, z: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Split unconstrained (..., dim) by name: each (..., *shape), or (..., n_free) if fewer.

        Raises
        ------
        ValueError
            If the last axis of z is not `dim`.
        """
        z = checks.points(z, self.dim)
        return {
            name: z[..., start:stop].reshape(
                (*z.shape[:-1], *(part.shape if part.n_free == part.size else (part.n_free,)))
            )
            for (name, part), (start, stop) in zip(self.parts.items(), self.blocks[:, 1:3])
        }

    def log_jacobian(self, z: ArrayLike) -> NDArray[np.float64]:
        """Log |d constrained / d unconstrained|, (...), at unconstrained (..., dim).

        Raises
        ------
        ValueError
            If the last axis of z is not `dim`.
        """
        return self._constrained(z)[1]

    def unconstrain(self, values: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
        """Map parameters by name, each (..., *shape), to unconstrained (..., dim).

        Raises
        ------
        ValueError
            If a parameter is missing, unknown, of another shape, or violates its constraint.
        """
        from fastvi.kernels.transforms import free

        if values.keys() != self.parts.keys():
            raise ValueError(f"given: {', '.join(values)}; wanted: {', '.join(self.parts)}")
        arrays = [self._flat(name, values[name]) for name in self.parts]
        lead = np.broadcast_shapes(*(array.shape[:-1] for array in arrays))
        arrays = [np.broadcast_to(array, (*lead, array.shape[-1])) for array in arrays]
        X = np.concatenate(arrays, axis=-1).reshape(-1, self.n_constrained)
        Z = np.empty((len(X), self.dim))
        free(self.blocks, self.bounds, X, Z)
        for name, part, block in zip(self.parts, self.parts.values(), self.blocks):
            if not np.isfinite(Z[:, block[1] : block[2]]).all():
                raise ValueError(f"{name} is not {_wanted(part)}: {np.asarray(values[name])}")
        return Z.reshape((*lead, self.dim))

    def _flat(self, name: str, value: ArrayLike) -> NDArray[np.float64]:
        """Return a checked parameter as (..., size)."""
        part, array = self.parts[name], np.asarray(value, np.float64)
        lead = array.ndim - len(part.shape)
        if lead < 0 or array.shape[lead:] != part.shape:
            raise ValueError(f"{name} has shape {array.shape}; wanted {part.shape}")
        flat = array.reshape((*array.shape[:lead], part.size))
        if not _within(part, array):
            raise ValueError(f"{name} is not {_wanted(part)}: {array}")
        return flat

    def _constrained(self, z: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        from fastvi.kernels.transforms import constrain

        z = checks.points(z, self.dim)
        flat = z.reshape((math.prod(z.shape[:-1]), self.dim))
        Z = np.require(flat, np.float64, ["C_CONTIGUOUS", "WRITEABLE"])
        X, log_jacobian = np.empty((len(Z), self.n_constrained)), np.empty(len(Z))
        constrain(self.blocks, self.bounds, Z, X, log_jacobian)
        lead = z.shape[:-1]
        return X.reshape((*lead, self.n_constrained)), log_jacobian.reshape(lead)


def _within(part: Transform, array: NDArray[np.float64]) -> bool:
    """Check what unconstraining does not: sums of simplexes, and whole Cholesky factors."""
    if part.kind == "simplex":
        return bool(np.allclose(array.sum(axis=-1), 1.0, rtol=0.0, atol=1e-8))
    if part.kind == "cholesky_corr":
        lower = np.allclose(np.triu(array, 1), 0.0, rtol=0.0, atol=0.0)
        unit = np.allclose((array**2).sum(axis=-1), 1.0, rtol=0.0, atol=1e-8)
        return bool(lower and unit and (np.diagonal(array, axis1=-2, axis2=-1) > 0).all())
    if part.kind == "cholesky_cov":
        return bool((np.triu(array, 1) == 0.0).all())
    if part.kind == "unit_vector":
        return bool(np.allclose((array**2).sum(axis=-1), 1.0, rtol=0.0, atol=1e-8))
    if part.kind == "zero_sum":
        size = 1.0 + np.abs(array).max(axis=-1, initial=0.0)
        return bool((np.abs(array.sum(axis=-1)) <= 1e-8 * size).all())
    return True


def _wanted(part: Transform) -> str:
    return {
        "real": "finite",
        "lower": f"finite and > {part.low:g}",
        "upper": f"finite and < {part.high:g}",
        "interval": f"> {part.low:g} and < {part.high:g}",
        "ordered": "finite and increasing",
        "positive_ordered": "finite, increasing and > 0",
        "simplex": "positive with sum 1",
        "cholesky_corr": "the lower Cholesky factor of a correlation matrix",
        "cholesky_cov": "the lower Cholesky factor of a covariance matrix",
        "unit_vector": "a vector of length 1",
        "zero_sum": "finite with sum 0",
    }[part.kind]


def _labels(name: str, part: Transform) -> list[str]:
    """Names of a parameter's unconstrained numbers."""
    if not part.shape:
        return [name]
    if part.n_free != part.size:
        return [f"{name}[{i}]" for i in range(part.n_free)]
    return [f"{name}[{', '.join(map(str, index))}]" for index in np.ndindex(part.shape)]


def _name(name: str) -> str:
    if isinstance(name, str) and name:
        return name
    raise ValueError(f"a parameter's name is {name!r}; wanted a string")


def _shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    return tuple(_positive_size(size, 0) for size in sizes)


def _positive_size(size: int, low: int) -> int:
    from fastvi.base.checks import integer

    return integer(size, "a parameter's size", low)
