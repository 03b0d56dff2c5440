"""Hidden Markov models with posteriors over all parameters, without scikit-learn.

The chain's posterior is exact given the others: the structured approximation of MacKay (1997) and
Beal (2003, chapter 3). Its weights are exp of the expected logs, whose sums are below 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.special import digamma, gammaln

from fastvi.base import tree
from fastvi.base.typing import Array, Tree
from fastvi.core import Batch, Coordinates, Local
from fastvi.models.sequences.chains import Expected, Weights
from fastvi.models.sequences.model import Rows, expected

__all__ = [
    "ChainPosterior",
    "ConjugateStates",
    "VariationalHiddenMarkov",
    "dirichlet_divergence",
    "expected_logs",
]


class ConjugateStates(Protocol):
    """States whose parameters have conjugate priors, in natural parameters."""

    prior: Tree

    def expected_coefficients(self, rows: Any, params: Any) -> Any:
        """Return what `Rows.weighed` takes for expected log densities."""

    def statistics(self, rows: Any, posterior: Array, params: Any, weight: float) -> Any:
        """Return expected statistics times a weight, in the form of the prior."""

    def divergence(self, params: Any) -> float:
        """Return the Kullback-Leibler divergence of the posterior from the prior, in nats."""


class ChainPosterior(NamedTuple):
    """Concentrations of Dirichlet posteriors (K,) and (K, K) [from, to], and those of states."""

    start: Array
    transitions: Array
    states: Tree


class VariationalHiddenMarkov:
    """The conjugate model of variational hidden Markov models; see `fastvi.core.Conjugate`.

    Parameters
    ----------
    states : ConjugateStates
    start_prior, transitions_prior : (K,) and (K, K) arrays
        Concentrations of Dirichlet priors; where they are 0, a chain never begins or goes.
    fitted : str
        "s" if the start is fitted, "t" if transitions are.
    """

    coordinates: Coordinates | None = None

    def __init__(
        self, states: ConjugateStates, start_prior: Array, transitions_prior: Array, fitted: str
    ) -> None:
        self.states, self.fitted = states, fitted
        self.prior = ChainPosterior(start_prior, transitions_prior, states.prior)

    def local(
        self,
        params: ChainPosterior,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Compute the chain's posterior and its expected statistics."""
        rows, found = self._expected(batch.rows, params)
        weight = float(batch.weights[0])  # the same for all sub-chains
        starts, pairs = weight * found.starts, weight * found.pairs
        statistics = ChainPosterior(
            starts if "s" in self.fitted else params.start - self.prior.start,
            pairs if "t" in self.fitted else params.transitions - self.prior.transitions,
            self.states.statistics(rows, found.posterior, params.states, weight),
        )
        return Local(statistics, weight * found.log_norm, None)

    def _expected(self, rows: Rows, params: ChainPosterior) -> tuple[Rows, Expected]:
        """Pass over the rows, with larger buffers if they have to grow (Foti et al. 2014)."""
        weights = Weights(
            np.exp(expected_logs(params.start)), np.exp(expected_logs(params.transitions))
        )
        before: Array | None = None
        while True:
            emissions = rows.weighed(self.states.expected_coefficients(rows, params.states))
            found = expected(rows.stream, weights, emissions)
            if rows.growth is None:
                return rows, found
            borders = rows.stream.at(found.posterior, rows.stream.borders)
            if before is not None and np.abs(borders - before).max() < rows.growth.tol:
                return rows, found
            before, rows = borders, rows.growth.wider()

    def global_bound(self, params: ChainPosterior) -> float:
        """Minus the Kullback-Leibler divergence of the parameters' posterior, in nats."""
        pairs = zip(
            np.vstack((params.start, params.transitions)),
            np.vstack((self.prior.start, self.prior.transitions)),
        )
        chain = sum(dirichlet_divergence(q, p) for q, p in pairs)
        return -chain - self.states.divergence(params.states)

    def confine(self, params: Tree, step: Tree) -> Tree:
        """Return the step, which with rates in [0, 1] never leaves the domain."""
        return step


def expected_logs(concentrations: Array) -> Array:
    """E[log p] of Dirichlet distributions along the last axis; -inf where concentrations are 0."""
    total = concentrations.sum(axis=-1, keepdims=True)
    some = concentrations > 0
    logs = digamma(np.where(some, concentrations, 1.0)) - digamma(total)
    return np.asarray(np.where(some, logs, -np.inf))


def dirichlet_divergence(q: Array, p: Array) -> float:
    """Kullback-Leibler divergence of Dirichlet(q) from Dirichlet(p), in nats; 0 where p is 0."""
    q, p = q[p > 0], p[p > 0]
    norm = gammaln(q.sum()) - gammaln(q).sum() - gammaln(p.sum()) + gammaln(p).sum()
    return float(norm + (q - p) @ expected_logs(q))


def unchanged(params: Tree, prior: Tree) -> Tree:
    """Return statistics with which a step of rate 1 leaves the parameters as they are."""
    return tree.map_leaves(np.subtract, params, prior)
