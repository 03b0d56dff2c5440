"""Who looks at a fit of a target: callbacks, bars and checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi import loop
from fastvi.base import archive, checks
from fastvi.checkpoints import KIND, Checkpoints, described
from fastvi.targets.base import Target

__all__ = ["Watching"]


class Watching(NamedTuple):
    """Arguments of fits that change nothing in what they find."""

    callback: Callable[[loop.FitState], bool | None] | None = None
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_interval: float = 60.0
    resume: bool = False
    verbose: bool = False

    def seed(self, random_state: Any) -> int:
        """The seed of a fit; that of the checkpoint to be resumed if any seed will do."""
        fresh = checks.seed_of(random_state)
        if random_state is not None or not self._is_resumed:
            return fresh
        assert self.checkpoint is not None
        identity = archive.load(self.checkpoint, KIND)[0].get("identity")
        saved = identity.get("seed") if isinstance(identity, dict) else None
        return saved if isinstance(saved, int) and saved >= 0 else fresh

    @property
    def _is_resumed(self) -> bool:
        return self.resume and self.checkpoint is not None and os.path.exists(self.checkpoint)

    def watch(
        self,
        target: Target,
        seed: int,
        options: dict[str, Any],
        *,
        read: Callable[[Any], Any],
        total: int | None = None,
    ) -> loop.Watch:
        """The watch of a fit, whose steps its bar counts.

        Parameters
        ----------
        target : Target
        seed : int
        options : dict
            Arguments that a checkpoint must have been made with.
        read : callable
            ``read(state)`` gives what the fit has found so far.
        total : int, optional
            Where the bar ends.

        Raises
        ------
        ValueError
            If `resume` is given without a file, or the interval is not a number >= 0.
        """
        checkpoints = None
        if self.checkpoint is not None:
            identity = {"seed": seed, **_target(target), **described(options)}
            checkpoints = Checkpoints(self.checkpoint, identity, self.checkpoint_interval)
        elif self.resume:
            raise ValueError("resume=True needs checkpoint, the file to go on from")
        return loop.Watch(
            read=read, callback=self.callback, checkpoints=checkpoints, resume=self.resume,
            verbose=checks.flag(self.verbose, "verbose"), total=total, unit="steps",
            log_passes=False,
        )  # fmt: skip


def _target(target: Target) -> dict[str, Any]:
    """What tells a target, and its data, from another: names, and its density somewhere."""
    z = np.random.default_rng(0).standard_normal((1, target.dim))
    value = float(target.attempt(z, with_gradient=False)[0][0])
    return {"target": target.name, "names": list(target.names), "density": f"{value:.6g}"}
