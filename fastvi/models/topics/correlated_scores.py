"""What fitted correlated topics say: covariances, effects of covariates, proportions, scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array, RandomState, RowsLike
from fastvi.models.kinds import Counting
from fastvi.models.topics.correlated_effects import Effect, Regression
from fastvi.models.topics.correlated_fitted import CorrelatedTopics, Inferred, single
from fastvi.models.topics.correlated_model import CorrelatedParameters
from fastvi.models.topics.covariates import Covariates, CovariatesLike
from fastvi.models.topics.fitted import TopicModel, check_vocabulary
from fastvi.models.topics.scores import halves_of

__all__ = ["CorrelatedScores"]


class CorrelatedScores(Counting):
    """The part of the estimator that uses fitted topics without changing them."""

    _found: CorrelatedTopics
    _covariates: Covariates
    _regression: Regression
    topic_word_prior_: float

    # What was found

    def _refuse_unfitted(self) -> None:
        """Raise scikit-learn's error before a fit."""
        raise NotImplementedError

    def _attribute(self, name: str) -> CorrelatedTopics:
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{name} is available only after fit")
        return self._found

    @property
    def components_(self) -> AnyArray:
        """Expected counts of words in topics plus prior, (n_components, n_features)."""
        found = self._attribute("components_")
        return read_only(found.params.table[:, : found.n_topics].T)

    @property
    def covariance_(self) -> AnyArray:
        """Covariance of the log weights, (n_components, n_components)."""
        return read_only(self._attribute("covariance_").params.covariance)

    @property
    def correlation_(self) -> AnyArray:
        """Correlation of the log weights, (n_components, n_components)."""
        covariance = self._attribute("correlation_").params.covariance
        scale = np.sqrt(np.diag(covariance))
        return read_only(np.asarray(covariance / np.outer(scale, scale)))

    @property
    def coef_(self) -> AnyArray:
        """Coefficients of the covariates, (n_components, n_covariates)."""
        self._attribute("coef_")
        return read_only(self._regression.in_units()[0])

    @property
    def intercept_(self) -> AnyArray:
        """Log weights at covariates 0, (n_components,)."""
        self._attribute("intercept_")
        return read_only(self._regression.in_units()[1])

    @property
    def coef_standard_errors_(self) -> AnyArray:
        """Standard errors of `coef_`, (n_components, n_covariates)."""
        self._attribute("coef_standard_errors_")
        return read_only(self._regression.standard_errors())

    @property
    def covariate_names_(self) -> list[str]:
        """Names of the columns of `coef_`."""
        self._attribute("covariate_names_")
        return self._covariates.names

    @property
    def _n_features_out(self) -> int:
        return self._found.n_topics

    def effect_of(self, column: str | int, values: Sequence[Any] | None = None) -> Effect:
        """Expected topic proportions of documents at values of a covariate.

        The other covariates are at their means, and proportions are averaged over the noise of the
        log weights.

        Parameters
        ----------
        column : str or int
            Name of a covariate, or its number among the columns.
        values : sequence, optional
            By default all levels of a label; for a number the mean, and one and two standard
            deviations either side of it.

        Returns
        -------
        Effect
            A named tuple ``(values, proportions, standard_errors)``, the latter two of shape
            (n_values, n_components). Standard errors are those of the regression given the topics.

        Raises
        ------
        ValueError
            If there is no such column, or the values are not of its kind, or a level is unknown.
        """
        self._refuse_unfitted()
        return self._regression.effect(column, values)

    def top_words(self, n: int = 10) -> list[list[tuple[str, float]]]:
        """The most probable words of each topic: n_components lists of (word, probability).

        Parameters
        ----------
        n : int
            Words per topic.
        """
        return self.topic_model().top_words(checks.integer(n, "n", 1))

    def topic_model(self) -> TopicModel:
        """The topics alone, as `fastvi.plots.plot_topics` draws them.

        Their Dirichlet prior has the expected proportions of the training documents as its means.
        """
        self._refuse_unfitted()
        found, effect = self._found, self._regression
        names = getattr(self, "feature_names_in_", getattr(self, "vocabulary_", None))
        vocabulary = None if names is None else [str(name) for name in names]
        if vocabulary is not None:
            check_vocabulary(vocabulary, len(found.params.table), "vocabulary_")
        return TopicModel(
            found.params.table, effect.average(), self.topic_word_prior_, True, vocabulary,
            history=self.history_,
        )  # fmt: skip

    # New documents

    def transform(self, X: RowsLike, *, covariates: CovariatesLike | None = None) -> AnyArray:
        """Topic proportions of documents: at the mode, or at the mean with ``solver="bound"``.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts. An empty document gets the proportions that its covariates make likely.
        covariates : as in fit
            Required if the fit had covariates.

        Returns
        -------
        (n_documents, n_components) array of the dtype of the fit
        """
        theta = self._infer(X, covariates, finish=False).theta[:, : self._n_features_out]
        return np.ascontiguousarray(theta, self._dtype)

    def score_samples(self, X: RowsLike, *, covariates: CovariatesLike | None = None) -> Array:
        """Approximate log probability of documents given the topics, (n_documents,), in nats.

        Laplace's approximation, which is not a bound; a lower bound with ``solver="bound"``.
        """
        return self._infer(X, covariates).evidence

    def score(
        self, X: RowsLike, y: object = None, *, covariates: CovariatesLike | None = None
    ) -> float:
        """Mean of `score_samples`, in nats per document."""
        return float(self.score_samples(X, covariates=covariates).mean())

    def _infer(
        self, X: RowsLike, covariates: CovariatesLike | None, *, finish: bool = True
    ) -> Inferred:
        self._refuse_unfitted()
        parts = single(self._counts(X, reset=False))
        design = self._covariates.design(covariates, len(parts[0]) - 1)
        return self._found.infer(parts, design, self._n_threads, finish=finish)

    def document_completion(
        self,
        X: RowsLike,
        X_scored: RowsLike | None = None,
        *,
        covariates: CovariatesLike | None = None,
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
        covariates : as in fit
        random_state : int, RandomState, Generator or None
            Seed of that split.
        """
        self._refuse_unfitted()
        observed, scored = map(single, halves_of(self, X, X_scored, random_state))
        design = self._covariates.design(covariates, len(observed[0]) - 1)
        return self._found.completion(observed, scored, design, self._n_threads)

    def _held_out(
        self, X_val: RowsLike | None, covariates_val: CovariatesLike | None, seed: int, bound: bool
    ) -> Callable[[CorrelatedParameters], float]:
        if X_val is None:
            raise ValueError("covariates_val is given without X_val")
        observed, scored = map(single, halves_of(self, X_val, None, seed, "X_val"))
        design = self._covariates.design(covariates_val, len(observed[0]) - 1, "covariates_val")

        def score(params: CorrelatedParameters) -> float:
            topics = CorrelatedTopics(params, bound)
            return topics.completion(observed, scored, design, self._n_threads)

        return score
