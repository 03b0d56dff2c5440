"""Kernel Stein discrepancies between draws and a target, and tests based on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs
from fastvi.base.typing import ArrayLike, DTypeLike, PointLike, RandomState
from fastvi.stein.draws import KERNELS, Points, Sampler, draws_and_scores, metric, prepare
from fastvi.stein.tiles import Sums, sweep
from fastvi.targets.base import Target

__all__ = ["Discrepancy", "KSDTest", "ksd", "ksd_test"]

STATISTICS = ("u", "v", "linear")


class Discrepancy(NamedTuple):
    """An estimate of the squared kernel Stein discrepancy of draws.

    Attributes
    ----------
    value : float
        The squared discrepancy. U-statistics and linear statistics are unbiased, so they may be
        negative.
    error : float
        Standard error of `value` for independent draws; nan for V-statistics, whose bias (the mean
        of u_p(x, x) over n) is as large, and for fewer than 3 draws (linear: 4).
    statistic, kernel : str
    bandwidth : float
        The bandwidth used, in the units of the preconditioner.
    n : int
        Number of draws.
    """

    value: float
    error: float
    statistic: str
    kernel: str
    bandwidth: float
    n: int

    @property
    def root(self) -> float:
        """The discrepancy itself: the square root of `value`, or 0 if that is negative."""
        return float(np.sqrt(max(self.value, 0.0)))

    def __str__(self) -> str:
        error = "" if np.isnan(self.error) else f" +- {self.error:.2g}"
        return (
            f"squared Stein discrepancy {self.value:.4g}{error} of {self.n} draws "
            f"({self.statistic}-statistic, {self.kernel} kernel, bandwidth {self.bandwidth:.3g})"
        )


def ksd(
    target: Target | None,
    draws: PointLike | Sampler,
    *,
    scores: ArrayLike | None = None,
    kernel: str = "imq",
    beta: float = -0.5,
    bandwidth: str | float = "median",
    preconditioner: str | ArrayLike | None = None,
    statistic: str = "u",
    n_draws: int = 1000,
    n_jobs: int | None = None,
    random_state: RandomState = None,
) -> Discrepancy:
    """Estimate the squared kernel Stein discrepancy between draws from any source and a target.

    It needs the target's scores at the draws, but neither its normalising constant nor draws from
    it. With the inverse multiquadric kernel it tends to 0 only if the draws converge to the target
    (Gorham and Mackey 2017); Gaussian kernels do not guarantee this in three or more dimensions.
    Scores do not show how mass is divided between well-separated modes.

    Parameters
    ----------
    target : Target or None
        A target with a gradient; None if `scores` are given.
    draws : (n, d) array, mapping of str to (n, *shape) array, or fit
        Unconstrained parameters, named parameters within their constraints, or anything with
        ``sample(n, rng)``, from which `n_draws` are drawn. float32 stays float32.
    scores : (n, d) array, optional
        Gradients of the log density at the draws, with respect to the unconstrained parameters.
    kernel : {"imq", "rbf"}
        (1 + r^2)^beta or exp(-r^2 / 2), where r = |x - y| / bandwidth. Up to a factor, the former
        is (c^2 + |x - y|^2)^beta with c = bandwidth.
    beta : float
        Exponent of the inverse multiquadric kernel, in (-1, 0).
    bandwidth : "median" or float
        The median distance between draws (at most 1000 of them). Use a number to compare the
        discrepancies of different sets of draws.
    preconditioner : None, "covariance", "scale" or (d, d) array
        r^2 = (x - y)' P^-1 (x - y) / bandwidth^2, where P is the identity, the covariance of the
        draws, its diagonal, or the given matrix. Useful for parameters of different scales.
    statistic : {"u", "v", "linear"}
        The mean of u_p over pairs of different draws; over all pairs (the squared discrepancy of
        Gorham and Mackey, never negative); or over disjoint pairs of neighbours, in linear time
        (Liu, Lee and Jordan 2016, eq. 17).
    n_draws : int
        Draws to take from a fit, at most as many as it has particles.
    n_jobs : int, optional
        Threads; the result does not depend on their number.
    random_state : int, RandomState, Generator or None
        Used for draws from a fit.

    Returns
    -------
    Discrepancy

    Raises
    ------
    ValueError
        If an argument is out of its range, or draws and scores are not finite arrays of matching
        shapes.
    TargetError
        If the target fails at a draw.

    References
    ----------
    Liu, Lee and Jordan (2016), "A kernelized Stein discrepancy for goodness-of-fit tests", eq. 14.
    Gorham and Mackey (2017), "Measuring sample quality with kernels", section 3.

    Examples
    --------
    >>> import numpy as np, fastvi
    >>> rng = np.random.default_rng(0)
    >>> good = rng.standard_normal((1000, 2))
    >>> fastvi.ksd(None, good, scores=-good).value < 0.01
    True
    >>> fastvi.ksd(None, good + 1.0, scores=-(good + 1.0)).value > 0.1
    True
    """
    checks.choice(statistic, "statistic", STATISTICS)
    n_threads = resolve_n_jobs(n_jobs)
    rng = checks.generator(random_state, "random_state")
    Z, S = draws_and_scores(target, draws, scores, n_draws, rng, 2)
    points = prepare(Z, S, metric(Z, kernel, beta, bandwidth, preconditioner))
    if statistic == "linear":
        value, error = _linear(points)
    else:
        value, error = _quadratic(points, sweep(points, n_threads), statistic)
    width = points.metric.bandwidth
    return Discrepancy(value, error, statistic, KERNELS[points.metric.kind], width, len(Z))


class KSDTest(NamedTuple):
    """Result of a test of the hypothesis that draws come from the target.

    Attributes
    ----------
    statistic : float
        Unbiased estimate of the squared discrepancy.
    p_value : float
        Probability of a statistic at least as large for draws from the target.
    rejected : bool
        Whether the p-value is at most `level`.
    level : float
    n : int
        Number of draws.
    replicates : (n_bootstrap,) array
        Replicates of the wild bootstrap; (0,) for the linear test.
    """

    statistic: float
    p_value: float
    rejected: bool
    level: float
    n: int
    replicates: NDArray[np.float64]

    def __str__(self) -> str:
        verdict = (
            "These are not draws from the target"
            if self.rejected
            else "No evidence against these being draws from the target"
        )
        return (
            f"{verdict}: squared Stein discrepancy {self.statistic:.4g} of {self.n} draws, "
            f"p = {self.p_value:.3g} (level {self.level:g})."
        )


def ksd_test(
    target: Target | None,
    draws: PointLike | Sampler,
    *,
    scores: ArrayLike | None = None,
    kernel: str = "imq",
    beta: float = -0.5,
    bandwidth: str | float = "median",
    preconditioner: str | ArrayLike | None = None,
    statistic: str = "u",
    n_bootstrap: int = 1000,
    level: float = 0.05,
    correlation: float = 0.0,
    n_draws: int = 1000,
    n_jobs: int | None = None,
    random_state: RandomState = None,
) -> KSDTest:
    """Test whether draws come from the target, by a wild bootstrap of the Stein discrepancy.

    Replicates multiply u_p(x_i, x_j) by signs w_i w_j; under the null hypothesis they have the
    distribution of the statistic itself (Chwialkowski, Strathmann and Gretton 2016, section 3;
    Leucht and Neumann 2013). If the draws are a Markov chain, so are the signs. The p-value is (1 +
    replicates at least as large) / (1 + n_bootstrap).

    Parameters
    ----------
    target, draws, scores, kernel, beta, bandwidth, preconditioner, n_draws, n_jobs
        As in `ksd`.
    statistic : {"u", "linear"}
        All pairs of draws with the bootstrap, or disjoint pairs of neighbours in linear time, whose
        mean is compared with a normal distribution. The latter has less power and requires
        independent draws.
    n_bootstrap : int
        Number of replicates.
    level : float
        In (0, 1): the rate at which draws from the target may be rejected.
    correlation : float
        Correlation of neighbouring signs, in [0, 1); 1 - 2 a in the paper, where a is the
        probability of a change. Use 0 for independent draws. For a Markov chain it should be well
        above the autocorrelation of the draws; thin the chain first until that is below 0.5.
    random_state : int, RandomState, Generator or None
        Used for the signs and for draws from a fit.

    Returns
    -------
    KSDTest
        Its `str` states the result in words.

    Raises
    ------
    ValueError, TargetError
        As `ksd` does.

    Examples
    --------
    >>> import numpy as np, fastvi
    >>> x = np.random.default_rng(0).standard_normal((300, 1)) + 0.5
    >>> fastvi.ksd_test(None, x, scores=-x, random_state=0).rejected
    True
    """
    checks.choice(statistic, "statistic", ("u", "linear"))
    n_bootstrap = checks.integer(n_bootstrap, "n_bootstrap", 1)
    level = checks.number(level, "level", 0.0, 1.0, open_low=True)
    correlation = checks.number(correlation, "correlation", 0.0, 1.0)
    if level == 1.0 or correlation == 1.0:
        raise ValueError(f"level is {level} and correlation {correlation}; wanted both below 1")
    if statistic == "linear" and correlation > 0.0:
        raise ValueError(
            f"correlation is {correlation}, but the linear statistic is for independent draws; "
            "wanted statistic='u'"
        )
    n_threads = resolve_n_jobs(n_jobs)
    rng = checks.generator(random_state, "random_state")
    least = 4 if statistic == "linear" else 2
    Z, S = draws_and_scores(target, draws, scores, n_draws, rng, least)
    points = prepare(Z, S, metric(Z, kernel, beta, bandwidth, preconditioner))
    if statistic == "linear":
        value, p_value = _normal_test(points)
        replicates = np.empty(0)
    else:
        sums = sweep(points, n_threads, _signs(len(Z), n_bootstrap, correlation, rng))
        n_pairs = len(Z) * (len(Z) - 1)
        value, replicates = float(sums.rows.sum()) / n_pairs, sums.signed / n_pairs
        p_value = _p_value(value, replicates, np.sqrt(sums.squares / n_pairs), Z.dtype)
    return KSDTest(value, p_value, p_value <= level, level, len(Z), replicates)


def _quadratic(points: Points, sums: Sums, statistic: str) -> tuple[float, float]:
    """Return the U-statistic and its standard error, or the V-statistic and nan."""
    n, total = len(points.X), float(sums.rows.sum())
    if statistic == "v":
        return (total + float(points.diagonal.sum())) / n**2, np.nan
    value = total / (n * (n - 1))
    if n < 3:
        return value, np.nan
    # Hoeffding (1948), eq. 5.18, with unbiased E[u12 u13] and E[u12^2]
    shared = (float(np.square(sums.rows).sum()) - sums.squares) / (n * (n - 1) * (n - 2))
    alone = sums.squares / (n * (n - 1))
    first, second = max(shared - value**2, 0.0), max(alone - value**2, 0.0)
    return value, float(np.sqrt((4 * (n - 2) * first + 2 * second) / (n * (n - 1))))


def _p_value(value: float, replicates: NDArray[np.float64], size: float, dtype: DTypeLike) -> float:
    """Share of replicates at least as large; those with all signs equal must count."""
    slack = 8.0 * float(np.finfo(dtype).eps) * size
    return (1 + int(np.count_nonzero(replicates >= value - slack))) / (1 + len(replicates))


def _linear(points: Points) -> tuple[float, float]:
    """Mean over disjoint pairs and its standard error."""
    from fastvi.kernels import ksd as kernels

    of, m = points.metric, len(points.X) // 2
    values, scratch = np.empty(m, points.X.dtype), np.empty((3, m), points.X.dtype)
    kernels.pairs(of.kind, of.beta, points.trace, points.X, points.W, points.S, scratch, values)
    exact = values.astype(np.float64)
    error = float(exact.std(ddof=1) / np.sqrt(m)) if m > 1 else np.nan
    return float(exact.mean()), error


def _normal_test(points: Points) -> tuple[float, float]:
    """Mean over disjoint pairs and its one-sided p-value."""
    from scipy.special import ndtr

    value, error = _linear(points)
    if error == 0.0:
        return value, float(value <= 0.0)
    return value, float(ndtr(-value / error))


def _signs(n: int, count: int, correlation: float, rng: np.random.Generator) -> NDArray[np.int8]:
    """Draw Markov chains (n, count) of signs with this correlation of neighbours."""
    signs = np.empty((n, count), np.int8)
    signs[:1] = 1 - 2 * rng.integers(0, 2, (min(n, 1), count), np.int8)
    rows = max(1, 10**6 // count)
    for start in range(1, n, rows):  # all of them in float32 would fill four matrices
        part = signs[start : start + rows]
        changed = rng.random(part.shape, np.float32) < 0.5 * (1.0 - correlation)
        np.multiply.accumulate(1 - 2 * changed.astype(np.int8), axis=0, out=part)
        part *= signs[start - 1]
    return signs
