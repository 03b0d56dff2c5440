"""What fitted dynamic topics say: of slices, of forecasts, and of documents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.bags import Bags
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array, ArrayLike, RandomState, RowsLike
from fastvi.models.kinds import Counting
from fastvi.models.topics.dynamic_fitted import DynamicTopics, Found
from fastvi.models.topics.dynamic_times import TimeLike, Timeline, time_of, times_of
from fastvi.models.topics.fitted import TopicModel
from fastvi.models.topics.scores import halves_of

__all__ = ["DynamicScores"]

LEAST = 1e-3  # counts of words that no slice has, in topics averaged over time
Words = list[list[tuple[str, float]]]


class DynamicScores(Counting):
    """The part of the estimator that uses fitted topics without changing them."""

    _timeline: Timeline
    _topics: DynamicTopics

    def _fitted(self, name: str) -> DynamicTopics:
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{name} is available only after fit")
        return self._topics

    def _checked(self) -> DynamicTopics:
        check_is_fitted(self)
        return self._topics

    @property
    def components_(self) -> AnyArray:
        """Probabilities of words in topics by slice, (T, n_components, n_features)."""
        topics = self._fitted("components_")
        slices = [self._of(t, 0.0) for t in range(topics.n_slices)]
        return read_only(np.stack(slices))

    @property
    def slice_times_(self) -> AnyArray:
        """Where slices start, as numbers or dates, (T,)."""
        self._fitted("slice_times_")
        return read_only(self._timeline.labels)

    @property
    def _n_features_out(self) -> int:
        return self._topics.n_topics

    def _of(self, t: int, after: float) -> AnyArray:
        topics = self._topics
        probabilities = topics.probabilities(t, after)[:, : topics.n_topics]
        return np.ascontiguousarray(probabilities.T, self._dtype)

    def topics_at(self, time: TimeLike) -> AnyArray:
        """Return the probabilities of words in topics at a time, (n_components, n_features).

        They are those of its slice; before the first one, of that; after the last one, a forecast.

        Parameters
        ----------
        time : number, date or str
        """
        self._checked()
        when = time_of(time)
        (t,), (after,) = self._timeline.place(when, "time")
        return self._of(int(t), float(after))

    def forecast(self, time: TimeLike) -> AnyArray:
        """Return the topics expected at a time after the last slice, (n_components, n_features).

        Random walks stay where they are; a word's drift fades.

        Parameters
        ----------
        time : number, date or str

        Raises
        ------
        ValueError
            If it is not after the last slice.
        """
        self._checked()
        when = time_of(time)
        if not self._timeline.place(when, "time")[1][0] > 0:
            raise ValueError(
                f"time is {time!r}, which is not after the last slice, "
                f"{self._timeline.labels[-1]}; use topics_at"
            )
        return self.topics_at(time)

    # Words

    def _words(self) -> list[str]:
        names = getattr(self, "feature_names_in_", getattr(self, "vocabulary_", None))
        if names is None:
            return [str(v) for v in range(self.n_features_in_)]
        if len(names) != self.n_features_in_:
            raise ValueError(
                f"vocabulary_: {len(names)} words in the vocabulary; wanted {self.n_features_in_}"
            )
        return [str(name) for name in names]

    def top_words(self, n: int = 10, *, time: TimeLike | None = None) -> Words:
        """Return the n most probable words of each topic at a time, by default in the last slice.

        Words are those of `feature_names_in_` or `vocabulary_`, or else column numbers.
        """
        topics = self._checked()
        at = self._of(topics.n_slices - 1, 0.0) if time is None else self.topics_at(time)
        return self._largest(at, n)

    def rising_words(
        self, n: int = 10, *, since: TimeLike | None = None, until: TimeLike | None = None
    ) -> Words:
        """Return for each topic the n words whose probabilities rose most, and by how much.

        Parameters
        ----------
        n : int
        since, until : number, date or str, optional
            Two times; by default the first and the last slice.
        """
        return self._largest(self._changes(since, until), n)

    def falling_words(
        self, n: int = 10, *, since: TimeLike | None = None, until: TimeLike | None = None
    ) -> Words:
        """Return for each topic the n words whose probabilities fell most; see `rising_words`."""
        found = self._largest(-self._changes(since, until), n)
        return [[(word, -change) for word, change in topic] for topic in found]

    def _changes(self, since: TimeLike | None, until: TimeLike | None) -> AnyArray:
        topics = self._checked()
        first = self._of(0, 0.0) if since is None else self.topics_at(since)
        last = self._of(topics.n_slices - 1, 0.0) if until is None else self.topics_at(until)
        return np.asarray(last - first)

    def _largest(self, values: AnyArray, n: int) -> Words:
        words, n = self._words(), checks.integer(n, "n", 1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :n]
        return [[(words[v], float(row[v])) for v in best] for row, best in zip(values, order)]

    def topic_model(self) -> TopicModel:
        """Return the topics averaged over time, as `fastvi.plots.plot_topics` draws them."""
        topics = self._checked()
        found, named = (
            topics.found,
            hasattr(self, "feature_names_in_") or hasattr(self, "vocabulary_"),
        )
        table = np.zeros((self.n_features_in_, found.totals.shape[1]))
        for t in np.flatnonzero(found.totals.sum(axis=1)):
            table += topics.probabilities(int(t)) * found.totals[t]
        table[:, : topics.n_topics] += LEAST
        words = self._words() if named else None
        return TopicModel(table, found.alpha, LEAST, True, words, history=self.history_)

    # Documents

    def _place(
        self, bags: Bags, times: ArrayLike | None, name: str = "times"
    ) -> tuple[NDArray[np.int64], Array]:
        return self._timeline.place(times_of(times, len(bags.indptr) - 1, name), name)

    def transform(self, X: RowsLike, times: ArrayLike | None = None) -> AnyArray:
        """Topic proportions of documents, under the topics of their times.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts. An empty document gets the prior.
        times : (n_documents,) array
            Before the first slice, its topics are used; after the last one, a forecast.

        Returns
        -------
        (n_documents, n_components) array of the dtype of the fit
        """
        topics = self._checked()
        bags = self._counts(X, reset=False)
        doc_topic, _ = topics.assigned(bags, *self._place(bags, times))
        theta = doc_topic[:, : topics.n_topics].astype(self._dtype)
        return np.asarray(theta / theta.sum(axis=1, keepdims=True))

    def score(self, X: RowsLike, times: ArrayLike | None = None) -> float:
        """Variational bound on log p(X) in nats, including the chains' part, for known slices.

        Documents after the last slice count as of that. To compare models, use
        `document_completion`.
        """
        topics = self._checked()
        bags = self._counts(X, reset=False)
        return topics.bound(bags, self._place(bags, times)[0])

    def document_completion(
        self,
        X: RowsLike,
        times: ArrayLike | None = None,
        X_scored: RowsLike | None = None,
        *,
        by_slice: bool = False,
        random_state: RandomState = None,
    ) -> float | Array:
        """Held-out log-likelihood by document completion, nats per word.

        Topic proportions are fitted to one half of each document and the other half is scored.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Held-out documents, or their observed halves.
        times : (n_documents,) array
        X_scored : same shape as X, optional
            The other halves. By default each document's tokens are split at random.
        by_slice : bool
            Return an array (T,), with NaN for slices without words to score; documents after the
            last slice count as of that.
        random_state : int, RandomState, Generator or None
            Seed of that split.

        Returns
        -------
        float or (T,) array
        """
        topics = self._checked()
        observed, scored = halves_of(self, X, X_scored, random_state)
        slices, after = self._place(observed, times)
        _, totals = topics.assigned(observed, slices, after, scored)
        if not checks.flag(by_slice, "by_slice"):
            return float(totals.sum() / scored.counts.sum(dtype=np.float64))
        rows = np.repeat(slices, np.diff(scored.indptr))
        n_tokens = np.bincount(rows, scored.counts, topics.n_slices)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.bincount(slices, totals, topics.n_slices) / n_tokens

    def _held_out(
        self, X_val: RowsLike, times_val: ArrayLike | None, seed: int
    ) -> Callable[[Found], float]:
        """Return the score of held-out documents for what a fit has found."""
        observed, scored = halves_of(self, X_val, None, seed, name="X_val")
        slices, after = self._place(observed, times_val, "times_val")

        def score(found: Found) -> float:
            _, totals = self._with(found).assigned(observed, slices, after, scored)
            return float(totals.sum() / scored.counts.sum(dtype=np.float64))

        return score

    def _with(self, found: Found) -> DynamicTopics:
        raise NotImplementedError
