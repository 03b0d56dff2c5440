"""Watching the fit of a target: callbacks, bars and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastvi import loop
from fastvi.base import checks
from fastvi.base.typing import JsonObject, Options
from fastvi.checkpoints import Watching, described
from fastvi.targets.base import Target

__all__ = ["watch_of"]


def watch_of(
    watching: Watching,
    target: Target,
    seed: int,
    options: Options,
    *,
    read: Callable[[Any], Any],
    verbose: bool,
    total: int | None = None,
) -> loop.Watch:
    """Return the watch of a fit; its bar counts steps.

    Parameters
    ----------
    watching : Watching
    target : Target
    seed : int
    options : dict
        Arguments that must equal those of a checkpoint.
    read : callable
        ``read(state)`` gives what the fit has found so far.
    verbose : bool
        Show a bar.
    total : int, optional
        Where the bar ends.

    Raises
    ------
    ValueError
        If a fit is to be resumed without a file, or the interval is not a number >= 0.
    """

    def identity() -> JsonObject:
        return {"seed": seed, **_described(target), **described(options)}

    return loop.Watch(
        read=read, callback=watching.callback, checkpoints=watching.checkpoints(identity),
        resume=watching.resume, verbose=checks.flag(verbose, "verbose"), total=total, unit="steps",
        log_passes=False,
    )  # fmt: skip


def _described(target: Target) -> JsonObject:
    """What identifies a target and its data: names, and the density at one point."""
    z = np.random.default_rng(0).standard_normal((1, target.dim))
    value = float(target.attempt(z, with_gradient=False)[0][0])
    return {"target": target.name, "names": list(target.names), "density": f"{value:.6g}"}
