"""Latent Dirichlet allocation as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastvi import loop
from fastvi.base import checks, tree
from fastvi.base.bags import Bags
from fastvi.base.typing import AnyArray, RandomState, RowsLike, Tree
from fastvi.batches import ShuffledEpochs
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.models.counts import DocumentSource
from fastvi.models.plan import SAMPLING
from fastvi.models.topics import solvers
from fastvi.models.topics.fitted import TopicModel, check_vocabulary
from fastvi.models.topics.held_out import HeldOut
from fastvi.models.topics.model import TopicParameters
from fastvi.models.topics.scores import TopicScores, matrix
from fastvi.models.topics.settings import SOLVERS, Settings, choose_solver, tools_of
from fastvi.models.topics.settling import passes_of
from fastvi.models.topics.training import model_of, train

__all__ = ["LatentDirichletAllocation"]

LEARNING_DECAY = 0.7


class _Stream(NamedTuple):
    """State for the next `partial_fit`; `marker` is scratch memory of its sources."""

    solver: solvers.Solver
    state: solvers.TopicState
    marker: NDArray[np.int32]


class LatentDirichletAllocation(TopicScores):
    """Latent Dirichlet allocation (Blei, Ng and Jordan 2003) by compiled variational inference.

    A drop-in replacement for ``sklearn.decomposition.LatentDirichletAllocation``. Results have the
    same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=10
        Number of topics K.
    doc_topic_prior : float or (n_components,) array, optional
        Dirichlet prior of topic proportions, alpha; by default 1 / n_components.
    topic_word_prior : float or (n_features,) array, optional
        Dirichlet prior of topics, eta; by default 1 / n_components.
    solver : {"auto", "scvb0", "cvb0", "cvb", "svi", "vb"}, default="auto"
        ``"cvb0"``: collapsed variational Bayes, zeroth order (Asuncion et al. 2009), which reaches
        the best held-out score fastest; needs 2 bytes per entry and topic. ``"scvb0"``: its
        mini-batch form (Foulds et al. 2013), for streams and corpora of any size. ``"cvb"``: the
        second order (Teh, Newman and Welling 2007), closer to the collapsed bound and two to three
        times slower per pass; for comparison, since "cvb0" predicts better. ``"svi"``: stochastic
        variational inference (Hoffman et al. 2013). ``"vb"``: coordinate ascent, whose bound never
        falls except by rounding, about 1e-6 of it in float32. ``"auto"`` follows `learning_method`;
        otherwise it is ``"cvb0"`` up to 1 GiB of responsibilities and ``"scvb0"`` above, or
        ``"svi"`` if `optimizer`, `sampling`, `variance_reduction` or `trace_noise` is given.
    learning_method : {"batch", "online"}, optional
        scikit-learn's name for the solver: ``"vb"`` or ``"svi"``.
    learning_decay : float, default=0.7
        Exponent kappa of the steps (offset + t) ** -kappa, in (0.5, 1].
    learning_offset : float, optional
        Offset tau >= 0 of the steps; by default 64 for "svi" (10 in `partial_fit`) and 1 for
        "scvb0".
    max_iter : int or "auto", default="auto"
        Passes over the data in `fit`. With ``"auto"``, the fit ends when the last two passes gained
        less than 0.002 nats per word on average, and after 100 passes at the latest. The gain is
        that in the log-likelihood of 128 training documents under proportions fitted to them.
    batch_size : int, optional
        Documents in a mini-batch; by default a sixteenth of the corpus, from 64 to 1024, and 128
        in `partial_fit`.
    evaluate_every : int, default=-1
        Number of passes between computations of the training data's perplexity; the fit stops
        when it changes by less than `perp_tol`. Never computed if not positive.
    total_samples : float, optional
        Number of documents that the stream of `partial_fit` represents. By default those seen so
        far, of which early ones count less; for a stream of "svi" or "vb" from scratch, or with
        rates or tools of your own, 1e6, as in scikit-learn.
    perp_tol : float, default=0.1
        See `evaluate_every`.
    mean_change_tol : float, default=1e-3
        A document's update ends when the mean absolute change of its topic counts is below it.
    max_doc_update_iter : int, optional
        Largest number of iterations of a document's update; by default 100, and 8 in the fit of
        "scvb0".
    optimizer : float, str or fastvi.optimizers.Optimizer, optional
        For "svi", "scvb0" and "vb", instead of the steps that `learning_decay` and
        `learning_offset` describe (rate 1 for "vb"). A number in (0, 1] is a constant rate.
        ``"adaptive"``: the rate that minimises the expected distance to the optimum (Ranganath et
        al. 2013), without parameters. ``"adagrad"``, ``"rmsprop"``, ``"adam"`` and ``"amsgrad"``
        take plain gradients in log-space, which "scvb0" does not support. With an optimizer that
        averages iterates, `components_` is their mean.
    sampling : str, default="uniform"
        How "svi" and "scvb0" draw documents. ``"uniform"``: each once per pass, in random order.
        ``"replacement"``: independently. ``"importance"``: documents with a large norm of counts
        more often, weighted so that steps stay unbiased. ``"adaptive"``: by the last known norms of
        expected counts. ``"growing"``: each once per pass, in batches that grow from `batch_size`
        with the gradient's noise (De et al. 2017); ``"coupled"``: with its noise and the rate
        (Balles et al. 2017).
    variance_reduction : {"svrg", "window"} or a tool, optional
        For "svi" and "scvb0". ``"svrg"``: steps are corrected by a gradient of all documents,
        computed every two passes (Johnson and Zhang 2013); unbiased, at the cost of a second local
        step per step and two more copies of the topics. ``"window"``: statistics are averaged over
        ten batches (Mandt and Blei 2014), which divides the noise by ten but adds some bias, and
        keeps the statistics of ten batches in memory. ``fastvi.gradients.svrg(every=100)`` and
        ``fastvi.gradients.window(size=3)`` set other numbers of steps and batches.
    trace_noise : bool, default=False
        Record the noise of the steps in `history_` for any `sampling`; 2 to 15 % slower.
    {n_jobs}
    {verbose}
    random_state : int, RandomState, Generator or None, default=None
        Seed of the start and of the order of documents.
    learn_doc_topic_prior, learn_topic_word_prior : bool, default=False
        Fit the priors to the data (empirical Bayes, Newton's method): alpha has one number per
        topic, eta one for all. They start from the values above.

    Attributes
    ----------
    components_ : (n_components, n_features) array
        Dirichlet parameters of the topics: pseudo-counts of words.
    exp_dirichlet_component_ : (n_components, n_features) array
        exp(E[log topics]).
    doc_topic_prior_ : float or (n_components,) array
        The prior used, or learned.
    topic_word_prior_ : float or (n_features,) array
        The prior used, or learned.
    solver_ : str
        The solver used.
    n_iter_ : int
        Passes over the data.
    {best_iter_}
    converged_ : bool
        Whether a fit with ``max_iter="auto"`` or `evaluate_every` stopped by itself; available
        after `fit`, until `partial_fit`.
    n_batch_iter_ : int
        Steps taken.
    elbo_ : float
        The evidence lower bound of the training data in nats; only with "vb" or `evaluate_every`.
    bound_ : float
        The same as scikit-learn reports it: a perplexity, exp(-elbo_ per word).
    history_ : dict of str to array
        What each step reported: epoch, seconds, rate, batch_size, and in nats the `elbo` ("vb")
        or the `local_elbo`, the batch's part of it scaled to all documents ("svi"). If known, the
        `noise`, which is the trace of the covariance of the gradient, and its `squared_norm`. With
        `X_val`, `held_out` at the end of each pass: the score by document completion in nats per
        word, with halves drawn from `random_state`. With ``max_iter="auto"``, the
        `training_score` by which it stops. `fastvi.plots.plot_history` draws it.
    vocabulary_ : list of str
        The words of a model that `fastvi.load` read; `top_words` and `save` use it.
    {n_features_in_}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import LatentDirichletAllocation
    >>> X = np.array([[5, 4, 0, 0], [4, 5, 0, 1], [0, 0, 5, 4], [0, 1, 4, 5]])
    >>> lda = LatentDirichletAllocation(n_components=2, random_state=0).fit(X)
    >>> topic = lda.transform(X).argmax(axis=1)
    >>> bool(topic[0] == topic[1] != topic[2] == topic[3])
    True
    """

    n_iter_: int
    n_batch_iter_: int
    bound_: float
    _n_seen: int | None = None  # documents so far; None in a stream of `total_samples`

    def __init__(
        self,
        n_components: int = 10,
        *,
        doc_topic_prior: Any = None,
        topic_word_prior: Any = None,
        solver: str = "auto",
        learning_method: str | None = None,
        learning_decay: float = LEARNING_DECAY,
        learning_offset: float | None = None,
        max_iter: int | str = "auto",
        batch_size: int | None = None,
        evaluate_every: int = -1,
        total_samples: float | None = None,
        perp_tol: float = 1e-1,
        mean_change_tol: float = 1e-3,
        max_doc_update_iter: int | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: RandomState = None,
        learn_doc_topic_prior: bool = False,
        learn_topic_word_prior: bool = False,
        optimizer: Optimizer | str | float | None = None,
        sampling: str = "uniform",
        variance_reduction: Reduction | str | None = None,
        trace_noise: bool = False,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.doc_topic_prior = doc_topic_prior
        self.topic_word_prior = topic_word_prior
        self.solver = solver
        self.learning_method = learning_method
        self.learning_decay = learning_decay
        self.learning_offset = learning_offset
        self.evaluate_every = evaluate_every
        self.total_samples = total_samples
        self.perp_tol = perp_tol
        self.mean_change_tol = mean_change_tol
        self.max_doc_update_iter = max_doc_update_iter
        self.learn_doc_topic_prior = learn_doc_topic_prior
        self.learn_topic_word_prior = learn_topic_word_prior

    # Fitting

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> None:
        bags = self._counts(X, reset=True)
        self._check_size(bags)
        n_topics = checks.integer(self.n_components, "n_components", 1)
        n_entries = len(bags.indices)
        name = self._solver() or choose_solver(n_entries, n_topics, tools_of(self))
        settings = self._settings(name, bags, self._seed(watching))
        perplexity = _Perplexity(self, bags, settings)
        n_passes, until_settled = passes_of(self.max_iter, "max_iter")
        training = train(
            settings,
            DocumentSource(*bags),
            n_passes,
            until_settled=until_settled,
            n_threads=self._n_threads,
            held_out=None if X_val is None else self._held_out(X_val, settings.seed),
            after_epoch=perplexity.after_epoch if perplexity.every > 0 else None,
            watching=watching,
            verbose=bool(self.verbose),
        )
        self._cached_model, self.history_ = training.model, training.model.history
        self._n_seen = len(bags.indptr) - 1
        self.converged_ = training.converged
        n_steps = len(self.history_["epoch"])
        self._keep(settings, training.model.alpha, training.model.eta, training.n_epochs, n_steps)
        if settings.solver == "vb" or "perplexity" in self.history_:
            self.elbo_ = training.model.bound(bags.parts, self._n_threads)
            self.bound_ = perplexity.of(self.elbo_)

    def _check_size(self, bags: Bags) -> None:
        """Refuse documents that are too few for this number of topics."""
        n_topics = checks.integer(self.n_components, "n_components", 1)
        total = bags.counts.sum(dtype=np.float64)
        if not total > 0:
            raise ValueError("every document is empty: X holds no counts above 0")
        if n_topics > total:
            raise ValueError(f"n_components is {n_topics}, more than the {total:g} tokens in X")

    def partial_fit(self, X: RowsLike, y: object = None) -> Self:
        """Take mini-batch steps on some documents of a stream.

        It continues from an earlier `fit` or `partial_fit`; a call that fails or is interrupted
        changes nothing. A batch of n documents after N others replaces the share 1.5 n / (N + n) of
        what was learned from those: streaming variational Bayes (Broderick et al. 2013) with a
        slowly fading memory, and with the local steps of "scvb0" for all solvers. The stream may be
        sorted. If `total_samples`, `learning_offset`, `learning_decay`, `optimizer`,
        `variance_reduction` or `trace_noise` is given, and with "svi" or "vb" unless it follows a
        `fit`, it takes the steps of a stream of `total_samples` documents instead: those of "svi"
        for "vb" and "svi", and of "scvb0" for the others. Settings are those of the first call,
        except for `n_jobs` and `total_samples`. `sampling` is ignored, because documents are seen
        once, and `variance_reduction` may not be "svrg", which needs all documents.

        Parameters
        ----------
        X : (n_documents, n_features) CSR matrix or array
            Counts.
        y : ignored

        Raises
        ------
        ValueError
            If a parameter or a count is out of its range, or `variance_reduction` is "svrg".
        """
        stream = self.__dict__.get("_stream")
        with tree.borrowed(stream and stream.state) as state:
            self._advance(X, state)
        return self

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
        state, history = solvers.fit(solver, 1, state)
        for name in ("_cached_model", "elbo_", "bound_", "converged_"):
            self.__dict__.pop(name, None)
        self._stream = _Stream(solver, state, marker)
        n_before = settings.n_seen if first else self._n_seen
        self._n_seen = None if n_before is None else n_before + n_rows
        n_iter = 1 if first else self.n_iter_
        self._keep(settings, state.alpha, state.eta, n_iter, n_steps + len(history))

    def _stream_settings(self, bags: Bags, first: bool) -> Settings:
        """Settings of `partial_fit`, which continues with the existing priors."""
        asked = self._solver() or choose_solver(0, 1, tools_of(self))
        name = "svi" if asked in ("vb", "svi") else "scvb0"
        settings = self._settings(name, bags, self._seed(Watching()))
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
        self.topic_word_prior_ = eta if np.ndim(eta) == 0 else eta[:, 0]

    def _held_out(self, X_val: RowsLike, seed: int) -> Any:
        counts = matrix(self._counts(X_val, reset=False))
        held_out = HeldOut.of(counts, np.random.default_rng(seed))
        if not held_out.n_scored > 0:
            raise ValueError("X_val has no words to score")
        return held_out

    # Settings and checks

    def _solver(self) -> str | None:
        """Return the requested solver, or None to choose one that suits the data."""
        solver = checks.choice(self.solver, "solver", ("auto", *SOLVERS))
        if self.learning_method is None:
            return None if solver == "auto" else solver
        method = checks.choice(self.learning_method, "learning_method", ("batch", "online"))
        named = "vb" if method == "batch" else "svi"
        if solver not in ("auto", named):
            raise ValueError(
                f"learning_method={method!r} means solver={named!r}, but solver is {solver!r}"
            )
        return named

    def _settings(self, solver: str, bags: Bags, seed: int) -> Settings:
        n_topics = checks.integer(self.n_components, "n_components", 1)
        eta: Any = self.topic_word_prior
        if np.ndim(eta) == 0:
            eta = float(checks.prior(eta, "topic_word_prior", 1, 1.0 / n_topics)[0])
        else:
            if self.learn_topic_word_prior:
                raise ValueError("learn_topic_word_prior needs a scalar topic_word_prior")
            eta = checks.prior(eta, "topic_word_prior", bags.n_words, 0.0)[:, None]
        decay = checks.number(self.learning_decay, "learning_decay", 0.5, 1.0, open_low=True)
        optional: dict[str, Any] = {}
        if self.learning_offset is not None:
            offset = checks.number(self.learning_offset, "learning_offset", 0.0)
            optional["learning_offset"] = offset
        for name in ("batch_size", "max_doc_update_iter"):
            if getattr(self, name) is not None:
                optional[name] = checks.integer(getattr(self, name), name, 1)
        return Settings(
            solver,
            alpha=checks.prior(self.doc_topic_prior, "doc_topic_prior", n_topics, 1.0 / n_topics),
            eta=eta,
            learn_alpha=bool(self.learn_doc_topic_prior),
            learn_eta=bool(self.learn_topic_word_prior),
            learning_decay=decay,
            mean_change_tol=checks.number(self.mean_change_tol, "mean_change_tol", 0.0),
            seed=seed,
            dtype=bags.counts.dtype.type,
            optimizer=self.optimizer,
            sampling=checks.choice(self.sampling, "sampling", SAMPLING),
            variance_reduction=self.variance_reduction,
            trace_noise=bool(self.trace_noise),
            **optional,
        )

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
        # A copy: on Python 3.11 scikit-learn returns the live dict.
        state: dict[str, object] = dict(super().__getstate__())
        state.pop("_stream", None)
        return state

    # Files

    def save(
        self, path: str | os.PathLike[str], *, vocabulary: Sequence[str] | None = None
    ) -> None:
        """Write the topics to a file that `fastvi.load` and the command line read.

        Parameters
        ----------
        path : path
        vocabulary : sequence of str, optional
            The words of the columns; by default `feature_names_in_` or `vocabulary_`, if any.

        Raises
        ------
        OSError
            If the file cannot be written; the old one is kept then.
        ValueError
            If `vocabulary` does not have one word per column.
        """
        model = self.topic_model()
        if vocabulary is not None:
            check_vocabulary(vocabulary, len(model.table), "vocabulary")
            model = replace(model, vocabulary=list(map(str, vocabulary)))
        info = {
            "n_documents": self._n_seen,
            "solver": self.solver_,
            "n_iter": self.n_iter_,
            "n_steps": self.n_batch_iter_,
            "settled": getattr(self, "converged_", None),
            "best_iter": getattr(self, "best_iter_", None),
            "held_out_log_likelihood": getattr(self, "best_score_", None),
            "feature_names": hasattr(self, "feature_names_in_") and vocabulary is None,
        }
        replace(model, info=info).save(path)


class _Perplexity:
    """Perplexity of the training data after every `evaluate_every` passes."""

    def __init__(
        self, estimator: LatentDirichletAllocation, bags: Bags, settings: Settings
    ) -> None:
        self.every = checks.integer(estimator.evaluate_every, "evaluate_every", -(10**9))
        self.tol = checks.number(estimator.perp_tol, "perp_tol", 0.0)
        self.bags, self.settings, self.n_threads = bags, settings, estimator._n_threads

    def of(self, bound: float) -> float:
        """Return exp(-bound per word); `bound` is that of all words, in nats."""
        with np.errstate(over="ignore"):
            return float(np.exp(-bound / self.bags.counts.sum(dtype=np.float64)))

    def after_epoch(
        self, params: TopicParameters, position: loop.Position, history: loop.History
    ) -> bool:
        """Record it if requested; return whether it has converged."""
        if position.epoch % self.every:
            return False
        known = [value for value in history.columns.get("perplexity", []) if value == value]
        bound = model_of(self.settings, params).bound(self.bags.parts, self.n_threads)
        history.note("perplexity", self.of(bound))
        return bool(known) and abs(known[-1] - self.of(bound)) < self.tol
