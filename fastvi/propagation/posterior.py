"""What expectation propagation finds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, RandomState

__all__ = ["EPPosterior"]


class EPPosterior(NamedTuple):
    """A Gaussian approximation by expectation propagation; made by `fastvi.ep`.

    Attributes
    ----------
    mean : (D,) array
    cov : (D, D) array
    log_evidence : float
        The estimate of log Z, in nats; NaN if sites have failed.
    site_precisions, site_shifts : tuple of arrays
        For each group of factors, the sites ``exp(-f' precision f / 2 + shift' f)`` in the part f
        of x that they depend on: (n,) and (n,), or (n, D, D) and (n, D).
    failed : tuple of str
        Names of factors without a proper cavity at the end, whose sites are those of earlier
        passes.
    settled : bool
        Whether the passes converged, with no failed factors.
    n_iter : int
        Passes of the last method.
    method : str
        The method that found it: ``"double_loop"`` if the chosen one did not converge.
    history : dict of str to array
        What each pass reported: `seconds`, `log_evidence`, the `change` of the posterior in nats,
        `rate` (the share of the way that sites went), `n_failed`.
    """

    mean: Array
    cov: Array
    log_evidence: float
    site_precisions: tuple[Array, ...]
    site_shifts: tuple[Array, ...]
    failed: tuple[str, ...]
    settled: bool
    n_iter: int
    method: str
    history: dict[str, AnyArray]

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        return np.asarray(np.sqrt(np.diag(self.cov)))

    def sample(self, n: int, random_state: RandomState = None) -> Array:
        """Draw from the Gaussian, (n, D).

        Parameters
        ----------
        n : int
        random_state : int, RandomState, Generator or None
        """
        n = checks.integer(n, "n", 1)
        rng = checks.generator(random_state, "random_state")
        noise = rng.standard_normal((n, len(self.mean)))
        return np.asarray(self.mean + noise @ np.linalg.cholesky(self.cov).T)
