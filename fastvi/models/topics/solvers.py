"""The solvers of topic models by name; those that follow gradients, and where all start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import psi

from fastvi import loop, optimizers
from fastvi.base.typing import AnyArray
from fastvi.batches import Batches
from fastvi.cluster.active import active
from fastvi.core import Algorithm, AscentState, Batch, LazyTable
from fastvi.gradients.reduction import reduction_of
from fastvi.models.counts import CountSource, padded
from fastvi.models.plan import Plan, plan
from fastvi.models.streaming import StreamingState, going_on
from fastvi.models.topics import priors
from fastvi.models.topics.base import Solver, fit
from fastvi.models.topics.collapsed_solver import collapsed_solver
from fastvi.models.topics.exchanges import exchange_solver
from fastvi.models.topics.model import LDA, TopicParameters
from fastvi.models.topics.settings import IN_MEMORY, Settings

__all__ = [
    "TopicState",
    "after_steps",
    "make_solver",
    "one_quick_pass",
    "random_topics",
]

QUICK_DOCUMENTS = 16 * 1024  # enough for SVI to start from


def make_solver(
    settings: Settings,
    source: CountSource,
    n_threads: int,
    *,
    batches: Batches | None = None,
) -> Solver:
    """Make the solver that `settings` names.

    Parameters
    ----------
    settings : Settings
    source : CountSource
    n_threads : int
    batches : Batches, optional
        For solvers with gradient steps; used instead of the batches of `source` that `settings`
        name.

    Raises
    ------
    ValueError
        If the solver needs the corpus in memory and it is not, or does not support an option.
    """
    if source.n_entries is None and settings.solver in IN_MEMORY:
        raise ValueError(
            f"solver {settings.solver!r} needs the corpus in memory; "
            "wanted 'scvb0' or 'svi' for one that is streamed from disk"
        )
    if settings.solver in ("cvb", "cvb0"):
        settings.refuse_tools()

        def first_table() -> AnyArray:
            return one_quick_pass(settings, source, n_threads).settled()

        cluster = active()
        if cluster is not None:
            return exchange_solver(settings, source, n_threads, first_table, cluster)
        return collapsed_solver(settings, source, n_threads, first_table)
    return _gradient_solver(settings, source, n_threads, batches)


# Natural gradients: CAVI ("vb"), SVI ("svi") and mini-batch CVB0 ("scvb0")


class TopicState(NamedTuple):
    """State of the ascent, and the priors, learned or not."""

    ascent: AscentState | StreamingState
    alpha: NDArray[np.float64]
    eta: Any


def _gradient_solver(
    settings: Settings,
    source: Any,
    n_threads: int,
    batches: Batches | None,
) -> Solver:
    model = LDA(
        settings.alpha,
        np.asarray(settings.eta, settings.dtype),
        collapsed=settings.collapsed or settings.is_stream,
        max_iter=settings.local_iterations,
        tol=settings.mean_change_tol,
        structured=settings.structured and not settings.is_stream,
        dtype=settings.dtype,
        n_threads=n_threads,
    )
    if batches is None and active() is not None and settings.learn_alpha:
        raise ValueError(
            "learn_doc_topic_prior needs the proportions of each document, which stay on their "
            "shards; wanted False inside of fastvi.distributed"
        )
    planned = _planned(settings, model, source, batches)

    def init(table: AnyArray) -> TopicState:
        ascent = planned.algorithm.init(planned.begin(LazyTable(table, model.prior)))
        return TopicState(ascent, settings.alpha, settings.eta)

    def first_table() -> AnyArray:
        return _first_table(settings, source, n_threads)

    def plan_of(state: TopicState) -> Plan:
        """The plan under the priors of a state."""
        if settings.learn_alpha or settings.learn_eta:
            return planned.for_model(_under_priors(settings, model, state))
        return planned

    def read(state: TopicState) -> TopicParameters:
        return TopicParameters(plan_of(state).read(state.ascent), state.alpha, state.eta)

    def step(
        state: TopicState, batch: Batch, rng: np.random.Generator
    ) -> tuple[TopicState, dict[str, Any]]:
        """Take an ascent step, after which alpha follows at the same rate."""
        ascent, info = plan_of(state).algorithm.step(state.ascent, batch, rng)
        alpha = state.alpha
        if settings.learn_alpha:
            best = _best_alpha(model, alpha, info["local"].variables, batch.weights, n_threads)
            alpha = alpha + min(info["rate"], 1.0) * (best - alpha)
        return TopicState(ascent, alpha, state.eta), info

    def after_epoch(state: TopicState) -> TopicState:
        """Learn the topics' prior, which reads the whole table."""
        state = state._replace(eta=_best_eta(settings, read(state), n_threads))
        table, reduction = state.ascent.params, reduction_of(settings.variance_reduction)
        corrected = reduction is not None and reduction.takes_snapshots  # it sets the anchor
        if hasattr(table, "move_anchor") and not corrected:
            table.move_anchor(np.asarray(state.eta, settings.dtype))
        return state

    algorithm = Algorithm(init, step, after_epoch if settings.learn_eta else None)
    return Solver(settings, algorithm, planned.batches, first_table, read)


def after_steps(state: TopicState, n_steps: int) -> TopicState:
    """Return a first state with the rate of later steps, if it depends only on their number."""
    ascent = state.ascent
    if not isinstance(ascent, AscentState) or not isinstance(ascent.optimizer, int):
        return state
    return state._replace(ascent=ascent._replace(optimizer=ascent.optimizer + n_steps))


def _under_priors(settings: Settings, model: LDA, state: TopicState) -> LDA:
    """Return the model under the priors of a state; a prior that is not learned keeps its array."""
    if settings.learn_eta:
        return replace(model, alpha=state.alpha, eta=state.eta)
    return replace(model, alpha=state.alpha)


def _best_alpha(
    model: LDA,
    alpha: NDArray[np.float64],
    gamma: AnyArray,
    weights: AnyArray,
    n_threads: int,
) -> NDArray[np.float64]:
    """Return the target of alpha, given the batch's proportions gamma (D, K padded)."""
    if model.collapsed:
        return priors.polya(alpha, gamma, n_threads, weights)
    sums, _ = priors.column_sums(gamma, len(alpha), n_threads, weights)
    return priors.dirichlet(alpha, (sums[:-1] - sums[-1]) / weights.sum())


def _best_eta(settings: Settings, params: TopicParameters, n_threads: int) -> float:
    table, n = params.table.dense(), settings.n_topics
    column_sums = params.table.column_sums[:n]
    if settings.collapsed:
        return priors.symmetric_polya(params.eta, table, column_sums, n, n_threads)
    sums, _ = priors.column_sums(table, n, n_threads)
    mean_log = sums[:-1].sum() / (n * len(table)) - psi(column_sums).mean()
    return priors.symmetric_dirichlet(params.eta, float(mean_log), len(table))


def _planned(settings: Settings, model: LDA, source: Any, batches: Batches | None) -> Plan:
    if settings.n_seen is not None:
        assert batches is not None
        return going_on(model, batches, settings.n_seen)
    if source.n_entries is None and batches is None:
        batches = source.epochs(settings.batch_size_for(source.n_rows), settings.seed)
    is_batch = settings.solver == "vb"
    optimizer = settings.optimizer
    if optimizer is None and not is_batch:
        optimizer = optimizers.robbins_monro(settings.offset, settings.learning_decay)
    is_given = is_batch or batches is not None
    return plan(
        model,
        source,
        batch_size=None if is_given else settings.batch_size_for(source.n_rows),
        optimizer=optimizer,
        sampling=settings.sampling,
        variance_reduction=settings.variance_reduction,
        gradient=settings.gradient,
        trace_noise=settings.trace_noise,
        seed=settings.seed,
        batches=batches,
    )


# Where fits start


def _first_table(settings: Settings, source: Any, n_threads: int) -> AnyArray:
    """Variational Bayes starts from a quick pass of SCVB0: the start determines how good its
    optimum is, and how fast SVI approaches it.
    """
    if settings.solver == "scvb0":
        return random_topics(settings, source.n_words)
    limit = None if settings.solver == "vb" else QUICK_DOCUMENTS
    return one_quick_pass(settings, source, n_threads, limit).settled()


def random_topics(settings: Settings, n_words: int) -> AnyArray:
    """Draw topics near uniform, as in Hoffman et al. (2010): a table (n_words, K padded).

    Above 50 topics they are drawn further apart: differences between topics grow more slowly the
    more topics there are, and those that are alike when the steps become short stay alike.
    They are drawn in float64, so that the dtype does not affect which optimum is found.
    """
    shape = 100.0 / np.clip((settings.n_topics / 50) ** 3.5, 1.0, 100.0)
    rng = np.random.default_rng(settings.seed)
    values = np.zeros((n_words, padded(settings.n_topics)), settings.dtype)
    for i in range(0, n_words, 4096):  # in blocks, to avoid a second table
        block = values[i : i + 4096, : settings.n_topics]
        block[:] = rng.standard_gamma(shape, block.shape) / shape
    if np.ndim(settings.eta) == 2 and settings.eta.shape[1] > 1:  # topics begin where they belong
        eta = settings.eta[:, : settings.n_topics]
        values[:, : settings.n_topics] += eta - eta.min(axis=1, keepdims=True)
    return values


def one_quick_pass(
    settings: Settings,
    source: Any,
    n_threads: int,
    limit: int | None = None,
) -> LazyTable:
    """Return topics after a pass of SCVB0 over at most about `limit` documents, to start others.

    It uses the given priors, as a first pass says little about them.
    """
    quick = replace(
        settings, solver="scvb0", learn_alpha=False, learn_eta=False, batch_size=None,
        learning_offset=None, learning_decay=0.7, max_doc_update_iter=None, optimizer=None,
        sampling="uniform", variance_reduction=None, gradient="natural",
        trace_noise=False, structured=False,
    )  # fmt: skip
    n_documents = min(source.n_rows, limit or source.n_rows)
    batches = source.epochs(quick.batch_size_for(n_documents), settings.seed)
    solver = make_solver(quick, source, n_threads, batches=batches)
    seen = 0

    def enough(state: Any, position: loop.Position, history: loop.History) -> bool:
        nonlocal seen
        seen += int(history.columns["batch_size"][-1])
        return limit is not None and seen >= limit

    state, _ = fit(solver, 1, after_step=enough)
    table: LazyTable = solver.read(state).table
    return table
