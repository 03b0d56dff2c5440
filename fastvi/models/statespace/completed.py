"""Rows that are partly missing, completed by what is expected of them; for noise that correlates.

Where the noise of features is independent, what is missing may be left out of each feature's
regression. Where it is not, a missing number is known better than its state is: with noise R, what
is there (o) says of what is missing (m) that it is C_m x + R_mo R_oo^-1 (y_o - C_o x), with
covariance R_mm - R_mo R_oo^-1 R_om (Shumway and Stoffer 1982, section 3, for features that are
missing in their own way).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.statespace.passes import Smoothed
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.system import Linear

__all__ = ["Completed", "completed"]


class Completed(NamedTuple):
    """Rows whose missing numbers are filled in, except for rows that are missing entirely.

    Attributes
    ----------
    rows : SequenceRows
        With expected values in the places of missing numbers.
    slopes : (P, D, K) array
        By what rows of a pattern move with their state: 0 for what is there.
    spreads : (P, K, K) array
        Sums of the states' covariances over rows of the patterns.
    noise : (D, D) array
        The sum of covariances of missing numbers given states and what is there.
    """

    rows: SequenceRows
    slopes: Array
    spreads: Array
    noise: Array

    @property
    def cross(self) -> Array:
        """What covariances add to the sum of E[row state'], (D, K)."""
        return np.asarray(np.matmul(self.slopes, self.spreads).sum(axis=0))

    def squares(self, loadings: Array) -> Array:
        """What covariances add to the sum of squared residuals, (D, D)."""
        away = loadings - self.slopes
        return np.asarray((away @ self.spreads @ away.swapaxes(1, 2)).sum(axis=0) + self.noise)


def completed(params: Linear, rows: SequenceRows, found: Smoothed) -> Completed:
    """Complete rows under a system whose noise is a matrix, given smoothed states."""
    k, d = len(params.mean), rows.n_features
    X, noise = rows.X.copy(), np.zeros((d, d))
    n_patterns = len(rows.patterns)
    slopes, spreads = np.zeros((n_patterns, d, k)), np.zeros((n_patterns, k, k))
    for p, there in enumerate(rows.patterns):
        if not there.any():
            continue
        some = rows.pattern == p
        spreads[p] = found.total(found.covariance, some.astype(np.float64))
        if there.all():
            continue
        gone, own = ~there, np.ix_(there, there)
        across = params.rows_noise[np.ix_(gone, there)]
        gain = np.linalg.solve(params.rows_noise[own], across.T).T
        left = params.rows_noise[np.ix_(gone, gone)] - gain @ across.T
        noise[np.ix_(gone, gone)] += np.count_nonzero(some) * 0.5 * (left + left.T)
        slopes[p, gone] = params.loadings[gone] - gain @ params.loadings[there]
        means = found.means[some] @ slopes[p, gone].T
        offsets = params.offsets[gone] - gain @ params.offsets[there]
        means += rows.constant[some] @ offsets.T + X[np.ix_(some, there)] @ gain.T
        X[np.ix_(some, gone)] = means
    return Completed(rows.completed(X), slopes, spreads, noise)
