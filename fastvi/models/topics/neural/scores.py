"""What fitted neural topics say of documents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array, ArrayLike, RandomState, RowsLike
from fastvi.corpus import halves
from fastvi.models.kinds import CountEstimator
from fastvi.models.topics.covariates import CovariatesLike
from fastvi.models.topics.fitted import TopicModel, check_vocabulary
from fastvi.models.topics.neural.fitted import NeuralTopics
from fastvi.models.topics.neural.inputs import Beside, Inputs
from fastvi.models.topics.neural.model import Documents, Networks, NeuralParameters
from fastvi.models.topics.scores import halves_of, matrix

__all__ = ["NeuralScores"]

NO_PRIOR = checks.PRIOR_RANGE[0]  # of topics that have none


class NeuralScores(CountEstimator):
    """The part of the estimator that uses fitted topics without changing them."""

    n_refinements: int
    doc_topic_prior_: Array
    _found: NeuralTopics
    _inputs: Inputs
    _noise_seed: int

    def _fitted(self, name: str) -> NeuralTopics:
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{name} is available only after fit")
        return self._found

    @property
    def components_(self) -> AnyArray:
        """Expected counts of words in topics plus prior, (n_components, n_features); with
        ``form="product"`` the chances of words where a document is about one topic alone.
        """
        found = self._fitted("components_")
        k, nets = found.nets.n_topics, found.nets
        if nets.is_product:
            return read_only(np.ascontiguousarray(found.weights[:, :k].T))
        return read_only(found.params.decoder[:, :k].T + np.float32(nets.topic_prior))

    @property
    def topic_word_prior_(self) -> float:
        """Dirichlet prior of topics, given or learned by CVB0."""
        return self._fitted("topic_word_prior_").nets.topic_prior

    @property
    def coef_(self) -> AnyArray:
        """What covariates add to log weights, per unit, (n_components, n_covariates)."""
        nets, k = self._fitted("coef_").nets, self._found.nets.n_topics
        net, scales = self._found.params.net, self._inputs.covariates.scales
        shifts = net[net.size - nets.n_covariates * k :].reshape(-1, k).astype(np.float64)
        return read_only(np.asarray(shifts.T / scales))

    @property
    def covariate_names_(self) -> list[str]:
        """Names of the columns of `coef_`."""
        self._fitted("covariate_names_")
        return self._inputs.covariates.names

    @property
    def _n_features_out(self) -> int:
        return self._found.nets.n_topics

    def top_words(self, n: int = 10) -> list[list[tuple[str, float]]]:
        """The most probable words of each topic: n_components lists of (word, probability).

        Parameters
        ----------
        n : int
            Words per topic.
        """
        return self.topic_model().top_words(checks.integer(n, "n", 1))

    def topic_model(self) -> TopicModel:
        """The topics alone, as `fastvi.plots.plot_topics` draws them."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", getattr(self, "vocabulary_", None))
        vocabulary = None if names is None else [str(name) for name in names]
        components, nets = self.components_, self._found.nets
        if vocabulary is not None:
            check_vocabulary(vocabulary, nets.n_words, "vocabulary_")
        table = np.zeros((nets.n_words, nets.width), np.float32)
        table[:, : nets.n_topics] = components.T
        return TopicModel(
            table, self.doc_topic_prior_, NO_PRIOR if nets.is_product else nets.topic_prior, True,
            vocabulary, history=self.history_,
        )  # fmt: skip

    # New documents

    def _documents(
        self, X: RowsLike, covariates: CovariatesLike | None, embeddings: ArrayLike | None
    ) -> Documents:
        check_is_fitted(self)
        parts = self._counts(X, reset=False).parts
        return self._inputs.documents(parts, Beside(covariates, embeddings))

    @property
    def _n_steps(self) -> int:
        return checks.integer(self.n_refinements, "n_refinements", 0)

    def transform(
        self,
        X: RowsLike,
        *,
        covariates: CovariatesLike | None = None,
        embeddings: ArrayLike | None = None,
    ) -> AnyArray:
        """Topic proportions of documents, at the mode of their posterior of log weights.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts. An empty document gets the prior's proportions.
        covariates, embeddings : as in fit
            Required if the fit had them.

        Returns
        -------
        (n_documents, n_components) array of the dtype of the fit
        """
        documents = self._documents(X, covariates, embeddings)
        theta = self._found.infer(documents, self._n_steps, self._n_threads)[2]
        return np.ascontiguousarray(theta[:, : self._n_features_out], self._dtype)

    def score_samples(
        self,
        X: RowsLike,
        *,
        covariates: CovariatesLike | None = None,
        embeddings: ArrayLike | None = None,
        n_draws: int = 20,
    ) -> Array:
        """Evidence lower bounds of documents given the topics (n_documents,), in nats.

        Their expectations, by draws that depend on the seed of the fit alone, are lower bounds of
        log p(words).

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
        covariates, embeddings : as in fit
            Required if the fit had them.
        n_draws : int
            Draws of the log weights of topics.
        """
        documents = self._documents(X, covariates, embeddings)
        return self._found.bounds(
            documents, self._n_steps, checks.integer(n_draws, "n_draws", 1), self._noise_seed,
            self._n_threads,
        )  # fmt: skip

    def score(
        self,
        X: RowsLike,
        y: object = None,
        *,
        covariates: CovariatesLike | None = None,
        embeddings: ArrayLike | None = None,
    ) -> float:
        """Mean of `score_samples`, in nats per document."""
        return float(self.score_samples(X, covariates=covariates, embeddings=embeddings).mean())

    def document_completion(
        self,
        X: RowsLike,
        X_scored: RowsLike | None = None,
        *,
        covariates: CovariatesLike | None = None,
        embeddings: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> float:
        """Held-out log-likelihood by document completion, nats per word; higher is better.

        Topic proportions are fitted to one half of each document and the other half is scored.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Held-out documents, or their observed halves.
        X_scored : same shape, optional
            The other halves. By default each document's tokens are split at random.
        covariates, embeddings : as in fit
            Required if the fit had them; embeddings should know nothing of the scored halves.
        random_state : int, RandomState, Generator or None
            Seed of that split.
        """
        check_is_fitted(self)
        observed, scored = halves_of(self, X, X_scored, random_state)
        documents = self._inputs.documents(observed.parts, Beside(covariates, embeddings))
        return self._found.completion(
            documents, Documents.of(scored.parts), self._n_steps, self._n_threads
        )

    def _held_out(
        self, X_val: RowsLike, beside: Beside, seed: int
    ) -> Callable[[Networks, NeuralParameters], float]:
        counts = matrix(self._counts(X_val, reset=False))
        parts = halves(counts, np.random.default_rng(seed))
        observed, scored = (self._counts(part, reset=False).parts for part in parts)
        given, wanted = self._inputs.documents(observed, beside, "_val"), Documents.of(scored)
        if not wanted.data.counts.sum() > 0:
            raise ValueError("X_val has no words to score")

        def score(nets: Networks, params: NeuralParameters) -> float:
            topics = NeuralTopics(nets, params)
            return topics.completion(given, wanted, self._n_steps, self._n_threads)

        return score
