"""Sites of one latent number: a likelihood times a Gaussian cavity, and the Gaussian it leaves.

With a cavity N(m, v) and Z = integral of N(f; m, v) p(y | f)^power df, the tilted distribution has
the mean m + v d log Z / dm and the variance v + v^2 d^2 log Z / dm^2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.kernels import likelihoods, tilted

__all__ = [
    "Site",
    "Tilted",
    "gaussian",
    "logit",
    "ordinal",
    "poisson",
    "probit",
    "student",
]

NOTHING: Array = np.zeros(0)
LARGE = 1e300  # a cut point beyond all numbers


class Tilted(NamedTuple):
    """What the likelihood of n rows makes of their cavities.

    `by_first` and `by_second` are the means, under the tilted distribution, of the derivatives of
    log p(y | f) by parameters of the likelihood: d log Z is `power` times as much.
    """

    log_z: Array  # (n,) log Z
    slope: Array  # (n,) d log Z / dm
    curvature: Array  # (n,) its derivative by m
    by_first: Array  # (n,)
    by_second: Array  # (n,)

    def moments(self, mean: Array, variance: Array) -> tuple[Array, Array]:
        """Mean and variance of the tilted distribution, (n,) each, given those of the cavity."""
        return mean + variance * self.slope, variance * (1.0 + variance * self.curvature)

    def natural(self, mean: Array, variance: Array, power: float = 1.0) -> tuple[Array, Array]:
        """Precision and precision times mean of the Gaussian sites that match the moments.

        The site to the power `power`, times the cavity, has the tilted mean and variance. Computed
        without the difference of two precisions.
        """
        shrink = power * (1.0 + variance * self.curvature)
        return -self.curvature / shrink, (self.slope - mean * self.curvature) / shrink


class Site(NamedTuple):
    """A likelihood p(y | f) of one number: its kind in the kernel, and its parameters.

    Made by `probit`, `logit`, `student`, `poisson`, `ordinal` and `gaussian`.
    """

    kind: int
    numbers: Array = NOTHING  # those of all rows, or the cut points
    is_log_concave: bool = True

    def check(self, y: Array) -> None:
        """See `fastvi.propagation.sites.Likelihood`."""
        levels = self.kind == tilted.ORDINAL
        sizes = np.diff(np.atleast_1d(self.numbers)) if levels else self.numbers
        if self.numbers.ndim != 1 or not (np.all(sizes > 0) and np.all(np.isfinite(self.numbers))):
            name = "cuts" if levels else "parameters"
            wanted = "cut points that rise" if levels else "positive noise and df, one for all rows"
            raise ValueError(f"likelihood has {name} {self.numbers}; wanted {wanted}, all finite")
        if y.ndim != 1:
            raise ValueError(f"y has shape {y.shape}; wanted ({len(y)},) for this likelihood")
        bad, wanted = ~np.isfinite(y), "finite numbers"
        if levels:
            bad, wanted = ~np.isin(y, np.arange(len(self.numbers) + 1)), "levels 0, 1, ... by cuts"
        elif self.kind == tilted.POISSON:
            bad, wanted = bad | (y < 0) | (y != np.floor(y)), "counts"
        if bad.any():
            i = int(np.flatnonzero(bad)[0])
            raise ValueError(f"y holds {y[i]:g} in row {i}; wanted {wanted}")

    def tilted(self, y: Array, mean: Array, variance: Array, power: float | Array = 1.0) -> Tilted:
        """Integrals of the likelihood of y (n,), to powers > 0, with cavities N(mean, variance).

        Relative accuracy about 1e-10 of Z, for variances from 1e-12 to 1e12. Classes are y > 0 and
        others; `ordinal` takes levels 0, 1, ...
        """
        first, second = self._parameters(y)
        out = np.empty((5, len(y)))
        powers = np.broadcast_to(np.asarray(power, np.float64), len(y))
        y, mean, variance, powers = (
            np.ascontiguousarray(a, np.float64) for a in (y, mean, variance, powers)
        )
        tilted.tilted(self.kind, y, first, second, mean, variance, powers, out)
        return Tilted(*out)

    def _parameters(self, y: Array) -> tuple[Array, Array]:
        """The two parameters of each row as the kernel takes them."""
        if self.kind == tilted.ORDINAL:
            ends = np.concatenate(([-LARGE], self.numbers, [LARGE]))
            level = y.astype(np.int64)
            return ends[level], ends[level + 1]
        first, second = (*self.numbers, 0.0, 0.0)[:2]
        return np.full(len(y), float(first)), np.full(len(y), float(second))


probit = Site(likelihoods.PROBIT)  # Phi(f) if y > 0, else Phi(-f)
logit = Site(likelihoods.LOGIT)  # the logistic function instead
poisson = Site(tilted.POISSON)  # a count of mean exp(f)


def gaussian(noise: float) -> Site:
    """Numbers y that are f plus noise of this variance.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> from fastvi import propagation
    >>> rows = propagation.linear([[1.0]], [2.0], propagation.gaussian(1.0))
    >>> found = fastvi.ep(rows, prior=(0.0, 1.0))
    >>> found.mean.round(3), found.cov.round(3)
    (array([1.]), array([[0.5]]))
    """
    return Site(tilted.GAUSSIAN, np.array([noise]))


def student(noise: float, df: float) -> Site:
    """Numbers y that are f plus noise of Student's t: its squared scale and degrees of freedom.

    Examples
    --------
    >>> import fastvi
    >>> from fastvi import propagation
    >>> rows = propagation.linear([[1.0]] * 3, [0.9, 1.1, 50.0], propagation.student(0.1, 4.0))
    >>> bool(fastvi.ep(rows, prior=(0.0, 100.0)).mean[0] < 5.0)
    True
    """
    return Site(likelihoods.STUDENT, np.array([df * noise, df]), is_log_concave=False)


def ordinal(cuts: Array) -> Site:
    """Levels 0, 1, ...: how many of the rising `cuts` (L - 1,) lie below f plus N(0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> from fastvi import propagation
    >>> games = propagation.linear([[1.0, -1.0]], [2], propagation.ordinal(np.array([-0.5, 0.5])))
    >>> found = fastvi.ep(games, prior=(0.0, 1.0))  # the first player won
    >>> bool(found.mean[0] > found.mean[1])
    True
    """
    return Site(tilted.ORDINAL, np.asarray(cuts, np.float64))
