"""What topic models of documents with numbers and with labels share: fits, shares, files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastvi import loop
from fastvi.base import checks, parallel
from fastvi.base.bags import Bags
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array, ArrayLike, DTypeLike, RowsLike
from fastvi.checkpoints import Callback, Watching
from fastvi.models.counts import DocumentSource, padded
from fastvi.models.files import Saved
from fastvi.models.topics import collapsed, solvers
from fastvi.models.topics.fitted import MAX_ITER, TopicModel
from fastvi.models.topics.scores import TopicScores
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.supervised_model import Supervised, SupervisedParameters
from fastvi.models.topics.supervised_responses import Response, refitted
from fastvi.models.topics.sweeping import train

__all__ = ["SupervisedTopics", "texts_of"]

MOVED = 1e-4  # largest change of a document's shares that ends its iterations
PASSES = 50  # of CVB0, from which a fit starts
SHARED = """n_components : int, default=10
        Number of topics K.
    response_weight : float, optional
        How often a document's {response} counts against its words while topics are found; by
        default the mean number of words in a document. With 1, as in the papers, topics of long
        documents hardly notice it, and are those of `LatentDirichletAllocation`.
    prior_variance : float, default=10.0
        Prior variance of `coef_`{unit}.
    doc_topic_prior : float, optional
        Dirichlet prior of topic proportions; by default learned by the fit of CVB0 from which this
        one starts.
    topic_word_prior : float, optional
        Dirichlet prior of topics; by default learned likewise.
    max_iter : int, default=50
        Largest number of sweeps over the documents.
    tol : float, default=0.01
        The fit ends when the bound rises by less than this in a sweep, in nats per document.
    max_doc_update_iter : int, default=20
        Largest number of iterations on a document per sweep.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the start."""
FOUND = """components_ : (n_components, n_features) array
        Dirichlet parameters of the topics.
    doc_topic_prior_ : (n_components,) array
        The prior used, or learned.
    topic_word_prior_ : float
        The prior used, or learned.
    elbo_ : float
        A lower bound on the log probability of words and {response}s, in nats, each {response}
        counted `response_weight` times. It never falls from sweep to sweep, except by rounding and
        by what ends the iterations on a document."""


def texts_of(response: str, unit: str = "") -> dict[str, str]:
    """Return the documentation that both estimators share, for their kind of response."""
    given = {"response": response, "unit": unit}
    return {
        f"shared_{response}": SHARED.format(**given),
        f"found_{response}": FOUND.format(**given),
    }


class _Prior(NamedTuple):
    """Priors of a fit."""

    alpha: Array
    eta: float


class SupervisedTopics(TopicScores):
    """What estimators with numbers and with labels share."""

    total_samples = None
    _params: SupervisedParameters
    _prior: _Prior

    n_components: int
    response_weight: float | None
    prior_variance: float
    doc_topic_prior: float | None
    topic_word_prior: float | None
    max_doc_update_iter: int

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

    def transform(self, X: RowsLike, *, normalize: bool = True) -> AnyArray:
        """Topic proportions of documents, (n_documents, n_components), without their responses.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts. An empty document gets the prior.
        normalize : bool, default=True
            If False, return Dirichlet parameters, whose sum is the document's length plus the
            prior.
        """
        return np.asarray(super().transform(X, normalize=normalize), self._dtype)

    def _counts(self, X: RowsLike, reset: bool, dtype: DTypeLike | None = None) -> Bags:
        """Check X and return its CSR arrays, with counts in float32 unless `dtype` is given."""
        bags = super()._counts(X, reset, dtype)
        if dtype is not None:
            return bags
        return bags._replace(counts=bags.counts.astype(np.float32, copy=False))

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
    ) -> tuple[AnyArray, AnyArray, _Prior]:
        """Return topics (V, K padded) and documents' counts plus prior from CVB0, and priors."""
        low, high = checks.PRIOR_RANGE
        alpha, eta = (
            None if given is None else checks.number(given, name, low, high)
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
        state, _ = solvers.fit(solver, PASSES)
        prior = _Prior(np.array(state.alpha, np.float64), float(state.eta))
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

    # What was found

    @property
    def _model(self) -> TopicModel:
        check_is_fitted(self)
        return self._read(self._params)

    def _read(self, params: SupervisedParameters) -> TopicModel:
        alpha, eta = self._prior
        return TopicModel(params.table, alpha, eta, False, max_iter=MAX_ITER)

    def _shares(self, model: TopicModel, X: RowsLike) -> Array:
        """Expected shares of topics among the words of documents (D, K)."""
        return self._shares_of(model, self._counts(X, reset=False))

    def _shares_of(self, model: TopicModel, bags: Bags) -> Array:
        gamma = model.topics.infer(*bags.parts, n_threads=self._n_threads)
        used = gamma[:, : model.n_topics].astype(np.float64) - model.alpha
        sizes = np.concatenate(([0.0], np.cumsum(bags.counts, dtype=np.float64)))
        empty = np.diff(sizes[bags.indptr]) == 0
        used[empty] = model.alpha
        used = np.maximum(used, 0.0)
        return np.asarray(used / used.sum(axis=1, keepdims=True))

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

    @property
    def doc_topic_prior_(self) -> Array:
        """Dirichlet prior of topic proportions, (n_components,)."""
        return read_only(self._after_fit("doc_topic_prior_").alpha)

    @property
    def topic_word_prior_(self) -> float:
        """Dirichlet prior of topics."""
        return self._after_fit("topic_word_prior_").eta

    def _after_fit(self, name: str) -> _Prior:
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{name} is available only after fit")
        return self._prior

    # Files

    def _saved(self) -> dict[str, object]:
        return {
            "found": self._params,
            "alpha": self._prior.alpha,
            "eta": np.array(self._prior.eta),
            "dtype": self._dtype.name,
        }

    def _restore(self, saved: Saved) -> None:
        k, self._dtype = checks.integer(self.n_components, "n_components", 1), saved.dtype()
        table = saved.array("found.table", saved.n_features, padded(k), dtype=np.float32)
        coefficients = saved.array("found.coefficients", None, padded(k))
        variance = saved.array("found.variance", 1)
        if np.any(table[:, :k] <= 0) or len(coefficients) < 1 or variance[0] < 0:
            raise ValueError(f"{saved.path}: the arrays of the model do not fit together")
        self._params = SupervisedParameters(table, coefficients, variance)
        self._prior = _Prior(saved.positive("alpha", k), float(saved.positive("eta")))


def _wide(shares: Array, params: SupervisedParameters) -> Array:
    """Return shares (D, K) with padding."""
    wide = np.zeros((len(shares), params.coefficients.shape[1]))
    wide[:, : shares.shape[1]] = shares
    return wide


def _settled(history: loop.History, tol: float) -> bool:
    """Whether the last sweep raised the bound by less than tol."""
    bounds = history.columns.get("elbo", [])
    return len(bounds) > 1 and bounds[-1] - bounds[-2] < tol
