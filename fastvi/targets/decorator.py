"""`fastvi.target`: a target from a Python function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, overload

from fastvi.base.typing import DataLike
from fastvi.targets.arguments import LogDensity, Names, Rows, Terms
from fastvi.targets.failures import warn_of_cost
from fastvi.targets.python import PythonTarget, Unbound

__all__ = ["target"]


# A target if dim or names is given, otherwise `Unbound`; from a function, or as a decorator.
@overload
def target(
    logp: LogDensity, /, *, dim: int, names: None = None,
    data: DataLike | None = None, rows: Rows = None, terms: Terms = 1,
    gradient: str | None = "auto", fastmath: bool = False,
) -> PythonTarget: ...  # fmt: skip
@overload
def target(
    logp: LogDensity, /, *, names: Names, dim: None = None,
    data: DataLike | None = None, rows: Rows = None, terms: Terms = 1,
    gradient: str | None = "auto", fastmath: bool = False,
) -> PythonTarget: ...  # fmt: skip
@overload
def target(
    logp: LogDensity, /, *, rows: Rows = None, terms: Terms = 1, gradient: str | None = "auto",
    fastmath: bool = False,
) -> Unbound: ...  # fmt: skip
@overload
def target(
    *, dim: int, names: None = None, data: DataLike | None = None, rows: Rows = None,
    terms: Terms = 1, gradient: str | None = "auto", fastmath: bool = False,
) -> Callable[[LogDensity], PythonTarget]: ...  # fmt: skip
@overload
def target(
    *, names: Names, dim: None = None, data: DataLike | None = None, rows: Rows = None,
    terms: Terms = 1, gradient: str | None = "auto", fastmath: bool = False,
) -> Callable[[LogDensity], PythonTarget]: ...  # fmt: skip
@overload
def target(
    *, rows: Rows = None, terms: Terms = 1, gradient: str | None = "auto", fastmath: bool = False
) -> Callable[[LogDensity], Unbound]: ...
def target(
    logp: LogDensity | None = None,
    /,
    *,
    data: DataLike | None = None,
    dim: int | None = None,
    names: Names | None = None,
    rows: Rows = None,
    terms: Terms = 1,
    gradient: str | None = "auto",
    fastmath: bool = False,
) -> Any:
    """Make a target from a Python function that Numba can compile; also usable as a decorator.

    The arguments of the function are recognised by name. It may take them in any order and leave
    out those that it does not need:

    ``z``
        (n,) float64, the parameters; read-only.
    ``data``
        NamedTuple of the arrays and numbers given as `data` (a tuple if they were given as one).
    ``grad``
        (n,) float64, initialised with zeros, into which it writes the gradient. Without this
        argument the gradient is derived from the function, see `gradient`.
    ``rows``, ``weights``
        (m,) int64 and (m,) float64: the batch. The density is the log prior plus the sum over i of
        weights[i] times the log likelihood of row rows[i]; mini-batches, importance sampling and
        tempering all use rows and weights.
    ``terms``
        (terms,) float64, for a density in several terms: it writes these, and its return value is
        ignored.

    It returns the log density in nats. A function that takes ``Z`` (k, n) instead of ``z``
    evaluates k vectors at once, so it can read its data only once. It writes ``values`` (k, terms)
    and ``grads`` (k, n), which are initialised with zeros.

    Parameters
    ----------
    logp : callable
        If `names` have constraints, it and its gradient are functions of the constrained
        parameters, concatenated in their order. The Jacobians are added.
    data : mapping, NamedTuple or tuple of arrays and numbers, optional
        Arrays in C order are not copied; the function sees later changes to them. Other arrays of
        the same types need no new compilation, see `Target.bind`.
    dim : int
        Length of z. Cannot be combined with `names`.
    names : mapping or sequence of str
        Names of the parameters: ``["alpha", "beta"]``, or with shapes and constraints (see
        `fastvi.transforms`): ``{"beta": 5, "sigma": positive()}``.
    rows : str or sequence of str, optional
        Arrays of the data that have rows along their first axis; by default all.
    terms : int or sequence of sequences of int
        Number of terms of the density; or for each term the parameters that it depends on, so that
        score-function gradients can leave out terms that a parameter does not affect. Jacobians are
        in the first term.
    gradient : {"auto", "numerical", None}
        Source of the gradient of a function without grad. "auto" derives it from the source code
        when a method first needs it (see `fastvi.derivatives`); it then costs about as much as one
        or two values. Code that cannot be derived is refused, with its line. If the function
        branches on a parameter, the gradient is that of the branch taken. "numerical" uses finite
        differences, with a warning, because a gradient then costs 4 x dim values. None means no
        gradient, which score-function methods do not need.
    fastmath : bool
        Allow sums in any order, which is faster; a loop that sums and stores may then differ in the
        last bits between runs.

    Returns
    -------
    Target, or `Unbound` while data or dim is missing
        `Unbound.bind` then makes a `Target`.

    Raises
    ------
    ValueError
        If an argument of the function has an unknown name, or an argument here is invalid.
    TypeError
        If the function uses a global array, whose contents Numba would freeze.
    numba.core.errors.NumbaError
        If Numba cannot compile it.

    Examples
    --------
    >>> import fastvi
    >>> @fastvi.target(dim=2)
    ... def banana(z):
    ...     bend = z[1] - z[0] ** 2
    ...     return -(bend**2) - 0.5 * z[0] ** 2
    >>> value, gradient = banana.log_prob_and_grad([1.0, 2.0])
    >>> value, gradient.tolist()
    (-1.5, [3.0, -2.0])

    The same, with the gradient written by hand:

    >>> @fastvi.target(dim=2)
    ... def banana(z, grad):
    ...     bend = z[1] - z[0] ** 2
    ...     grad[0] = 4.0 * bend * z[0] - z[0]
    ...     grad[1] = -2.0 * bend
    ...     return -(bend**2) - 0.5 * z[0] ** 2
    """
    if logp is None:
        return functools.partial(
            target,
            data=data,
            dim=dim,
            names=names,
            rows=rows,
            terms=terms,
            gradient=gradient,
            fastmath=fastmath,
        )
    unbound = Unbound(logp, rows, terms, gradient, fastmath)
    warn_of_cost(unbound.name, gradient, stacklevel=2)
    if dim is None and names is None:
        if data is not None:
            raise ValueError("dim and names are missing; wanted one of them")
        return unbound
    if data is None and "data" in unbound.arguments:
        raise ValueError(
            f"{unbound.name} takes data, but none is given; to give it later, leave out dim and "
            "names as well, and call bind(data, dim=...)"
        )
    return unbound.bind(data, dim=dim, names=names)
