"""Targets from Python functions, compiled by Numba."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, DataLike
from fastvi.core import Batch
from fastvi.derivatives import Derived, NotDifferentiable
from fastvi.targets.arguments import (
    LogDensity,
    Names,
    Rows,
    Terms,
    arguments_of,
    as_parameters,
    count_rows,
    touches,
)
from fastvi.targets.base import Target
from fastvi.targets.code import Compiled
from fastvi.targets.data import Data, prepare
from fastvi.transforms import Parameters

__all__ = ["PythonTarget", "Unbound"]

SEVERAL = 4096  # numbers of data from which it pays to compile a gradient of several draws at once


class Unbound:
    """A checked Python density without data; `bind` turns it into a `Target`."""

    def __init__(
        self,
        logp: LogDensity,
        rows: Rows,
        terms: Terms,
        gradient: str | None,
        fastmath: bool,
    ) -> None:
        if not callable(logp):
            raise ValueError(f"logp is {logp!r}; wanted a function")
        self.logp = logp
        self.plain = getattr(logp, "py_func", logp)
        self.name = getattr(self.plain, "__name__", "logp")
        self.arguments = arguments_of(self.plain, self.name)
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
        self.checks: dict[Any, Callable[..., None] | None] = {}
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
        key = form, derived is not None, derived is not None and derived.lanes is not None
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

    def index_checks(self, data: Data | None) -> Callable[..., None] | None:
        """What raises IndexError if the function leaves its arrays; see `fastvi.derivatives`."""
        from fastvi.derivatives import index_checks

        key = ((), True) if data is None else (data.fields, data.named)
        if key not in self.checks:
            self.checks[key] = index_checks(self.plain, *key)
        return self.checks[key]


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
            touches=touches(source.terms, parameters),
        )
        self._indices_checked = False
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
            if self._data is None or self._data.size < SEVERAL:
                derived = derived.alone()
            self._use(self.source.compile(self._data, derived))
        except NotDifferentiable as error:
            self.why_no_gradient = str(error)

    def check_indices(self, Z: ArrayLike) -> None:
        """Raise IndexError if an index is out of bounds at Z (dim,) or (k, dim).

        Compiles the function again, with checks; see `fastvi.check`.
        """
        from fastvi.kernels._compile import checked_user_function

        X = self._constrained(self._points(Z))
        if self._checked_code is None:
            self._checked_code = checked_user_function(
                self.source.logp, self.source.form(self._data)
            )
        values, grads = np.empty((len(X), self.n_terms)), np.empty(X.shape)
        try:
            arrays = (X, self.data_table, values, grads)
            self._checked_code(*X.shape, *(array.ctypes.data for array in arrays))
        except IndexError:
            error, line = self._raised(X) or (None, 0)
            known = isinstance(error, IndexError)
            words = f", line {line}: {error}" if known else ": an index is out of bounds"
            raise IndexError(f"{self.name}{words}") from None

    def _evaluate(
        self, points: Array, batch: Batch | None, with_gradient: bool
    ) -> tuple[Array, Array]:
        self._check_once(points)
        return super()._evaluate(points, batch, with_gradient)

    def attempt(self, Z: Array, batch: Batch | None = None, **options: bool) -> tuple[Array, Array]:
        """As in `Target`; an index out of bounds is an IndexError."""
        self._check_once(Z)
        return super().attempt(Z, batch, **options)

    def _check_once(self, Z: Array) -> None:
        """Refuse indices out of bounds at the first finite vector of Z (k, dim)."""
        if self._indices_checked or not len(Z) or not np.isfinite(Z[0]).all():
            return
        X = self._constrained(np.array(Z[:1], np.float64))
        check = self.source.index_checks(self._data)
        if check is not None:
            try:
                with np.errstate(all="ignore"):
                    check(*self._arguments(X))
            except IndexError as error:
                own, line = self._raised(X) or (None, 0)
                words = f"{self.name}, line {line}: {own}"
                raise IndexError(words if isinstance(own, IndexError) else str(error)) from None
            except Exception:  # which says nothing about indices; compiled code says it again
                pass
        self._indices_checked = True

    def _explain(self, z: Array) -> str:
        error, line = self._raised(self._constrained(z[None])) or (None, 0)
        return f"{type(error).__name__}, line {line}: {error}" if error else ""

    def _constrained(self, points: Array) -> Array:
        """What the function takes at points (k, dim)."""
        if self.parameters.identity:
            return points
        parts = self.parameters.constrain(points).values()
        X = np.concatenate([np.reshape(x, (len(points), -1)) for x in parts], axis=1)
        return np.ascontiguousarray(X)

    def _raised(self, X: Array) -> tuple[Exception, int] | None:
        """What the function, interpreted, raises for constrained parameters X, and where."""
        from fastvi.kernels._compile import rebuilt
        from fastvi.targets.checking import raised

        plain = rebuilt(self.source.plain, lambda helper: helper, {})
        return raised(plain, self._arguments(X))

    def _arguments(self, X: Array) -> list[Any]:
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


def _refuse_indices(source: Unbound, data: Data | None, parameters: Parameters) -> None:
    """Refuse literal indices that are out of bounds."""
    from fastvi.targets.checking import refuse_indices

    n = parameters.n_constrained
    shapes: dict[str, Any] = {"z": (n,), "grad": (n,), "Z": (None, n), "grads": (None, n)}
    shapes = {name: shape for name, shape in shapes.items() if name in source.arguments}
    if data is not None:
        shapes |= {f"data.{name}": array.shape for name, array in data.by_name.items()}
    refuse_indices(source.plain, source.name, shapes)


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
