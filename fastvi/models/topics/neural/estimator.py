"""Neural topic models as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from fastvi import loop
from fastvi.base import checks, parallel
from fastvi.base.bags import Bags
from fastvi.base.typing import AnyArray, Array, ArrayLike, RandomState, RowsLike, Tree
from fastvi.batches import NumberedRows, ShuffledEpochs
from fastvi.checkpoints import Callback, Watching
from fastvi.models.counts import DocumentSource
from fastvi.models.files import Saved, decoded
from fastvi.models.plan import Plan
from fastvi.models.topics import correlated_start
from fastvi.models.topics.correlated_fitted import single
from fastvi.models.topics.covariates import Covariates, CovariatesLike
from fastvi.models.topics.neural.fitted import NeuralTopics
from fastvi.models.topics.neural.inputs import Beside, Inputs
from fastvi.models.topics.neural.model import Documents, Networks, logistic_normal
from fastvi.models.topics.neural.scores import NeuralScores
from fastvi.models.topics.neural.training import Goal, State, read, training
from fastvi.models.topics.scores import refuse_few_tokens

__all__ = ["NeuralTopicModel"]

FORMS = ("mixture", "product")
FIXED = ("n_components", "form", "doc_topic_prior", "topic_word_prior", "hidden_layer_sizes")
DOC_PRIOR = 0.1
MOST_COLUMNS = 1_000_000  # of embeddings, in files


class _Stream(NamedTuple):
    """What the next `partial_fit` needs."""

    state: State
    seed: int


class NeuralTopicModel(NeuralScores):
    """Topics of documents, whose proportions a network infers: amortized variational inference.

    Proportions are ``softmax(z)``, where the prior of z is the Gaussian that Laplace's method makes
    of a Dirichlet distribution, and its approximate posterior is a Gaussian whose means and
    standard deviations an encoder makes of the document's words (Srivastava and Sutton 2017,
    "Autoencoding variational inference for topic models"). The encoder is trained on the evidence
    lower bound; it reads the words that documents have and no dense bags. Topics start from those
    of CVB0. Results have the same bits for any `n_jobs`.

    `fit` also takes embeddings of the documents, made by any language model, which the encoder
    reads beside the words (as in the contextualized topic models of Bianchi et al. 2021), and
    covariates, which shift the prior's means.

    Parameters
    ----------
    n_components : int, default=10
        Number of topics K.
    form : {{"mixture", "product"}}, default="mixture"
        ``"mixture"``: words come from the topics in their proportions, as in
        `LatentDirichletAllocation` (the paper's NVLDA). Topics follow natural gradients, by
        proportions that Newton's method has refined, and with each token's own share left out, as
        in CVB0. ``"product"``: chances of words are proportional to the exponential of a sum over
        topics (ProdLDA), which makes coherent topics where the vocabulary is small; a step takes
        time proportional to it.
    doc_topic_prior : float or (n_components,) array, default=0.1
        Dirichlet prior of topic proportions.
    topic_word_prior : float, optional
        Dirichlet prior of topics; by default learned by the fit of CVB0 from which this one starts.
    hidden_layer_sizes : sequence of int, default=(100, 100)
        Units of the encoder's hidden layers, whose activation is softplus.
    n_refinements : int, default=5
        Steps of Newton's method from the encoder's means to the mode of a document's posterior, in
        the mixture form: in the fit, for topics, and for new documents. With 0, the encoder alone
        is used, which predicts worse by some 0.1 nats per word.
    kl_warmup : float, default=5
        Passes in which the weight of the divergence from the prior rises from 0 to 1.
    learning_rate : float, default=2e-3
        Rate of Adam.
    max_iter : int, default=20
        Number of passes over the documents.
    batch_size : int, default=200
        Documents per step.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the start, of batches and of draws.
    {n_jobs}
    {verbose}

    Attributes
    ----------
    components_ : (n_components, n_features) array
        Expected counts of words in topics plus prior; with ``form="product"``, chances of words.
    doc_topic_prior_ : (n_components,) array
    topic_word_prior_ : float
        The prior used, or learned.
    elbo_ : float
        The evidence lower bound in the last pass, a mean over its steps, in nats of all documents,
        given the topics.
    history_ : dict of str to array
        What each step reported: epoch, seconds, rate; `local_elbo`, the batch's bound scaled to all
        documents, in nats; `kl`, the divergence from the prior in nats per document; with `X_val`,
        `held_out`, a document completion in nats per word.
    coef_ : (n_components, n_covariates) array
        What covariates add to log weights, per unit; log weights are determined up to a constant.
    covariate_names_ : list of str
        The columns of `coef_`.
    {n_iter_}
    {best_iter_}
    {n_batch_iter_}
    {n_features_in_}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import NeuralTopicModel
    >>> X = np.array([[5, 4, 0, 0], [4, 5, 0, 1], [0, 0, 5, 4], [0, 1, 4, 5]])
    >>> model = NeuralTopicModel(2, random_state=0).fit(X)
    >>> topic = model.transform(X).argmax(axis=1)
    >>> bool(topic[0] == topic[1] != topic[2] == topic[3])
    True
    """

    _shared = ("max_iter", "batch_size", "random_state", "n_jobs", "verbose")
    _n_seen: int
    _stream: _Stream
    n_batch_iter_: int

    def __init__(
        self,
        n_components: int = 10,
        *,
        form: str = "mixture",
        doc_topic_prior: float | Sequence[float] = DOC_PRIOR,
        topic_word_prior: float | None = None,
        hidden_layer_sizes: Sequence[int] = (100, 100),
        n_refinements: int = 5,
        kl_warmup: float = 5.0,
        learning_rate: float = 2e-3,
        max_iter: int = 20,
        batch_size: int = 200,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.form = form
        self.doc_topic_prior = doc_topic_prior
        self.topic_word_prior = topic_word_prior
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_refinements = n_refinements
        self.kl_warmup = kl_warmup
        self.learning_rate = learning_rate

    # Fitting

    def fit(
        self,
        X: RowsLike,
        y: object = None,
        *,
        covariates: CovariatesLike | None = None,
        embeddings: ArrayLike | None = None,
        X_val: RowsLike | None = None,
        covariates_val: CovariatesLike | None = None,
        embeddings_val: ArrayLike | None = None,
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
        y : ignored
        covariates : array (n_documents, n_covariates), data frame or dict of columns, optional
            Numbers, or strings for labels. Numbers are standardised.
        embeddings : (n_documents, n_columns) array, optional
            Numbers that the encoder reads beside the words; they should be of order 1.
        X_val, covariates_val, embeddings_val : as X, covariates and embeddings, optional
            Held-out documents; their document completion after each pass is
            ``history_["held_out"]``.
        {early_stopping}
        {watching}

        Raises
        ------
        ValueError
            If X, covariates or embeddings are invalid, a parameter is out of its range, or
            `checkpoint` belongs to another fit.
        """
        watching = Watching(callback, checkpoint, checkpoint_interval, resume, early_stopping)
        self._become(
            watching, X, Beside(covariates, embeddings), X_val,
            Beside(covariates_val, embeddings_val),
        )  # fmt: skip
        return self

    def fit_transform(
        self,
        X: RowsLike,
        y: object = None,
        *,
        covariates: CovariatesLike | None = None,
        embeddings: ArrayLike | None = None,
    ) -> AnyArray:
        """``fit(X, ...).transform(X, ...)`` with the same covariates and embeddings."""
        fitted = self.fit(X, covariates=covariates, embeddings=embeddings)
        return fitted.transform(X, covariates=covariates, embeddings=embeddings)

    def _fit(
        self,
        last: Self | None,
        watching: Watching,
        X: RowsLike,
        beside: Beside,
        X_val: RowsLike | None,
        beside_val: Beside,
    ) -> None:
        bags = self._counts(X, reset=True)
        self._inputs, documents = Inputs.learned(single(bags), beside)
        nets = self._networks(bags.n_words, None)
        refuse_few_tokens(bags, nets.n_topics)
        seed, score = self._seed(watching), None
        goal = self._goal(documents.n_rows, None)
        if X_val is not None:
            score = self._held_out(X_val, beside_val, seed)
        elif any(part is not None for part in beside_val):
            raise ValueError("covariates_val or embeddings_val is given without X_val")
        nets, params = self._start(nets, bags, seed)
        fitted = self._carry_out(
            self._plan(nets, documents, goal, seed),
            params,
            watching,
            data=(*bags.parts, bags.n_words, documents.data.extras, documents.data.design),
            held_out=None if score is None else partial(score, nets),
            settled=lambda history: False,
            seed=seed,
        )
        del self.converged_
        epoch, elbo = fitted.history["epoch"], fitted.history["local_elbo"]
        self.elbo_ = float(elbo[epoch == epoch[fitted.row]].mean())
        self.n_batch_iter_, self._n_seen = len(epoch), documents.n_rows
        self._noise_seed, self._found = seed, NeuralTopics(nets, fitted.params)
        self.doc_topic_prior_ = self._doc_prior

    @property
    def _doc_prior(self) -> Array:
        n_topics = checks.integer(self.n_components, "n_components", 1)
        return checks.prior(self.doc_topic_prior, "doc_topic_prior", n_topics, DOC_PRIOR)

    def _networks(self, n_words: int, topic_prior: float | None) -> Networks:
        """Return the form of the model, whose topics' prior may still have to be learned."""
        prior = self._doc_prior
        given = checks.optional_number(
            self.topic_word_prior, "topic_word_prior", *checks.PRIOR_RANGE
        )
        known = topic_prior if given is None else given
        return Networks(
            n_words, len(prior), hidden_sizes(self.hidden_layer_sizes), logistic_normal(prior),
            np.nan if known is None else known,
            checks.choice(self.form, "form", FORMS) == "product", self._inputs.n_embeddings,
            self._inputs.n_covariates,
        )  # fmt: skip

    def _start(self, nets: Networks, bags: Bags, seed: int) -> tuple[Networks, Tree]:
        """Return the model with its prior, and where a fit starts."""
        given = None if np.isnan(nets.topic_prior) else nets.topic_prior
        source = DocumentSource(*single(bags), bags.n_words)
        with parallel.single_threaded_blas():
            table, _, learned = correlated_start.uncorrelated(
                source, nets.n_topics, given, seed, self._n_threads
            )
        nets = self._networks(bags.n_words, learned)
        return nets, nets.start(table, np.random.default_rng(seed))

    def _goal(self, n_rows: int, n_before: int | None) -> Goal:
        batch_size = checks.integer(self.batch_size, "batch_size", 1)
        warmup = checks.number(self.kl_warmup, "kl_warmup", 0.0)
        return Goal(
            self._n_steps, checks.number(self.learning_rate, "learning_rate", 0.0, open_low=True),
            warmup * -(-n_rows // batch_size) if n_before is None else 0.0, n_before,
        )  # fmt: skip

    def _plan(self, nets: Networks, documents: Documents, goal: Goal, seed: int) -> Plan:
        n_batch = min(checks.integer(self.batch_size, "batch_size", 1), documents.n_rows)
        batches = ShuffledEpochs(NumberedRows(documents.n_rows), n_batch, seed)
        return training(nets, documents, batches, goal)

    def partial_fit(
        self,
        X: RowsLike,
        y: object = None,
        *,
        covariates: CovariatesLike | None = None,
        embeddings: ArrayLike | None = None,
    ) -> Self:
        """Take steps on further documents, each of them once, or fit the first ones.

        A batch of n documents after N others replaces the share 1.5 n / (N + n) of what topics have
        learned from those. The first call is a `fit`; its documents should be enough to find topics
        in. The first call after `fit`, copying or loading starts a new Adam. A call that fails or
        is interrupted changes nothing.

        Parameters
        ----------
        {documents}
        covariates, embeddings : as in fit
            Required if the fit had them.

        Raises
        ------
        ValueError
            If a parameter is out of its range or must not change, or X, covariates or embeddings
            are invalid.
        FloatingPointError
            If the bound is not finite.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X, covariates=covariates, embeddings=embeddings)
        return self._go_on(X, Beside(covariates, embeddings))

    def _partial_fit(self, X: RowsLike, state: Tree, beside: Beside) -> None:
        self._refuse_changes(FIXED)
        documents = self._inputs.documents(single(self._counts(X, reset=False)), beside)
        nets, params = self._found.nets, self._found.params
        seed = self._stream.seed if state is not None else self._noise_seed
        plan = self._plan(nets, documents, self._goal(documents.n_rows, self._n_seen), seed)
        if state is None:
            state = plan.algorithm.init(type(params)(*(part.copy() for part in params)))
        history = loop.History({k: v.tolist() for k, v in self.history_.items()})
        epoch = int(history.columns["epoch"][-1]) + 1
        with parallel.single_threaded_blas():
            state, history = loop.run(
                plan.algorithm, state, plan.batches, n_epochs=epoch + 1,
                rng=np.random.default_rng([seed, epoch]), position=loop.Position(epoch),
                history=history,
            )  # fmt: skip
        self.__dict__.pop("elbo_", None)
        self._stream, self.history_ = _Stream(state, seed), history.arrays()
        self._found = NeuralTopics(nets, read(state))
        self._n_seen += documents.n_rows
        self.n_batch_iter_ = len(history)

    # Files

    @classmethod
    def _decoded(cls, name: str, value: Any, saved: Saved) -> Any:
        found = decoded(name, value, saved)
        return tuple(int(size) for size in found) if name == "hidden_layer_sizes" else found

    def _saved(self) -> dict[str, object]:
        return {
            "params": self._found.params,
            "topic_prior": self._found.nets.topic_prior,
            "covariates": self._inputs.covariates.to_json(),
            "n_embeddings": self._inputs.n_embeddings,
            "noise_seed": self._noise_seed,
            "n_seen": self._n_seen,
            "dtype": self._dtype.name,
        }

    def _restore(self, saved: Saved) -> None:
        self._dtype, path = saved.dtype(), saved.path
        topic_prior = checks.number(
            saved.values["topic_prior"], f"{path}: topic_prior", *checks.PRIOR_RANGE
        )
        self._inputs = Inputs(
            Covariates.from_json(saved.values["covariates"], f"{path}: covariates"),
            checks.integer(saved.values["n_embeddings"], f"{path}: n_embeddings", 0, MOST_COLUMNS),
        )
        nets = self._networks(saved.n_features, topic_prior)
        self.doc_topic_prior_ = self._doc_prior
        self._found = NeuralTopics(nets, saved.tree("params", nets.template()))
        self._noise_seed = checks.integer(saved.values["noise_seed"], f"{path}: noise_seed", 0)
        self._n_seen = checks.integer(saved.values["n_seen"], f"{path}: n_seen", 1)


def hidden_sizes(given: Sequence[int]) -> tuple[int, ...]:
    """Return sizes of at least one hidden layer.

    Raises
    ------
    ValueError
        If the sequence is empty, or one of its sizes is not a positive integer.
    """
    if np.ndim(given) != 1 or not len(given):
        raise ValueError(
            f"hidden_layer_sizes is {given!r}; wanted the number of units of each hidden layer, "
            "such as (100, 100)"
        )
    return tuple(checks.integer(size, "a number in hidden_layer_sizes", 1) for size in given)
