"""Base class of estimators: options, fits that succeed or change nothing, checkpoints, files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi import loop
from fastvi.base import checks
from fastvi.base.documentation import fill_in
from fastvi.base.parallel import resolve_n_jobs
from fastvi.base.progress import compiling_announced
from fastvi.base.tree import read_only
from fastvi.base.typing import Array, ArrayLike, JsonObject, RandomState, RowsLike, Tree
from fastvi.checkpoints import Watching, described, digest
from fastvi.cluster.active import fitting, identity
from fastvi.core import Algorithm, Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.models import files
from fastvi.models.documentation import GROUPS, TEXTS
from fastvi.models.fits import Fit, fit_conjugate, fit_plan
from fastvi.models.plan import Plan

__all__ = [
    "Estimator",
    "generator_of",
]

# Parameters that may differ between a checkpoint and the fit that resumes from it.
FREE = (
    "max_iter",
    "n_iter",
    "tol",
    "n_jobs",
    "verbose",
    "verbose_interval",
    "random_state",
    "warm_start",
)


class Estimator(BaseEstimator):
    """The base of all estimators.

    A subclass adds a constructor, `_fit` and predictions. `_fit` works on an unfitted copy of the
    estimator, which replaces it once the fit has succeeded, so a fit that fails or is interrupted
    changes nothing. Lines such as ``{optimizer}`` in docstrings are filled in from
    `fastvi.models.documentation`.
    """

    max_iter: int
    tol: float
    batch_size: int | None
    optimizer: Optimizer | str | float | None
    sampling: str
    variance_reduction: Reduction | str | None
    trace_noise: bool
    random_state: RandomState
    warm_start: bool
    n_jobs: int | None
    verbose: int

    n_features_in_: int
    history_: dict[str, NDArray[np.float64]]
    n_iter_: int
    converged_: bool
    elbo_: float
    best_iter_: int  # with early stopping
    best_score_: float

    _shared: tuple[str, ...] = (  # parameters of several estimators
        "max_iter", "tol", "batch_size", "optimizer", "sampling", "variance_reduction",
        "trace_noise", "random_state", "warm_start", "n_jobs", "verbose",
    )  # fmt: skip
    _names: frozenset[str]  # of the attributes that come from a fit
    _fitted_with: dict[str, Any]  # parameters of the last fit, whatever was set since
    _least_iter = 1
    _over_shards = False  # whether fits support `fastvi.distributed`
    _texts: Mapping[str, str] = {}  # documentation that subclasses share

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        texts = TEXTS | dict(cls._texts)
        fill_in(cls, texts, GROUPS)
        for attribute in vars(cls).values():
            if callable(attribute):
                fill_in(attribute, texts, GROUPS)

    def _share(self, given: Mapping[str, Any]) -> None:
        """Take the arguments in `_shared` out of the constructor's ``locals()``."""
        for name in self._shared:
            if name in given:
                setattr(self, name, given[name])

    # Hooks of a subclass

    def _fit(self, last: Self | None, watching: Watching, data: Any, *more: Any) -> Any:
        """Fit this copy; `last` is the fitted estimator to continue from, if any."""
        raise NotImplementedError

    def _partial_fit(self, *data: Any) -> None:
        """Take steps with this copy, without changing what it shares with the original."""
        raise NotImplementedError

    def _saved(self) -> dict[str, object]:
        """Return trees of arrays and JSON values from which `_restore` rebuilds the model."""
        raise NotImplementedError

    def _for_library(self) -> dict[str, Array]:
        """Return arrays of float64 that predictions in C take, which are in no need of LAPACK.

        Files hold them beside what `_restore` reads (docs/c-library.md).
        """
        return {}

    def _restore(self, saved: files.Saved) -> None:
        """Restore what `_saved` returned; parameters and reports are in place already."""
        raise NotImplementedError

    _encoded = staticmethod(files.encoded)
    _decoded = staticmethod(files.decoded)

    # Fits

    def _become(self, watching: Watching, *data: Any) -> Any:
        """Fit an unfitted copy, and become that copy if all goes well."""
        work = self._fresh()
        last = self if self.__sklearn_is_fitted__() and getattr(self, "warm_start", False) else None
        with (
            compiling_announced(bool(work.verbose)),
            fitting(type(self).__name__, self._over_shards),
        ):
            found = work._fit(last, watching, *data)
        if watching.early_stopping is not None:
            work._report_best()
        self._replace(work)
        return found

    def _advance(self, *data: Any) -> None:
        """Let a copy take steps on `data`, and become that copy if all goes well."""
        work = object.__new__(type(self))
        work.__dict__.update(self.__dict__)
        for name in ("best_iter_", "best_score_"):  # of a fit, which this goes on from
            work.__dict__.pop(name, None)
        work._partial_fit(*data)
        self._replace(work)

    def _fresh(self) -> Self:
        """Return an unfitted copy."""
        fresh = object.__new__(type(self))
        names = self.__dict__.get("_names", frozenset())
        fresh.__dict__.update({k: v for k, v in self.__dict__.items() if k not in names})
        return fresh

    def _replace(self, work: Self) -> None:
        """Become `work`, in one step."""
        work._remember(self._fresh())
        self.__dict__ = work.__dict__

    def _remember(self, before: Self | None = None) -> None:
        """Record its parameters, and which attributes a fit has set, besides earlier ones."""
        kept = self.get_params(deep=False) if before is None else vars(before)
        self._fitted_with = self.get_params(deep=False)
        self._names = frozenset(vars(self)) - frozenset(kept) | {"_names"}
        for name in self._names:  # writing to these would not change predictions
            if name.endswith("_") and isinstance(vars(self)[name], np.ndarray):
                setattr(self, name, read_only(vars(self)[name]))

    def _refuse_changes(self, names: Iterable[str]) -> None:
        """Refuse parameters that have changed since the steps from which a stream continues."""
        now = self.get_params(deep=False)
        for name in names:
            before = self._fitted_with[name]
            if described(now[name]) != described(before):
                raise ValueError(
                    f"{name} is {now[name]!r} and was {before!r} in the steps to continue from; "
                    "wanted the same, or a new fit"
                )

    def _parameters_of_fit(self) -> dict[str, Any]:
        """Return the parameters that belong to what was found."""
        return self._fitted_with

    def __sklearn_is_fitted__(self) -> bool:
        return "_names" in self.__dict__

    def _ascend(
        self,
        model: Any,
        source: Any,
        params: Tree,
        watching: Watching,
        *,
        data: tuple[Any, ...],
        held_out: Callable[[Tree], float] | None = None,
        tol: float,
        seed: int,
        last: Self | None = None,
        optimizer: Optimizer | str | float | None = None,
        ascent: Callable[..., Algorithm] | None = None,
    ) -> Fit:
        """Fit a conjugate model with the toolbox, and record how it went.

        `data` are the arrays that identify a checkpoint; `tol` is in nats of the whole bound, and
        `last` is the fit to continue from; `optimizer` is used instead of the estimator's, and
        `ascent` is that of `fastvi.models.plan.plan`.
        """
        batch_size = checks.optional_integer(self.batch_size, "batch_size", 1)
        watch = self._observers(params, watching, data, held_out, seed, last)
        fitted = fit_conjugate(
            model,
            source,
            params,
            n_epochs=self._n_epochs,
            tol=tol,
            seed=seed,
            watch=watch,
            before=None if last is None else last._last_bound,
            batch_size=batch_size,
            optimizer=self.optimizer if optimizer is None else optimizer,
            sampling=self.sampling,
            variance_reduction=self.variance_reduction,
            trace_noise=checks.flag(self.trace_noise, "trace_noise"),
            ascent=ascent,
        )
        self._report(fitted)
        return fitted

    def _carry_out(
        self,
        plan: Plan,
        params: Tree,
        watching: Watching,
        *,
        data: tuple[Any, ...],
        held_out: Callable[[Tree], float] | None = None,
        settled: Callable[[loop.History], bool],
        seed: int,
        last: Self | None = None,
    ) -> Fit:
        """Fit by a plan of another algorithm than the toolbox's; arguments as of `_ascend`."""
        watch = self._observers(params, watching, data, held_out, seed, last)
        fitted = fit_plan(
            plan, params, n_epochs=self._n_epochs, settled=settled, seed=seed, watch=watch
        )
        self._report(fitted)
        return fitted

    @property
    def _n_epochs(self) -> int:
        return checks.integer(self.max_iter, "max_iter", self._least_iter)

    def _observers(
        self,
        params: Tree,
        watching: Watching,
        data: tuple[Any, ...],
        held_out: Callable[[Tree], float] | None,
        seed: int,
        last: Self | None,
    ) -> loop.Watch:
        """Return the observers of a fit from `params`."""

        def identity() -> JsonObject:
            start = {"start": digest(*params)} if last is not None else {}
            return self._identity(data) | {"seed": seed} | start

        return loop.Watch(
            callback=watching.callback,
            held_out=held_out,
            patience=watching.patience(held_out),
            checkpoints=watching.checkpoints(identity),
            resume=watching.resume,
            verbose=bool(self.verbose),
            total=self._n_epochs,
        )

    def _report(self, fitted: Fit) -> None:
        """Set the attributes that report on a fit."""
        self.history_, self.n_iter_ = fitted.history, fitted.n_iter
        self.converged_ = fitted.converged
        if "elbo" in fitted.history:
            self.elbo_ = float(fitted.history["elbo"][fitted.row])

    def _report_best(self) -> None:
        """Set the attributes that report on the best pass of a fit that may stop early."""
        history = loop.History({name: list(column) for name, column in self.history_.items()})
        scores = history.pass_scores()
        if scores:
            best = history.best_pass()
            self.best_iter_, self.best_score_ = best + 1, scores[best]

    @property
    def _last_bound(self) -> float | None:
        """Bound in the last pass of a fit to all rows, or in the one that was kept, in nats."""
        bounds = self.history_.get("elbo")
        if bounds is None or not len(bounds) or self.batch_size is not None:
            return None
        return float(bounds[getattr(self, "best_iter_", 0) - 1])

    def _identity(self, data: tuple[Any, ...]) -> JsonObject:
        """Return what must be the same for a checkpoint to be resumed from."""
        parameters = self.get_params(deep=False)
        chosen = {k: described(v) for k, v in parameters.items() if k not in FREE}
        return {"class": type(self).__name__, "data": digest(*data)} | chosen | identity()

    def _warn_unless_converged(self, fitted: Fit, unit: str = "nats per row") -> None:
        """Warn if coordinate ascent has not converged."""
        self._warn_unless(fitted, f"the bound still rose by more than tol={self.tol:g} {unit}")

    def _warn_unless(self, fitted: Fit, what: str) -> None:
        """Warn that this happened in the last pass, unless the fit was to go no further."""
        if self.batch_size is None and self.tol > 0 and not (fitted.converged or fitted.stopped):
            warnings.warn(
                f"{what} in pass {fitted.n_iter}; raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _random(self) -> np.random.RandomState:
        """Return the generator for `random_state`."""
        return generator_of(self.random_state)

    def _seed(self, watching: Watching, rng: np.random.RandomState | None = None) -> int:
        """Seed for mini-batches, from `rng` if given, or of the checkpoint if any will do."""
        fresh = checks.seed_of(self._random() if rng is None else rng)
        return watching.seed(self.random_state, fresh)

    @property
    def _n_threads(self) -> int:
        return resolve_n_jobs(self.n_jobs)

    # Rows

    def _array(self, X: RowsLike, y: ArrayLike = "no_validation", **options: Any) -> Any:
        """Check X (and y), in an order that kernels accept: rows to fit unless ``reset=False``."""
        options = {"dtype": [np.float64, np.float32]} | options
        checks.nothing_masked(X)
        found = validate_data(self, X, y, **options)
        if isinstance(found, tuple):
            return _in_order(found[0]), found[1]
        return _in_order(found)

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a file that `fastvi.load` reads; no training rows are kept.

        Parameters that were set since the fit are kept as well, and are set again once the file
        is read.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be written; an old file is then kept.
        ValueError
            If a parameter cannot be stored, such as a callable or an Optimizer.
        """
        check_is_fitted(self)
        files.save(self, path)


def generator_of(random_state: RandomState) -> np.random.RandomState:
    """Return the generator for a `random_state`; scikit-learn's own for what it takes."""
    if isinstance(random_state, np.random.Generator):
        return np.random.RandomState(checks.seed_of(random_state))
    found: np.random.RandomState = check_random_state(random_state)
    return found


def _in_order(X: RowsLike) -> Any:
    if hasattr(X, "indptr"):
        return X
    return np.require(X, requirements=["C_CONTIGUOUS", "WRITEABLE"])
