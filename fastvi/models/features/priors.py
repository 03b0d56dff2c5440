"""Priors of how common features are: finite, or by stick-breaking."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from scipy.special import betaln, digamma

from fastvi.base.typing import Array

__all__ = ["PRIORS", "FinitePrior", "Shares", "SharesPrior", "StickPrior"]

ROUNDS = 10  # at most, of the sticks' coordinate ascent
SETTLED = 1e-10  # relative change of their parameters


class Shares(NamedTuple):
    """E[log pi_k], and a lower bound of E[log(1 - pi_k)], (J,) each."""

    on: Array
    off: Array


class SharesPrior(Protocol):
    """A prior of the shares pi_k of rows with feature k, through Beta distributions.

    Their parameters `betas` are (J, 2).
    """

    def __init__(self, alpha: float, n_features: int) -> None: ...

    def updated(self, betas: Array, usage: Array, n_rows: float) -> Array:
        """Return the best Beta distributions for expected numbers of rows `usage` (J,)."""
        ...

    def expected(self, betas: Array) -> Shares:
        """Return expected logs."""
        ...

    def means(self, betas: Array) -> Array:
        """E[pi], (J,)."""
        ...

    def divergence(self, betas: Array) -> float:
        """Return the Kullback-Leibler divergence of the posterior from the prior, in nats."""
        ...

    def drawn(self, betas: Array, rng: np.random.Generator) -> Shares:
        """Return the logs of shares drawn from the posterior, and of 1 minus these."""
        ...


class FinitePrior:
    """Independent pi_k ~ Beta(alpha / J, 1), whose limit is the Indian buffet process."""

    def __init__(self, alpha: float, n_features: int) -> None:
        self.first = alpha / n_features

    def updated(self, betas: Array, usage: Array, n_rows: float) -> Array:
        """See `SharesPrior`."""
        return np.column_stack((self.first + usage, 1.0 + n_rows - usage))

    def expected(self, betas: Array) -> Shares:
        """See `SharesPrior`."""
        logs = _expected_logs(betas)
        return Shares(logs[:, 0], logs[:, 1])

    def means(self, betas: Array) -> Array:
        """See `SharesPrior`."""
        return np.asarray(betas[:, 0] / betas.sum(axis=1))

    def divergence(self, betas: Array) -> float:
        """See `SharesPrior`."""
        return _divergence(betas, self.first)

    def drawn(self, betas: Array, rng: np.random.Generator) -> Shares:
        """See `SharesPrior`."""
        logs = _drawn_logs(betas, rng)
        return Shares(logs[:, 0], logs[:, 1])


class StickPrior:
    """Stick-breaking (Teh, Gorur and Ghahramani 2007): pi_k = v_1 ... v_k, v_k ~ Beta(alpha, 1).

    E[log(1 - pi_k)] is bounded by way of a distribution over which of v_1 ... v_k comes first
    (Doshi-Velez et al. 2009, section 4.2), at its best.
    """

    def __init__(self, alpha: float, n_features: int) -> None:
        self.alpha = alpha

    def updated(self, betas: Array, usage: Array, n_rows: float) -> Array:
        """See `SharesPrior`."""
        with_feature = np.cumsum(usage[::-1])[::-1]
        without = n_rows - usage
        for _ in range(ROUNDS):
            terms = _terms(betas)
            # q[k, m]: for the rows without k, which of the sticks m <= k ends it
            q = np.tril(np.exp(terms - np.logaddexp.accumulate(terms)[:, None]))
            ended = without @ q
            later = without @ (q.sum(axis=1, keepdims=True) - np.cumsum(q, axis=1))
            found = np.column_stack((self.alpha + with_feature + later, 1.0 + ended))
            change = np.max(np.abs(found / betas - 1.0))
            betas = found
            if change < SETTLED:
                break
        return betas

    def expected(self, betas: Array) -> Shares:
        """See `SharesPrior`."""
        off = np.logaddexp.accumulate(_terms(betas))
        return Shares(np.cumsum(_expected_logs(betas)[:, 0]), off)

    def means(self, betas: Array) -> Array:
        """See `SharesPrior`."""
        return np.cumprod(betas[:, 0] / betas.sum(axis=1))

    def divergence(self, betas: Array) -> float:
        """See `SharesPrior`."""
        return _divergence(betas, self.alpha)

    def drawn(self, betas: Array, rng: np.random.Generator) -> Shares:
        """See `SharesPrior`."""
        on = np.cumsum(_drawn_logs(betas, rng)[:, 0])
        return Shares(on, np.log(np.maximum(-np.expm1(on), np.finfo(float).tiny)))


PRIORS: dict[str, type[SharesPrior]] = {"finite": FinitePrior, "sticks": StickPrior}


def _expected_logs(betas: Array) -> Array:
    """E[log v] and E[log(1 - v)], (J, 2)."""
    return np.asarray(digamma(betas) - digamma(betas.sum(axis=1, keepdims=True)))


def _drawn_logs(betas: Array, rng: np.random.Generator) -> Array:
    """Logs of draws v and of 1 - v, (J, 2), by Gammas whose logs do not underflow."""
    logs = np.log(rng.gamma(betas + 1.0)) + np.log(rng.random(betas.shape)) / betas
    return np.asarray(logs - np.logaddexp(logs[:, :1], logs[:, 1:]))


def _terms(betas: Array) -> Array:
    """Terms of the bound of E[log(1 - pi_k)], which is the log of the sum of the first k."""
    logs = _expected_logs(betas)
    return np.asarray(logs[:, 1] + np.cumsum(logs[:, 0]) - logs[:, 0])


def _divergence(betas: Array, first: float) -> float:
    """Divergence of Beta distributions from Beta(first, 1)."""
    logs, less = _expected_logs(betas), betas - np.array([first, 1.0])
    return float(np.sum(less * logs) - np.sum(betaln(*betas.T)) + len(betas) * betaln(first, 1.0))
