"""The hierarchical Dirichlet process of topics as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np

from fastvi import optimizers
from fastvi.base import checks
from fastvi.base.bags import Bags
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import RandomState, RowsLike, Tree
from fastvi.batches import ShuffledEpochs
from fastvi.checkpoints import Watching
from fastvi.cluster.active import rows_placed
from fastvi.core import Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.loop import run
from fastvi.models.counts import DocumentSource
from fastvi.models.streaming import StreamingState, going_on
from fastvi.models.topics.fitted import MAX_ITER
from fastvi.models.topics.hdp_merges import merge
from fastvi.models.topics.hdp_model import HDP, HDPParameters
from fastvi.models.topics.hdp_scores import HDPScores, HDPStream
from fastvi.models.topics.held_out import HeldOut
from fastvi.models.topics.scores import matrix
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.solvers import one_quick_pass, random_topics

__all__ = ["HierarchicalDirichletProcess"]

DELAY = 64.0  # the start is good, so that first steps need not be long
FIXED = (  # by the first call of a stream
    "n_components", "concentration", "corpus_concentration", "topic_word_prior", "mean_change_tol",
    "max_doc_update_iter",
)  # fmt: skip
STREAM_ITER = 30  # iterations of a document of a stream, which is not seen again


class HierarchicalDirichletProcess(HDPScores):
    """Topics whose number comes from the data: a hierarchical Dirichlet process.

    The corpus has shares of infinitely many topics, by stick-breaking, and the proportions of each
    document are drawn around them (Teh, Jordan, Beal and Blei 2006). It is fitted online, by
    stochastic variational inference on mini-batches (Wang, Paisley and Blei 2011; Hoffman et al.
    2013), or by coordinate ascent over all documents. Corpus-wide sticks have Beta distributions,
    and documents have Dirichlet distributions over all topics with expected numbers of tables (Teh,
    Kurihara and Welling 2008) instead of sticks of their own, which makes the bound tighter and a
    step as fast as that of latent Dirichlet allocation. The fit starts with `n_components` topics,
    empties those that it does not need, and merges those that share what one could hold. Results
    have the same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=150
        Largest number of topics, at which the process is cut off.
    concentration : float, default=1.0
        How closely documents' proportions follow the shares in the corpus, alpha: the smaller it
        is, the fewer topics a document has.
    corpus_concentration : float, default=1.0
        Concentration of the shares, gamma: the larger it is, the more topics the corpus has.
    topic_word_prior : float, default=0.05
        Dirichlet prior of topics, eta: the smaller it is, the more topics are found.
    max_iter : int, default=20
        Largest number of passes over the documents.
    tol : float, default=1e-3
        Without `batch_size` the fit ends when the bound rises by less than this in a pass, in nats
        per document.
    batch_size : int, default=256
        Documents per mini-batch; with None, each step takes all documents.
    optimizer : float, str or fastvi.optimizers.Optimizer, optional
        Rates of the steps; by default (64 + t) ** -0.7, or 1 without `batch_size`. See
        `fastvi.LatentDirichletAllocation`.
    {sampling}
    {variance_reduction}
    {trace_noise}
    mean_change_tol : float, default=1e-3
        A document's update ends when the mean absolute change of its topic counts is below it.
    max_doc_update_iter : int, default=100
        Largest number of iterations of a document's update.
    merge : bool, default=True
        With mini-batches, merge pairs of topics at the end of the fit as long as the bound rises
        (Bryant and Sudderth 2012). Held-out scores of passes are those before.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the start and of the order of documents.
    warm_start : bool, default=False
        Start from the topics of the last fit.
    {n_jobs}
    {verbose}

    Attributes
    ----------
    n_topics_ : int
        Number of topics that hold at least one word of the corpus, in expectation.
    components_ : (n_topics_, n_features) array
        Dirichlet parameters of these topics, the largest topic first.
    topic_shares_ : (n_topics_,) array
        Their expected shares in the corpus, E[sigma].
    doc_topic_prior_ : (n_topics_,) array
        Prior of documents' proportions given these shares, with which `transform` and scores work.
    {found_by_steps}

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> rng = np.random.default_rng(0)
    >>> topics = np.kron(np.eye(4), np.full(10, 0.1))  # four, each with its own ten words
    >>> X = np.stack([rng.multinomial(50, rng.dirichlet(np.ones(4)) @ topics) for _ in range(200)])
    >>> hdp = fastvi.HierarchicalDirichletProcess(20, batch_size=32, max_iter=60, random_state=0)
    >>> int((hdp.fit(X).topic_shares_ > 0.1).sum())
    4
    """

    _over_shards = True

    def __init__(
        self,
        n_components: int = 150,
        *,
        concentration: float = 1.0,
        corpus_concentration: float = 1.0,
        topic_word_prior: float = 0.05,
        max_iter: int = 20,
        tol: float = 1e-3,
        batch_size: int | None = 256,
        optimizer: Optimizer | str | float | None = None,
        sampling: str = "uniform",
        variance_reduction: Reduction | str | None = None,
        trace_noise: bool = False,
        mean_change_tol: float = 1e-3,
        max_doc_update_iter: int = MAX_ITER,
        merge: bool = True,
        random_state: RandomState = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.concentration = concentration
        self.corpus_concentration = corpus_concentration
        self.topic_word_prior = topic_word_prior
        self.mean_change_tol = mean_change_tol
        self.max_doc_update_iter = max_doc_update_iter
        self.merge = merge

    # Fitting

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> None:
        bags = self._counts(X, reset=True)
        if not bags.counts.sum(dtype=np.float64) > 0:
            raise ValueError("every document is empty: X holds no counts above 0")
        model = self._make_model(bags)
        source = DocumentSource(*bags)
        seed = self._seed(watching)
        if last is None:
            table = one_quick_pass(self._quick(model, seed), source, self._n_threads).settled()
            params = model.start(table, source.n_rows)
        else:
            params = last._parameters_for(model, bags)
        fitted = self._ascend(
            model,
            source,
            params,
            watching,
            data=(*bags.parts, bags.n_words),
            held_out=None if X_val is None else self._held_out(model, X_val, seed),
            tol=checks.number(self.tol, "tol", 0.0) * source.n_rows,
            seed=seed,
            last=last,
            optimizer=self._optimizer(),
        )
        found = model.lazy(fitted.params)
        if checks.flag(self.merge, "merge") and self.batch_size is not None:
            with single_threaded_blas():
                found = merge(model, source, found, seed)
        self._kept = HDPParameters(found.table.settled(), found.sticks)
        self._prior = model.concentration, model.eta
        self._cached_model = self._read(self._in_use)
        self.n_batch_iter_, self._n_seen = len(fitted.history["epoch"]), rows_placed(source.n_rows)
        self._warn_unless_converged(fitted, "nats per document")

    def _optimizer(self) -> Optimizer | str | float | None:
        if self.optimizer is None and self.batch_size is not None:
            return optimizers.robbins_monro(DELAY)
        return self.optimizer

    def _make_model(self, bags: Bags, max_iter: int | None = None) -> HDP:
        low, high = checks.PRIOR_RANGE
        eta, alpha, gamma = (
            checks.number(getattr(self, name), name, low, high)
            for name in ("topic_word_prior", "concentration", "corpus_concentration")
        )
        limit = checks.integer(self.max_doc_update_iter, "max_doc_update_iter", 1)
        return HDP(
            checks.integer(self.n_components, "n_components", 1),
            eta,
            alpha,
            gamma,
            max_iter=limit if max_iter is None else min(limit, max_iter),
            tol=checks.number(self.mean_change_tol, "mean_change_tol", 0.0),
            dtype=bags.counts.dtype.type,
            n_threads=self._n_threads,
        )

    def _quick(self, model: HDP, seed: int) -> Settings:
        """Settings of the pass from which a fit starts."""
        alpha = np.full(model.n_topics, model.concentration / model.n_topics)
        return Settings("scvb0", alpha=alpha, eta=model.eta, seed=seed, dtype=model.dtype)

    def _held_out(self, model: HDP, X_val: RowsLike, seed: int) -> Callable[[HDPParameters], float]:
        counts = matrix(self._counts(X_val, reset=False))
        held_out = HeldOut.of(counts, np.random.default_rng(seed))
        if not held_out.n_scored > 0:
            raise ValueError("X_val has no words to score")

        def score(params: HDPParameters) -> float:
            return held_out.score(model.topics(params), False, model.n_threads)

        return score

    def partial_fit(self, X: RowsLike, y: object = None) -> Self:
        """Take a step on some documents of a stream, from scratch or after a `fit`.

        A batch of n documents after N others replaces the share 1.5 n / (N + n) of what was learned
        from those (streaming variational Bayes, Broderick et al. 2013, with a slowly fading
        memory). A call that fails or is interrupted changes nothing. Rates and tools of `fit` are
        not used. The number of topics and the priors must stay those of the first call.

        Parameters
        ----------
        {documents}

        Raises
        ------
        ValueError
            If a parameter or a count is out of its range, or a parameter must not change.
        """
        return self._go_on(X)

    def _partial_fit(self, X: RowsLike, state: Tree) -> None:
        first = not self.__sklearn_is_fitted__()
        bags = self._counts(X, reset=first)
        source = DocumentSource(*bags)
        n_steps = 0 if first else self.n_batch_iter_
        if state is None:
            model, seed = self._make_model(bags, STREAM_ITER), self._seed(Watching())
            model = replace(model, collapsed=True)  # or a word stays out of topics without it
            if first:
                table = random_topics(self._quick(model, seed), bags.n_words)
                start = model.start(table, source.n_rows)
            else:
                start = self._parameters_for(model, bags)
            state = StreamingState(start, 0 if first else 1, 0 if first else self._n_seen)
        else:
            self._refuse_changes(FIXED)
            model, _, seed = self._stream
        batches = ShuffledEpochs(source, self.batch_size or 256, seed + n_steps, "batch")
        chosen = going_on(model, batches, state.n_rows)
        with single_threaded_blas():
            rng = np.random.default_rng([seed, n_steps])
            state, history = run(chosen.algorithm, state, batches, n_epochs=1, rng=rng)
        for name in ("elbo_", "converged_", "_cached_model", "_kept"):
            self.__dict__.pop(name, None)
        self._stream, self._prior = HDPStream(model, state, seed), (model.concentration, model.eta)
        self.n_batch_iter_, self._n_seen = n_steps + len(history), int(state.n_rows)
        self.n_iter_ = 1 if first else self.n_iter_

    def _parameters_for(self, model: HDP, bags: Bags) -> HDPParameters:
        """Return a copy of what was found to continue from, if `model` and X suit it."""
        table, sticks = self._parameters
        if model.n_topics != len(sticks) + 1 or bags.n_words != len(table):
            raise ValueError(
                f"n_components is {model.n_topics} and X has {bags.n_words} columns; the topics to "
                f"continue from are {len(sticks) + 1}, of {len(table)} words"
            )
        return model.lazy(HDPParameters(table.astype(model.dtype), sticks.copy()))
