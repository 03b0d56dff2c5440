"""Targets: log densities behind one C signature, bound to their data."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, DataLike, RandomState
from fastvi.core import Batch
from fastvi.targets.code import Compiled, layered
from fastvi.targets.contents import Contents, contents_of, likelihood_of_rows
from fastvi.targets.data import Data, Table, checked_batch, make_table, prepare_like
from fastvi.targets.failures import TargetError, describe, not_finite
from fastvi.targets.gradients import ROUNDING, compare

__all__ = ["Target", "check_target"]


class Target:
    """A compiled log density of `dim` unconstrained parameters, made by `fastvi.target` and its
    siblings.

    Attributes
    ----------
    dim : int
        Number of unconstrained parameters.
    names : tuple of str
        Their names.
    parameters : Parameters
        The named parameters, and the maps between them and the unconstrained ones.
    has_gradient : bool
        Whether it has a gradient: its own, a derived or a numerical one.
    why_no_gradient : str
        Why the gradient could not be derived, if that was tried.
    n_terms : int
        Number of terms that add up to the log density.
    touches : (dim, n_terms) array of bool or None
        Which terms each parameter affects, if that is known.
    n_rows : int or None
        Number of data rows that a batch can choose from; None without batches.
    concurrent : bool
        Whether several threads may call it at the same time.
    address : int
        Address of ``int64_t f(int64_t k, int64_t n, const double *Z, const int64_t *data, double
        *values, double *grads)`` for compiled loops; it returns 1 on success, and `grads` may be
        NULL.
    data_table : (n_words,) int64 array
        The `data` argument of that function, with weight 1 for all rows.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (-0.5 * z @ z, -z), dim=2)
    >>> target.dim, target.log_prob([[1.0, 1.0]])
    (2, array([-1.]))
    """

    def __init__(
        self,
        name: str,
        compiled: Compiled,
        parameters: Any,
        data: Data | None = None,
        n_rows: int | None = None,
        *,
        numerical: bool = False,
        touches: NDArray[np.bool_] | None = None,
    ) -> None:
        self.name = name
        self.compiled = compiled
        self.parameters = parameters
        self.dim: int = parameters.dim
        self.n_terms = compiled.n_terms
        self.touches = touches
        self.n_rows = n_rows
        self.concurrent = compiled.concurrent
        self._data = data
        self._numerical = numerical
        self.why_no_gradient = ""
        self._use(compiled)

    def _data_like(self, data: DataLike) -> Data:
        """Prepare other data of the types that the target was made with."""
        if self._data is None:
            raise ValueError(f"{self.name} has no argument data, but data is given")
        return prepare_like(data, self._data.fields)._replace(named=self._data.named)

    def _use(self, compiled: Compiled) -> None:
        """Use this machine code."""
        self.compiled = compiled
        self.address, self._header = self._layers()
        self._owners = (compiled.owner, self.parameters)
        everything = None
        if self.n_rows is not None:
            everything = Batch(np.arange(self.n_rows), np.ones(self.n_rows))
        self._table = make_table(self._data, self._header, self._owners, everything)

    def _layers(self) -> tuple[int, dict[int, int]]:
        """Address of the density with all that is wrapped around it, and its table's header."""
        return layered(self.compiled, self.parameters, numerical=self._numerical)

    @property
    def has_gradient(self) -> bool:
        """Whether it has a gradient."""
        return self.compiled.has_gradient or self._numerical

    @property
    def gradient_given(self) -> bool:
        """Whether there is a gradient that need not be derived."""
        return self.has_gradient

    def _want_gradient(self) -> None:
        """Hook that is called before a gradient is needed."""

    def require_gradient(self, who: str) -> None:
        """Raise if there is no gradient; `who` starts the message, such as "fit needs".

        Raises
        ------
        ValueError
            If there is no gradient, with the reason.
        """
        if not self.has_gradient:
            why = f" ({self.why_no_gradient})" if self.why_no_gradient else ""
            raise ValueError(
                f"{who} the gradient of the target, which is not known{why}; wanted a "
                "target with one, or gradient='numerical' in fastvi.target"
            )

    def __repr__(self) -> str:
        rows = "" if self.n_rows is None else f", n_rows={self.n_rows}"
        return f"<Target {self.name}: dim={self.dim}{rows}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the unconstrained parameters."""
        names: tuple[str, ...] = self.parameters.names
        return names

    def constrain(self, z: ArrayLike) -> dict[str, Array]:
        """Map unconstrained (..., dim) to parameters by name, each (..., *shape)."""
        return dict(self.parameters.constrain(z))

    def unconstrained(self, z: ArrayLike) -> dict[str, Array]:
        """Split unconstrained (..., dim) by name, without applying constraints."""
        return dict(self.parameters.unconstrained(z))

    def contents(self) -> Contents:
        """Names of axes and of places along them, and the data, for tables and containers."""
        return contents_of(self._data, self.n_rows, self.parameters.parts)

    @property
    def n_likelihoods(self) -> int:
        """Number of log likelihoods per draw that `log_likelihood` returns; 0 if unknown."""
        return self.n_rows or 0

    def log_likelihood(self, Z: ArrayLike) -> dict[str, Array]:
        """Log likelihoods of the rows at Z (k, dim), in nats: (k, n_rows) by name.

        They are known for densities that take rows and weights; others return an empty dict.
        """
        if not self.n_rows:
            return {}
        points = self._points(Z)

        def values(batch: Batch) -> Array:
            return self.attempt(points, batch, with_gradient=False)[0]

        return {"log_likelihood": likelihood_of_rows(values, self.n_rows)}

    @property
    def data_table(self) -> NDArray[np.int64]:
        """The `data` argument of the function at `address`, with weight 1 for all rows."""
        return self._table.words

    def table(self, batch: Batch | None = None) -> Table:
        """Return the data table for a batch; keep it alive while compiled code may read it.

        Parameters
        ----------
        batch : Batch, optional
            Row numbers (n_rows,) and their weights; by default all rows with weight 1.

        Raises
        ------
        ValueError
            If the density takes no rows, a row is out of range, or a weight is not finite.
        """
        if batch is None or batch.rows is None:
            return self._table
        return make_table(self._data, self._header, self._owners, self._checked(batch))

    def log_prob(self, Z: ArrayLike, batch: Batch | None = None) -> Any:
        """Evaluate log densities in nats: a float for z (dim,), (k,) for Z (k, dim).

        The density is that of the unconstrained parameters, so it includes the Jacobians of
        constraints.

        Parameters
        ----------
        Z : (dim,) or (k, dim) array
        batch : Batch, optional
            Rows and weights of the part of the data to use.

        Raises
        ------
        TargetError
            If it fails or returns NaN or infinity.
        ValueError
            If Z has another shape or holds numbers that are not finite.
        """
        total = self.log_terms(Z, batch).sum(axis=-1)
        return float(total) if total.ndim == 0 else total

    def log_terms(self, Z: ArrayLike, batch: Batch | None = None) -> Array:
        """As `log_prob`, but return the terms, (n_terms,) or (k, n_terms)."""
        points = self._points(Z)
        values, _ = self._evaluate(points, batch, with_gradient=False)
        return values if np.ndim(Z) == 2 else values[0]

    def log_prob_and_grad(self, Z: ArrayLike, batch: Batch | None = None) -> tuple[Any, Any]:
        """As `log_prob`, but also return gradients of the shape of Z.

        Raises
        ------
        TargetError
            If it fails or returns NaN or infinity; the error names the component of the gradient.
        ValueError
            If Z has another shape or holds numbers that are not finite, or there is no gradient.
        """
        if not self.has_gradient:
            why = f" ({self.why_no_gradient})" if self.why_no_gradient else ""
            raise ValueError(
                f"{self.name} has no gradient{why}; write one, use a method that needs none, or "
                "ask for gradient='numerical'"
            )
        points = self._points(Z)
        values, grads = self._evaluate(points, batch, with_gradient=True)
        total = values.sum(axis=-1)
        return (total, grads) if np.ndim(Z) == 2 else (float(total[0]), grads[0])

    def attempt(
        self,
        Z: Array,
        batch: Batch | None = None,
        *,
        with_gradient: bool = True,
        terms: bool = False,
    ) -> tuple[Array, Array]:
        """As `log_prob_and_grad`, but without errors, for fits that leave out failing vectors.

        Parameters
        ----------
        Z : (k, dim) float64 array
        batch : Batch, optional
            All rows if its rows are None.
        with_gradient : bool
        terms : bool
            Return the terms of the values instead of their sums.

        Returns
        -------
        values : (k,) or (k, n_terms) array
            nan where the density failed; may be infinite.
        grads : (k, dim) array, or (0, dim)
        """
        from fastvi.kernels import targets

        if with_gradient:
            self._want_gradient()
        points = np.ascontiguousarray(Z)
        k, n = points.shape
        values = np.full((k, self.n_terms), np.nan)
        grads = np.full((k if with_gradient else 0, n), np.nan)
        words = self.table(batch).words
        status = targets.evaluate(self.address, words, points, values, grads)
        if status != targets.SUCCESS:  # evaluate each vector by itself to find the one that failed
            values[:] = np.nan
            for i in range(k):
                part = slice(i, i + 1)
                one, of_grads = values[part], grads[part]
                if targets.evaluate(self.address, words, points[part], one, of_grads) != 1:
                    values[part] = np.nan
        return values if terms else values.sum(axis=1), grads

    def refuse(self, Z: Array, batch: Batch | None = None) -> NoReturn:
        """Raise an error about vectors (k, dim) for which the density (or its gradient) failed.

        Raises
        ------
        TargetError
            As `log_prob_and_grad`, or if the vectors themselves are not finite.
        """
        finite = np.isfinite(Z).all(axis=1)
        if finite.any():
            ask = self.log_prob_and_grad if self.has_gradient else self.log_prob
            ask(Z[finite], batch)
        where = describe(self.names, Z[0])
        raise TargetError(f"{self.name} cannot be evaluated at {where}", Z[0].copy())

    def check_gradient(
        self, Z: ArrayLike | None = None, rtol: float = 1e-5, random_state: RandomState = 0
    ) -> float:
        """Compare the gradient with finite differences of the value.

        Uses central differences of fourth order, with half the step if the gradient itself is
        numerical.

        Parameters
        ----------
        Z : (dim,) or (k, dim) array, optional
            Where to compare; by default at three standard normal vectors.
        rtol : float
            Largest allowed error beyond rounding, relative to the component or to 1.
        random_state : int, RandomState, Generator or None
            Used to draw the vectors.

        Returns
        -------
        float
            The largest such error.

        Raises
        ------
        TargetError
            If an error exceeds `rtol`, or as in `log_prob_and_grad`.
        """
        from fastvi.kernels import targets

        self.require_gradient("check_gradient needs")
        if Z is None:
            rng = checks.generator(random_state, "random_state")
            Z = rng.standard_normal((3, self.dim))
        points = self._points(Z)
        values, grads = self._evaluate(points, None, with_gradient=True)
        wanted, step = np.empty_like(points), targets.STEP / (2 if self._numerical else 1)
        words = self.data_table.ctypes.data
        status = targets.differences(self.address, words, points, self.n_terms, step, wanted)
        if status != targets.SUCCESS:
            raise self._failure(status, points[0])
        rounding = ROUNDING * np.abs(values).sum(axis=1, keepdims=True) / step
        return compare(self.name, self.names, points, grads, wanted, rtol, rounding)

    def check_indices(self, Z: ArrayLike) -> None:
        """Raise IndexError if an index is out of bounds at Z; only densities from Python can tell.

        Parameters
        ----------
        Z : (dim,) or (k, dim) array
        """
        self._points(Z)

    def _evaluate(
        self, points: Array, batch: Batch | None, with_gradient: bool
    ) -> tuple[Array, Array]:
        from fastvi.kernels import targets

        k, n = points.shape
        values = np.full((k, self.n_terms), np.nan)
        grads = np.empty((k if with_gradient else 0, n))
        table = self.table(batch)
        status = targets.evaluate(self.address, table.words, points, values, grads)
        vector, component = targets.first_not_finite(values, grads)
        if status != targets.SUCCESS:
            raise self._failure(status, points[max(vector, 0)])
        if vector >= 0:
            numbers = grads[vector] if component >= 0 else values[vector]
            raise not_finite(self.name, self.names, points[vector], numbers, component)
        return values, grads

    def _explain(self, z: Array) -> str:
        """What is known about a failure at z."""
        explain = self.compiled.explain
        return explain(z) if explain is not None else ""

    def _failure(self, status: int, z: Array) -> TargetError:
        explanation = self._explain(z)
        words = f": {explanation}" if explanation else ""
        return TargetError(
            f"{self.name} failed with status {self.compiled.status(status)} at "
            f"{describe(self.names, z)}{words}",
            z.copy(),
        )

    def _points(self, Z: ArrayLike) -> Array:
        """Return checked vectors (k, dim)."""
        array = np.asarray(Z)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"Z has dtype {array.dtype}; wanted real numbers")
        if array.ndim not in (1, 2) or array.shape[-1] != self.dim:
            raise ValueError(
                f"Z has shape {array.shape}; wanted ({self.dim},) or (k, {self.dim}) for the "
                f"{self.dim} numbers of {self.name}"
            )
        points = np.require(np.atleast_2d(array), np.float64, ["C_CONTIGUOUS", "WRITEABLE"])
        if not np.isfinite(points).all():
            s, j = np.argwhere(~np.isfinite(points))[0]
            raise ValueError(
                f"Z holds {points[s, j]} for {self.names[j]} in vector {s}; wanted finite numbers"
            )
        return points

    def _checked(self, batch: Batch) -> Batch:
        if self.n_rows is None:
            raise ValueError(
                f"{self.name} takes no rows and weights, so it has no batches; write it with "
                "these arguments"
            )
        return checked_batch(batch, self.n_rows)


def check_target(target: object) -> None:
    """Raise ValueError if `target` is not a target."""
    if not isinstance(target, Target):
        raise ValueError(
            f"target is {target!r}; wanted one of fastvi.target(logp, dim=...) or its siblings, "
            "bound to its data"
        )
