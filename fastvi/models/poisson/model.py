"""Poisson factorization without scikit-learn: the conjugate model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.tables import Excerpt
from fastvi.base.typing import AnyArray, Array, DTypeLike, Indices
from fastvi.core import Batch, Coordinates, LazyTable, Local, RowStatistics
from fastvi.kernels import poisson as kernels
from fastvi.kernels.poisson import GammaPrior
from fastvi.kernels.responsibilities import document_norms, statistics
from fastvi.models.counts import Documents, chunks_of, confined, padded
from fastvi.models.poisson.rows import Loadings, LocalStep, RowFactors
from fastvi.models.poisson.scales import common_scale

__all__ = ["Factors", "Fitted", "GammaPrior", "PoissonFactors"]

TABLE_CHUNK = 50_000  # entries of a table per chunk, about 1 ms of special functions


class Factors(NamedTuple):
    """Natural parameters of the column factors, for I columns and K components (padded).

    q(beta_ik) = Gamma(shapes_ik, E[eta_i] + rates_k), since all columns share the same sums of
    E[theta]. q(eta_i) is Gamma with rate ``popularity_i`` and a known shape; without a hierarchy
    `popularity` is empty, and the known rate is part of `rates`.
    """

    shapes: Any  # LazyTable (I, K), or an array
    rates: Array  # (K,)
    popularity: Array  # (I,) or (0,)


class FactorExcerpt(NamedTuple):
    """Some columns of `Factors`, and the `sums` that `PoissonFactors.column_sums` finds of all."""

    shapes: Excerpt
    rates: Array
    popularity: Array
    sums: tuple[Array, Array]


class PoissonFactors:
    """The conjugate model of `fastvi.PoissonFactorization`: a local step on rows of counts.

    The rates of q(beta) depend on the expected factors of all rows, and those of q(theta) on the
    expected factors of all columns. The column rates eta are updated in closed form within the
    local step. The update depends only on `params`, so mini-batches add neither noise nor bias to
    it. It reads every column; without a hierarchy, a step costs only as much as the columns of the
    batch.

    Parameters
    ----------
    n_components : int
    rows, columns : GammaPrior
        Priors of theta and beta.
    n_columns : int
    max_iter : int
        Largest number of iterations of a row's local step.
    tol : float
        A local step ends when the mean absolute change of a shape, in counts, is below it.
    dtype : dtype
        float32 or float64.
    n_threads : int
        Threads to use; results do not depend on it.
    """

    def __init__(
        self,
        n_components: int,
        rows: GammaPrior,
        columns: GammaPrior,
        n_columns: int,
        *,
        max_iter: int = 100,
        tol: float = 1e-3,
        dtype: DTypeLike = np.float32,
        n_threads: int = 1,
    ) -> None:
        self.n_components = n_components
        self.rows, self.columns = rows, columns
        self.hierarchical = columns.rate_shape > 0
        self.max_iter, self.tol = max_iter, tol
        self.dtype = np.dtype(dtype)
        self.n_threads = n_threads
        popularity = np.empty(0)
        if self.hierarchical:
            popularity = np.full(n_columns, columns.rate_shape / columns.mean_rate)
        shared = 0.0 if self.hierarchical else columns.mean_rate
        rates = np.full(padded(n_components), shared)
        self.prior = Factors(np.asarray(columns.shape, self.dtype), rates, popularity)

    def start(self, counts: AnyArray, n_rows: float, rng: np.random.Generator) -> Factors:
        """Return initial parameters, from the sums (I,) of columns over `n_rows` rows.

        Shapes are the perturbed shares of columns; the product of theta and beta fits the mean
        count, and their scales are the best for identical rows.
        """
        n_columns, width = len(counts), padded(self.n_components)
        shapes = rng.gamma(100.0, 0.01, size=(n_columns, width)).astype(self.dtype)
        shapes *= (counts / self.n_components).astype(self.dtype)[:, None]
        shapes += self.prior.shapes
        columns = (counts + self.n_components * self.columns.shape) / n_rows  # if theta is 1
        scale = common_scale(
            self.rows, self.columns, self.n_components,
            np.array([self.n_components]), np.array([n_rows]), columns,
        )  # fmt: skip
        rates = self.prior.rates + n_rows * scale
        popularity = self.prior.popularity
        if self.hierarchical:
            popularity = popularity + columns / scale
        return Factors(LazyTable(shapes, self.prior.shapes), rates, popularity)

    def lazy(self, params: Factors) -> Factors:
        """Return parameters whose shapes are a `LazyTable`, unlike averages of iterates."""
        if isinstance(params.shapes, LazyTable):
            return params
        return params._replace(shapes=LazyTable(params.shapes, self.prior.shapes))

    def own_rates(self, popularity: Array, n_columns: int) -> Array:
        """E[eta] of columns; 0 without a hierarchy, when the known rate is in ``params.rates``."""
        if not self.hierarchical:
            return np.zeros(n_columns)
        shape = self.columns.rate_shape + self.n_components * self.columns.shape
        return np.asarray(shape / popularity)

    def excerpt(self, params: Factors) -> Callable[[Indices], FactorExcerpt]:
        """Return what makes excerpts for local steps on rows of some columns (U,)."""
        sums = self.column_sums(params)

        def of(columns: Indices) -> FactorExcerpt:
            popularity = params.popularity[columns] if self.hierarchical else params.popularity
            return FactorExcerpt(params.shapes.excerpt(columns), params.rates, popularity, sums)

        return of

    def column_sums(self, params: Any) -> tuple[Array, Array]:
        """Sums of E[beta] over columns (K,), and over components: (I,), or (0,) if not needed."""
        known: tuple[Array, Array] | None = getattr(params, "sums", None)
        if known is not None:
            return known
        if not self.hierarchical:
            return params.shapes.column_sums / params.rates, np.empty(0)
        return self._column_sums(params, params.shapes.dense())

    def _column_sums(self, params: Factors, table: AnyArray) -> tuple[Array, Array]:
        own, bounds = self.own_rates(params.popularity, len(table)), _table_chunks(table)
        sums = np.zeros((len(bounds) - 1, table.shape[1]))
        totals = np.empty(len(table))

        def task(i: int) -> None:
            kernels.column_means(
                table, own, params.rates, self.n_components, bounds[i], bounds[i + 1],
                sums[i], totals,
            )  # fmt: skip

        parallel.run(task, len(bounds) - 1, self.n_threads)
        return sums.sum(axis=0), totals

    def loadings(
        self,
        params: Factors,
        rows: Indices,
        sums: Array,
    ) -> Loadings:
        """Return the columns `rows` (U,) for local steps; `sums` as from `column_sums`."""
        values = params.shapes.read(rows)
        popularity = params.popularity[rows] if self.hierarchical else params.popularity
        own, bounds = self.own_rates(popularity, len(rows)), _table_chunks(values)
        shift = np.empty(len(values), values.dtype)

        def task(i: int) -> None:
            kernels.column_weights(
                values, own, params.rates, self.n_components, bounds[i], bounds[i + 1], shift
            )

        parallel.run(task, len(bounds) - 1, self.n_threads)
        return Loadings(
            values, shift, sums.astype(self.dtype), self.rows, self.n_components, self.max_iter,
            self.tol,
        )  # fmt: skip

    def local(
        self,
        params: Factors,
        batch: Batch,
        start: RowFactors | None,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Fit the factors of a batch of rows; see `fastvi.core.Conjugate`.

        The local variables are `RowFactors`.
        """
        documents: Documents = batch.rows
        sums, popularity = self.column_sums(params)
        given = self.loadings(params, documents.rows, sums)
        work = given.fit_rows(documents[:3], batch.weights, self.n_threads, start)
        lengths = self._norms(documents, work) if norms else None
        shapes = self._statistics(documents, batch.weights, work)
        return Local(
            Factors(RowStatistics(documents.rows, shapes), work.sums, popularity),
            float(work.bounds @ batch.weights),
            work.factors,
            lengths,
            float(popularity @ popularity),
        )

    def global_bound(self, params: Factors) -> float:
        """Columns' part of the ELBO at the best q(eta) for q(beta), in nats."""
        table = params.shapes.dense()
        own, bounds = self.own_rates(params.popularity, len(table)), _table_chunks(table)
        totals = self._column_sums(params, table)[1]
        parts = np.empty(len(bounds) - 1)

        def task(i: int) -> None:
            parts[i] = kernels.column_bound(
                table, own, params.rates, totals, self.columns, self.n_components,
                bounds[i], bounds[i + 1],
            )  # fmt: skip

        parallel.run(task, len(parts), self.n_threads)
        return float(parts.sum())

    def confine(self, params: Factors, step: Factors) -> Factors:
        """Clip a step so that shapes and popularities stay above priors, and rates above limits."""
        least = np.maximum(self.prior.rates, 0.1 * params.rates)
        return Factors(
            confined(params.shapes, step.shapes, self.prior.shapes),
            np.maximum(step.rates, least - params.rates),
            np.maximum(step.popularity, self.prior.popularity - params.popularity),
        )

    @property
    def coordinates(self) -> Coordinates:
        """Logarithms of all parameters."""
        return Coordinates(self._logarithms, self._exponentials, self._plain)

    def _logarithms(self, params: Factors) -> Factors:
        table = params.shapes.dense()
        return Factors(np.log(table, out=table), np.log(params.rates), np.log(params.popularity))

    def _exponentials(self, free: Factors) -> Factors:
        return self.lazy(Factors(*map(np.exp, free)))

    def _plain(self, params: Factors, natural: Factors) -> Factors:
        """Fisher matrix of each q(beta_ik) times the natural gradient, by the chain rule."""
        table = params.shapes.dense()
        own = self.own_rates(params.popularity, len(table))
        change = self.own_rates(params.popularity + natural.popularity, len(table)) - own
        shapes = np.zeros_like(table)
        rates, own_slopes = np.zeros(table.shape[1]), np.empty(len(table))
        kernels.plain_gradient(
            table, own, params.rates, natural.shapes, change, natural.rates, self.n_components,
            shapes, rates, own_slopes,
        )  # fmt: skip
        popularity = -own * own_slopes if self.hierarchical else params.popularity
        return Factors(shapes, rates * params.rates, popularity)

    def _norms(self, documents: Documents, work: LocalStep) -> Array:
        """Norm of each row's expected counts and factors, (D,)."""
        out = np.empty(documents.n_documents)
        indptr, words = documents[:2]
        chunks = chunks_of(indptr, self.n_components, passes=10)
        weights = work.loadings.weights

        def task(i: int) -> None:
            document_norms(
                indptr, words, weights, work.e, work.ratio, chunks[i], chunks[i + 1], out
            )

        parallel.run(task, len(chunks) - 1, self.n_threads)
        return np.asarray(np.hypot(out, np.linalg.norm(work.factors.means, axis=1)))

    def _statistics(self, documents: Documents, row_weights: AnyArray, work: LocalStep) -> AnyArray:
        """Overwrite weights with expected counts of the batch's columns in components."""
        columns, owners, entries = documents[4:]
        chunks = chunks_of(columns, self.n_components, passes=10)
        row_weights, weights = row_weights.astype(self.dtype), work.loadings.weights

        def task(i: int) -> None:
            statistics(
                columns, owners, entries, work.ratio, work.e, row_weights,
                chunks[i], chunks[i + 1], weights,
            )  # fmt: skip

        parallel.run(task, len(chunks) - 1, self.n_threads)
        return weights


class Fitted:
    """Fitted column factors: a model, and parameters whose shapes are an array."""

    def __init__(self, model: PoissonFactors, params: Factors) -> None:
        shapes = params.shapes
        if isinstance(shapes, LazyTable):
            shapes = shapes.settled()
        self.model, self.params = model, params._replace(shapes=shapes)

    def __getstate__(self) -> dict[str, object]:
        return {"model": self.model, "params": self.params}

    @property
    def n_columns(self) -> int:
        """Number of columns, I."""
        return len(self.params.shapes)

    def parameters(self, model: PoissonFactors) -> Factors:
        """Return a copy to step from, in the dtype of `model`."""
        shapes, rates, popularity = (part.copy() for part in self.params)
        return model.lazy(Factors(shapes.astype(model.dtype), rates, popularity))

    @property
    def shapes(self) -> AnyArray:
        """Of q(beta), (K, I)."""
        return np.array(self.params.shapes[:, : self.model.n_components].T)

    @property
    def rates(self) -> AnyArray:
        """Of q(beta), (K, I)."""
        own = self.model.own_rates(self.params.popularity, self.n_columns)
        rates = self.params.rates[: self.model.n_components, None] + own
        return np.asarray(rates, self.model.dtype)

    @cached_property
    def loadings(self) -> Loadings:
        """Return all columns, for new rows."""
        params, columns = self.model.lazy(self.params), np.arange(self.n_columns, dtype=np.int32)
        return self.model.loadings(params, columns, self.model.column_sums(params)[0])


def _table_chunks(table: AnyArray) -> NDArray[np.int64]:
    return parallel.split(np.arange(len(table) + 1), TABLE_CHUNK / table.shape[1])
