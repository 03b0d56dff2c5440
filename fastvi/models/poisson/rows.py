"""Local steps of Poisson factorization: row factors, given column factors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.typing import AnyArray
from fastvi.kernels import poisson as kernels
from fastvi.kernels.poisson import GammaPrior
from fastvi.models.counts import Parts, chunks_of

__all__ = ["Loadings", "LocalStep", "RowFactors"]


class RowFactors(NamedTuple):
    """q(theta_uk) = Gamma(shapes_uk, activity_u + loads_k), where activity is E[xi]."""

    shapes: AnyArray  # (D, K)
    activity: AnyArray  # (D,)
    loads: AnyArray  # (K,)

    @property
    def means(self) -> AnyArray:
        """E[theta], (D, K)."""
        return np.asarray(self.shapes / (self.activity[:, None] + self.loads))


class Loadings(NamedTuple):
    """What a local step needs to know about the column factors.

    Attributes
    ----------
    weights : (U, K padded) array
        exp(E[log beta]) up to a factor per column (`shift` is its log).
    shift : (U,) array
    sums : (K padded,) array
        Sums of E[beta] over all columns.
    prior : GammaPrior
        Prior of the row factors.
    n_components : int
    max_iter : int
    tol : float
    """

    weights: AnyArray
    shift: AnyArray
    sums: AnyArray
    prior: GammaPrior
    n_components: int
    max_iter: int
    tol: float

    def fit_rows(
        self,
        parts: Parts,
        row_weights: AnyArray,
        n_threads: int,
        start: RowFactors | None = None,
    ) -> LocalStep:
        """Fit row factors, from `start`, which is overwritten, or from scratch."""
        step = LocalStep(self, parts, row_weights, start)
        step.run(n_threads)
        return step


class LocalStep:
    """The arrays of one local step, and its tasks of about 1 ms.

    Attributes
    ----------
    factors : RowFactors
        Factors of the D rows.
    e : (D, K padded) array
    ratio : (N,) array
        A row's expected count in component k of entry n is ``ratio_n e_dk weights_nk``.
    sums : (K padded,) float64 array
        Weighted sums of E[theta].
    bounds : (D,) float64 array
        Each row's part of the ELBO, in nats.
    """

    def __init__(
        self, loadings: Loadings, parts: Parts, row_weights: AnyArray, start: RowFactors | None
    ) -> None:
        self.loadings, self.parts, self.row_weights = loadings, parts, row_weights
        indptr, _, counts = parts
        self.chunks = chunks_of(indptr, loadings.n_components)
        shape, dtype = (len(indptr) - 1, loadings.weights.shape[1]), loadings.weights.dtype
        self.start_loads = loadings.sums if start is None else start.loads
        if start is None:
            start = RowFactors(np.empty(shape, dtype), np.empty(shape[0], dtype), loadings.sums)
            kernels.start_rows(
                indptr, counts, loadings.prior, loadings.n_components, 0, shape[0],
                start.shapes, start.activity,
            )  # fmt: skip
        self.factors = start._replace(loads=loadings.sums)
        self.e, self.ratio = np.empty(shape, dtype), np.empty(len(counts), dtype)
        self.bounds = np.empty(shape[0])

    def run(self, n_threads: int) -> None:
        """Fit all rows."""
        given, factors, chunks = self.loadings, self.factors, self.chunks
        sums = np.zeros((len(chunks) - 1, len(given.sums)))

        def task(i: int) -> None:
            kernels.local_step(
                *self.parts, given.weights, given.shift, given.sums, self.start_loads,
                self.row_weights, given.prior, given.n_components, given.max_iter,
                given.tol * given.n_components, chunks[i], chunks[i + 1], factors.shapes,
                factors.activity, self.e, self.ratio, sums[i], self.bounds,
            )  # fmt: skip

        parallel.run(task, len(chunks) - 1, n_threads)
        self.sums = sums.sum(axis=0)
