"""Poisson matrix factorization as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastvi import loop, optimizers
from fastvi.base import checks, parallel, tree
from fastvi.base.bags import Bags
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array, DTypeLike, RandomState, RowsLike
from fastvi.batches import ShuffledEpochs
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.models.counts import DocumentSource, Parts, padded
from fastvi.models.files import Saved
from fastvi.models.kinds import CountEstimator, MeanScore
from fastvi.models.plan import SAMPLING, Plan, plan
from fastvi.models.poisson.model import Factors, Fitted, GammaPrior, PoissonFactors
from fastvi.models.poisson.ranking import largest_columns
from fastvi.models.poisson.rows import LocalStep

__all__ = ["PoissonFactorization"]

ROW_ITER = 20  # in a fit, in which the factors of columns keep changing
INFERENCE_ITER = 200  # for new rows
BATCH_SIZE = 256  # rows per step of `partial_fit`


class PoissonFactorization(MeanScore, CountEstimator):
    """Poisson matrix factorization with Gamma priors, for sparse counts.

    Counts are ``X[u, i] ~ Poisson(sum_k theta[u, k] beta[i, k])`` with ``theta[u, k] ~ Gamma(a,
    xi[u])`` and ``beta[i, k] ~ Gamma(c, eta[i])``. In the hierarchical model of Gopalan, Hofman and
    Blei (2015, "Scalable recommendation with hierarchical Poisson factorization") each row has its
    own activity ``1 / xi[u]`` and each column its own popularity ``1 / eta[i]``: ``xi[u] ~
    Gamma(a_prime, a_prime / b_prime)`` and ``eta[i] ~ Gamma(c_prime, c_prime / d_prime)``. The
    posterior is approximated by independent Gamma factors (their table 2), by coordinate ascent
    over all rows, in which the bound never falls except by rounding (about 1e-6 of it in float32),
    or by stochastic variational inference on mini-batches. Zeros cost nothing. Results have the
    same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=10
        Number of factors, K.
    a, c : float, default=0.3
        Shapes of the Gamma priors of row and column factors. Small shapes make factors sparse.
    b_prime, d_prime : float, default=1.0
        Prior means of their rates.
    a_prime, c_prime : float, default=0.3
        Shapes of the Gamma priors of the rates, which are learned for each row and column.
    hierarchical : bool, default=True
        If False, the rates are `b_prime` and `d_prime`. Steps on mini-batches then read only the
        columns of the batch, otherwise all.
    max_iter : int, default=200
        Largest number of passes over the rows.
    tol : float, default=1e-2
        Without `batch_size` the fit ends when the bound rises by less than this in a pass, in nats
        per row.
    {toolbox}
    max_row_iter : int, optional
        Largest number of iterations on a row's factors; by default 20 in a step of a fit and 200
        for new rows.
    row_tol : float, default=1e-3
        They end when the mean absolute change of a row's shapes, in counts, is below this.
    total_samples : float, optional
        Number of rows that `partial_fit` represents; by default those it has seen.
    random_state : int, RandomState or None, default=None
        Seed of the start and of the order of rows in mini-batches.
    warm_start : bool, default=False
        Start from the column factors of the last fit.
    {n_jobs}
    {verbose}

    Attributes
    ----------
    components_ : (n_components, n_features) array
        Posterior means of the column factors, E[beta] transposed.
    component_shapes_, component_rates_ : (n_components, n_features) arrays
        Shapes and rates of their Gamma posteriors.
    {elbo_}
    {history_}
    {n_iter_}
    {best_iter_}
    n_batch_iter_ : int
        Number of steps.
    {converged_}
    {n_features_in_}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import PoissonFactorization
    >>> X = np.array([[3, 2, 0, 0], [4, 3, 0, 0], [0, 0, 5, 2], [0, 0, 3, 3], [2, 0, 0, 0]])
    >>> model = PoissonFactorization(2, random_state=0).fit(X)
    >>> items, _ = model.recommend(X[-1:], 1)
    >>> items.tolist()
    [[1]]
    """

    _found: Fitted
    _n_seen: int
    _is_stream: bool  # a stream from scratch, not after a fit

    def __init__(
        self,
        n_components: int = 10,
        *,
        a: float = 0.3,
        a_prime: float = 0.3,
        b_prime: float = 1.0,
        c: float = 0.3,
        c_prime: float = 0.3,
        d_prime: float = 1.0,
        hierarchical: bool = True,
        max_iter: int = 200,
        tol: float = 1e-2,
        batch_size: int | None = None,
        optimizer: Optimizer | str | float | None = None,
        sampling: str = "uniform",
        variance_reduction: Reduction | str | None = None,
        trace_noise: bool = False,
        max_row_iter: int | None = None,
        row_tol: float = 1e-3,
        total_samples: float | None = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.a = a
        self.a_prime = a_prime
        self.b_prime = b_prime
        self.c = c
        self.c_prime = c_prime
        self.d_prime = d_prime
        self.hierarchical = hierarchical
        self.max_row_iter = max_row_iter
        self.row_tol = row_tol
        self.total_samples = total_samples

    # Fitting

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> None:
        bags = self._counts(X, reset=True)
        model = self._make_model(bags.n_words, bags.counts.dtype)
        tol = checks.number(self.tol, "tol", 0.0)
        source = DocumentSource(*bags)
        seed = self._seed(watching)
        if last is None:
            params = self._start(model, bags, source.n_rows, seed)
        else:
            last._check_form("warm_start", self, bags)
            params = last._found.parameters(model)
        fitted = self._ascend(
            model,
            source,
            params,
            watching,
            data=(*bags.parts, bags.n_words),
            held_out=None if X_val is None else self._held_out(model, X_val),
            tol=tol * source.n_rows,
            seed=seed,
            last=last,
        )
        self._found = Fitted(model, fitted.params)
        self.n_batch_iter_, self._n_seen = len(fitted.history["epoch"]), source.n_rows
        self._is_stream = False
        self._warn_unless_converged(fitted)

    def _held_out(self, model: PoissonFactors, X_val: RowsLike) -> Callable[[Factors], float]:
        parts = self._counts(X_val, reset=False, dtype=model.dtype).parts
        ones = np.ones(len(parts[0]) - 1)

        def score(params: Factors) -> float:
            found = Fitted(model, params._replace(shapes=model.lazy(params).shapes.dense()))
            loadings = found.loadings._replace(max_iter=self._row_iter(INFERENCE_ITER))
            return float(loadings.fit_rows(parts, ones, model.n_threads).bounds.mean())

        return score

    def partial_fit(self, X: RowsLike, y: object = None) -> Self:
        """Take mini-batch steps on some rows of a stream of `total_samples`.

        It continues from an earlier `fit` or `partial_fit`, and extends its `history_`, in which
        each call is an epoch. Steps take `batch_size` rows (256 by default), in an order drawn from
        `random_state`, without variance reduction and with uniform sampling. By default, steps
        after a `fit` to N rows have the rate n / (N + n t), so that new rows get their share.

        The first call, or the first after `fit` or unpickling, fixes the priors, `optimizer`,
        `max_row_iter`, `row_tol` of steps and `random_state`; later changes have no effect until
        the next `fit`. `n_components` and `hierarchical` must not change. `batch_size`,
        `total_samples` and `n_jobs` are those of each call.

        Parameters
        ----------
        X : (n_rows, n_features) CSR matrix or array
            Counts.
        y : ignored

        Raises
        ------
        ValueError
            If a parameter or a count is out of its range, or the existing factors have another
            number of components or value of `hierarchical`.
        """
        online = self.__dict__.get("_online")
        with tree.borrowed(online and online[2]) as state:
            self._advance(X, state)
        return self

    def _partial_fit(self, X: RowsLike, borrowed: Any) -> None:
        first = not self.__sklearn_is_fitted__()
        bags = self._counts(X, reset=first)
        if not first:
            self._check_form("partial_fit", self, bags)
        checks.choice(self.sampling, "sampling", SAMPLING)
        n_rows = len(bags.indptr) - 1
        seen = n_rows + (0 if first else self._n_seen)
        population = float(seen)
        if self.total_samples is not None:
            population = checks.number(self.total_samples, "total_samples", 1.0)
        batch_size = BATCH_SIZE if self.batch_size is None else self.batch_size
        batch_size = checks.integer(batch_size, "batch_size", 1)
        n_threads = self._n_threads
        source = DocumentSource(*bags)
        model, chosen, state, seed = self.__dict__.get("_online") or self._go_online(
            bags, source, population, batch_size, first
        )
        state = state if borrowed is None else borrowed
        model.n_threads = n_threads
        history = loop.History()
        if not first:
            history.columns = {key: column.tolist() for key, column in self.history_.items()}
        epoch = int(history.columns["epoch"][-1]) + 1 if len(history) else 0
        with parallel.single_threaded_blas():
            state, history = loop.run(
                chosen.algorithm, state, ShuffledEpochs(source, batch_size, seed, population),
                n_epochs=epoch + 1, rng=np.random.default_rng([seed, epoch]),
                position=loop.Position(epoch), history=history,
            )  # fmt: skip
        for name in ("elbo_", "converged_"):
            self.__dict__.pop(name, None)
        self._found, self._is_stream = Fitted(model, chosen.read(state)), first or self._is_stream
        self._online = model, chosen, state, seed
        self.history_ = history.arrays()
        self._n_seen, self.n_batch_iter_ = seen, len(history)
        self.n_iter_ = 1 if first else self.n_iter_

    def _go_online(
        self,
        bags: Bags,
        source: DocumentSource,
        population: float,
        batch_size: int,
        first: bool,
    ) -> tuple[PoissonFactors, Plan, Any, int]:
        """Return a model, a plan, its state and seed, from random or from existing factors."""
        model = self._make_model(bags.n_words, bags.counts.dtype)
        seed = self._seed(Watching())
        if first:
            params = self._start(model, bags, population, seed)
        else:
            params = self._found.parameters(model)
        batches = ShuffledEpochs(source, BATCH_SIZE, 0)
        optimizer, n_steps = self.optimizer, 0 if first else self.n_batch_iter_
        if optimizer is None and not (first or self._is_stream):
            # rows after a fit get their share, n / (N + n)
            n_batches = self._n_seen / min(batch_size, source.n_rows)
            optimizer, n_steps = optimizers.robbins_monro(n_batches, 1.0), 0
        chosen = plan(model, source, optimizer=optimizer, batches=batches)
        state = chosen.algorithm.init(chosen.begin(params))
        if isinstance(state.optimizer, int):
            state = state._replace(optimizer=state.optimizer + n_steps)
        return model, chosen, state, seed

    def _make_model(self, n_columns: int, dtype: DTypeLike) -> PoissonFactors:
        n_components = checks.integer(self.n_components, "n_components", 1)
        learnt = checks.flag(self.hierarchical, "hierarchical")
        low, high = checks.PRIOR_RANGE

        def prior(shape: str, rate: str, rate_shape: str) -> GammaPrior:
            given = [
                checks.number(getattr(self, name), name, low, high)
                for name in (shape, rate, rate_shape)
            ]
            return GammaPrior(given[0], given[1], given[2] if learnt else 0.0)

        return PoissonFactors(
            n_components,
            prior("a", "b_prime", "a_prime"),
            prior("c", "d_prime", "c_prime"),
            n_columns,
            max_iter=self._row_iter(ROW_ITER),
            tol=checks.number(self.row_tol, "row_tol", 0.0),
            dtype=dtype,
            n_threads=self._n_threads,
        )

    def _row_iter(self, default: int) -> int:
        if self.max_row_iter is None:
            return default
        return checks.integer(self.max_row_iter, "max_row_iter", 1)

    def _start(self, model: PoissonFactors, bags: Bags, n_rows: float, seed: int) -> Factors:
        scale = n_rows / (len(bags.indptr) - 1)
        sums = scale * np.bincount(bags.indices, bags.counts, bags.n_words)
        return model.start(sums, n_rows, np.random.default_rng(seed))

    def _check_form(self, what: str, asked: Self, bags: Bags) -> None:
        """Refuse to continue from factors of another form, beyond whose ends kernels would read."""
        n_components = checks.integer(asked.n_components, "n_components", 1)
        learned, last = checks.flag(asked.hierarchical, "hierarchical"), self._found
        if last.n_columns != bags.n_words or last.model.n_components != n_components:
            raise ValueError(
                f"{what} continues from {last.model.n_components} components of "
                f"{last.n_columns} columns; X and n_components ask for "
                f"{n_components} of {bags.n_words}"
            )
        if last.model.hierarchical != learned:
            raise ValueError(f"{what} continues from factors with another value of hierarchical")

    def _saved(self) -> dict[str, object]:
        return {
            "factors": self._found.params,
            "dtype": self._found.model.dtype.name,
            "n_seen": self._n_seen,
            "is_stream": self._is_stream,
        }

    def _restore(self, saved: Saved) -> None:
        k, self._dtype = checks.integer(self.n_components, "n_components", 1), saved.dtype()
        shape = saved.n_features, padded(k)
        shapes = saved.array("factors.shapes", *shape, dtype=self._dtype)
        model = self._make_model(saved.n_features, self._dtype)
        params = saved.tree("factors", model.prior._replace(shapes=shapes))
        if np.any(shapes[:, :k] <= 0) or np.any(params.rates[:k] < model.prior.rates[:k]):
            raise ValueError(f"{saved.path}: factors must hold numbers > 0")
        if model.hierarchical:
            saved.positive("factors.popularity", saved.n_features)
        self._n_seen = checks.integer(saved.values["n_seen"], f"{saved.path}: n_seen", 0)
        self._is_stream = checks.flag(saved.values["is_stream"], f"{saved.path}: is_stream")
        self._found = Fitted(model, params)

    # What was found

    def __getstate__(self) -> dict[str, object]:
        # A copy: on Python 3.11 scikit-learn returns the live dict.
        state: dict[str, object] = dict(super().__getstate__())
        state.pop("_online", None)
        return state

    @property
    def component_shapes_(self) -> AnyArray:
        """Shapes of the column factors, (n_components, n_features)."""
        return read_only(self._attribute("component_shapes_").shapes)

    @property
    def component_rates_(self) -> AnyArray:
        """Rates of the column factors, (n_components, n_features)."""
        return read_only(self._attribute("component_rates_").rates)

    @property
    def components_(self) -> AnyArray:
        """E[beta] transposed, (n_components, n_features)."""
        fitted = self._attribute("components_")
        return read_only(np.asarray(fitted.shapes / fitted.rates))

    def _attribute(self, name: str) -> Fitted:
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{name} is available only after fit")
        return self._found

    @property
    def _n_features_out(self) -> int:
        return self._found.model.n_components

    # New rows

    def transform(self, X: RowsLike) -> AnyArray:
        """Factors of rows, E[theta] given the fitted columns.

        Parameters
        ----------
        X : (n_rows, n_features) CSR matrix or array
            Counts. An empty row means zero counts in all columns.

        Returns
        -------
        (n_rows, n_components) array of the dtype of the fit
        """
        check_is_fitted(self)
        return self._means(self._counts(X, reset=False).parts)

    def _fit_rows(self, parts: Parts) -> LocalStep:
        loadings = self._found.loadings._replace(max_iter=self._row_iter(INFERENCE_ITER))
        return loadings.fit_rows(parts, np.ones(len(parts[0]) - 1), self._n_threads)

    def _means(self, parts: Parts) -> AnyArray:
        means = self._fit_rows(parts).factors.means
        return np.ascontiguousarray(means[:, : self._n_features_out])

    def inverse_transform(self, X: RowsLike) -> AnyArray:
        """Expected counts (n_rows, n_features) of rows with factors X (n_rows, n_components).

        Raises
        ------
        ValueError
            If X has another number of columns.
        """
        check_is_fitted(self)
        factors = np.asarray(X)
        if factors.ndim != 2 or factors.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has shape {factors.shape}; wanted (n_rows, {self._n_features_out})"
            )
        return np.asarray(factors @ self.components_)

    def score_samples(self, X: RowsLike) -> Array:
        """A lower bound on each row's log probability given the fitted columns, (n_rows,), in nats.

        It bounds log E[p(row | beta)] under the posterior of beta, with the row's factors
        integrated out.
        """
        check_is_fitted(self)
        return self._fit_rows(self._counts(X, reset=False).parts).bounds

    def recommend(
        self, X: RowsLike, n_items: int = 10, *, exclude_seen: bool = True
    ) -> tuple[NDArray[np.intp], AnyArray]:
        """Return the columns with the largest expected counts per row, best first.

        Parameters
        ----------
        X : (n_rows, n_features) CSR matrix or array
            Counts so far.
        n_items : int
            Number of columns per row.
        exclude_seen : bool
            Leave out columns in which the row has counts. A row with fewer than `n_items` others
            ends with -1, with expectation -inf.

        Returns
        -------
        (columns, expected counts), both (n_rows, n_items)
        """
        check_is_fitted(self)
        bags = self._counts(X, reset=False)
        n_items = checks.integer(n_items, "n_items", 1, bags.n_words)
        seen = bags if exclude_seen else None
        return largest_columns(self._means(bags.parts), self.components_, n_items, seen)
