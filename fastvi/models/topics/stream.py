"""Topics of a stream of documents: the steps of `partial_fit`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastvi.base.bags import Bags
from fastvi.base.typing import AnyArray, RowsLike, Tree
from fastvi.batches import ShuffledEpochs
from fastvi.checkpoints import Watching
from fastvi.models.counts import DocumentSource
from fastvi.models.topics import base, solvers
from fastvi.models.topics.fitted import TopicModel
from fastvi.models.topics.guidance import public_prior
from fastvi.models.topics.options import settings_of, solver_asked
from fastvi.models.topics.scores import TopicScores
from fastvi.models.topics.settings import LEARNING_DECAY, Settings, choose_solver, tools_of
from fastvi.models.topics.training import model_of

__all__ = ["TopicStream"]


class _Stream(NamedTuple):
    """State for the next `partial_fit`; `marker` is scratch memory of its sources."""

    solver: base.Solver
    state: solvers.TopicState
    marker: NDArray[np.int32]


class TopicStream(TopicScores):
    """The part of the estimator that takes steps on some documents, and keeps what it finds."""

    n_components: int
    doc_topic_prior: Any
    solver: str
    learning_method: str | None
    learning_decay: float
    learning_offset: float | None
    learn_doc_topic_prior: bool

    n_batch_iter_: int
    _n_seen: int | None = None  # documents so far; None in a stream of `total_samples`
    _cached_model: TopicModel
    _stream: _Stream

    def partial_fit(self, X: RowsLike, y: object = None) -> Self:
        """Take mini-batch steps on some documents of a stream.

        It continues from an earlier `fit` or `partial_fit`; a call that fails or is interrupted
        changes nothing. A batch of n documents after N others replaces the share 1.5 n / (N + n) of
        what was learned from those: streaming variational Bayes (Broderick et al. 2013) with a
        slowly fading memory, and with the local steps of "scvb0" for all solvers. The stream may be
        sorted. If `total_samples`, `learning_offset`, `learning_decay`, `optimizer`,
        `variance_reduction`, `trace_noise` or `structured` is given, and with "svi" or "vb" unless
        it follows a `fit`, it takes the steps of a stream of `total_samples` documents instead:
        those of "svi" for "vb" and "svi", and of "scvb0" for the others. Settings are those of the
        first call, except for `n_jobs` and `total_samples`. `sampling` is ignored, because
        documents are seen once, and `variance_reduction` may not be "svrg", which needs all
        documents.

        Parameters
        ----------
        {documents}

        Raises
        ------
        ValueError
            If a parameter or a count is out of its range, or `variance_reduction` is "svrg".
        """
        return self._go_on(X)

    def _partial_fit(self, X: RowsLike, state: Tree) -> None:
        first = not self.__sklearn_is_fitted__()
        bags = self._counts(X, reset=first)
        n_rows = len(bags.indptr) - 1
        n_steps = 0 if first else self.n_batch_iter_
        stream = self.__dict__.get("_stream")
        settings = self._stream_settings(bags, first) if stream is None else stream.solver.settings
        if self.n_components != settings.n_topics:
            raise ValueError(
                f"n_components is {self.n_components}; the topics to continue from are "
                f"{settings.n_topics}"
            )
        marker = np.full(bags.n_words, -1, np.int32) if stream is None else stream.marker
        source = DocumentSource(*bags, marker=marker)
        population = self._population if settings.n_seen is None else "batch"
        batches = ShuffledEpochs(source, settings.batch_size or 128, n_steps, population)
        solver = solvers.make_solver(settings, source, self._n_threads, batches=batches)
        if first:
            state = solver.algorithm.init(solvers.random_topics(settings, bags.n_words))
        elif state is None:
            table = self._model.table.astype(settings.dtype)
            state = solvers.after_steps(solver.algorithm.init(table), n_steps)
        rng = np.random.default_rng([settings.seed, n_steps])
        state, history = base.fit(solver, 1, state, rng=rng)
        for name in ("_cached_model", "elbo_", "bound_", "converged_"):
            self.__dict__.pop(name, None)
        self._stream = _Stream(solver, state, marker)
        n_before = settings.n_seen if first else self._n_seen
        self._n_seen = None if n_before is None else n_before + n_rows
        n_iter = 1 if first else self.n_iter_
        self._keep(settings, state.alpha, state.eta, n_iter, n_steps + len(history))

    def _stream_settings(self, bags: Bags, first: bool) -> Settings:
        """Settings of `partial_fit`, which continues with the existing priors."""
        asked = solver_asked(self.solver, self.learning_method)
        asked = asked or choose_solver(0, 1, tools_of(self))
        name = "svi" if asked in ("vb", "svi") else "scvb0"
        given = self.get_params(deep=False)
        settings = settings_of(given, name, bags, self._seed(Watching()))
        settings = replace(settings, sampling="uniform", learn_eta=False)  # a stream has no passes
        if name == "svi" and self.learning_offset is None:
            settings = replace(settings, learning_offset=10.0)  # streams need longer steps
        if not first:
            settings = replace(settings, alpha=self._model.alpha, eta=self._model.eta)
        rates = self.learning_offset is not None or self.learning_decay != LEARNING_DECAY
        if self.total_samples is None and not rates and not tools_of(settings):
            from_scratch = 0 if name == "scvb0" else None
            settings = replace(settings, n_seen=from_scratch if first else self._n_seen)
        return settings

    def _keep(
        self, settings: Settings, alpha: AnyArray, eta: Any, n_iter: int, n_steps: int
    ) -> None:
        """Keep what a fit has found besides its table."""
        self.solver_ = settings.solver
        self.n_iter_, self.n_batch_iter_ = n_iter, n_steps
        uniform = np.ndim(self.doc_topic_prior) == 0 and not self.learn_doc_topic_prior
        uniform = uniform and bool(np.all(alpha == alpha[0]))  # an earlier fit may have learned it
        self.doc_topic_prior_ = float(alpha[0]) if uniform else alpha
        self.topic_word_prior_ = public_prior(eta, settings.n_topics)

    # What was found

    @property
    def _model(self) -> TopicModel:
        check_is_fitted(self)
        if "_cached_model" not in self.__dict__:
            solver, state, _ = self._stream
            self._cached_model = model_of(solver.settings, solver.read(state))
        return self._cached_model

    def __getstate__(self) -> dict[str, object]:
        if self.__sklearn_is_fitted__():
            self._model  # noqa: B018  reads the table of a solver under way
        return super().__getstate__()
