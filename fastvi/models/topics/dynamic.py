"""Dynamic topic models as an estimator."""

from __future__ import annotations

import os
from typing import Self

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, ArrayLike, RandomState, RowsLike
from fastvi.checkpoints import Callback, Watching
from fastvi.models.files import Saved
from fastvi.models.topics.dynamic_fitted import DynamicTopics, Found, restored
from fastvi.models.topics.dynamic_scores import DynamicScores
from fastvi.models.topics.dynamic_times import TimeLike, Timeline, time_of, times_of
from fastvi.models.topics.dynamic_training import (
    KEEP,
    DynamicSettings,
    add_slice,
    fit_slices,
)
from fastvi.models.topics.scores import refuse_few_tokens

__all__ = ["DynamicTopicModel"]

ELBO_ITER = 20  # iterations on a training document for `elbo_`


class DynamicTopicModel(DynamicScores):
    """Topics whose words change over time (Blei and Lafferty 2006, "Dynamic topic models").

    Time is cut into slices. In slice t, topic k gives word w a probability proportional to
    ``exp(x[w, t, k])``, where ``x[w, :, k]`` is a Gaussian random walk; with `drift`, to
    ``exp(x[w, t, k] + c[w, t])`` with an autoregression ``c[w, :]`` that all topics share. Chains
    have Gaussian posteriors, found by conjugate-computation variational inference (Khan and Lin
    2017), and documents are assigned by CVB0; the fit starts from static topics. Results have the
    same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=10
        Number of topics K.
    slices : "values", int, float or str, default="values"
        How time is cut. ``"values"``: a slice for each distinct time, with variances that grow with
        the distance between slices, to 3 at most. An integer: that many slices of equal width. A
        float: slices of that width, in days for dates. For dates also a calendar width such as
        ``"month"`` or ``"10 years"``. Slices without documents are bridged.
    drift : bool, default=False
        Whether each word has a common drift in all topics. It often predicts better.
    chain_variance : float, optional
        Variance of a step of the random walks, from one slice to the next; by default it is
        learned.
    initial_variance : float, default=4.0
        Prior variance of words in the first slice, around their logarithmic frequencies.
    max_iter : int, default=20
        Largest number of passes over the documents.
    tol : float, default=0.002
        The fit ends when the last two passes gained less than this on average, in nats per training
        token, each predicted from the other tokens of its document. With 0 it takes `max_iter`.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the static topics, from which the fit starts.
    {n_jobs}
    {verbose}

    Attributes
    ----------
    components_ : (T, n_components, n_features) array
        Probabilities of words in topics, by slice; computed at each access.
    slice_times_ : (T,) array
        Where slices start, as numbers or dates.
    topic_shares_ : (T, n_components) array
        Shares of topics in the training documents of each slice; 0 in slices without words.
    doc_topic_prior_ : (n_components,) array
        Dirichlet prior of proportions, learned with the static topics.
    chain_variance_, drift_variance_ : float
        Variances of a step; `drift_variance_` is 0 without `drift`.
    elbo_ : float
        A lower bound on the log probability of the training data, in nats; not after `partial_fit`.
    history_ : dict of str to array
        For each pass: `seconds`, `training_score` in nats per token, `chain_elbo`, the part of the
        bound that the chains maximise, in nats, `chain_variance` and with `drift`
        `drift_variance`; with `X_val`, `held_out`.
    {n_iter_}
    {best_iter_}
    {converged_}
    {n_features_in_}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import DynamicTopicModel
    >>> X = np.array([[5, 4, 0, 0], [0, 0, 5, 4], [3, 6, 0, 0], [0, 0, 5, 4], [1, 9, 0, 0]])
    >>> years = [2001, 2001, 2002, 2002, 2003]
    >>> model = DynamicTopicModel(n_components=2, random_state=0).fit(X, years)
    >>> model.slice_times_.tolist()
    [2001.0, 2002.0, 2003.0]
    >>> model.components_.shape
    (3, 2, 4)
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        slices: str | int | float = "values",
        drift: bool = False,
        chain_variance: float | None = None,
        initial_variance: float = 4.0,
        max_iter: int = 20,
        tol: float = 0.002,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.slices = slices
        self.drift = drift
        self.chain_variance = chain_variance
        self.initial_variance = initial_variance

    # Fitting

    def fit(
        self,
        X: RowsLike,
        times: ArrayLike | None = None,
        *,
        X_val: RowsLike | None = None,
        times_val: ArrayLike | None = None,
        early_stopping: int | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
    ) -> Self:
        """Fit the topics. A fit that fails or is interrupted leaves the estimator as it was.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts of words.
        times : (n_documents,) array
            Numbers, dates, or strings such as ``"2001-09-30"``.
        X_val, times_val : same kinds, optional
            Held-out documents and their times; their score by document completion after each pass
            is ``history_["held_out"]``.
        {early_stopping}
        {watching}

        Raises
        ------
        ValueError
            If X or `times` is invalid, a parameter is out of its range, or `checkpoint` belongs to
            another fit.
        """
        watching = Watching(callback, checkpoint, checkpoint_interval, resume, early_stopping)
        self._become(watching, X, times, X_val, times_val)
        return self

    def fit_transform(self, X: RowsLike, times: ArrayLike | None = None) -> AnyArray:
        """``fit(X, times).transform(X, times)``."""
        return self.fit(X, times).transform(X, times)

    def _fit(
        self,
        last: Self | None,
        watching: Watching,
        X: RowsLike,
        times: ArrayLike | None = None,
        X_val: RowsLike | None = None,
        times_val: ArrayLike | None = None,
    ) -> None:
        bags = self._counts(X, reset=True)
        settings = self._settings(self._seed(watching))
        refuse_few_tokens(bags, settings.n_topics)
        when = times_of(times, len(bags.indptr) - 1)
        self._timeline = Timeline.of(when, self.slices)
        slices, _ = self._timeline.place(when)
        held_out = None
        if checks.both_or_none("X_val", X_val, "times_val", times_val):
            held_out = self._held_out(X_val, times_val, settings.seed)
        found = fit_slices(
            settings,
            bags,
            slices,
            self._timeline.gaps,
            watching=watching,
            verbose=bool(self.verbose),
            held_out=held_out,
            identity=lambda: self._identity((*bags.parts, when.numbers)) | {"seed": settings.seed},
        )
        self.history_, self.n_iter_, self.converged_ = found[1:]
        self._keep(found.found)
        self.elbo_ = self._topics.bound(bags, slices, ELBO_ITER)

    def partial_fit(self, X: RowsLike, time: TimeLike | None = None) -> Self:
        """Add a slice at the end, or fit the first one. A call that fails changes nothing.

        Topics of the new slice start from their forecast, with the uncertainty that the chains
        have; those of earlier slices stay as they are.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts of words, at least one document.
        time : number, date or str
            The time of all of them, later than the last slice.

        Raises
        ------
        ValueError
            If X or `time` is invalid, or `time` is not after the last slice.
        """
        if not self.__sklearn_is_fitted__():
            time_of(time)
            n_documents = X.shape[0] if hasattr(X, "shape") else len(np.asarray(X))
            return self.fit(X, np.asarray([time] * n_documents))
        self._advance(X, time)
        return self

    def _partial_fit(self, X: RowsLike, time: TimeLike | None) -> None:
        bags = self._counts(X, reset=False)
        settings, topics, timeline = self._settings(0), self._topics, self._timeline
        if settings.n_topics != topics.n_topics:
            raise ValueError(
                f"n_components is {settings.n_topics}; the topics to continue from are "
                f"{topics.n_topics}"
            )
        refuse_few_tokens(bags, 0)
        when = time_of(time)
        _, (after,) = timeline.place(when, "time")
        if not after > 0:
            raise ValueError(
                f"time is {time!r}, which is not after the last slice, {timeline.labels[-1]}"
            )
        if len(timeline.starts) == 1 and not timeline.even:
            timeline, after = timeline._replace(step=float(after * timeline.step)), 1.0
        forecast = topics.probabilities(topics.n_slices - 1, float(after))
        found = add_slice(settings, topics.found, forecast, bags, float(after))
        self._timeline = timeline.extended(float(after))
        self._keep(found)
        for name in ("elbo_", "converged_"):
            self.__dict__.pop(name, None)

    def _settings(self, seed: int) -> DynamicSettings:
        return DynamicSettings(
            checks.integer(self.n_components, "n_components", 1),
            checks.flag(self.drift, "drift"),
            checks.optional_number(self.chain_variance, "chain_variance", 1e-10, 1e10),
            checks.number(self.initial_variance, "initial_variance", 1e-10, 1e10),
            checks.integer(self.max_iter, "max_iter", 1),
            checks.number(self.tol, "tol", 0.0),
            seed,
            self._n_threads,
        )

    def _keep(self, found: Found) -> None:
        """Keep what has been found."""
        self.chain_variance_ = found.chain_variance
        self.drift_variance_ = found.drift_variance
        self.doc_topic_prior_ = found.alpha
        totals = found.totals[:, : len(found.alpha)]
        self.topic_shares_ = totals / np.maximum(totals.sum(axis=1, keepdims=True), 1e-300)
        self._topics = self._with(found)

    def _with(self, found: Found) -> DynamicTopics:
        return DynamicTopics(found, KEEP, self._timeline.gaps, self._n_threads)

    # Files

    def _saved(self) -> dict[str, object]:
        found, timeline = self._topics.found, self._timeline
        starts = found.start._replace(mean=found.start.mean[:, 0], variance=found.start.variance)
        return {
            "found": found._replace(start=starts),
            "starts": timeline.starts,
            "step": timeline.step,
            "even": timeline.even,
            "unit": timeline.unit,
            "dtype": self._dtype.name,
        }

    def _restore(self, saved: Saved) -> None:
        values, self._dtype = saved.values, saved.dtype()
        self._timeline = Timeline(
            saved.array("starts", None),
            checks.number(values["step"], f"{saved.path}: step", 0.0, open_low=True),
            checks.flag(values["even"], f"{saved.path}: even"),
            checks.choice(values["unit"], f"{saved.path}: unit", ("", "D", "M")),
        )
        self._keep(restored(saved, len(self._timeline.starts)))
