"""Fits of topics to documents with numbers or labels, which both estimators share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from fastvi import loop
from fastvi.base import checks, parallel
from fastvi.base.bags import Bags
from fastvi.base.typing import AnyArray, Array, ArrayLike, RandomState, RowsLike
from fastvi.checkpoints import Callback, Watching
from fastvi.models.counts import DocumentSource
from fastvi.models.topics import base, collapsed, solvers
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.supervised_model import Supervised, SupervisedParameters
from fastvi.models.topics.supervised_responses import Response, refitted
from fastvi.models.topics.supervised_scores import Prior, SupervisedScores
from fastvi.models.topics.sweeping import train

__all__ = ["SupervisedTopics"]

MOVED = 1e-4  # largest change of a document's shares that ends its iterations
PASSES = 50  # of CVB0, from which a fit starts


class SupervisedTopics(SupervisedScores):
    """What estimators with numbers and with labels share."""

    def __init__(
        self,
        n_components: int = 10,
        *,
        response_weight: float | None = None,
        prior_variance: float = 10.0,
        doc_topic_prior: float | None = None,
        topic_word_prior: float | None = None,
        max_iter: int = 50,
        tol: float = 0.01,
        max_doc_update_iter: int = 20,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.response_weight = response_weight
        self.prior_variance = prior_variance
        self.doc_topic_prior = doc_topic_prior
        self.topic_word_prior = topic_word_prior
        self.max_doc_update_iter = max_doc_update_iter

    def _targets(self, y: Any, reset: bool, name: str) -> Array:
        """Check responses, and return numbers for the kernels."""
        raise NotImplementedError

    def _response(self, targets: Array, weight: float) -> Response:
        raise NotImplementedError

    def _log_probability(
        self, params: SupervisedParameters, shares: AnyArray, targets: Array
    ) -> Array:
        """Log probabilities or densities (D,) of responses."""
        raise NotImplementedError

    def fit(
        self,
        X: RowsLike,
        y: Any = None,
        *,
        X_val: RowsLike | None = None,
        y_val: ArrayLike | None = None,
        early_stopping: int | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
    ) -> Self:
        """Fit topics and the regression on them. A fit that fails leaves the estimator as it was.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts.
        y : (n_documents,) array
            A number or label for each document.
        X_val, y_val : as X and y, optional
            Held-out documents; the mean log probability of their responses after each sweep, in
            nats, is ``history_["held_out"]``.
        {early_stopping}
        {watching}

        Raises
        ------
        ValueError
            If X or y is invalid, a parameter is out of its range, or `checkpoint` belongs to
            another fit.
        """
        watching = Watching(callback, checkpoint, checkpoint_interval, resume, early_stopping)
        self._become(watching, X, y, X_val, y_val)
        return self

    def fit_transform(self, X: RowsLike, y: Any = None, *, normalize: bool = True) -> AnyArray:
        """``fit(X, y).transform(X)``."""
        return self.fit(X, y).transform(X, normalize=normalize)

    def _fit(
        self,
        last: Self | None,
        watching: Watching,
        X: RowsLike,
        y: Any,
        X_val: RowsLike | None = None,
        y_val: Any = None,
    ) -> None:
        began = time.perf_counter()
        bags = self._counts(X, reset=True)
        targets = self._targets(y, True, "y")
        n_documents = len(bags.indptr) - 1
        if len(targets) != n_documents:
            raise ValueError(f"y has {len(targets)} entries; wanted {n_documents}, the rows of X")
        n_topics = self._check_size(bags)
        response, seed = self._response(targets, self._weight(bags)), self._seed(watching)
        last_response = self._response(targets, 1.0)

        def finished(params: SupervisedParameters) -> SupervisedParameters:
            shares = _wide(self._shares_of(self._read(params), bags), params)
            return refitted(last_response, params, shares, sweeps.lengths, self._n_threads)

        held_out = None
        if checks.both_or_none("X_val", X_val, "y_val", y_val):
            assert X_val is not None
            held_out = self._held_out(X_val, y_val, finished)
        max_iter = checks.integer(self.max_iter, "max_iter", 1)
        tol = checks.number(self.tol, "tol", 0.0)
        n_steps = checks.integer(self.max_doc_update_iter, "max_doc_update_iter", 2)
        with parallel.single_threaded_blas():
            source = DocumentSource(*bags)
            table, doc_topic, self._prior = self._start(source, n_topics, seed)
            sweeps = Supervised(
                source.all(), response, *self._prior, n_steps, MOVED, self._n_threads
            )
            state = sweeps.begin(table, doc_topic)
        training = train(
            sweeps.step, state, max_iter=max_iter,
            settled=lambda history: _settled(history, tol * n_documents), seed=seed,
            seconds=time.perf_counter() - began, watching=watching, held_out=held_out,
            identity=lambda: self._identity((*bags.parts, bags.n_words, targets)) | {"seed": seed},
            verbose=bool(self.verbose),
        )  # fmt: skip
        self.history_, self.converged_ = training.history.arrays(), training.converged
        self.n_iter_ = len(training.history)
        self.elbo_ = float(self.history_["elbo"][-1])
        with parallel.single_threaded_blas():
            self._params = finished(training.state.params)

    def _start(
        self, source: DocumentSource, n_topics: int, seed: int
    ) -> tuple[AnyArray, AnyArray, Prior]:
        """Return topics (V, K padded) and documents' counts plus prior from CVB0, and priors."""
        alpha, eta = (
            checks.optional_number(given, name, *checks.PRIOR_RANGE)
            for given, name in (
                (self.doc_topic_prior, "doc_topic_prior"),
                (self.topic_word_prior, "topic_word_prior"),
            )
        )
        settings = Settings(
            "cvb0",
            alpha=np.full(n_topics, 1.0 / n_topics if alpha is None else alpha),
            eta=1.0 / n_topics if eta is None else eta,
            learn_alpha=alpha is None,
            learn_eta=eta is None,
            seed=seed,
        )
        solver = solvers.make_solver(settings, source, self._n_threads)
        state, _ = base.fit(solver, PASSES)
        prior = Prior(np.array(state.alpha, np.float64), float(state.eta))
        return collapsed.topics(state), state.doc_topic[0].copy(), prior

    def _check_size(self, bags: Bags) -> int:
        n_topics = checks.integer(self.n_components, "n_components", 1)
        total = bags.counts.sum(dtype=np.float64)
        if not total > 0:
            raise ValueError("every document is empty: X holds no counts above 0")
        if n_topics > total:
            raise ValueError(f"n_components is {n_topics}, more than the {total:g} tokens in X")
        return n_topics

    def _variance(self) -> float:
        """Return the prior variance of coefficients."""
        return checks.number(self.prior_variance, "prior_variance", *checks.PRIOR_RANGE)

    def _weight(self, bags: Bags) -> float:
        """Return the weight of responses, by default the mean length of documents."""
        if self.response_weight is not None:
            return checks.number(self.response_weight, "response_weight", 0.0, 1e6)
        n_full = np.count_nonzero(np.diff(bags.indptr))
        return float(bags.counts.sum(dtype=np.float64) / n_full)

    def _held_out(
        self,
        X_val: RowsLike,
        y_val: Any,
        finished: Callable[[SupervisedParameters], SupervisedParameters],
    ) -> Callable[[SupervisedParameters], float]:
        targets = self._targets(y_val, False, "y_val")
        n_documents = len(self._counts(X_val, reset=False).indptr) - 1
        if len(targets) != n_documents:
            raise ValueError(
                f"y_val has {len(targets)} entries; wanted {n_documents}, the rows of X_val"
            )

        def score(params: SupervisedParameters) -> float:
            params = finished(params)
            shares = self._shares(self._read(params), X_val)
            return float(self._log_probability(params, shares, targets).mean())

        return score


def _wide(shares: Array, params: SupervisedParameters) -> Array:
    """Return shares (D, K) with padding."""
    wide = np.zeros((len(shares), params.coefficients.shape[1]))
    wide[:, : shares.shape[1]] = shares
    return wide


def _settled(history: loop.History, tol: float) -> bool:
    """Whether the last sweep raised the bound by less than tol."""
    bounds = history.columns.get("elbo", [])
    return len(bounds) > 1 and bounds[-1] - bounds[-2] < tol
