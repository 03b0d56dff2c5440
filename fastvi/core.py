"""The nouns everything is built from.

A model turns a `Batch` into a `Gradient`'s estimate, an `Optimizer` turns that into a step, and an
`Algorithm` is what `fastvi.loop` drives. All steps ascend. A step owns its state and may write
into its buffers; arrays that a caller passed in are never written to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Algorithm",
    "Batch",
    "Conjugate",
    "Gradient",
    "LazyTable",
    "Optimizer",
    "RowGradient",
    "RowStatistics",
    "add",
    "ascend",
    "scale",
]


class Batch(NamedTuple):
    """Some rows of the data; ``sum(weights * f(rows))`` estimates the sum over all data.

    `rows` is what the model's data source hands out (documents, row numbers); `weights` is
    (n_rows,). Mini-batches, importance sampling, streams and tempering differ in weights only.
    """

    rows: Any
    weights: NDArray[Any]


class Gradient(NamedTuple):
    """An estimator of the gradient, a value that wrappers (SVRG, averages) take and return.

    ``init(params) -> state`` and ``estimate(state, params, batch, rng) -> (gradient, state,
    info)``. The gradient has the type of the parameters, or is a `RowGradient` of a `LazyTable`.
    """

    init: Callable[..., Any]
    estimate: Callable[..., Any]


class Optimizer(NamedTuple):
    """From gradients to steps.

    ``init(params) -> state`` and ``update(gradient, state, params) -> (step, state, rate)``.
    `takes_rows` says whether it scales a `RowGradient` as it is or needs it dense.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    takes_rows: bool


class Algorithm(NamedTuple):
    """What the loop drives: ``init(start) -> state``, ``step(state, batch, rng) -> (state, info)``.

    `info` is a dict of numbers to trace.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]


class Conjugate(Protocol):
    """A conditionally conjugate model, in natural parameters.

    `prior` has the form of the parameters, or is the anchor of a `LazyTable`.
    """

    prior: Any

    def local(
        self, params: Any, batch: Batch, start: Any, rng: np.random.Generator
    ) -> tuple[Any, float, Any]:
        """Fit the local variables of a batch.

        `start` is what an earlier call on the same rows returned last: the bound at the new local
        parameters is then at least that at `start`. Returns the weighted expected sufficient
        statistics, the weighted local part of the bound in nats (nan if the model does not
        compute it), and the local parameters.
        """
        ...

    def global_bound(self, params: Any) -> float:
        """The part of the bound that no row has a share in, nats."""
        ...


class RowStatistics(NamedTuple):
    """Expected sufficient statistics that are zero but in `rows` (n,): `values` (n, K)."""

    rows: NDArray[np.integer[Any]]
    values: NDArray[Any]


class RowGradient(NamedTuple):
    """``factor * (coefficient * (anchor - table) + scatter(rows, values))``.

    Natural gradients of a table of which a batch touches few rows, each named once in `rows`.
    `anchor` broadcasts to the table's shape (V, K): the prior for SVI.
    """

    rows: NDArray[np.integer[Any]]
    values: NDArray[Any]
    anchor: NDArray[Any]
    coefficient: float = 1.0
    factor: float = 1.0

    def scaled(self, factor: float) -> RowGradient:
        """The same direction, `factor` times as long."""
        return self._replace(factor=self.factor * factor)

    def dense(self, table: LazyTable) -> NDArray[Any]:
        """The gradient of every entry, (V, K), paid in full."""
        gradient = table.dense()
        np.subtract(self.anchor, gradient, out=gradient)
        gradient *= gradient.dtype.type(self.coefficient)
        gradient[self.rows] += self.values
        gradient *= gradient.dtype.type(self.factor)
        return gradient


class LazyTable:
    """A (V, K) table of natural parameters whose rows catch up when they are written.

    Adding a `RowGradient` of n rows costs n * K whatever V is: the other rows only decay towards
    the anchor, which `fastvi.kernels.lazy` makes good when they are next seen. Reading never
    writes, so that looking at a fit does not change its later bits.

    Parameters
    ----------
    values : (V, K) array
        Starting values; owned by the table from here on.
    anchor : array
        Broadcasts to (V, K); what rows decay towards.

    Attributes
    ----------
    column_sums : (K,) float64 array
        Sums over all rows, kept up to date.
    """

    GONE = -800.0  # log of a decay that leaves nothing in float64; stands for log(0)

    def __init__(self, values: NDArray[Any], anchor: NDArray[Any]) -> None:
        self.values = values
        self.clock = np.zeros(len(values))
        self.decay = 0.0
        self.column_sums = values.sum(axis=0, dtype=np.float64)
        self._anchor_to(anchor)

    def _anchor_to(self, anchor: NDArray[Any]) -> None:
        """Broadcast without a copy, so that a prior of one number costs no table."""
        self.anchor = anchor
        self._anchor = np.broadcast_to(anchor, self.values.shape)
        one_row = np.ndim(anchor) < 2 or len(anchor) == 1
        part = self._anchor[:1] if one_row else self._anchor
        sums = part.sum(axis=0, dtype=np.float64)
        self._anchor_sums = sums * len(self.values) if one_row else sums

    def save(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs to go on with the same bits."""
        return {
            "values": self.values,
            "clock": self.clock,
            "decay": np.asarray(self.decay),
            "column_sums": self.column_sums,
        }

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]], anchor: NDArray[Any]) -> LazyTable:
        """The table that `save` described; it owns the arrays."""
        table = cls(arrays["values"], anchor)
        table.clock, table.column_sums = arrays["clock"], arrays["column_sums"]
        table.decay = float(arrays["decay"])
        return table

    def read(self, rows: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Rows as they are now, (n, K)."""
        return self._read(rows, np.empty((len(rows), self.values.shape[1]), self.values.dtype))

    def dense(self) -> NDArray[Any]:
        """The whole table as it is now, (V, K), a copy."""
        return self.read(np.arange(len(self.values), dtype=np.int32))

    def settled(self) -> NDArray[Any]:
        """The table's own array, (V, K), once all rows have caught up in place."""
        self._catch_up()
        return self.values

    def _read(self, rows: NDArray[np.integer[Any]], out: NDArray[Any]) -> NDArray[Any]:
        from fastvi.kernels.lazy import read_rows

        read_rows(self.values, self.clock, self.decay, self._anchor, rows, 0, len(rows), out)
        return out

    def _catch_up(self) -> None:
        self._read(np.arange(len(self.values), dtype=np.int32), self.values)
        self.clock.fill(self.decay)

    def move_anchor(self, anchor: NDArray[Any]) -> None:
        """Let rows decay towards another anchor from here on; all of them catch up, in place."""
        self._catch_up()
        self._anchor_to(anchor)

    def add(self, step: RowGradient | NDArray[Any]) -> None:
        """Take a step, in place: a (V, K) array, or rows with ``factor * coefficient`` in [0, 1].

        Raises
        ------
        ValueError
            If that product is not in [0, 1].
        """
        from fastvi.kernels.lazy import add_rows

        if not isinstance(step, RowGradient):
            self._catch_up()
            self.values += step
            self.column_sums += step.sum(axis=0, dtype=np.float64)
            return
        if step.anchor is not self.anchor:
            self.move_anchor(step.anchor)
        rate = step.factor * step.coefficient
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"step of rate {rate}; a lazy table takes rates from 0 to 1")
        self.decay += np.log1p(-rate) if rate < 1.0 else self.GONE
        add_rows(
            self.values, self.clock, self.decay, self._anchor,
            step.rows, step.values, step.factor, 0, len(step.rows),
        )  # fmt: skip
        added = step.values.sum(axis=0, dtype=np.float64)
        self.column_sums += rate * (self._anchor_sums - self.column_sums) + step.factor * added


def scale(gradient: Any, factor: float) -> Any:
    """`factor` times a gradient: an array, a NamedTuple of arrays, or a `RowGradient`."""
    if isinstance(gradient, RowGradient):
        return gradient.scaled(factor)
    if isinstance(gradient, tuple):
        return type(gradient)(*(scale(part, factor) for part in gradient))
    return gradient * factor


def dense(gradient: Any, params: Any) -> Any:
    """The gradient with each `RowGradient` in it paid in full."""
    if isinstance(gradient, RowGradient):
        return gradient.dense(params)
    if isinstance(gradient, tuple):
        return type(gradient)(*(dense(*parts) for parts in zip(gradient, params)))
    return gradient


def add(params: Any, step: Any) -> Any:
    """Parameters plus a step, in place where they are arrays or a `LazyTable`."""
    if isinstance(params, LazyTable):
        params.add(step)
        return params
    if isinstance(params, tuple):
        return type(params)(*(add(*parts) for parts in zip(params, step)))
    params += step
    return params


class AscentState(NamedTuple):
    """State of `ascend`: parameters, and the states of gradient and optimizer."""

    params: Any
    gradient: Any
    optimizer: Any


def ascend(gradient: Gradient, optimizer: Optimizer) -> Algorithm:
    """The usual algorithm: estimate the gradient on a batch, let the optimizer step.

    Its `init` takes the parameters to start from, which it owns from then on.
    """

    def init(params: Any) -> AscentState:
        return AscentState(params, gradient.init(params), optimizer.init(params))

    def step(
        state: AscentState, batch: Batch, rng: np.random.Generator
    ) -> tuple[AscentState, dict[str, float]]:
        direction, gradient_state, info = gradient.estimate(
            state.gradient, state.params, batch, rng
        )
        if not optimizer.takes_rows:
            direction = dense(direction, state.params)
        change, optimizer_state, rate = optimizer.update(direction, state.optimizer, state.params)
        params = add(state.params, change)
        return AscentState(params, gradient_state, optimizer_state), {**info, "rate": rate}

    return Algorithm(init, step)
