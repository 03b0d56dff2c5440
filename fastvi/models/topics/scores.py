"""Proportions, bounds and held-out scores of documents under fitted topics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.bags import MAX_TOKENS, Bags
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, RandomState, RowsLike
from fastvi.models.estimator import generator_of
from fastvi.models.kinds import CountEstimator, Counting
from fastvi.models.topics.fitted import Predictor, TopicModel, check_vocabulary
from fastvi.models.topics.perplexity import perplexity

__all__ = ["TopicScores", "document_completion", "halves_of", "matrix", "refuse_few_tokens"]


POPULATION = 1e6  # as in scikit-learn


class TopicScores(CountEstimator):
    """The part of the estimator that uses fitted topics without changing them."""

    total_samples: float | None

    @property
    def _population(self) -> float:
        """Number of documents that a stream from scratch represents."""
        if self.total_samples is None:
            return POPULATION
        return checks.number(self.total_samples, "total_samples", 1.0, MAX_TOKENS)

    @property
    def _model(self) -> TopicModel:
        raise NotImplementedError

    @property
    def components_(self) -> AnyArray:
        """Dirichlet parameters of the topics, (n_components, n_features)."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError("components_ is available only after fit")
        model = self._model
        return read_only(model.table[:, : model.n_topics].T)

    @property
    def exp_dirichlet_component_(self) -> AnyArray:
        """exp(E[log topics]), (n_components, n_features)."""
        from scipy.special import psi

        components = self.components_
        log_topics = psi(components) - psi(components.sum(axis=1, keepdims=True))
        return read_only(np.asarray(np.exp(log_topics)))

    @property
    def _n_features_out(self) -> int:
        return self._model.n_topics

    def transform(self, X: RowsLike, *, normalize: bool = True) -> AnyArray:
        """Topic proportions of documents.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts. An empty document gets the prior.
        normalize : bool, default=True
            If False, return Dirichlet parameters, whose sum is the document's length plus the
            prior.

        Returns
        -------
        (n_documents, n_components) array of the dtype of the fit
        """
        model = self._model
        bags = self._counts(X, reset=False)
        gamma = model.topics.infer(*bags.parts, n_threads=self._n_threads)
        gamma = gamma[:, : model.n_topics]
        return np.ascontiguousarray(
            gamma / gamma.sum(axis=1, keepdims=True) if normalize else gamma
        )

    def fit_transform(self, X: RowsLike, y: object = None, *, normalize: bool = True) -> AnyArray:
        """``fit(X).transform(X)``."""
        return self.fit(X).transform(X, normalize=normalize)

    def compiled(self, *, check: bool = True) -> Predictor:
        """Return a bare predictor for arrays of the right types, which takes microseconds per call.

        Parameters
        ----------
        check : bool
            Check word numbers at each call, at about a nanosecond per entry.
        """
        return Predictor(self._model.topics, check)

    def topic_model(self) -> TopicModel:
        """The topics without scikit-learn: what `save` writes and `fastvi.plots` draws."""
        names = getattr(self, "feature_names_in_", getattr(self, "vocabulary_", None))
        if names is None:
            return self._model
        check_vocabulary(names, len(self._model.table), "vocabulary_")
        return replace(self._model, vocabulary=[str(name) for name in names])

    def top_words(self, n: int = 10) -> list[list[tuple[str, float]]]:
        """The most probable words of each topic, with E[beta].

        Words are those of `feature_names_in_` (set when X has column names) or `vocabulary_` (which
        may be set to a list of n_features words), or else column numbers.

        Parameters
        ----------
        n : int
            Words per topic.

        Returns
        -------
        list of n_components lists of (word, probability)
        """
        return self.topic_model().top_words(checks.integer(n, "n", 1))

    def to_pyldavis(self, X: RowsLike) -> dict[str, Any]:
        """Arguments for ``pyLDAvis.prepare(**arguments)``, which draws a map of the topics.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts, usually those of the fit. Empty documents and words that X does not have are
            left out.

        Returns
        -------
        dict
            topic_term_dists, doc_topic_dists, doc_lengths, vocab and term_frequency.
        """
        counts = matrix(self._counts(X, reset=False, dtype=np.float64))
        counts = counts[np.diff(counts.indptr) > 0]
        frequency = np.asarray(counts.sum(axis=0)).ravel()
        used = np.flatnonzero(frequency > 0)
        if not len(used):
            raise ValueError("X has no words")
        words = self.topic_model().vocabulary
        topics = self.components_[:, used].astype(np.float64)
        proportions = self.transform(counts).astype(np.float64)
        return {
            "topic_term_dists": topics / topics.sum(axis=1, keepdims=True),
            "doc_topic_dists": proportions / proportions.sum(axis=1, keepdims=True),
            "doc_lengths": np.asarray(counts.sum(axis=1)).ravel(),
            "vocab": [words[v] if words else str(v) for v in used],
            "term_frequency": frequency[used],
        }

    # Scores

    def score(self, X: RowsLike, y: object = None) -> float:
        """Variational bound on log p(X) in nats, including the topics' part.

        As in scikit-learn, it is a sum, not a mean. It is the bound for Dirichlet(components_)
        topics, whichever solver found them. It charges the whole cost of the topics to X, which
        grows with their number, so it nearly always prefers few topics: to choose `n_components`,
        use `fastvi.document_completion`.
        """
        model = self._model
        return model.bound(self._counts(X, reset=False).parts, self._n_threads)

    def perplexity(self, X: RowsLike, sub_sampling: bool = False) -> float:
        """exp(-bound per word); `sub_sampling` scales X up to `total_samples` documents.

        As `score`, it nearly always prefers few topics.
        """
        model, bags = self._model, self._counts(X, reset=False)
        factor = self._population / (len(bags.indptr) - 1) if sub_sampling else 1.0
        bound = model.bound(bags.parts, self._n_threads, factor)
        return perplexity(bound, factor * bags.counts.sum(dtype=np.float64))

    def document_completion(
        self, X: RowsLike, X_scored: RowsLike | None = None, *, random_state: RandomState = None
    ) -> float:
        """Held-out log-likelihood by document completion, nats per word.

        Topic proportions are fitted to one half of each document and the other half is scored
        (Wallach et al. 2009, section 5.1). Higher is better; exp of its negative is a perplexity.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Held-out documents, or their observed halves.
        X_scored : same shape, optional
            The other halves. By default each document's tokens are split at random.
        random_state : int, RandomState, Generator or None
            Seed of that split.
        """
        topics = self._model.topics
        observed, scored = halves_of(self, X, X_scored, random_state)
        return topics.completion(observed.parts, scored.parts, self._n_threads)


def halves_of(
    estimator: Counting,
    X: RowsLike,
    X_scored: RowsLike | None,
    random_state: RandomState,
    name: str = "X",
) -> tuple[Bags, Bags]:
    """Return observed and scored halves of documents, given or drawn at random.

    Raises
    ------
    ValueError
        If they differ in length, or there are no words to score; `name` is that of X.
    """
    observed = estimator._counts(X, reset=False)
    if X_scored is None:
        from fastvi.corpus import halves

        seed = checks.seed_of(generator_of(random_state))
        parts = halves(matrix(observed), np.random.default_rng(seed))
        observed, scored = (estimator._counts(part, reset=False) for part in parts)
    else:
        scored = estimator._counts(X_scored, reset=False)
        if len(scored.indptr) != len(observed.indptr):
            raise ValueError(
                f"X_scored has {len(scored.indptr) - 1} documents; "
                f"wanted {len(observed.indptr) - 1} as in X"
            )
    if not scored.counts.sum() > 0:
        raise ValueError(f"{name if X_scored is None else 'X_scored'} has no words to score")
    return observed, scored


def refuse_few_tokens(bags: Bags, n_topics: int) -> None:
    """Refuse documents that are too few for this number of topics.

    Raises
    ------
    ValueError
        If there are no tokens, or fewer than topics.
    """
    total = bags.counts.sum(dtype=np.float64)
    if not total > 0:
        raise ValueError("every document is empty: X holds no counts above 0")
    if n_topics > total:
        raise ValueError(f"n_components is {n_topics}, more than the {total:g} tokens in X")


def document_completion(estimator: TopicScores, X: RowsLike, y: object = None) -> float:
    """Scorer for `sklearn.model_selection`, to choose the number of topics and the priors.

    Returns the held-out log-likelihood by document completion, in nats per word; higher is better.
    Each call splits documents in the same way, so that all candidates are scored alike.

    Parameters
    ----------
    estimator : LatentDirichletAllocation
        Fitted.
    X : (n_documents, n_features) CSR matrix or array
        Word counts of held-out documents.
    y : ignored

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> from sklearn.model_selection import GridSearchCV
    >>> rng = np.random.default_rng(0)
    >>> topics = np.kron(np.eye(4), np.full(10, 0.1))  # four, each with its own ten words
    >>> X = np.stack([rng.multinomial(50, rng.dirichlet(np.ones(4)) @ topics) for _ in range(200)])
    >>> lda = fastvi.LatentDirichletAllocation(random_state=0)
    >>> candidates = {"n_components": [2, 4, 40]}
    >>> search = GridSearchCV(lda, candidates, scoring=fastvi.document_completion).fit(X)
    >>> search.best_params_
    {'n_components': 4}
    """
    return estimator.document_completion(X, random_state=0)


def matrix(bags: Bags) -> Any:
    """The counts as a CSR matrix."""
    from scipy.sparse import csr_array

    shape = (len(bags.indptr) - 1, bags.n_words)
    return csr_array((bags.counts, bags.indices, bags.indptr), shape=shape)
