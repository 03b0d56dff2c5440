"""Core concepts: batches, gradients, optimizers, algorithms and conjugate models.

A `Gradient` estimates a direction from a `Batch`, an `Optimizer` turns that into a step, and
`fastvi.loop` drives an `Algorithm`. All steps ascend. A step owns its state and may write into its
buffers; arrays that a caller passed in are never written to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fastvi.base.tables import LazyTable, RowGradient, RowStatistics
from fastvi.base.tree import rebuild
from fastvi.base.typing import AnyArray, Info, Tree

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

    `rows` is what the model's data source returns (documents, row numbers); `weights` is (n_rows,).
    Mini-batches, importance sampling, streams and tempering differ only in their weights.
    """

    rows: Any
    weights: AnyArray


class Gradient(NamedTuple):
    """An estimator of the gradient, which wrappers (SVRG, averages) take and return.

    ``init(params) -> state`` and ``estimate(state, params, batch, rng) -> (gradient, state,
    info)``. The gradient has the type of the parameters, or is a `RowGradient` of a `LazyTable`.
    `info` is a dict whose numbers go into the history. `pathwise` says that the same batch and
    random numbers give gradients with nearly the same noise at two parameters, which score
    functions do not.
    """

    init: Callable[..., Any]
    estimate: Callable[..., Any]
    pathwise: bool = True


def _read_params(state: object, params: T) -> T:
    return params


class Optimizer(NamedTuple):
    """A rule that turns gradients into steps.

    ``init(params) -> state`` and ``update(gradient, state, params) -> (step, state, rate)``.
    `takes_rows` says whether it can scale a `RowGradient` or needs it dense. `convex` says that a
    step is a fraction in [0, 1] of the gradient, so that along a natural gradient it stays in the
    domain. ``read(state, params)`` returns what the fit has found, which for averaged iterates
    differs from the last parameters.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    takes_rows: bool = True
    convex: bool = True
    read: Callable[..., Any] = _read_params


class Algorithm(NamedTuple):
    """Functions that the loop calls: ``init(start) -> state``,
    ``step(state, batch, rng) -> (state, info)``.

    `info` is a dict whose numbers go into the history. If steps take microseconds, one call may
    make many of them on one batch: ``info[EACH_STEP]`` is then a dict of arrays (n_steps,) with
    their reports. ``after_epoch(state) -> state``, if given, is called after each pass over the
    data.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    after_epoch: Callable[..., Any] | None = None


class Local(NamedTuple):
    """Result of the local step of a conjugate model on a batch.

    Attributes
    ----------
    statistics : tree of arrays, or RowStatistics
        Weighted expected sufficient statistics, in the form of the parameters.
    bound : float
        The weighted local part of the bound, nats; nan if the model does not compute it.
    variables : object
        The local parameters, to be passed back as `start`.
    norms : (n_rows,) array, optional
        Euclidean norm of each row's own statistics, without its weight; None if not requested.
    common : float
        Squared norm of the statistics that do not depend on the rows.
    """

    statistics: Tree
    bound: float
    variables: Any
    norms: AnyArray | None = None
    common: float = 0.0


class Coordinates(NamedTuple):
    """Unconstrained parameters, for plain gradients and per-coordinate rates.

    ``free(params)`` and ``params(free)`` convert between the two. ``gradient(params, natural)`` is
    the plain gradient of the bound with respect to the unconstrained ones, given the dense natural
    gradient.
    """

    free: Callable[..., Any]
    params: Callable[..., Any]
    gradient: Callable[..., Any]


class Conjugate(Protocol):
    """A conditionally conjugate model, in natural parameters.

    `prior` has the form of the parameters, or is the anchor of a `LazyTable`.
    """

    @property
    def prior(self) -> Tree:
        """Natural parameters of the prior."""
        ...

    @property
    def coordinates(self) -> Coordinates | None:
        """Unconstrained parameters, if the model has them."""
        ...

    def local(
        self,
        params: Tree,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Fit the local variables of a batch.

        `start` is `Local.variables` of an earlier call on the same rows; the new bound is then at
        least that at `start`.
        """
        ...

    def global_bound(self, params: Tree) -> float:
        """Return the part of the bound that does not depend on the rows, in nats."""
        ...

    def confine(self, params: Tree, step: Tree) -> Tree:
        """Return the step, shortened or clipped so that params + step is in the domain.

        Rates in [0, 1] along a natural gradient never leave the domain; corrected gradients may.
        """
        ...


def scale(gradient: Tree, factor: float) -> Tree:
    """Multiply a gradient by `factor`: an array, a NamedTuple of arrays, or a `RowGradient`."""
    if isinstance(gradient, RowGradient):
        return gradient.scaled(factor)
    if isinstance(gradient, tuple):
        return rebuild(gradient, (scale(part, factor) for part in gradient))
    return gradient * factor


def dense(gradient: Tree, params: Tree) -> Tree:
    """Return the gradient with each `RowGradient` in it made dense."""
    if isinstance(gradient, RowGradient):
        return gradient.dense(params)
    if isinstance(gradient, tuple):
        return rebuild(gradient, (dense(*parts) for parts in zip(gradient, params)))
    return gradient


def add(params: Tree, step: Tree) -> Tree:
    """Add a step to parameters, in place for arrays and `LazyTable`."""
    if isinstance(params, LazyTable):
        params.add(step)
        return params
    if isinstance(params, tuple):
        return rebuild(params, (add(*parts) for parts in zip(params, step)))
    params += step
    return params


class AscentState(NamedTuple):
    """State of `ascend`: parameters, and the states of gradient and optimizer."""

    params: Tree
    gradient: Tree
    optimizer: Any


def ascend(
    gradient: Gradient,
    optimizer: Optimizer,
    confine: Callable[[Tree, Tree], Tree] | None = None,
    move: Callable[[Tree, Tree], Tree] = add,
) -> Algorithm:
    """The standard algorithm: estimate the gradient on a batch, then take the optimizer's step.

    Its `init` takes the parameters to start from, which it then owns. `confine` is that of the
    model, for gradients whose steps may leave the domain. ``move(params, step)`` returns where a
    step leads, for parameters on a manifold.
    """

    def init(params: Tree) -> AscentState:
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
