"""Factors whose sites are members of an exponential family, and passes over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array, ArrayLike, Info
from fastvi.core import Algorithm, Batch
from fastvi.history import History
from fastvi.propagation.conjugate import Family
from fastvi.propagation.damping import LEAST, damped, halved, info
from fastvi.propagation.damping import State as StateOf
from fastvi.propagation.family_posterior import FamilyPosterior
from fastvi.propagation.sites import data_of, names_of

__all__ = ["Factors", "FamilyProblem", "Reading", "State", "factors"]


# (y, parameters, power) -> log Z and expected statistics of member(x) p(y | x)^power / Z.
FactorMoments = Callable[[AnyArray, Array, float], tuple[Array, Array]]


class Factors(NamedTuple):
    """Factors of x; made by `factors`."""

    y: AnyArray
    moments: FactorMoments
    names: Sequence[str] | None

    def name(self, site: int) -> str:
        """What a site is called in messages."""
        return f"site {site}" if self.names is None else f"site {site} ({self.names[site]})"


def factors(y: ArrayLike, moments: FactorMoments, *, names: Sequence[str] | None = None) -> Factors:
    """Factors p(y | x) of x with a Gamma or Dirichlet prior, given by their moments.

    Parameters
    ----------
    y : (n,) or (n, k) array
        Data of each factor.
    moments : callable
        ``moments(y, parameters, power)`` with the parameters (m, P) of members of the prior's
        family returns, for each row, log Z (m,) and the expectations (m, P) of the family's
        statistics under ``member(x) p(y | x)^power / Z``.
    names : sequence of str, optional
        Names of the factors, for messages.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> from fastvi import propagation
    >>> from scipy.special import digamma
    >>> def tilted(p, alpha, power):  # a mixture of known densities p with shares x
    ...     total = alpha.sum(axis=1, keepdims=True)
    ...     z = (alpha * p).sum(axis=1, keepdims=True)
    ...     return np.log(z / total)[:, 0], digamma(alpha) - digamma(total + 1.0) + p / z
    >>> p = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]
    >>> found = fastvi.ep(propagation.factors(p, tilted), propagation.dirichlet(np.ones(2)))
    >>> bool(found.mean[0] > 0.5)
    True
    """
    n = len(np.atleast_1d(np.asarray(y)))
    return Factors(data_of(y, n), moments, names_of(names, n))


class Reading(NamedTuple):
    """The posterior that sites make, the evidence, and the sites that match moments."""

    eta: Array  # (P,)
    evidence: float
    matched: Array  # (n, P)
    failed: list[int]


State = StateOf[Array, Reading]  # sites (n, P), marginals (P,)


class FamilyProblem:
    """A prior times factors, whose posterior is approximated in the prior's family."""

    def __init__(self, family: Family, group: Factors, power: float) -> None:
        self.family, self.group, self.power = family, group, power
        self.prior = family.natural

    def read(self, sites: Array, marginal: Array | None = None) -> Reading | None:
        """What these sites amount to; None if the posterior or `marginal` is improper.

        Cavities are those of `marginal` (P,), by default the posterior, without a site each.
        """
        family = self.family
        eta = self.prior + sites.sum(axis=0)
        if not family.is_proper(eta[None])[0]:
            return None
        marginal = eta if marginal is None else marginal
        if not family.is_proper(marginal[None])[0]:
            return None
        cavities = marginal - self.power * sites
        usable = family.is_proper(cavities)
        matched, rows = sites.copy(), np.flatnonzero(usable)
        own, prior, seen = family.log_normaliser(np.stack((eta, self.prior, marginal)))
        evidence = float(own - prior)
        if len(rows):
            cavity = cavities[rows]
            log_z, expected = self._moments(rows, cavity)
            matched[rows] = (family.matched(expected) - cavity) / self.power
            self._check(rows, log_z, matched[rows], cavity)
            parts = log_z + family.log_normaliser(cavity) - seen
            evidence += float(parts.sum()) / self.power
        failed = np.flatnonzero(~usable).tolist()
        return Reading(eta, np.nan if failed else evidence, matched, failed)

    def _moments(self, rows: AnyArray, cavity: Array) -> tuple[Array, Array]:
        parameters = self.family.parameters(cavity)
        log_z, expected = self.group.moments(self.group.y[rows], parameters, self.power)
        if np.shape(log_z) != (len(rows),) or np.shape(expected) != cavity.shape:
            raise ValueError(
                f"moments returned log Z of shape {np.shape(log_z)} and expectations of shape "
                f"{np.shape(expected)}; wanted {(len(rows),)} and {cavity.shape}"
            )
        return np.asarray(log_z, np.float64), np.asarray(expected, np.float64)

    def _check(self, rows: AnyArray, log_z: Array, matched: Array, cavity: Array) -> None:
        bad = np.flatnonzero(~(np.isfinite(log_z) & np.isfinite(matched).all(axis=1)))
        if len(bad):
            i = int(bad[0])
            shown = ", ".join(f"{x:.4g}" for x in self.family.parameters(cavity)[i, :4])
            raise ValueError(
                f"{self.group.name(int(rows[i]))}: no {self.family.name} distribution has the "
                f"expectations that moments returned (log Z is {log_z[i]:.6g}) for a cavity with "
                f"parameters [{shown}]; wanted those of a distribution that is not a point"
            )

    def parameters(self, state: State) -> Array:
        """The posterior's usual parameters, (P,)."""
        return np.asarray(self.family.parameters(state.reading.eta[None])[0])

    def posterior(
        self, state: State, history: History, method: str, settled: bool
    ) -> FamilyPosterior:
        """What `fastvi.ep` returns."""
        return FamilyPosterior(
            family=self.family,
            parameters=self.parameters(state),
            log_evidence=state.reading.evidence,
            sites=state.sites,
            failed=tuple(self.group.name(i) for i in state.reading.failed),
            settled=settled,
            n_iter=len(history),
            method=method,
            history=history.arrays(),
        )

    def moved(self, eta: Array, sites: Array, new: Array) -> float:
        """How far new sites move the posterior, in nats: to second order, a divergence."""
        return self.divergence(eta, eta + (new - sites).sum(axis=0))

    def divergence(self, eta: Array, there: Array) -> float:
        """Between two members (P,), in nats: half of the symmetric one of Kullback and Leibler."""
        if not self.family.is_proper(there[None])[0]:
            return np.inf
        away = self.family.expected(there[None]) - self.family.expected(eta[None])
        return 0.5 * float((there - eta) @ away[0])

    def parallel(self, damping: float | None) -> Algorithm:
        """All sites at once; a step that leaves no posterior or fewer cavities is halved."""

        def init(sites: Array) -> State:
            reading = self.read(sites)
            assert reading is not None
            return State(sites, reading, 1.0 if damping is None else damping, np.inf)

        def step(state: State, batch: Batch, rng: np.random.Generator) -> tuple[State, Info]:
            reading, share = state.reading, state.share
            change = self.moved(reading.eta, state.sites, reading.matched)
            if damping is None and np.isfinite(state.change):
                share = damped(share, change / max(state.change, LEAST))
            sites, new, share = halved(
                share, (state.sites, reading),
                lambda s: state.sites + s * (reading.matched - state.sites), self.read,
            )  # fmt: skip
            found = State(sites, new, share, change)
            return found, info(found)

        return Algorithm(init, step)

    def sequential(self, damping: float | None) -> Algorithm:
        """One site after another, each next to what the others have become."""
        share = 1.0 if damping is None else damping

        def step(state: State, batch: Batch, rng: np.random.Generator) -> tuple[State, Info]:
            sites, eta = state.sites.copy(), state.reading.eta.copy()
            for i in range(len(sites)):
                cavity = eta - self.power * sites[i]
                if not self.family.is_proper(cavity[None])[0]:
                    continue
                rows = np.array([i])
                log_z, expected = self._moments(rows, cavity[None])
                new = (self.family.matched(expected) - cavity) / self.power
                self._check(rows, log_z, new, cavity[None])
                after = eta + share * (new[0] - sites[i])
                if self.family.is_proper(after[None])[0]:
                    sites[i] += share * (new[0] - sites[i])
                    eta = after
            change = self.moved(state.reading.eta, state.sites, sites) / share**2
            reading = self.read(sites) or state.reading
            found = State(sites, reading, share, change)
            return found, info(found)

        return Algorithm(self.parallel(damping).init, step)
