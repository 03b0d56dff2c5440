"""Latent Dirichlet allocation as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from fastvi.base import checks
from fastvi.base.bags import Bags
from fastvi.base.typing import RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.cluster.active import lies_elsewhere, rows_placed
from fastvi.core import Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.models.counts import DocumentSource
from fastvi.models.topics.fitted import check_vocabulary
from fastvi.models.topics.held_out import HeldOut
from fastvi.models.topics.options import settings_of, solver_asked
from fastvi.models.topics.perplexity import Perplexity
from fastvi.models.topics.scores import matrix
from fastvi.models.topics.settings import LEARNING_DECAY, choose_solver, tools_of
from fastvi.models.topics.settling import passes_of
from fastvi.models.topics.stream import TopicStream
from fastvi.models.topics.training import train

__all__ = ["LatentDirichletAllocation"]


class LatentDirichletAllocation(TopicStream):
    """Latent Dirichlet allocation (Blei, Ng and Jordan 2003) by compiled variational inference.

    A drop-in replacement for ``sklearn.decomposition.LatentDirichletAllocation``. Results have the
    same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=10
        Number of topics K.
    doc_topic_prior : float or (n_components,) array, optional
        Dirichlet prior of topic proportions, alpha; by default 1 / n_components.
    topic_word_prior : float, (n_features,) or (n_components, n_features) array, optional
        Dirichlet prior of topics, eta; by default 1 / n_components. `fastvi.guided_prior` makes one
        from seed words of topics; "cvb" and "cvb0" need the same prior for all topics.
    solver : {"auto", "scvb0", "cvb0", "cvb", "svi", "vb"}, default="auto"
        ``"cvb0"``: collapsed variational Bayes, zeroth order (Asuncion et al. 2009), which reaches
        the best held-out score fastest; needs 2 bytes per entry and topic. ``"scvb0"``: its
        mini-batch form (Foulds et al. 2013), for streams and corpora of any size. ``"cvb"``: the
        second order (Teh, Newman and Welling 2007), closer to the collapsed bound and two to three
        times slower per pass; for comparison, since "cvb0" predicts better. ``"svi"``: stochastic
        variational inference (Hoffman et al. 2013). ``"vb"``: coordinate ascent, whose bound never
        falls except by rounding, about 1e-6 of it in float32. ``"auto"`` follows `learning_method`;
        otherwise it is ``"cvb0"`` up to 1 GiB of responsibilities and ``"scvb0"`` above, or
        ``"svi"`` if `optimizer`, `sampling`, `variance_reduction`, `trace_noise` or `structured` is
        given.
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
    structured : bool, default=False
        With "svi", draw the topics of each step from their distribution, instead of averaging their
        logarithms: structured stochastic variational inference (Hoffman and Blei 2015), whose bound
        is tighter, since documents' proportions may depend on the topics. Steps take longer.
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
    topic_word_prior_ : float or array
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
        With `structured` it is the structured bound, by eight draws of the topics.
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

    _over_shards = True

    bound_: float

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
        structured: bool = False,
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
        self.structured = structured
        self.learn_topic_word_prior = learn_topic_word_prior

    # Fitting

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> None:
        bags = self._counts(X, reset=True)
        n_topics = checks.integer(self.n_components, "n_components", 1)
        _check_size(bags, n_topics)
        asked = solver_asked(self.solver, self.learning_method)
        by_topic = np.ndim(self.topic_word_prior) == 2  # which "cvb0" does not support
        n_entries = None if by_topic else len(bags.indices)
        name = asked or choose_solver(n_entries, n_topics, tools_of(self))
        settings = settings_of(self.get_params(deep=False), name, bags, self._seed(watching))
        perplexity = Perplexity(bags, settings, self.evaluate_every, self.perp_tol, self._n_threads)
        n_passes, until_settled = passes_of(self.max_iter, "max_iter")
        training = train(
            settings,
            DocumentSource(*bags),
            n_passes,
            until_settled=until_settled,
            n_threads=self._n_threads,
            held_out=None if X_val is None else self._held_out(X_val, settings.seed),
            after_epoch=perplexity.hook,
            watching=watching,
            verbose=bool(self.verbose),
        )
        self._cached_model, self.history_ = training.model, training.model.history
        self._n_seen = rows_placed(len(bags.indptr) - 1)
        self.converged_ = training.converged
        n_steps = len(self.history_["epoch"])
        self._keep(settings, training.model.alpha, training.model.eta, training.n_epochs, n_steps)
        if lies_elsewhere():
            if settings.solver == "vb":
                self.elbo_ = float(self.history_["elbo"][-1])
        elif settings.solver == "vb" or "perplexity" in self.history_:
            self.elbo_ = perplexity.bound(training.model)
            self.bound_ = perplexity.of(self.elbo_)

    def _held_out(self, X_val: RowsLike, seed: int) -> HeldOut:
        counts = matrix(self._counts(X_val, reset=False))
        held_out = HeldOut.of(counts, np.random.default_rng(seed))
        if not held_out.n_scored > 0:
            raise ValueError("X_val has no words to score")
        return held_out

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


def _check_size(bags: Bags, n_topics: int) -> None:
    """Refuse documents that are too few for this number of topics."""
    total = bags.counts.sum(dtype=np.float64)
    if not total > 0:
        raise ValueError("every document is empty: X holds no counts above 0")
    if n_topics > total:
        raise ValueError(f"n_components is {n_topics}, more than the {total:g} tokens in X")
