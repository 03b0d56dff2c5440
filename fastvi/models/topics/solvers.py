"""How topics are fitted: one class a family of solvers, all driven by `fastvi.loop`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import psi

from fastvi import loop, optimizers
from fastvi.base import tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.batches import Batches, Passes, ShuffledEpochs
from fastvi.core import Algorithm, AscentState, Batch, LazyTable
from fastvi.models.counts import DocumentSource, padded
from fastvi.models.plan import Plan, plan, reduction_of
from fastvi.models.topics import collapsed, priors
from fastvi.models.topics.model import LDA, word_weights
from fastvi.models.topics.settings import Settings

__all__ = ["CollapsedFit", "GradientFit", "Solver", "fit", "make_solver", "random_topics"]

QUICK_DOCUMENTS = 16 * 1024  # enough for SVI to start from
LEARN_AFTER = 3  # passes before priors are learned: the first counts say little about them


class Solver(Protocol):
    """A fit of topics that the loop can drive, look at, save and go on with."""

    settings: Settings
    algorithm: Algorithm
    batches: Batches
    state: Any

    @property
    def alpha(self) -> NDArray[np.float64]:
        """Prior of topic proportions, (n_topics,)."""
        ...

    @property
    def eta(self) -> Any:
        """Prior of topics."""
        ...

    def table(self) -> NDArray[Any]:
        """Dirichlet parameters of the topics by word, (V, K padded)."""
        ...

    def rows(self, rows: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Some rows (n, K padded) of the table, and the sums (K padded,) of all."""
        ...

    def after_epoch(self) -> None:
        """What is due between passes: the priors' update."""
        ...

    def save(self) -> dict[str, NDArray[Any]]:
        """Everything that the next step depends on, as arrays."""
        ...

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what `save` gave."""
        ...


class CollapsedFit:
    """CVB0 and CVB over all entries of a corpus in memory."""

    def __init__(self, settings: Settings, source: DocumentSource, n_threads: int) -> None:
        self.settings, self.n_threads = settings, n_threads
        rng = np.random.default_rng(settings.seed)
        self.grid = collapsed.make_grid(
            source.indptr, source.indices, source.counts, source.n_words, rng
        )
        self.batches: Batches = Passes()
        self._passes = collapsed.passes(self.grid, n_threads)
        self.algorithm = Algorithm(self._passes.init, self._step)
        start = one_quick_pass(settings, source, n_threads).state.params
        weights, _ = word_weights(
            start.settled(), start.column_sums, settings.n_topics, True, n_threads
        )
        self.state = collapsed.initial_state(
            self.grid,
            weights.astype(np.float32, copy=False),
            settings.alpha,
            settings.eta,
            n_threads,
            n_moments=2 if settings.solver == "cvb" else 1,
        )

    @property
    def alpha(self) -> NDArray[np.float64]:
        """Prior of topic proportions, (n_topics,)."""
        return self.state.alpha

    @property
    def eta(self) -> Any:
        """Prior of topics."""
        return self.state.eta

    def table(self) -> NDArray[Any]:
        """Expected counts plus prior by word, (V, K padded)."""
        return collapsed.topics(self.state).astype(self.settings.dtype, copy=False)

    def rows(self, rows: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Some rows of the table, and the sums of all."""
        values = collapsed.topics(self.state, rows).astype(self.settings.dtype, copy=False)
        return values, self.state.totals[0]

    def _step(
        self, state: collapsed.State, batch: Batch, rng: np.random.Generator
    ) -> tuple[collapsed.State, dict[str, float]]:
        """A pass, then Newton steps on the priors once the counts mean something."""
        state, info = self._passes.step(state, batch, rng)
        settings = self.settings
        if state.n_passes >= LEARN_AFTER and (settings.learn_alpha or settings.learn_eta):
            alpha, eta = state.alpha, state.eta
            n = len(alpha)
            if settings.learn_alpha:
                alpha = priors.polya(alpha, state.doc_topic[0], self.n_threads)
            if settings.learn_eta:
                eta = priors.symmetric_polya(
                    eta, state.word_topic[0], state.totals[0, :n], n, self.n_threads
                )
            state = collapsed.with_priors(state, alpha, eta)
        self.state = state
        return state, info

    def after_epoch(self) -> None:
        """Nothing: a pass is a step."""

    def save(self) -> dict[str, NDArray[Any]]:
        """The state, responsibilities included: 2 bytes an entry and topic."""
        return {name: np.asarray(value) for name, value in self.state._asdict().items()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        eta = arrays["eta"]
        self.state = collapsed.State(**arrays)._replace(  # type: ignore[arg-type]
            eta=eta if eta.ndim else float(eta), n_passes=int(arrays["n_passes"])
        )


class GradientFit:
    """Natural-gradient fits: CAVI ("vb"), SVI ("svi") and mini-batch CVB0 ("scvb0").

    `batches` replaces shuffled epochs of `source`; `table` and `n_steps` are topics to go on from
    and the number of steps they took.
    """

    def __init__(
        self,
        settings: Settings,
        source: Any,
        n_threads: int,
        *,
        batches: Batches | None = None,
        table: NDArray[Any] | None = None,
        n_steps: int = 0,
    ) -> None:
        self.settings, self.n_threads = settings, n_threads
        self.is_batch = settings.solver == "vb"
        self.model = LDA(
            settings.alpha,
            settings.eta,
            collapsed=settings.collapsed,
            max_iter=settings.local_iterations,
            tol=settings.mean_change_tol,
            dtype=settings.dtype,
            n_threads=n_threads,
        )
        self._plan = self._planned(source, batches)
        self.batches = self._plan.batches
        self.algorithm = Algorithm(self._plan.algorithm.init, self._step)
        values = self._initial(source) if table is None else table
        params = self._plan.begin(LazyTable(values, self.model.prior))
        self.state: AscentState = self._plan.algorithm.init(params)
        if n_steps and isinstance(self.state.optimizer, int):
            self.state = self.state._replace(optimizer=self.state.optimizer + n_steps)
        self.eta = settings.eta

    def _planned(self, source: Any, batches: Batches | None) -> Plan:
        settings = self.settings
        optimizer = settings.optimizer
        if optimizer is None and not self.is_batch:
            optimizer = optimizers.robbins_monro(settings.offset, settings.learning_decay)
        planned = self.is_batch or batches is not None
        return plan(
            self.model,
            source,
            batch_size=None if planned else settings.batch_size_for(source.n_rows),
            optimizer=optimizer,
            sampling=settings.sampling,
            variance_reduction=settings.variance_reduction,
            gradient=settings.gradient,
            trace_noise=settings.trace_noise,
            seed=settings.seed,
            batches=batches,
        )

    def _initial(self, source: Any) -> NDArray[Any]:
        """Variational Bayes starts where a quick pass of SCVB0 ends: the start decides how good its
        optimum is, and how soon SVI is near it.
        """
        if self.settings.solver == "scvb0":
            return random_topics(self.settings, source.n_words)
        limit = None if self.is_batch else QUICK_DOCUMENTS
        batches = None if isinstance(source, DocumentSource) else self.batches
        quick = one_quick_pass(self.settings, source, self.n_threads, batches, limit)
        table: LazyTable = quick.state.params
        return table.settled()  # no copy: `quick` is in a cycle of references and lives on a while

    def _step(
        self, state: AscentState, batch: Batch, rng: np.random.Generator
    ) -> tuple[AscentState, dict[str, float]]:
        """An ascent step, after which alpha follows at the same rate."""
        state, info = self._plan.algorithm.step(state, batch, rng)
        self.state = state
        if self.settings.learn_alpha:
            self._learn_alpha(info["local"].variables, batch.weights, info["rate"])
        return state, info

    def _learn_alpha(self, gamma: NDArray[Any], weights: NDArray[Any], rate: float) -> None:
        alpha = self.model.alpha
        if self.model.collapsed:
            best = priors.polya(alpha, gamma, self.n_threads, weights)
        else:
            sums, _ = priors.column_sums(gamma, len(alpha), self.n_threads, weights)
            best = priors.dirichlet(alpha, (sums[:-1] - sums[-1]) / weights.sum())
        self.model.alpha = alpha + min(rate, 1.0) * (best - alpha)

    def after_epoch(self) -> None:
        """Learn the topics' prior, which takes a look at the whole table."""
        if not self.settings.learn_eta:
            return
        params = self.params
        table, n = params.dense(), self.settings.n_topics
        if self.model.collapsed:
            totals = params.column_sums[:n]
            self.eta = priors.symmetric_polya(self.eta, table, totals, n, self.n_threads)
        else:
            sums, _ = priors.column_sums(table, n, self.n_threads)
            totals = psi(params.column_sums[:n])
            mean_log = sums[:-1].sum() / (n * len(table)) - totals.mean()
            self.eta = priors.symmetric_dirichlet(self.eta, float(mean_log), len(table))
        del table
        self.model.prior = np.asarray(self.eta, self.settings.dtype)
        reduction = reduction_of(self.settings.variance_reduction)
        if isinstance(self.state.params, LazyTable) and not (
            reduction is not None and reduction.takes_snapshots
        ):
            self.state.params.move_anchor(self.model.prior)  # now: a saved state has one prior

    @property
    def alpha(self) -> NDArray[np.float64]:
        """Prior of topic proportions, (n_topics,)."""
        return self.model.alpha

    @property
    def params(self) -> LazyTable:
        """The table as the fit has found it, which is not always the state's own."""
        found: LazyTable = self._plan.read(self.state)
        return found

    def table(self) -> NDArray[Any]:
        """Dirichlet parameters by word, (V, K padded)."""
        return self.params.dense()

    def rows(self, rows: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Some rows of the table, and the sums of all."""
        params = self.params
        return params.read(rows), params.column_sums

    def save(self) -> dict[str, NDArray[Any]]:
        """The whole state of the ascent, what batches have learnt, and the priors."""
        arrays = tree.save(self.state, "state")
        learnt = {f"batches.{name}": value for name, value in self.batches.save().items()}
        return arrays | learnt | {"alpha": self.alpha, "eta": np.asarray(self.eta)}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up a saved state."""
        eta = arrays["eta"]
        self.eta = eta if eta.ndim else float(eta)
        self.model.alpha = arrays["alpha"]
        self.model.prior = np.asarray(self.eta, self.settings.dtype)
        self.state = tree.restore(self.state, arrays, "state")
        self.batches.restore({name: arrays[f"batches.{name}"] for name in self.batches.save()})


def random_topics(settings: Settings, n_words: int) -> NDArray[Any]:
    """Topics near uniform, as in Hoffman et al. (2010): a table (n_words, K padded)."""
    rng = np.random.default_rng(settings.seed)
    values = np.zeros((n_words, padded(settings.n_topics)), settings.dtype)
    for i in range(0, n_words, 4096):  # in blocks: a second table is not needed
        block = values[i : i + 4096, : settings.n_topics]
        block[:] = rng.standard_gamma(100.0, block.shape, settings.dtype)
        block *= values.dtype.type(0.01)
    return values


def one_quick_pass(
    settings: Settings,
    source: Any,
    n_threads: int,
    batches: Batches | None = None,
    limit: int | None = None,
) -> GradientFit:
    """A pass of SCVB0, over at most about `limit` documents, from which other solvers start.

    Its priors are the given ones: a first pass has little to say about them.
    """
    quick = replace(
        settings, solver="scvb0", learn_alpha=False, learn_eta=False, batch_size=None,
        learning_offset=None, learning_decay=0.7, max_doc_update_iter=None, optimizer=None,
        sampling="uniform", variance_reduction=None, gradient="natural",
        trace_noise=False,
    )  # fmt: skip
    if batches is None:
        n_documents = min(source.n_rows, limit or source.n_rows)
        batches = ShuffledEpochs(source, quick.batch_size_for(n_documents), settings.seed)
    solver = GradientFit(quick, source, n_threads, batches=batches)
    seen = 0

    def enough(state: Any, position: loop.Position, history: loop.History) -> bool:
        nonlocal seen
        seen += int(history.columns["batch_size"][-1])
        return limit is not None and seen >= limit

    fit(solver, 1, after_step=enough)
    return solver


def fit(
    solver: Solver,
    n_epochs: int,
    *,
    position: loop.Position = loop.START,
    history: loop.History | None = None,
    seconds: float = 0.0,
    after_step: loop.Hook | None = None,
    after_epoch: loop.Hook | None = None,
) -> loop.History:
    """Drive a solver up to `n_epochs` passes; hooks are those of `fastvi.loop.run`."""

    def epoch_hook(state: Any, position: loop.Position, history: loop.History) -> bool | None:
        before = time.perf_counter()
        solver.after_epoch()
        if len(history):
            history.columns["seconds"][-1] += time.perf_counter() - before
        return after_epoch(state, position, history) if after_epoch is not None else None

    with single_threaded_blas():
        _, history = loop.run(
            solver.algorithm,
            solver.state,
            solver.batches,
            n_epochs=n_epochs,
            rng=np.random.default_rng(solver.settings.seed),  # nothing draws from it yet
            position=position,
            history=history,
            seconds=seconds,
            after_step=after_step,
            after_epoch=epoch_hook,
        )
    return history


def make_solver(settings: Settings, source: DocumentSource, n_threads: int) -> Solver:
    """The solver that `settings` names, on a corpus in memory."""
    if settings.solver in ("cvb", "cvb0"):
        settings.refuse_tools()
        return CollapsedFit(settings, source, n_threads)
    return GradientFit(settings, source, n_threads)
