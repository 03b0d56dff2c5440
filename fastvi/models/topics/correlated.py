"""Correlated and structural topic models as a scikit-learn estimator."""

from __future__ import annotations

import os
import time
import warnings
from typing import Self

from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks, parallel
from fastvi.base.typing import AnyArray, RandomState, RowsLike
from fastvi.checkpoints import Callback, Watching
from fastvi.models.counts import DocumentSource
from fastvi.models.files import Saved
from fastvi.models.topics import correlated_start
from fastvi.models.topics.correlated_effects import Regression
from fastvi.models.topics.correlated_fitted import CorrelatedTopics, single
from fastvi.models.topics.correlated_model import (
    LogisticNormal,
    Sweeps,
)
from fastvi.models.topics.correlated_scores import CorrelatedScores
from fastvi.models.topics.correlated_simulated import refits
from fastvi.models.topics.correlated_stream import CorrelatedStream, go_on
from fastvi.models.topics.correlated_training import train
from fastvi.models.topics.covariates import Covariates, CovariatesLike
from fastvi.models.topics.scores import refuse_few_tokens

__all__ = ["CorrelatedTopicModel"]

SOLVERS = ("laplace", "bound")


class CorrelatedTopicModel(CorrelatedScores):
    """Topics whose proportions are correlated, and may depend on covariates of the documents.

    Topic proportions are ``softmax(eta)`` with log weights ``eta ~ N(mu, Sigma)``, so that topics
    may occur together or avoid each other (Blei and Lafferty 2007, "A correlated topic model of
    Science"). With covariates x, ``mu`` is a linear regression on them: the structural topic model
    (Roberts, Stewart and Airoldi 2016), for topical prevalence. Against
    `LatentDirichletAllocation` it predicts better where few words of a document are known, or
    where covariates say what it is about. Results have the same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=10
        Number of topics K.
    solver : {"laplace", "bound"}, default="laplace"
        How the posterior of documents' log weights is approximated. ``"laplace"``: at the mode,
        with the words' assignments summed out (Wang and Blei 2013, "Variational inference in
        nonconjugate models"). ``"bound"``: by the Gaussian that maximises Blei and Lafferty's
        bound, which predicted worse on the corpus that we tried. Both leave each token's own share
        out of its topics' counts, as CVB0 does.
    topic_word_prior : float, optional
        Dirichlet prior of topics; by default learned by the fit of CVB0 from which this one starts.
    prior_variance : float, default=1.0
        Variance of the log weights that the inverse-Wishart prior of Sigma expects.
    prior_dof : float, optional
        Number of documents for which this prior counts; by default 2 * n_components.
    n_simulations : int, default=8
        Number of corpora that are simulated from a fit with covariates, and fitted again: they
        correct `coef_` for bias, and its standard errors for what topics leave uncertain. With 0,
        standard errors are those given the topics, which are too small.
    max_iter : int, default=50
        Largest number of sweeps over the documents.
    tol : float, default=0.002
        The fit ends when a sweep moves documents' log weights by less than this: the mean over
        documents of the largest change.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the start.
    {n_jobs}
    {verbose}

    Attributes
    ----------
    components_ : (n_components, n_features) array
        Expected counts of words in topics plus prior.
    covariance_, correlation_ : (n_components, n_components) arrays
        Sigma, about the regression if there are covariates. Log weights are determined up to a
        number for each document, and the direction that this leaves free has the mean variance of
        the others: independent topics have correlation 0. `fastvi.plots.plot_topic_graph` draws it.
    coef_, coef_standard_errors_ : (n_components, n_covariates) arrays
        Coefficients of the covariates, in log weight per unit, and their standard errors. A column
        of labels has a coefficient for each level, which add up to about 0.
    intercept_ : (n_components,) array
        Log weights at covariates 0.
    covariate_names_ : list of str
        The columns of `coef_`.
    topic_word_prior_ : float
        The prior used, or learned.
    {history_}
        Here, `log_likelihood` is that of words without their own shares, in nats per word,
        `moved` the change that `tol` limits, and `held_out` a document completion.
    {n_iter_}
    {best_iter_}
    {converged_}
    {n_features_in_}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import CorrelatedTopicModel
    >>> X = np.array([[5, 4, 0, 0], [4, 5, 0, 1], [0, 0, 5, 4], [0, 1, 4, 5]])
    >>> model = CorrelatedTopicModel(2, random_state=0).fit(X, covariates={"year": [1, 2, 8, 9]})
    >>> topic = model.coef_[:, 0].argmax()
    >>> bool(topic == model.transform(X[3:], covariates={"year": [9]}).argmax())
    True
    """

    def __init__(
        self,
        n_components: int = 10,
        *,
        solver: str = "laplace",
        topic_word_prior: float | None = None,
        prior_variance: float = 1.0,
        prior_dof: float | None = None,
        n_simulations: int = 8,
        max_iter: int = 50,
        tol: float = 0.002,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.solver = solver
        self.topic_word_prior = topic_word_prior
        self.prior_variance = prior_variance
        self.prior_dof = prior_dof
        self.n_simulations = n_simulations

    # Fitting

    def fit(
        self,
        X: RowsLike,
        y: object = None,
        *,
        covariates: CovariatesLike | None = None,
        X_val: RowsLike | None = None,
        covariates_val: CovariatesLike | None = None,
        early_stopping: int | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
    ) -> Self:
        """Fit topics. A fit that fails or is interrupted leaves the estimator as it was.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts.
        y : ignored, with a warning if there are no covariates
        covariates : array (n_documents, n_covariates), data frame or dict of columns, optional
            Numbers, or strings for labels. Numbers are standardised.
        X_val, covariates_val : as X and covariates, optional
            Held-out documents; their score after each sweep is ``history_["held_out"]``.
        {early_stopping}
        {watching}

        Raises
        ------
        ValueError
            If X or covariates are invalid, a parameter is out of its range, or `checkpoint` belongs
            to another fit.
        """
        if y is not None and covariates is None:
            warnings.warn("y is ignored; pass covariates=... to use it", UserWarning, stacklevel=2)
        watching = Watching(callback, checkpoint, checkpoint_interval, resume, early_stopping)
        self._become(watching, X, covariates, X_val, covariates_val)
        return self

    def fit_transform(
        self, X: RowsLike, y: object = None, *, covariates: CovariatesLike | None = None
    ) -> AnyArray:
        """``fit(X, covariates=covariates).transform(X, covariates=covariates)``."""
        return self.fit(X, covariates=covariates).transform(X, covariates=covariates)

    def _fit(
        self,
        last: Self | None,
        watching: Watching,
        X: RowsLike,
        covariates: CovariatesLike | None,
        X_val: RowsLike | None,
        covariates_val: CovariatesLike | None,
    ) -> None:
        began = time.perf_counter()
        bags = self._counts(X, reset=True)
        n_topics = checks.integer(self.n_components, "n_components", 1)
        refuse_few_tokens(bags, n_topics)
        bound = self._is_bound()
        max_iter = checks.integer(self.max_iter, "max_iter", 1)
        tol = checks.number(self.tol, "tol", 0.0)
        self._covariates, design = Covariates.learned(covariates, len(bags.indptr) - 1)
        n_simulations = checks.integer(self.n_simulations, "n_simulations", 0)
        if covariates is None:
            n_simulations = 0
        limits, prior = checks.PRIOR_RANGE, self._prior(n_topics)
        given = checks.optional_number(self.topic_word_prior, "topic_word_prior", *limits)
        seed, parts = self._seed(watching), single(bags)
        held_out = None
        if X_val is not None or covariates_val is not None:
            held_out = self._held_out(X_val, covariates_val, seed, bound)
        with parallel.single_threaded_blas():
            table, eta, self.topic_word_prior_ = correlated_start.uncorrelated(
                DocumentSource(*parts, bags.n_words), n_topics, given, seed, self._n_threads
            )
            sweeps = Sweeps(
                parts, bags.n_words, design, prior, self.topic_word_prior_, bound, self._n_threads
            )
            state = sweeps.begin(table, eta)
        training = train(
            sweeps, state, max_iter=max_iter, tol=tol, seed=seed,
            seconds=time.perf_counter() - began, watching=watching, held_out=held_out,
            identity=lambda: self._identity((*parts, bags.n_words, design)) | {"seed": seed},
            verbose=bool(self.verbose),
        )  # fmt: skip
        self.history_, self.converged_ = training.history.arrays(), training.converged
        self.n_iter_ = len(training.history)
        self._stream = CorrelatedStream(training.params, training.moments, len(design))
        self._found = CorrelatedTopics(training.params, bound)
        self._regression = Regression.of(training.params, self._covariates, design)
        if n_simulations > 0 and n_topics > 1:
            found = refits(
                sweeps, training.params, n_simulations, max_iter=max_iter, tol=tol, seed=seed
            )
            self._regression = self._regression.corrected(training.params, found)

    def partial_fit(
        self, X: RowsLike, y: object = None, *, covariates: CovariatesLike | None = None
    ) -> Self:
        """Take a step on further documents, or fit the first ones.

        A batch of n documents after N others replaces the share 1.5 n / (N + n) of what was
        learned from those. The first batch should be large enough to find topics in. Covariates
        are standardised as in the first one, and corrections of `coef_` stay as they are. A call
        that fails or is interrupted changes nothing.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts.
        y : ignored
        covariates : as in fit
            Required if the fit had covariates.

        Raises
        ------
        ValueError
            If X or covariates are invalid, or `n_components` is not that of the fit.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X, covariates=covariates)
        self._advance(X, covariates)
        return self

    def _partial_fit(self, X: RowsLike, covariates: CovariatesLike | None) -> None:
        bags, before = self._counts(X, reset=False), self._stream
        n_topics, bound = checks.integer(self.n_components, "n_components", 1), self._found.bound
        if n_topics != self._found.n_topics:
            raise ValueError(
                f"n_components is {n_topics}; the topics to continue from are "
                f"{self._found.n_topics}"
            )
        sweeps = Sweeps(
            single(bags), bags.n_words, self._covariates.design(covariates, len(bags.indptr) - 1),
            self._prior(n_topics), self.topic_word_prior_, bound, self._n_threads,
        )  # fmt: skip
        self._stream = go_on(before, sweeps)
        params, moments, _ = self._stream
        self._found = CorrelatedTopics(params, bound)
        self._regression = self._regression.moved(before.params, params, moments)
        self.__dict__.pop("converged_", None)

    # Settings and checks

    def _is_bound(self) -> bool:
        return checks.choice(self.solver, "solver", SOLVERS) == "bound"

    def _prior(self, n_topics: int) -> LogisticNormal:
        low, high = checks.PRIOR_RANGE
        dof = checks.optional_number(self.prior_dof, "prior_dof", low, high)
        variance = checks.number(self.prior_variance, "prior_variance", low, high)
        return LogisticNormal(variance, 2.0 * n_topics if dof is None else dof)

    def _refuse_unfitted(self) -> None:
        check_is_fitted(self)

    # Files

    def _saved(self) -> dict[str, object]:
        return {
            "params": self._stream.params,
            "moments": self._stream.moments,
            "n_seen": self._stream.n_rows,
            "regression": self._regression[1:],
            "covariates": self._covariates.to_json(),
            "topic_prior": self.topic_word_prior_,
            "bound": self._found.bound,
            "dtype": self._dtype.name,
        }

    def _restore(self, saved: Saved) -> None:
        self._dtype = saved.dtype()
        path, k = saved.path, len(saved.array("params.covariance", None, None))
        self._covariates = Covariates.from_json(saved.values["covariates"], f"{path}: covariates")
        self._stream = CorrelatedStream.restored(saved, 1 + len(self._covariates.names), k)
        self.topic_word_prior_ = checks.number(
            saved.values["topic_prior"], f"{path}: topic_prior", *checks.PRIOR_RANGE
        )
        bound = checks.flag(saved.values["bound"], f"{path}: bound")
        self._found = CorrelatedTopics(self._stream.params, bound)
        self._regression = Regression.restored(saved, self._covariates, k)
