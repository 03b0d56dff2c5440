"""Targets from Python functions, compiled by Numba."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import ArrayLike, DataLike
from fastvi.derivatives import Derived, NotDifferentiable
from fastvi.targets.base import Compiled, Target
from fastvi.targets.data import Data, prepare
from fastvi.targets.failures import warn_of_cost
from fastvi.transforms import Parameters, Transform

__all__ = ["PythonTarget", "Unbound", "as_parameters", "count_rows", "target"]

VECTOR = ("z", "data", "rows", "weights", "terms", "grad")
BATCHED = ("Z", "data", "rows", "weights", "values", "grads")

Names = Mapping[str, Transform | int | tuple[int, ...]] | Sequence[str]
Rows = str | Sequence[str] | None
Terms = int | Sequence[Sequence[int]]
LogDensity = Callable[..., Any]


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


class Unbound:
    """A checked Python density without data; `bind` turns it into a `Target`."""

    def __init__(
        self,
        logp: Callable[..., Any],
        rows: str | Sequence[str] | None,
        terms: int | Sequence[Sequence[int]],
        gradient: str | None,
        fastmath: bool,
    ) -> None:
        if not callable(logp):
            raise ValueError(f"logp is {logp!r}; wanted a function")
        self.logp = logp
        self.plain = getattr(logp, "py_func", logp)
        self.name = getattr(self.plain, "__name__", "logp")
        self.arguments = _arguments(self.plain, self.name)
        self.rows = (rows,) if isinstance(rows, str) else rows
        self.terms = terms
        n_terms = len(terms) if isinstance(terms, Sequence) else terms
        self.n_terms = checks.integer(n_terms, "terms", 1)
        if gradient not in ("auto", "numerical", None):
            raise ValueError(f"gradient is {gradient!r}; wanted 'auto', 'numerical' or None")
        if self.n_terms != 1 and not {"terms", "values"} & set(self.arguments):
            raise ValueError(f"terms is {terms}, but {self.name} has no argument terms to write to")
        self.has_gradient = bool({"grad", "grads"} & set(self.arguments))
        self.gradient = gradient
        self.numerical = gradient == "numerical"
        if self.numerical and self.has_gradient:
            raise ValueError(f"gradient is 'numerical', but {self.name} writes its own gradient")
        self.fastmath = checks.flag(fastmath, "fastmath")
        self.compiled: dict[Any, Compiled] = {}
        self.derived: dict[Any, Derived] = {}
        functools.update_wrapper(self, self.plain, updated=())

    def __call__(self, *arguments: Any) -> Any:
        """Call the original Python function."""
        return self.plain(*arguments)

    def __repr__(self) -> str:
        return f"<{self.name}({', '.join(self.arguments)}): bind(data, dim=...) makes a Target>"

    def __reduce__(self) -> tuple[object, ...] | str:
        named = _by_name(self.plain)
        if named is self:
            return _find, (self.plain.__module__, self.plain.__qualname__)
        if isinstance(named, PythonTarget) and named.source is self:
            return _source, (self.plain.__module__, self.plain.__qualname__)
        return Unbound, (self.logp, self.rows, self.terms, self.gradient, self.fastmath)

    def bind(
        self, data: DataLike | None = None, *, dim: int | None = None, names: Names | None = None
    ) -> PythonTarget:
        """Make a `Target` with these data; code already compiled for their types is used again.

        Parameters
        ----------
        data, dim, names
            As in `fastvi.target`.
        """
        parameters = as_parameters(dim, names)
        prepared = None if data is None else prepare(data)
        return PythonTarget(self, prepared, parameters)

    def compile(self, data: Data | None, derived: Derived | None = None) -> Compiled:
        """Machine code for the types of these data, with a derived gradient or without."""
        from fastvi.kernels._compile import compile_user_function

        form = self.form(data)
        key = form, derived is not None
        if key not in self.compiled:
            address, owner, hit = compile_user_function(self.logp, form, derived)
            has_gradient = self.has_gradient or derived is not None
            self.compiled[key] = Compiled(address, owner, has_gradient, self.n_terms, hit=hit)
        return self.compiled[key]

    def form(self, data: Data | None) -> Any:
        """How the function is called with data of these types."""
        from fastvi.kernels._compile import Form

        fields = data.fields if data is not None and "data" in self.arguments else None
        named = data is not None and data.named
        return Form(self.arguments, fields, named, self.n_terms, self.fastmath)

    def derive(self, data: Data | None) -> Derived:
        """Derive the gradient of the function for the types of these data.

        Raises
        ------
        NotDifferentiable
            If it cannot be derived.
        """
        from fastvi.derivatives import derive

        fields, named = ((), True) if data is None else (data.fields, data.named)
        if (fields, named) not in self.derived:
            self.derived[fields, named] = derive(self.plain, fields, named)
        return self.derived[fields, named]


class PythonTarget(Target):
    """A `Target` whose density is a Python function, `source`."""

    def __init__(self, source: Unbound, data: Data | None, parameters: Parameters) -> None:
        self.source = source
        if data is None and "data" in source.arguments:
            raise ValueError(f"{source.name} takes data; none is given")
        if data is not None and "data" not in source.arguments:
            raise ValueError(f"{source.name} has no argument data, but data is given")
        n_rows = None
        if "rows" in source.arguments:
            n_rows = count_rows(data, source.rows, source.name)
        _refuse_indices(source, data, parameters)
        super().__init__(
            source.name,
            source.compile(data),
            parameters,
            data,
            n_rows,
            numerical=source.numerical,
            touches=_touches(source.terms, parameters),
        )
        self._checked_code: Callable[..., Any] | None = None
        self._may_derive = source.gradient == "auto" and not source.has_gradient
        functools.update_wrapper(self, source.plain, updated=())

    @property
    def has_gradient(self) -> bool:
        """Whether it has a gradient; a derived gradient is derived and compiled now."""
        self._want_gradient()
        return super().has_gradient

    @property
    def gradient_given(self) -> bool:
        """Whether there is a gradient that need not be derived."""
        return self.source.has_gradient or self.source.numerical

    def _want_gradient(self) -> None:
        """Derive the gradient at the first call, or record why that is impossible."""
        if not self._may_derive:
            return
        self._may_derive = False
        try:
            derived = self.source.derive(self._data)
            self._use(self.source.compile(self._data, derived))
        except NotDifferentiable as error:
            self.why_no_gradient = str(error)

    def check_indices(self, Z: ArrayLike) -> None:
        """Raise IndexError if an index is out of bounds at Z (dim,) or (k, dim).

        Compiles the function again, with checks; see `fastvi.check`.
        """
        from fastvi.kernels._compile import checked_user_function, rebuilt
        from fastvi.targets.checking import explained

        points = self._points(Z)
        X = points
        if not self.parameters.identity:
            parts = self.parameters.constrain(points).values()
            X = np.concatenate([np.reshape(x, (len(points), -1)) for x in parts], axis=1)
        X = np.ascontiguousarray(X)
        if self._checked_code is None:
            self._checked_code = checked_user_function(
                self.source.logp, self.source.form(self._data)
            )
        values, grads = np.empty((len(X), self.n_terms)), np.empty(X.shape)
        try:
            arrays = (X, self.data_table, values, grads)
            self._checked_code(*X.shape, *(array.ctypes.data for array in arrays))
        except IndexError:
            plain = rebuilt(self.source.plain, lambda helper: helper, {})
            words = explained(plain, self._arguments(X))
            raise IndexError(f"{self.name}{words}") from None

    def _arguments(self, X: NDArray[np.float64]) -> list[Any]:
        """What the function takes for constrained parameters X (k, n)."""
        batch = (np.arange(self.n_rows), np.ones(self.n_rows)) if self.n_rows else (None, None)
        values = {
            "Z": X, "z": X[0], "data": None if self._data is None else self._data.as_given,
            "rows": batch[0], "weights": batch[1], "terms": np.empty(self.n_terms),
            "values": np.empty((len(X), self.n_terms)), "grad": np.zeros(X.shape[1]),
            "grads": np.zeros(X.shape),
        }  # fmt: skip
        return [values[name] for name in self.source.arguments]

    @property
    def gradient_source(self) -> str:
        """Python source of the function that computes the value and the derived gradient.

        Raises
        ------
        ValueError
            If the gradient is written by hand, numerical or missing.
        NotDifferentiable
            If it cannot be derived.
        """
        if self.source.has_gradient or self.source.gradient != "auto":
            raise ValueError(
                f"the gradient of {self.name} is not derived; wanted a function without grad, "
                "with gradient='auto'"
            )
        return self.source.derive(self._data).source

    def __reduce__(self) -> tuple[object, ...] | str:
        if _by_name(self.source.plain) is self:
            return _find, (self.source.plain.__module__, self.source.plain.__qualname__)
        return PythonTarget, (self.source, self._data, self.parameters)

    def __call__(self, *arguments: Any) -> Any:
        """Call the original Python function."""
        return self.source.plain(*arguments)

    def bind(self, data: DataLike) -> PythonTarget:
        """Return the same density with other data of the same types, without compilation.

        Raises
        ------
        ValueError
            If names, numbers of axes or dtypes differ (integers may stand for floats).
        """
        return PythonTarget(self.source, self._data_like(data), self.parameters)


def _touches(terms: Any, parameters: Parameters) -> NDArray[np.bool_] | None:
    """Which terms each parameter affects, (dim, n_terms); None if unknown."""
    if not isinstance(terms, Sequence):
        return None
    table = np.zeros((parameters.dim, len(terms)), bool)
    for t, numbers in enumerate(terms):
        for j in numbers:
            if not 0 <= j < parameters.dim:
                raise ValueError(
                    f"terms[{t}] depends on number {j}; wanted 0 to {parameters.dim - 1}"
                )
            table[j, t] = True
    if not parameters.identity:
        table[:, 0] = True
    return table


def _refuse_indices(source: Unbound, data: Data | None, parameters: Parameters) -> None:
    """Refuse literal indices that are out of bounds."""
    from fastvi.targets.checking import refuse_indices

    n = parameters.n_constrained
    shapes: dict[str, Any] = {"z": (n,), "grad": (n,), "Z": (None, n), "grads": (None, n)}
    shapes = {name: shape for name, shape in shapes.items() if name in source.arguments}
    if data is not None:
        shapes |= {f"data.{name}": array.shape for name, array in data.by_name.items()}
    refuse_indices(source.plain, source.name, shapes)


def as_parameters(dim: int | None, names: Names | None) -> Parameters:
    """Make `Parameters` from either dim or names."""
    if (dim is None) == (names is None):
        raise ValueError(f"dim is {dim!r} and names is {names!r}; wanted one of the two")
    if names is None:
        return Parameters({"z": checks.integer(dim, "dim", 1)})
    if isinstance(names, Mapping):
        return Parameters(names)
    if isinstance(names, str) or len(set(names)) != len(names):
        raise ValueError(f"names is {names!r}; wanted different strings, or a mapping to shapes")
    return Parameters(dict.fromkeys(names, ()))


def count_rows(data: Data | None, rows: Sequence[str] | None, name: str) -> int:
    """Common length of the first axes of the arrays named `rows`."""
    if data is None:
        raise ValueError(f"{name} takes rows, but no data that has rows")
    arrays = data.by_name
    if rows is None:
        rows = [key for key, array in arrays.items() if array.ndim]
    unknown = [key for key in rows if key not in arrays or not arrays[key].ndim]
    lengths = {key: len(arrays[key]) for key in rows if key not in unknown}
    if unknown or len(set(lengths.values())) != 1:
        raise ValueError(
            f"rows are along the first axes of {', '.join(rows) or 'no array'}, with lengths "
            f"{lengths}; wanted arrays of data of one length (say which: rows='y')"
        )
    return next(iter(lengths.values()))


def _arguments(function: Callable[..., Any], name: str) -> tuple[str, ...]:
    """Return the checked names of a function's arguments."""
    try:
        given = tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        raise ValueError(f"logp is {function!r}; wanted a Python function") from None
    known = BATCHED if "Z" in given else VECTOR
    first, last = known[0], "values" if "Z" in given else None
    wrong = [argument for argument in given if argument not in known]
    if wrong or first not in given or (last and last not in given):
        raise ValueError(
            f"{name} has the arguments {', '.join(given) or '(none)'}; wanted z and some of "
            f"{', '.join(VECTOR[1:])}, or Z, values and some of data, rows, weights, grads"
        )
    if ("rows" in given) != ("weights" in given):
        raise ValueError(f"{name} takes only one of rows and weights; wanted both")
    return given


def _by_name(function: Callable[..., Any]) -> Any:
    """Look up the function by its name in its module; after decoration it is a `Target`."""
    try:
        return _find(function.__module__, function.__qualname__)
    except (ImportError, AttributeError):
        return None


def _find(module: str, qualname: str) -> Any:
    return functools.reduce(getattr, qualname.split("."), importlib.import_module(module))


def _source(module: str, qualname: str) -> Unbound:
    source: Unbound = _find(module, qualname).source
    return source
