"""Combinations of batches, gradient and optimizer for conjugate models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import gradients, optimizers
from fastvi.base import checks
from fastvi.base.typing import Tree
from fastvi.batches import (
    AdaptiveImportance,
    AdaptiveSize,
    Batches,
    Everything,
    ShuffledEpochs,
    Source,
    WithReplacement,
)
from fastvi.cluster.active import Cluster, active
from fastvi.cluster.conjugate import Sharded
from fastvi.cluster.shards import ShardedRows, SuperBatches
from fastvi.core import Algorithm, Batch, Conjugate, Optimizer, ascend
from fastvi.gradients.reduction import Reduction, Setting, reduction_of

__all__ = [
    "SAMPLING",
    "Plan",
    "plan",
    "sampled",
]

SAMPLING = ("uniform", "replacement", "importance", "adaptive", "growing", "coupled")


NEEDS_ONE_RATE = "works on natural gradients; wanted an optimizer with one rate for all coordinates"
NEEDS_ALL_ROWS = "needs all rows; a stream does not keep them"
LEAVES_NOISE = (
    "leaves noise that one batch cannot estimate; wanted trace_noise=False, and sampling other "
    "than 'growing' and 'coupled'"
)


class Plan(NamedTuple):
    """What the loop drives, and how to read its results.

    ``begin(params)`` returns what ``algorithm.init`` takes, and ``read(state)`` returns parameters.
    ``for_model(model)`` is the same plan for the model under other priors, if those are learned.
    """

    algorithm: Algorithm
    batches: Batches
    begin: Callable[[Tree], Tree]
    read: Callable[[Tree], Tree]
    for_model: Callable[..., Plan]


def plan(
    model: Conjugate,
    source: Source,
    *,
    batch_size: int | None = None,
    optimizer: Optimizer | str | float | None = None,
    sampling: str = "uniform",
    variance_reduction: str | Reduction | None = None,
    gradient: str = "natural",
    trace_noise: bool = False,
    seed: int = 0,
    batches: Batches | None = None,
    ascent: Callable[..., Algorithm] | None = None,
) -> Plan:
    """Combine batches, gradient and optimizer, or explain why they are incompatible.

    Parameters
    ----------
    model : Conjugate
    source : Source
    batch_size : int, optional
        None means all rows with rate 1: coordinate ascent.
    optimizer : Optimizer, str or float, optional
        A number is a constant rate. By default `fastvi.optimizers.robbins_monro` for mini-batches.
        The names are "adaptive", "adagrad", "rmsprop", "adam" and "amsgrad".
    sampling : {"uniform", "replacement", "importance", "adaptive", "growing", "coupled"}
        Shuffled epochs; independent draws; draws by the source's `norms`; draws by the norms last
        seen; shuffled epochs whose batches grow with the noise (De et al. 2017), or with the noise
        and the rate (Balles et al. 2017).
    variance_reduction : {"svrg", "window"} or Reduction, optional
        `fastvi.gradients.svrg` or `fastvi.gradients.window`, or their names.
    gradient : {"natural", "plain"}
        Optimizers with a rate per coordinate always use plain gradients.
    trace_noise : bool
        Record the trace of the gradient's covariance in the history, as ``"noise"``, even if
        `sampling` does not need it.
    seed : int
    batches : Batches, optional
        Used instead of those that `sampling` names.
    ascent : callable, optional
        ``ascent(model, noise=trace_noise)`` is the algorithm of coordinate ascent with rate 1, such
        as `fastvi.models.acceleration.accelerated`. A state's `found` is what the fit has found.

    Raises
    ------
    ValueError
        If an option is unknown, or options are incompatible.
    """
    checks.choice(sampling, "sampling", SAMPLING)
    checks.choice(gradient, "gradient", ("natural", "plain"))
    reduction = reduction_of(variance_reduction)
    is_batch = batch_size is None and batches is None
    chosen = _optimizer(optimizer, is_batch, gradient)
    is_plain = gradient == "plain" or not chosen.convex
    wrap: Callable[[Any], Any] = _itself
    cluster = None if getattr(source, "is_few", False) else active()
    if batches is None and cluster is not None:  # streams of batches are fitted where they are
        _refuse_on_shards(sampling, trace_noise)
        wrap, source, batches = _sharded(cluster, source, batch_size, seed)
    batches = _batches(source, batch_size, sampling, seed, batches)
    if reduction is not None:
        _refuse_first(
            f"variance_reduction={variance_reduction!r}",
            (is_batch, "without batch_size: the gradient of all rows has no noise"),
            (is_plain, NEEDS_ONE_RATE),
            (trace_noise or batches.wants_squared_norm, LEAVES_NOISE),
            (reduction.takes_snapshots and batch_size is None, NEEDS_ALL_ROWS),
        )
    if is_plain and sampling == "coupled":
        raise ValueError(
            "sampling='coupled' needs one rate for all coordinates; wanted a natural gradient"
        )
    options = {
        "remember": is_batch,
        "noise": batches.wants_noise or trace_noise,
        "squared_norm": batches.wants_squared_norm,
    }
    n_batches = -(-source.n_rows // batch_size) if batch_size else 1
    setting = Setting(partial(_everything, source), n_batches)

    def for_model(model: Conjugate) -> Plan:
        model = wrap(model)
        if ascent is not None and is_batch and optimizer is None:
            algorithm = ascent(model, noise=trace_noise)
            return Plan(algorithm, batches, _itself, _found, for_model)
        estimator = (gradients.plain if is_plain else gradients.natural)(model, **options)
        confine = None
        if reduction is not None:
            estimator = reduction.reduce(estimator, setting)
            confine = model.confine if reduction.takes_snapshots else None
        coordinates = model.coordinates if is_plain else None

        def begin(params: Tree) -> Tree:
            return coordinates.free(params) if coordinates else params

        def read(state: Tree) -> Tree:
            params = chosen.read(state.optimizer, state.params)
            return coordinates.params(params) if coordinates else params

        return Plan(ascend(estimator, chosen, confine), batches, begin, read, for_model)

    return for_model(model)


def _sharded(
    cluster: Cluster, source: Source, batch_size: int | None, seed: int
) -> tuple[Callable[[Any], Any], Source, Batches | None]:
    """Place a source on a cluster; return how to wrap models, all rows, and mini-batches."""
    placed = cluster.place(source)
    batches = None if batch_size is None else SuperBatches(placed.shards, batch_size, seed)
    return partial(Sharded, placed=placed, source=source), ShardedRows(placed.shards), batches


def _refuse_on_shards(sampling: str, trace_noise: bool) -> None:
    """Refuse what needs the norm of each row's statistics."""
    if sampling != "uniform" or trace_noise:
        given = f"sampling={sampling!r}" if sampling != "uniform" else "trace_noise=True"
        raise ValueError(
            f"{given} needs the norm of each row's statistics, which stays on its shard; wanted "
            "sampling='uniform' and trace_noise=False inside of fastvi.distributed"
        )


def _refuse_first(what: str, *reasons: tuple[bool, str]) -> None:
    """Raise an error about `what` with the first of the reasons that applies."""
    for applies, why in reasons:
        if applies:
            raise ValueError(f"{what} {why}")


def _itself(found: Any) -> Any:
    return found


def _found(state: Tree) -> Tree:
    return state.found


def _batches(
    source: Source, batch_size: int | None, sampling: str, seed: int, given: Batches | None
) -> Batches:
    """Return the plan of batches: those given, or those that `sampling` names."""
    if batch_size is None and given is None:
        if sampling != "uniform":
            raise ValueError(f"sampling={sampling!r} without batch_size: every row is in each step")
        return Everything(source)
    if given is not None:
        if sampling != "uniform":
            raise ValueError(
                f"sampling={sampling!r} with a stream, whose rows come in their own order"
            )
        return given
    assert batch_size is not None
    norms = source.norms if sampling in ("importance", "adaptive") else None
    return sampled(source, batch_size, sampling, seed, norms)


def _everything(source: Source) -> Batch:
    """Return all rows, made each time: stored, they would be a second copy of the data."""
    return Batch(source.all(), np.ones(source.n_rows))


def _optimizer(chosen: Optimizer | str | float | None, is_batch: bool, gradient: str) -> Optimizer:
    if isinstance(chosen, Real) and gradient == "natural" and chosen > 1:
        raise ValueError(f"optimizer is {chosen}; wanted a rate in (0, 1]")
    found = optimizers.chosen(chosen)
    if found is not None:
        return found
    return optimizers.constant(1.0) if is_batch else optimizers.robbins_monro()


def sampled(
    source: Source,
    batch_size: int,
    sampling: str,
    seed: int,
    norms: NDArray[np.float64] | None = None,
) -> Batches:
    """Make mini-batches of a kind that `plan` names; `norms` are those of the source.

    Raises
    ------
    ValueError
        If `batch_size` is below 1, or the source lacks what the kind needs.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; wanted a number of rows >= 1, or None")
    if sampling == "uniform":
        return ShuffledEpochs(source, batch_size, seed)
    if sampling == "replacement":
        return WithReplacement(source, batch_size, seed)
    if sampling in ("growing", "coupled"):
        theta = 1.0 if sampling == "growing" else None
        return AdaptiveSize(source, batch_size, seed, theta=theta)
    if sampling == "adaptive":
        return AdaptiveImportance(source, batch_size, seed, norms)
    if norms is None:
        raise ValueError(
            "sampling='importance' needs norms of rows, which this data does not have; "
            "wanted 'adaptive', which learns them"
        )
    return WithReplacement(source, batch_size, seed, norms)
