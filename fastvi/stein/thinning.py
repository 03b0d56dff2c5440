"""Stein thinning: a representative subset of draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs
from fastvi.base.typing import AnyArray, ArrayLike, PointLike
from fastvi.stein.draws import N_SAMPLE, Metric, Points, Sampler, draws_and_scores, metric, prepare
from fastvi.targets.base import Target

__all__ = ["stein_thinning"]

CHUNK = 1 << 17  # numbers of the draws that a task visits
AT_ONCE = 512  # draws whose sums stay in a first-level cache
PRECONDITIONERS = ("med", "sclmed", "smpcov")


def stein_thinning(
    target: Target | None,
    draws: PointLike,
    n_points: int,
    *,
    scores: ArrayLike | None = None,
    preconditioner: str | ArrayLike = "sclmed",
    kernel: str = "imq",
    beta: float = -0.5,
    n_jobs: int | None = None,
) -> NDArray[np.int64]:
    """Choose draws, one after another, that together minimise the Stein discrepancy.

    Each choice minimises the discrepancy of all points chosen so far (Riabiz et al. 2022, eq. 4 and
    algorithm 1). Because scores show where the target has its mass, this leaves out burn-in and
    corrects bias of the sampler. A point may be chosen several times. Takes time O(n n_points d)
    and memory O(n d).

    Parameters
    ----------
    target, draws, scores, kernel, beta, n_jobs
        As in `fastvi.ksd`, except that draws must be an array or a mapping, since the result
        indexes them.
    n_points : int
        Number of points to choose.
    preconditioner : {"sclmed", "med", "smpcov"} or (d, d) array
        P in r^2 = (x - y)' P^-1 (x - y). With m the median distance between draws (at most 1000 of
        them), P is m^2 / log(min(n, 1000)) times the identity, m^2 times the identity, the
        covariance of the draws, or the given matrix.

    Returns
    -------
    (n_points,) int64 array
        Rows of `draws`, in the order of choice: the first k are the result for n_points=k.

    Raises
    ------
    ValueError, TargetError
        As `fastvi.ksd` does.

    References
    ----------
    Riabiz, Chen, Cockayne, Swietach, Niederer, Mackey and Oates (2022), "Optimal thinning of MCMC
    output", sections 2 and 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> draws = np.random.default_rng(0).normal(size=(200, 2))
    >>> chosen = fastvi.stein_thinning(None, draws, 5, scores=-draws)
    >>> draws[chosen].shape
    (5, 2)
    """
    n_points = checks.integer(n_points, "n_points", 1)
    n_threads = resolve_n_jobs(n_jobs)
    if isinstance(draws, Sampler):
        raise ValueError("draws is a fit; wanted an array of draws, whose rows the result indexes")
    rng = np.random.default_rng(0)  # unused, because draws are given
    Z, S = draws_and_scores(target, draws, scores, 1, rng, 1)
    return _thin(prepare(Z, S, _metric(Z, kernel, beta, preconditioner)), n_points, n_threads)


def _metric(Z: AnyArray, kernel: str, beta: float, preconditioner: str | ArrayLike) -> Metric:
    if not isinstance(preconditioner, str):
        return metric(Z, kernel, beta, 1.0, preconditioner)
    checks.choice(preconditioner, "preconditioner", PRECONDITIONERS)
    if preconditioner == "smpcov":
        return metric(Z, kernel, beta, 1.0, "covariance")
    if len(Z) == 1:  # only one choice
        return metric(Z, kernel, beta, 1.0, None)
    found = metric(Z, kernel, beta, "median", None)
    if preconditioner == "sclmed":
        scale = float(np.sqrt(np.log(min(len(Z), N_SAMPLE))))
        found = found._replace(bandwidth=found.bandwidth / scale)
    return found


def _thin(points: Points, n_points: int, n_threads: int) -> NDArray[np.int64]:
    from fastvi.base.parallel import run
    from fastvi.kernels import ksd

    n, d = points.X.shape
    of = points.metric
    W = points.W[:0] if of.uniform else points.W
    XT, WT, ST = (np.ascontiguousarray(array.T) for array in (points.X, W, points.S))
    width = min(n, max(256, CHUNK // d))
    starts = range(0, n, width)
    scratch = np.empty((len(starts), 4, min(width, AT_ONCE)), points.X.dtype)
    total = 0.5 * points.diagonal
    least = np.empty(len(starts), np.int64)
    chosen = np.empty(n_points, np.int64)
    chosen[0] = np.argmin(total)
    for k in range(1, n_points):

        def visit(task: int, new: int = int(chosen[k - 1])) -> None:
            start = starts[task]
            stop = min(n, start + width)
            least[task] = ksd.add_column(
                of.kind, of.beta, points.trace, of.uniform,
                XT, WT, ST, new, start, stop, scratch[task], total,
            )  # fmt: skip

        run(visit, len(starts), n_threads)
        chosen[k] = least[np.argmin(total[least])]
    return chosen
