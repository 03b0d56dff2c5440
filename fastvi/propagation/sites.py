"""Sites of a Gaussian vector: factors of its posterior, and the Gaussians that stand for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.sparse import csr_array, issparse

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, ArrayLike, Indices, RowsLike
from fastvi.propagation.tilted import Tilted

__all__ = ["Joint", "Likelihood", "Linear", "Matched", "Natural", "Sites", "joint", "linear"]

CHUNK = 1 << 20  # numbers of dense rows at a time
CONSTANT = 1e-20  # variance that factors of rows of zeros are given, at which they are constant

# (y, mean, cov, power) -> log Z, mean and covariance of N(mean, cov) p(y | x)^power.
JointMoments = Callable[[AnyArray, Array, Array, float], tuple[Array, Array, Array]]


class Natural(NamedTuple):
    """Gaussians exp(-x' precision x / 2 + shift' x), one for each site."""

    precision: Array  # (n, d, d)
    shift: Array  # (n, d)

    def moved(self, other: Natural, share: float | Array) -> Natural:
        """Go a share of the way to others."""
        share = np.asarray(share, np.float64)
        return Natural(
            self.precision + share.reshape(-1, 1, 1) * (other.precision - self.precision),
            self.shift + share.reshape(-1, 1) * (other.shift - self.shift),
        )


class Matched(NamedTuple):
    """Log integrals of factors under their cavities, and the sites that match their moments."""

    log_z: Array  # (n,)
    natural: Natural


class Likelihood(Protocol):
    """A factor of one number: probit and others of `fastvi.propagation`, or of your own."""

    def check(self, y: AnyArray) -> None:
        """Raise ValueError for parameters or data (n,) that have no probability."""
        ...

    def tilted(self, y: AnyArray, mean: Array, variance: Array, power: float = 1.0) -> Tilted:
        """Integrals of p(y | f)^power under N(mean, variance), and their derivatives."""
        ...


class Sites(Protocol):
    """Factors that depend on parts of x of the same length d."""

    n_sites: int
    dim: int  # of x
    width: int  # d

    def marginals(self, mean: Array, root: Array) -> tuple[Array, Array]:
        """Means (n, d) and covariances (n, d, d) of the parts under ``N(mean, root root')``."""
        ...

    def parts(self, site: int) -> Array:
        """Matrix (d, D) that maps x to the part of a site."""
        ...

    def sums(self, natural: Natural) -> tuple[Array, Array]:
        """Precision (D, D) and shift (D,) of the product of all sites."""
        ...

    def match(self, rows: Indices | slice, mean: Array, cov: Array, power: float) -> Matched:
        """Integrals of factors under cavities, and their sites."""
        ...

    def name(self, site: int) -> str:
        """What a site is called in messages."""
        ...


class _Named:
    """Names of sites, or their numbers."""

    names: Sequence[str] | None = None

    def name(self, site: int) -> str:
        """What a site is called in messages."""
        return f"site {site}" if self.names is None else f"site {site} ({self.names[site]})"


class Linear(_Named):
    """Factors of one linear combination of x each; made by `linear`."""

    width = 1

    def __init__(
        self, A: Array | csr_array, y: AnyArray, likelihood: Likelihood, names: Sequence[str] | None
    ) -> None:
        self.A: Any = A
        self.y, self.likelihood, self.names = y, likelihood, names
        self.n_sites, self.dim = A.shape

    def marginals(self, mean: Array, root: Array) -> tuple[Array, Array]:
        """See `Sites`."""
        variance = np.empty(self.n_sites)
        size = max(1, CHUNK // self.dim)
        for start in range(0, self.n_sites, size):
            spread = np.asarray(self.A[start : start + size] @ root)
            variance[start : start + size] = np.einsum("ij,ij->i", spread, spread)
        variance[variance == 0.0] = CONSTANT
        return np.asarray(self.A @ mean)[:, None], variance[:, None, None]

    def parts(self, site: int) -> Array:
        """See `Sites`."""
        row = self.A[[site]]
        return np.asarray(row.toarray() if issparse(row) else row, np.float64)

    def sums(self, natural: Natural) -> tuple[Array, Array]:
        """See `Sites`."""
        weights = natural.precision[:, 0, 0]
        if issparse(self.A):
            precision = (self.A.T @ self.A.multiply(weights[:, None]).tocsr()).toarray()
        else:
            precision = (self.A.T * weights) @ self.A
        return np.asarray(precision), np.asarray(self.A.T @ natural.shift[:, 0])

    def match(self, rows: Indices | slice, mean: Array, cov: Array, power: float) -> Matched:
        """See `Sites`."""
        mean, variance = mean[:, 0], cov[:, 0, 0]
        found = self.likelihood.tilted(self.y[rows], mean, variance, power)
        precision, shift = found.natural(mean, variance, power)
        return Matched(found.log_z, Natural(precision[:, None, None], shift[:, None]))


class Joint(_Named):
    """Factors of all of x; made by `joint`."""

    def __init__(
        self, y: AnyArray, dim: int, moments: JointMoments, names: Sequence[str] | None
    ) -> None:
        self.y, self.moments, self.names = y, moments, names
        self.n_sites, self.dim, self.width = len(y), dim, dim

    def marginals(self, mean: Array, root: Array) -> tuple[Array, Array]:
        """See `Sites`."""
        n, d = self.n_sites, self.dim
        return np.tile(mean, (n, 1)), np.broadcast_to(root @ root.T, (n, d, d)).copy()

    def parts(self, site: int) -> Array:
        """See `Sites`."""
        return np.eye(self.dim)

    def sums(self, natural: Natural) -> tuple[Array, Array]:
        """See `Sites`."""
        return natural.precision.sum(axis=0), natural.shift.sum(axis=0)

    def match(self, rows: Indices | slice, mean: Array, cov: Array, power: float) -> Matched:
        """See `Sites`."""
        log_z, centre, spread = self.moments(self.y[rows], mean, cov, power)
        if np.shape(centre) != mean.shape or np.shape(spread) != cov.shape:
            raise ValueError(
                f"moments returned means of shape {np.shape(centre)} and covariances of shape "
                f"{np.shape(spread)}; wanted {mean.shape} and {cov.shape}"
            )
        with np.errstate(all="ignore"):
            after, before = _inverse(spread), _inverse(cov)
        shift = np.einsum("nij,nj->ni", after, centre) - np.einsum("nij,nj->ni", before, mean)
        natural = Natural((after - before) / power, shift / power)
        return Matched(np.asarray(log_z, np.float64), natural)


def _inverse(matrices: Array) -> Array:
    """Inverses (n, d, d); NaN for matrices that are not finite or singular."""
    try:
        return np.asarray(np.linalg.inv(matrices))
    except np.linalg.LinAlgError:
        found = np.full(matrices.shape, np.nan)
        for i, matrix in enumerate(matrices):
            if np.isfinite(matrix).all() and np.linalg.matrix_rank(matrix) == len(matrix):
                found[i] = np.linalg.inv(matrix)
        return found


def linear(
    A: RowsLike,
    y: ArrayLike,
    likelihood: Likelihood,
    *,
    names: Sequence[str] | None = None,
) -> Linear:
    """Factors p(y | a' x), one for each row a of A.

    Parameters
    ----------
    A : (n, D) array or sparse matrix
    y : (n,) or (n, k) array
        What the likelihood takes as data of each factor.
    likelihood : Likelihood
        Of one number f = a' x: `probit`, `logit`, `poisson`, ``gaussian(noise)``,
        ``student(noise, df)``, ``ordinal(cuts)``, ``moments(function)`` or
        ``log_density(function)``, all in `fastvi.propagation`.
    names : sequence of str, optional
        Names of the factors, for messages.

    Returns
    -------
    Linear
        What `fastvi.ep` takes.

    Raises
    ------
    ValueError
        If A holds NaN or infinity, lengths differ, or the likelihood gives y no probability.

    Examples
    --------
    >>> import fastvi
    >>> from fastvi import propagation
    >>> A, y = [[1.0, 0.0], [1.0, 1.0]], [1, 0]
    >>> found = fastvi.ep(propagation.linear(A, y, propagation.probit), prior=(0.0, 1.0))
    >>> bool(found.mean[0] > 0 > found.mean[1])
    True
    """
    if not hasattr(likelihood, "tilted"):
        raise TypeError(
            f"likelihood is {likelihood!r}; wanted probit, gaussian(noise), "
            "log_density(function) or another of fastvi.propagation"
        )
    design = csr_array(A, dtype=np.float64) if issparse(A) else np.array(A, np.float64)
    if design.ndim != 2 or 0 in design.shape:
        raise ValueError(f"A has shape {np.shape(A)}; wanted (n, D), at least one row and column")
    numbers = design.data if issparse(design) else design
    if not np.isfinite(numbers).all():
        raise ValueError("A holds NaN or infinity; wanted finite numbers")
    n = design.shape[0]
    data = data_of(y, n)
    likelihood.check(data)
    return Linear(design, data, likelihood, names_of(names, n))


def joint(
    y: ArrayLike, dim: int, moments: JointMoments, *, names: Sequence[str] | None = None
) -> Joint:
    """Factors p(y | x) that depend on all D numbers of x, for small D.

    Parameters
    ----------
    y : (n,) or (n, k) array
        Data of each factor.
    dim : int
        D.
    moments : callable
        ``moments(y, mean, cov, power)`` with mean (m, D) and cov (m, D, D) returns, for each row,
        log Z (m,), means (m, D) and covariances (m, D, D) of ``N(mean, cov) p(y | x)^power / Z``.
    names : sequence of str, optional
        Names of the factors, for messages.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> from fastvi import propagation
    >>> def tilted(y, mean, cov, power):  # of y = x + N(0, 1), for one number x
    ...     total = cov[:, 0] + 1.0 / power
    ...     error = y[:, None] - mean
    ...     log_z = -0.5 * error[:, 0] ** 2 / total[:, 0] - 0.5 * np.log(2.0 * np.pi * total[:, 0])
    ...     return log_z, mean + cov[:, 0] / total * error, cov / power / total[:, None]
    >>> fastvi.ep(propagation.joint([2.0], 1, tilted), prior=(0.0, 1.0)).mean.round(4)
    array([1.])
    """
    n, dim = len(np.atleast_1d(y)), checks.integer(dim, "dim", 1)
    return Joint(data_of(y, n), dim, moments, names_of(names, n))


def data_of(y: ArrayLike, n: int) -> AnyArray:
    data = np.asarray(y, np.float64)
    if data.ndim == 0 or len(data) != n or n == 0:
        raise ValueError(f"y has shape {data.shape}; wanted data of {max(n, 1)} factors")
    if np.isnan(data).any():
        at = int(np.argwhere(np.isnan(data))[0][0])
        raise ValueError(f"y holds NaN for site {at}; wanted numbers")
    return data


def names_of(names: Sequence[str] | None, n: int) -> Sequence[str] | None:
    if names is not None and len(names) != n:
        raise ValueError(f"names has {len(names)} names; wanted {n}, one for each factor")
    return names
