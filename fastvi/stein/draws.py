"""Draws, their scores and the kernel's metric, prepared for `fastvi.kernels.ksd`."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import AnyArray, ArrayLike, PointLike, RandomState
from fastvi.targets.base import Target, check_target

__all__ = [
    "KERNELS",
    "N_SAMPLE",
    "Metric",
    "Points",
    "Sampler",
    "draws_and_scores",
    "metric",
    "prepare",
]

KERNELS = ("imq", "rbf")
N_SAMPLE = 1000  # draws used for a median distance


class Metric(NamedTuple):
    """The distance of a kernel: r^2 = (x - y)' M (x - y).

    Attributes
    ----------
    kind : int
        The number of the kernel in `fastvi.kernels.ksd`.
    beta : float
        Exponent of the inverse multiquadric.
    bandwidth : float
        In the units of the preconditioner.
    root : (d, d) array or None
        Distances are those between rows x @ root; None for x / bandwidth.
    """

    kind: int
    beta: float
    bandwidth: float
    root: NDArray[np.float64] | None

    @property
    def uniform(self) -> float:
        """The factor if M is a multiple of the identity, else 0."""
        return self.bandwidth**-2 if self.root is None else 0.0


class Points(NamedTuple):
    """n draws of d numbers: X, W = M x, scores S, and their inner products (3, n)."""

    metric: Metric
    trace: float
    X: AnyArray
    W: AnyArray
    S: AnyArray
    own: AnyArray

    @property
    def diagonal(self) -> NDArray[np.float64]:
        """Each draw's u_p(x, x), (n,) float64."""
        factor = 1.0 if self.metric.kind else -2.0 * self.metric.beta
        scores = np.einsum("ij,ij->i", self.S, self.S, dtype=np.float64)
        return np.asarray(scores + factor * self.trace)


# Draws


def draws_and_scores(
    target: Target | None,
    draws: PointLike | Sampler,
    scores: ArrayLike | None,
    n_draws: int,
    rng: np.random.Generator,
    least: int,
) -> tuple[AnyArray, AnyArray]:
    """Return unconstrained draws (n, d) and scores (n, d), of one float type.

    Raises
    ------
    ValueError
        If they are not finite numbers of these shapes, there are fewer than `least`, or neither a
        target nor scores are given.
    TargetError
        If the target fails at a draw.
    """
    if target is not None:
        check_target(target)
    if isinstance(draws, Sampler):
        if scores is not None:
            raise ValueError("scores cannot be given when draws is a fit; wanted an array of draws")
        n = checks.integer(n_draws, "n_draws", least)
        # each particle at most once: no pair of draws may be one particle twice
        given: ArrayLike = draws.sample(draws.distinct(n), rng)
    elif isinstance(draws, Mapping):
        if target is None:
            raise ValueError("draws is a mapping, which needs a target that knows the constraints")
        given = target.parameters.unconstrain(draws)
    else:
        given = draws
    Z = _rows(given, "draws", None if target is None else target.dim)
    if len(Z) < least:
        raise ValueError(f"draws holds {len(Z)} draws; wanted at least {least}")
    if scores is not None:
        S = _rows(scores, "scores", None)
        if S.shape != Z.shape:
            raise ValueError(f"scores has shape {S.shape}; wanted that of the draws, {Z.shape}")
    elif target is None:
        raise ValueError("target and scores are None; wanted one of them")
    else:
        S = target.log_prob_and_grad(Z)[1]
    with np.errstate(over="ignore"):
        S = np.ascontiguousarray(S, Z.dtype)
    most = float(np.abs(S).max(initial=0.0))
    if not most <= _largest(Z):
        raise ValueError(f"scores are as large as {most:g}; their squares overflow {Z.dtype}")
    checks.rows_to_fit(Z, name="draws")
    return Z, S


def _largest(Z: AnyArray) -> float:
    """A number whose squares can be summed over such an array without overflow."""
    return 1e-3 * float(np.sqrt(np.finfo(Z.dtype).max / max(Z.size, 1)))


@runtime_checkable
class Sampler(Protocol):
    """Anything that can be sampled, such as a fit; see `fastvi.posteriors.approximation`."""

    def sample(self, n: int, random_state: RandomState = None) -> NDArray[np.float64]:
        """Draws (n, D)."""
        ...

    def distinct(self, n: int) -> int:
        """Number of n draws that can differ from each other."""
        ...


def _rows(array: ArrayLike, name: str, dim: int | None) -> AnyArray:
    """Return rows (n, d) in C order; float32 stays float32, all else becomes float64."""
    given = np.asarray(array)
    if given.dtype.kind not in "biuf" or given.ndim != 2 or given.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {given.shape} and dtype {given.dtype}; wanted numbers (n, d), "
            "one draw per row"
        )
    if dim is not None and given.shape[1] != dim:
        raise ValueError(
            f"{name} has {given.shape[1]} columns; wanted {dim}, the number of unconstrained "
            "parameters (pass constrained ones by name: {'sigma': (n,) array, ...})"
        )
    dtype = np.float32 if given.dtype == np.float32 else np.float64
    rows = np.require(given, dtype, ["C_CONTIGUOUS", "WRITEABLE"])
    if not np.isfinite(rows).all():
        i, j = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"{name} holds {rows[i, j]} in row {i}, column {j}; wanted finite numbers")
    return rows


# Distances


def metric(
    Z: AnyArray,
    kernel: str,
    beta: float,
    bandwidth: str | float,
    preconditioner: str | ArrayLike | None,
) -> Metric:
    """Build the metric from the user's arguments and draws (n, d).

    Raises
    ------
    ValueError
        If an argument is out of its range, or the draws have no spread.
    """
    kind = KERNELS.index(checks.choice(kernel, "kernel", KERNELS))
    if isinstance(beta, bool) or not isinstance(beta, Real) or not -1.0 < float(beta) < 0.0:
        raise ValueError(f"beta is {beta!r}; wanted a number > -1 and < 0")
    root = _root(Z, preconditioner)
    if isinstance(bandwidth, str):
        checks.choice(bandwidth, "bandwidth", ("median",))
        width = _median_distance(Z if root is None else Z @ root)
    else:
        width = checks.number(bandwidth, "bandwidth", 0.0, open_low=True)
    return Metric(kind, float(beta), width, root)


def _median_distance(X: AnyArray) -> float:
    """Median distance of at most 1000 evenly spaced draws, without pairs of equal draws."""
    from scipy.spatial.distance import pdist

    chosen = np.linspace(0, len(X) - 1, min(len(X), N_SAMPLE)).astype(np.int64)
    distances = pdist(np.asarray(X[chosen], np.float64))
    distances = distances[distances > 0]
    if not distances.size:
        raise ValueError("bandwidth is 'median', but all draws are equal; wanted a number")
    return float(np.median(distances))


def _root(Z: AnyArray, preconditioner: str | ArrayLike | None) -> NDArray[np.float64] | None:
    """Return R (d, d) such that R R' is the inverse of the preconditioner."""
    if preconditioner is None:
        return None
    n, d = Z.shape
    if isinstance(preconditioner, str):
        checks.choice(preconditioner, "preconditioner", ("covariance", "scale"))
        if preconditioner == "scale":
            spread = Z.std(axis=0, dtype=np.float64)
            if not spread.all():
                raise ValueError(
                    f"preconditioner is 'scale', but column {int(np.argmin(spread))} of draws has "
                    "no spread"
                )
            return np.diag(1.0 / spread)
        wide = np.atleast_2d(np.cov(np.asarray(Z, np.float64), rowvar=False)) if n > 1 else None
    else:
        wide = np.asarray(preconditioner)
        if wide.shape != (d, d) or wide.dtype.kind not in "iuf" or not np.isfinite(wide).all():
            raise ValueError(
                f"preconditioner has shape {wide.shape}; wanted None, 'covariance', 'scale' or a "
                f"positive definite ({d}, {d}) matrix of finite numbers"
            )
        if not np.allclose(wide, wide.T):
            raise ValueError("preconditioner is not symmetric")
    try:
        if wide is None or np.linalg.cond(wide) > 1e14:
            raise np.linalg.LinAlgError
        lower = np.linalg.cholesky(wide)
    except np.linalg.LinAlgError:
        raise ValueError(
            "preconditioner is not positive definite: "
            + (f"the covariance of {n} draws" if isinstance(preconditioner, str) else "the matrix")
        ) from None
    return np.asarray(np.linalg.inv(lower).T)


def prepare(Z: AnyArray, S: AnyArray, of: Metric) -> Points:
    """Prepare points (n, d) for the kernels.

    Raises
    ------
    ValueError
        If distances in this metric overflow the type.
    """
    dtype = Z.dtype
    centred = Z - Z.mean(axis=0, dtype=np.float64)  # so that products lose no digits
    with np.errstate(over="ignore", invalid="ignore"):
        if of.root is None:
            X = centred / of.bandwidth
            W, trace = X / of.bandwidth, Z.shape[1] / of.bandwidth / of.bandwidth
        else:
            root = of.root / of.bandwidth
            X = centred @ root
            W, trace = X @ root.T, float(np.square(root).sum())
        X, W = np.ascontiguousarray(X, dtype), np.ascontiguousarray(W, dtype)
    most = max(float(np.abs(X).max()), float(np.abs(W).max()))
    if not (most <= _largest(Z) and trace <= np.finfo(dtype).max):
        raise ValueError(
            f"bandwidth {of.bandwidth:g} is so small that distances of the draws overflow {dtype}; "
            "wanted a larger bandwidth or preconditioner"
        )
    own = [np.einsum("ij,ij->i", a, b) for a, b in ((X, X), (W, S), (W, W))]
    return Points(of, trace, X, W, S, np.array(own, dtype))
