"""Fits of conjugate models: plans carried out until they settle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import loop
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Tree
from fastvi.batches import Source
from fastvi.core import Conjugate, LazyTable
from fastvi.models.plan import Plan, plan

__all__ = ["Fit", "fit_conjugate", "fit_plan"]


class Fit(NamedTuple):
    """Parameters of a fitted model, and how the fit went."""

    params: Tree
    history: dict[str, NDArray[np.float64]]
    n_iter: int
    converged: bool
    stopped: bool = False  # whether a callback or held-out scores stopped it
    row: int = -1  # of the history: the step that led to these parameters


def fit_conjugate(
    model: Conjugate,
    source: Source,
    params: Tree,
    *,
    n_epochs: int,
    tol: float = 0.0,
    seed: int = 0,
    watch: loop.Watch | None = None,
    before: float | None = None,
    **options: Any,
) -> Fit:
    """Fit a conjugate model from `params`, which the fit then owns.

    Parameters
    ----------
    model, source : Conjugate, Source
    params : natural parameters
    n_epochs : int
        Largest number of passes over the rows.
    tol : float
        Coordinate ascent ends when the bound rises by less than this in a pass, in nats; 0 means
        never. Mini-batches ignore it, because their bound is noisy.
    seed : int
    watch : fastvi.loop.Watch, optional
        Callback, held-out scores, bar and checkpoints.
    before : float, optional
        Bound in the last pass of the fit that this one continues, in nats.
    options
        Those of `plan`.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If an option is unknown, options do not go together, or the fit ends with a parameter that
        is not finite.
    """
    chosen = plan(model, source, seed=seed, **options)
    return fit_plan(
        chosen,
        params,
        n_epochs=n_epochs,
        settled=lambda history: _has_settled(history, tol, before),
        seed=seed,
        watch=watch,
    )


def fit_plan(
    chosen: Plan,
    params: Tree,
    *,
    n_epochs: int,
    settled: Callable[[loop.History], bool],
    seed: int = 0,
    watch: loop.Watch | None = None,
) -> Fit:
    """Carry out a plan until ``settled(history)``; arguments as of `fit_conjugate`."""
    watch = loop.Watch() if watch is None else watch
    watch.read = chosen.read
    rng = np.random.default_rng(seed)

    def done(state: Tree, position: loop.Position, history: loop.History) -> bool:
        return settled(history)

    with single_threaded_blas(), watch:
        state = chosen.algorithm.init(chosen.begin(params))
        state, position, history = watch.begin(state, chosen.batches, rng, n_epochs)
        finished = position.step == 0 and settled(history)  # a finished checkpoint
        state, history = loop.run(
            chosen.algorithm,
            state,
            chosen.batches,
            n_epochs=0 if finished else n_epochs,
            rng=rng,
            position=position,
            history=history,
            after_epoch=done,
            watch=watch,
        )
    n_iter = int(history.columns["epoch"][-1]) + 1 if len(history) else 0
    found = chosen.read(state)
    if len(history) and not _is_finite(found):
        raise ValueError(
            "the fit diverged: its parameters are no longer finite; lower the optimizer's rate, "
            "or raise batch_size"
        )
    converged, arrays = settled(history), history.arrays()
    row = -1
    if watch.patience is not None and history.pass_scores():
        row = int(np.flatnonzero(arrays["epoch"] == history.best_pass())[-1])
    return Fit(found, arrays, n_iter, converged, watch.stopped, row)


def _has_settled(history: loop.History, tol: float, before: float | None) -> bool:
    """Whether the bound moved by less than `tol` in the last pass; `before` precedes the first."""
    bounds = history.columns.get("elbo", [])
    if tol <= 0 or not len(bounds):
        return False
    if len(bounds) == 1:
        return before is not None and abs(bounds[0] - before) < tol
    moved = history.columns["rate"][-2] > 0  # with rate 0 nothing moves
    return moved and abs(bounds[-1] - bounds[-2]) < tol


def _is_finite(params: Tree) -> bool:
    """Whether all numbers are finite; lazy tables are not made dense for this."""
    if isinstance(params, tuple):
        return all(map(_is_finite, params))
    if isinstance(params, LazyTable):
        return all(np.isfinite(part).all() for part in params.save().values())
    return params is None or bool(np.isfinite(params).all())
