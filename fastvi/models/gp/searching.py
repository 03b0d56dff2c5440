"""Gaussian processes that are fitted by searches, with L-BFGS or a callable."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastvi.base import checks
from fastvi.base.typing import Array
from fastvi.loop import History, Watch
from fastvi.models.gp.estimator import GaussianProcess, OfKernel
from fastvi.models.gp.search import Evaluations, Found, Objective, columns, search

__all__ = ["LBFGS", "Searches", "Searching", "warn_of_search"]

LBFGS = "fmin_l_bfgs_b"


class Searches(OfKernel):
    """How the best hyperparameters are looked for, and what is said about it."""

    n_restarts_optimizer: int

    def _check_search(self) -> None:
        checks.integer(self.n_restarts_optimizer, "n_restarts_optimizer", 0)
        checks.integer(self.max_iter, "max_iter", 1)
        checks.number(self.tol, "tol", 0.0)
        if self.optimizer not in (LBFGS, None) and not callable(self.optimizer):
            raise ValueError(
                f"optimizer is {self.optimizer!r}; wanted {LBFGS!r}, a callable or None"
            )

    def _drawn(self, bounds: Array, rng: np.random.Generator) -> Array:
        """Hyperparameters of further starts (n, P), drawn log-uniformly from bounds (P, 2)."""
        n = self.n_restarts_optimizer
        if n == 0:
            return np.empty((0, len(bounds)))
        if not np.all(np.isfinite(bounds)):
            raise ValueError(
                "n_restarts_optimizer draws from the kernel's bounds, which are not all "
                "finite; wanted finite bounds, or 0"
            )
        return rng.uniform(bounds[:, 0], bounds[:, 1], (n, len(bounds)))

    def _best_of(self, evaluations: Evaluations, starts: list[Array], limits: Array) -> Found:
        """The best end of searches from these starts."""
        results: list[Found] = []
        for start in starts:
            results.append(
                search(evaluations, start, limits, self.optimizer, self.max_iter, self.tol)
            )
            if evaluations.stopped:
                break
        return min(results, key=lambda result: result.value)

    def _warn_of_search(self, failed: bool, stacklevel: int) -> None:
        warn_of_search(self.n_iter_, failed, stacklevel + 1)


def warn_of_search(n_iter: int, failed: bool, stacklevel: int) -> None:
    """Warn that a search did not converge."""
    why = (
        "no step raises the bound any more (an abnormal line search), though its gradient "
        "is not 0: rounding is in the way; raise tol, the noise, or scale the data"
        if failed
        else "tol was not reached; raise max_iter or tol"
    )
    warnings.warn(
        f"L-BFGS stopped after {n_iter} iterations: {why}",
        ConvergenceWarning,
        stacklevel=stacklevel + 1,
    )


class Searching(Searches, GaussianProcess):
    """Searches for the hyperparameters, and what else there is, of one bound."""

    prior_scale: float | None

    _shared = (*GaussianProcess._shared, "n_restarts_optimizer", "prior_scale")

    def _check_search(self) -> None:
        super()._check_search()
        if self.prior_scale is not None:
            checks.number(self.prior_scale, "prior_scale", 0.0, open_low=True)

    def _search(self, objective: Objective, rng: np.random.Generator, watch: Watch) -> Array:
        """The best point of searches from the objective's start and from others."""
        self.history_ = columns(History())
        self.n_iter_, self.converged_ = 0, True
        if not len(objective.start):
            return objective.start
        limits = objective.limits(self.kernel_.bounds.reshape(-1, 2))
        starts = [objective.start, *self._restarts(objective, limits, rng)]
        watch.read = lambda state: objective.parts(state.point)
        with watch:
            evaluations = Evaluations(objective, watch)
            evaluations.begin(self.max_iter * len(starts))
            best = self._best_of(evaluations, starts, limits)
        self.history_, self.n_iter_, self.converged_ = best.history, best.n_iter, best.converged
        if not (self.converged_ or evaluations.stopped):
            self._warn_of_search(best.failed, stacklevel=6)
        return best.point

    def _restarts(
        self, objective: Objective, limits: Array, rng: np.random.Generator
    ) -> list[Array]:
        """Further starts, in which only the hyperparameters differ."""
        if not self.learn_kernel:
            return []
        n = len(objective.theta)
        others = objective.start[n:]
        return [np.concatenate((drawn, others)) for drawn in self._drawn(limits[:n], rng)]
