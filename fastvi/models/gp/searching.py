"""Gaussian processes that are fitted by searches, with L-BFGS or a callable."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastvi.base import checks
from fastvi.base.typing import Array
from fastvi.loop import History, Watch
from fastvi.models.gp.estimator import GaussianProcess
from fastvi.models.gp.search import Evaluations, Found, Objective, columns, search

__all__ = ["LBFGS", "Searching"]

LBFGS = "fmin_l_bfgs_b"


class Searching(GaussianProcess):
    """How they look for the best hyperparameters, and report on it."""

    n_restarts_optimizer: int
    prior_scale: float | None

    _shared = (*GaussianProcess._shared, "n_restarts_optimizer", "prior_scale")

    def _check_search(self) -> None:
        checks.integer(self.n_restarts_optimizer, "n_restarts_optimizer", 0)
        checks.integer(self.max_iter, "max_iter", 1)
        checks.number(self.tol, "tol", 0.0)
        if self.prior_scale is not None:
            checks.number(self.prior_scale, "prior_scale", 0.0, open_low=True)
        if self.optimizer not in (LBFGS, None) and not callable(self.optimizer):
            raise ValueError(
                f"optimizer is {self.optimizer!r}; wanted {LBFGS!r}, a callable or None"
            )

    def _search(self, objective: Objective, rng: np.random.Generator, watch: Watch) -> Array:
        """The best point of searches from the objective's start and from others."""
        self.history_ = columns(History())
        self.n_iter_, self.converged_ = 0, True
        if not len(objective.start):
            return objective.start
        limits = objective.limits(self.kernel_.bounds.reshape(-1, 2))
        starts = [objective.start, *self._restarts(objective, limits, rng)]
        watch.read = lambda state: objective.parts(state.point)
        results: list[Found] = []
        with watch:
            evaluations = Evaluations(objective, watch)
            evaluations.begin(self.max_iter * len(starts))
            for start in starts:
                results.append(
                    search(evaluations, start, limits, self.optimizer, self.max_iter, self.tol)
                )
                if evaluations.stopped:
                    break
        best = min(results, key=lambda result: result.value)
        self.history_, self.n_iter_, self.converged_ = best.history, best.n_iter, best.converged
        if not (self.converged_ or evaluations.stopped):
            self._warn_of_search(best)
        return best.point

    def _warn_of_search(self, found: Found) -> None:
        why = (
            "no step raises the bound any more (an abnormal line search), though its gradient "
            "is not 0: rounding is in the way; raise tol, the noise, or scale y"
            if found.failed
            else "tol was not reached; raise max_iter or tol"
        )
        warnings.warn(
            f"L-BFGS stopped after {self.n_iter_} iterations: {why}",
            ConvergenceWarning,
            stacklevel=7,
        )

    def _restarts(
        self, objective: Objective, limits: Array, rng: np.random.Generator
    ) -> list[Array]:
        """Further starts, drawn log-uniformly from the kernel's bounds."""
        if not (self.n_restarts_optimizer and self.learn_kernel):
            return []
        drawn = limits[: len(objective.theta)]
        if not np.all(np.isfinite(drawn)):
            raise ValueError(
                "n_restarts_optimizer draws from the kernel's bounds, which are not all "
                "finite; wanted finite bounds, or 0"
            )
        starts: list[Array] = []
        for _ in range(self.n_restarts_optimizer):
            point = rng.uniform(drawn[:, 0], drawn[:, 1])
            starts.append(np.concatenate((point, objective.start[len(point) :])))
        return starts
