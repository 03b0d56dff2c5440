"""Diagnostics from an approximation's own draws: its bound, and importance ratios."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.special import logsumexp

from fastvi.base.typing import Array, ArrayLike
from fastvi.posteriors.judged import Judged
from fastvi.posteriors.psis import Smoothed, psis
from fastvi.targets.failures import quiet

__all__ = ["N_DRAWS", "WithDensity"]

N_DRAWS = 1000  # draws for these figures


class WithDensity(Judged):
    """An approximation q with a density, and figures of 1000 draws from it.

    These figures see the target only where q has draws: they show how tight the bound is, not
    whether means and standard deviations are right; `verdict` judges that.
    """

    def log_prob(self, Z: ArrayLike) -> Array:
        """Log density (n,) of the approximation at Z (n, D), unconstrained, in nats."""
        raise NotImplementedError

    def _log_q(self, Z: Array) -> Array:
        """Log densities of `_draws`, which are given."""
        return self.log_prob(Z)

    def _draws(self) -> Array:
        """The draws used for these figures, the same each time."""
        return self.sample(N_DRAWS, np.random.default_rng([self._seed, 1]))

    @property
    def _standardised(self) -> Array:
        sd = self.sd  # 0 if a probability is 0 or 1; every draw then equals the mean
        return np.asarray((self._draws() - self.mean) / np.where(sd > 0, sd, 1.0))

    @cached_property
    def log_ratios(self) -> Array:
        """Log p(z) - log q(z) for 1000 draws z from q, in nats; -inf where p fails."""
        Z = self._draws()
        with quiet():
            values = self._target().attempt(Z, with_gradient=False)[0]
        return np.where(np.isfinite(values), values, -np.inf) - self._log_q(Z)

    @cached_property
    def _smoothed(self) -> Smoothed:
        return psis(self.log_ratios)

    @property
    def khat(self) -> float:
        """Pareto shape of the importance ratios of q's own draws (Yao et al. 2018).

        Above 0.7 the target has mass that q misses; below, q may still miss what no draw came near.
        """
        return self._smoothed.khat

    @property
    def elbo(self) -> float:
        """Evidence lower bound in nats; -inf if a draw has no density."""
        return float(np.mean(self.log_ratios))

    @property
    def elbo_error(self) -> float:
        """Standard error of `elbo` in nats; inf if a draw has no density."""
        if not np.all(np.isfinite(self.log_ratios)):
            return np.inf
        with np.errstate(over="ignore"):
            return float(np.std(self.log_ratios) / np.sqrt(len(self.log_ratios)))

    @property
    def log_evidence(self) -> float:
        """Log evidence by smoothed importance sampling from q alone, nats, if `khat` is small."""
        return self._smoothed.log_mean

    @property
    def bounds(self) -> tuple[float, float]:
        """Estimated lower (ELBO) and upper (chi, order 2) bounds on the log evidence (nats).

        The upper one is estimated from q's own draws, which may miss what would raise it.
        """
        n = len(self.log_ratios)
        return self.elbo, 0.5 * float(logsumexp(2.0 * self.log_ratios) - np.log(n))

    @property
    def shift(self) -> float:
        """Largest distance from the means of q to the means of its own draws, weighted by
        importance, in standard deviations of q.

        It does not see mass that q's draws miss; the verdict's figures do.
        """
        weights = np.exp(self._smoothed.log_weights)
        return float(np.max(np.abs(weights @ self._standardised), initial=0.0))

    @property
    def widening(self) -> float:
        """Largest ratio of an importance-weighted standard deviation of q's own draws to that of q.

        It does not see mass that q's draws miss; the verdict's figures do.
        """
        weights, draws = np.exp(self._smoothed.log_weights), self._standardised
        return float(np.sqrt(np.max(weights @ np.square(draws - weights @ draws), initial=0.0)))

    @property
    def efficiency(self) -> float:
        """Effective share of q's own draws, (sum w)^2 / (n sum w^2) for importance weights w.

        In (0, 1]; it is 1 where q has collapsed to a point, whatever the target.
        """
        log_w = self.log_ratios - self.log_ratios.max()
        weights = np.exp(log_w)
        return float(weights.sum() ** 2 / (len(weights) * np.square(weights).sum()))

    def _bound_in_words(self) -> str:
        n_without = int(np.count_nonzero(np.isneginf(self.log_ratios)))
        if n_without:
            share = f"{n_without} of {len(self.log_ratios)} draws"
            return f"{share} have no density, so there is no ELBO."
        return f"ELBO {_nats(self.elbo)} +- {_nats(self.elbo_error)} nats."


def _nats(x: float) -> str:
    return f"{x:.4f}" if abs(x) < 1e9 else f"{x:.6g}"
