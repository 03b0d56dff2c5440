"""Parameters, prior and posterior of Bayesian logistic regression."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coefficients", "Posterior", "Prior"]


class Coefficients(NamedTuple):
    """Natural parameters of the global factors, for P coefficients in G groups.

    More than two classes add an axis of classes to `precision_mean`; see `Multinomial`.

    ``q(w) = N(w | E[w], Lambda^-1)`` with ``Lambda = precision + diag(E[alpha])`` and
    ``Lambda E[w] = precision_mean``; ``q(alpha_g)`` is Gamma with rate `rates` and a known shape.
    """

    precision_mean: NDArray[np.float64]  # (P,) or (P, K)
    precision: NDArray[np.float64]  # (P, P)
    rates: NDArray[np.float64]  # (G,)


class Prior(NamedTuple):
    """Independent Gaussians with mean 0, and known or Gamma-distributed precisions.

    ``groups[j]`` is the number of the precision that coefficient j shares, or -1 if `fixed` (P,)
    holds its known precision. Each of the G precisions is Gamma(`shape`, `rate`).
    """

    fixed: NDArray[np.float64]
    groups: NDArray[np.int64]
    shape: float = 1e-6
    rate: float = 1e-6


class Posterior(NamedTuple):
    """q(w) in the form used by computations: mean, and covariance = root root' (P, P)."""

    mean: NDArray[np.float64]  # (P,) or (P, K)
    root: NDArray[np.float64]
    log_det: float  # of the precision
    inflation: float  # largest ratio of a coefficient's variance to its inverse precision

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the coefficients, (P, P)."""
        return self.root @ self.root.T

    @property
    def variances(self) -> NDArray[np.float64]:
        """Diagonal of the covariance, (P,)."""
        return np.asarray(np.square(self.root).sum(axis=1))
