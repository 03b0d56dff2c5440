"""The nouns everything is built from.

A model turns a `Batch` into a `Gradient`'s estimate, an `Optimizer` turns that into a step, and an
`Algorithm` is what `fastvi.loop` drives. All steps ascend. A step owns its state and may write
into its buffers; arrays that a caller passed in are never written to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fastvi.base.tables import LazyTable, RowGradient, RowStatistics
from fastvi.base.tree import rebuild
from fastvi.base.typing import AnyArray, Info

__all__ = [
    "EACH_STEP",
    "Algorithm",
    "AscentState",
    "Batch",
    "Conjugate",
    "Coordinates",
    "Gradient",
    "LazyTable",
    "Local",
    "Optimizer",
    "RowGradient",
    "RowStatistics",
    "add",
    "ascend",
    "dense",
    "scale",
]

T = TypeVar("T")

EACH_STEP = "each_step"  # in the `info` of an `Algorithm`


class Batch(NamedTuple):
    """Some rows of the data; ``sum(weights * f(rows))`` estimates the sum over all data.

    `rows` is what the model's data source hands out (documents, row numbers); `weights` is
    (n_rows,). Mini-batches, importance sampling, streams and tempering differ in weights only.
    """

    rows: Any
    weights: AnyArray


class Gradient(NamedTuple):
    """An estimator of the gradient, a value that wrappers (SVRG, averages) take and return.

    ``init(params) -> state`` and ``estimate(state, params, batch, rng) -> (gradient, state,
    info)``. The gradient has the type of the parameters, or is a `RowGradient` of a `LazyTable`.
    `info` is a dict; its numbers are traced. `pathwise`: at two parameters, the same batch and the
    same random numbers give gradients with nearly the same noise; so not for score functions.
    """

    init: Callable[..., Any]
    estimate: Callable[..., Any]
    pathwise: bool = True


def _read_params(state: object, params: T) -> T:
    return params


class Optimizer(NamedTuple):
    """From gradients to steps.

    ``init(params) -> state`` and ``update(gradient, state, params) -> (step, state, rate)``.
    `takes_rows` says whether it scales a `RowGradient` as it is or needs it dense. `convex`: a step
    is a fraction in [0, 1] of the gradient, so that along a natural gradient it stays in the
    domain. ``read(state, params)`` is what the fit has found, which an average of iterates makes
    other than the last parameters.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    takes_rows: bool = True
    convex: bool = True
    read: Callable[..., Any] = _read_params


class Algorithm(NamedTuple):
    """What the loop drives: ``init(start) -> state``, ``step(state, batch, rng) -> (state, info)``.

    `info` is a dict; its numbers are traced. A step may stand for many on one batch, where one
    takes microseconds: then ``info[EACH_STEP]`` is a dict of arrays (n_steps,), what each reports.
    ``after_epoch(state) -> state`` is what is due after each pass over the data, if anything.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    after_epoch: Callable[..., Any] | None = None


class Local(NamedTuple):
    """What a conjugate model makes of a batch.

    Attributes
    ----------
    statistics : tree of arrays, or RowStatistics
        Weighted expected sufficient statistics, in the form of the parameters.
    bound : float
        The weighted local part of the bound, nats; nan if the model does not compute it.
    variables : object
        The local parameters, to be handed back as `start`.
    norms : (n_rows,) array, optional
        Euclidean norm of each row's own statistics, without its weight; None if not asked for.
    common : float
        Squared norm of those statistics that no row has a share in.
    """

    statistics: Any
    bound: float
    variables: Any
    norms: AnyArray | None = None
    common: float = 0.0


class Coordinates(NamedTuple):
    """Parameters without constraints, for plain gradients and per-coordinate rates.

    ``free(params)`` and ``params(free)`` go there and back; ``gradient(params, natural)`` is the
    plain gradient of the bound with respect to the free ones, given the dense natural gradient.
    """

    free: Callable[..., Any]
    params: Callable[..., Any]
    gradient: Callable[..., Any]


class Conjugate(Protocol):
    """A conditionally conjugate model, in natural parameters.

    `prior` has the form of the parameters, or is the anchor of a `LazyTable`.
    """

    @property
    def prior(self) -> Any:
        """Natural parameters of the prior."""
        ...

    @property
    def coordinates(self) -> Coordinates | None:
        """Parameters without constraints, if the model has such."""
        ...

    def local(
        self,
        params: Any,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Fit the local variables of a batch.

        `start` is `Local.variables` of an earlier call on the same rows: the bound at the new ones
        is then at least that at `start`.
        """
        ...

    def global_bound(self, params: Any) -> float:
        """The part of the bound that no row has a share in, nats."""
        ...

    def confine(self, params: Any, step: Any) -> Any:
        """The step, shortened or clipped so that params + step is in the domain.

        Rates in [0, 1] along a natural gradient never leave it; corrected gradients may.
        """
        ...


def scale(gradient: Any, factor: float) -> Any:
    """`factor` times a gradient: an array, a NamedTuple of arrays, or a `RowGradient`."""
    if isinstance(gradient, RowGradient):
        return gradient.scaled(factor)
    if isinstance(gradient, tuple):
        return rebuild(gradient, (scale(part, factor) for part in gradient))
    return gradient * factor


def dense(gradient: Any, params: Any) -> Any:
    """The gradient with each `RowGradient` in it paid in full."""
    if isinstance(gradient, RowGradient):
        return gradient.dense(params)
    if isinstance(gradient, tuple):
        return rebuild(gradient, (dense(*parts) for parts in zip(gradient, params)))
    return gradient


def add(params: Any, step: Any) -> Any:
    """Parameters plus a step, in place where they are arrays or a `LazyTable`."""
    if isinstance(params, LazyTable):
        params.add(step)
        return params
    if isinstance(params, tuple):
        return rebuild(params, (add(*parts) for parts in zip(params, step)))
    params += step
    return params


class AscentState(NamedTuple):
    """State of `ascend`: parameters, and the states of gradient and optimizer."""

    params: Any
    gradient: Any
    optimizer: Any


def ascend(
    gradient: Gradient,
    optimizer: Optimizer,
    confine: Callable[[Any, Any], Any] | None = None,
    move: Callable[[Any, Any], Any] = add,
) -> Algorithm:
    """The usual algorithm: estimate the gradient on a batch, let the optimizer step.

    Its `init` takes the parameters to start from, which it owns from then on. `confine` is that of
    the model, for gradients whose steps may leave the domain. ``move(params, step)`` is where a
    step leads to, which points of a manifold know themselves.
    """

    def init(params: Any) -> AscentState:
        return AscentState(params, gradient.init(params), optimizer.init(params))

    def step(
        state: AscentState, batch: Batch, rng: np.random.Generator
    ) -> tuple[AscentState, Info]:
        direction, gradient_state, info = gradient.estimate(
            state.gradient, state.params, batch, rng
        )
        if not optimizer.takes_rows:
            direction = dense(direction, state.params)
        change, optimizer_state, rate = optimizer.update(direction, state.optimizer, state.params)
        if confine is not None:
            change = confine(state.params, change)
        params = move(state.params, change)
        return AscentState(params, gradient_state, optimizer_state), {**info, "rate": rate}

    return Algorithm(init, step)
