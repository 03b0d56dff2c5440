"""Gaussian processes in time with any likelihood: sites, the bound and its gradient, in O(T).

T different times, n rows, each at one of the times.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import temporal, temporal_evidence, temporal_slopes, temporal_small
from fastvi.models.gp.likelihood import Expectation, Likelihood, Values
from fastvi.models.gp.terms import StateSpace, TimeCovariance

__all__ = ["Bound", "Series", "TemporalModel", "TimeSites", "smoothed"]

MOST_STEPS = 100  # of the sites, for one evaluation of the bound
CLOSE = 1e-9  # change of the sites in standard deviations of f, at which they have settled
LEAST_RATE = 1e-3
LOG_2PI = float(np.log(2.0 * np.pi))
KEPT = 1 << 21  # numbers of predicted states that are kept for derivatives
NO_STATES = np.empty((0, 0)), np.empty((0, 0, 0))
NO_SLOTS = np.empty(0, np.int64)


class TimeSites(NamedTuple):
    """What rows say of f at their times (T,): exp(linear f - precision f^2 / 2)."""

    linear: Array
    precision: Array


class Series(NamedTuple):
    """Rows of a fit: different times (T,), which rise, and targets, weights and numbers of times.

    Without `number`, the rows are those of the times, in their order.
    """

    times: Array
    y: Array
    weights: Array
    number: NDArray[np.int64] | None

    @classmethod
    def of_rows(cls, times: Array, y: Array, weights: Array) -> Series:
        """Rows in any order, whose times may repeat."""
        if np.all(np.diff(times) > 0):
            return cls(times, y, weights, None)
        different, index = np.unique(times, return_inverse=True)
        return cls(different, y, weights, index.reshape(-1).astype(np.int64))

    def at_rows(self, values: Array) -> Array:
        """From values (T,) of times to those of rows (n,)."""
        return values if self.number is None else values[self.number]

    def summed(self, values: Array) -> Array:
        """From values (n,) of rows to their sums at each of the times."""
        if self.number is None:
            return values
        return np.asarray(np.bincount(self.number, values, len(self.times)), np.float64)


class Smoothed(NamedTuple):
    """f at the times of sites, what the filter left, and derivatives with respect to the prior."""

    moments: Array  # (2, T), means and variances
    gains: Array  # (T, d + 3)
    log_sum: float
    squares: float
    slopes: Array  # (2 B + d,)
    later: Array  # (n, d, d + 1), for the times with slots


def smoothed(
    space: StateSpace,
    times: Array,
    sites: TimeSites,
    *,
    slopes: bool = False,
    slots: NDArray[np.int64] = NO_SLOTS,
) -> Smoothed:
    """Filter and smooth; all derivatives (`slopes`) of long series take two passes forwards."""
    q, terms, n = space.q, space.terms, len(times)
    kernels = temporal_small if len(q) <= temporal_small.MOST else temporal
    d, b = len(q), len(space.orders)
    gains, found = np.empty((n, d + 3)), np.empty((2, n))
    by, later = np.zeros(2 * b + d), np.empty((len(slots) and slots.max() + 1, d, d + 1))
    size = max(1, min(n, KEPT // (d * d)) if slopes else n)
    means, states = (np.empty((size, d)), np.empty((size, d, d))) if slopes else NO_STATES
    parts, sums = [], np.zeros(2)
    mean, state = np.zeros(d), np.zeros((d, d))
    once = size >= n
    for start in range(0, n, size):
        stop = min(start + size, n)
        parts.append((start, stop, mean.copy(), state.copy()))
        kept = (means, states) if once else NO_STATES
        sums += kernels.filter_sites(
            terms, q, times, *sites, start, stop, mean, state, gains, *kept
        )
    mean[:], state[:] = 0.0, 0.0
    for start, stop, *before in reversed(parts):
        if not once:
            kernels.filter_sites(
                terms, q, times, *sites, start, stop, *before, gains, means, states
            )
        kernels.smooth_sites(
            terms, times, *sites, start, stop, mean, state, gains, means, states,
            found, by, slots, later,
        )  # fmt: skip
    return Smoothed(found, gains, float(sums[0]), float(sums[1]), by, later)


def filtered(space: StateSpace, times: Array, sites: TimeSites) -> tuple[float, float]:
    """Sums of log(1 + tau c) and of squared innovations, forwards alone."""
    q = space.q
    if _is_matern(space):
        rate = float(space.rates[0])
        log_sum, squares = temporal_evidence.matern_evidence(rate, q, times, *sites)
        return log_sum, squares
    return gains_of(space, times, sites)[1]


def _is_matern(space: StateSpace) -> bool:
    """Whether there is one term, which does not turn."""
    return len(space.orders) == 1 and not space.turning[0]


def gains_of(
    space: StateSpace, times: Array, sites: TimeSites
) -> tuple[Array, tuple[float, float]]:
    """Gains (T, d + 3) of the filter, and its sums."""
    n, d = len(times), len(space.q)
    kernels = temporal_small if d <= temporal_small.MOST else temporal
    state, gains = (np.zeros(d), np.zeros((d, d))), np.empty((n, d + 3))
    log_sum, squares = kernels.filter_sites(
        space.terms, space.q, times, *sites, 0, n, *state, gains, *NO_STATES
    )
    return gains, (log_sum, squares)


class Look(NamedTuple):
    """The bound with some sites, nats, the sites that the rows then ask for, and more."""

    bound: float
    target: TimeSites
    smoothed: Smoothed
    by_log_noise: float


class Bound(NamedTuple):
    """The bound of log p(y) in nats, its derivative by theta if asked for, and its sites."""

    value: float
    by_theta: Array | None
    sites: TimeSites


class TemporalModel:
    """The largest bound at given hyperparameters, by conjugate-computation variational inference.

    q(f) is proportional to p(f) times a Gaussian site per time (Khan and Lin 2017; Chang et al.
    2020), and a step of the natural gradient sets the sites to what the expected derivatives of
    log p(y | f) ask for. Where the likelihood is Gaussian, one step is the exact posterior, and
    the bound is log p(y). At the largest bound, its derivative by hyperparameters is that of the
    log normaliser with the sites held.

    Parameters
    ----------
    covariance : TimeCovariance
    likelihood : Likelihood
        Of one latent function.
    series : Series
    """

    def __init__(self, covariance: TimeCovariance, likelihood: Likelihood, series: Series) -> None:
        self.covariance, self.likelihood, self.series = covariance, likelihood, series
        self.start: TimeSites | None = None
        self.start = self.bound(covariance.theta, gradient=False).sites

    def values(self, theta: Array) -> Values:
        """Parameters of the likelihood."""
        return Values(self.covariance.covariance.noise(theta), self.likelihood.own)

    def bound(self, theta: Array, *, gradient: bool = True) -> Bound:
        """The bound at logarithms of hyperparameters, from the sites of the kernel as given.

        Raises
        ------
        numpy.linalg.LinAlgError
            If it is not finite.
        """
        space, values = self.covariance.at(theta), self.values(theta)
        sites = self._settled(space, values)
        if self.likelihood.is_conjugate and not gradient:
            return Bound(_finite(self._evidence(space, values, sites), theta), None, sites)
        if self.likelihood.shares_noise and _is_matern(space):
            return self._sloped(theta, space, values, sites)
        found = self._look(space, values, sites, slopes=gradient)
        _finite(found.bound, theta)
        if not gradient:
            return Bound(found.bound, None, sites)
        b = len(space.orders)
        slopes = np.split(found.smoothed.slopes, [b, 2 * b])
        by_theta = self.covariance.gradient(theta, *slopes)
        if self.likelihood.is_noisy and values.noise > 0:
            by_noise = self.covariance.covariance.noise_gradient(theta) / values.noise
            by_theta = by_theta + found.by_log_noise * by_noise
        return Bound(found.bound, by_theta, sites)

    def _evidence(self, space: StateSpace, values: Values, sites: TimeSites) -> float:
        """Log p(y) of Gaussian rows, forwards: of means at each time, and of differences."""
        weights, sums = self.series.weights, filtered(space, self.series.times, sites)
        return float(weights @ self._within(values, sites).value - 0.5 * sum(sums))

    def _within(self, values: Values, sites: TimeSites) -> Expectation:
        """What Gaussian rows say of noise: of their differences from means at each time."""
        series, rng = self.series, np.random.default_rng(0)
        mean = series.at_rows(sites.linear / sites.precision)[:, None]
        return self.likelihood.expect(series.y, mean, np.zeros_like(mean), values, rng)

    def _sloped(self, theta: Array, space: StateSpace, values: Values, sites: TimeSites) -> Bound:
        """Log p(y) and its derivative in one pass forwards, of one Matern term and one noise.

        Where amplitude and noise both double, pivots stay and squared innovations halve.
        """
        rate, q, sums = float(space.rates[0]), space.q, np.empty(6)
        temporal_slopes.matern_slopes(rate, q, self.series.times, *sites, sums)
        found, weights = self._within(values, sites), self.series.weights
        squares, by_rate, by_noise = sums[1], sums[2] + sums[3], sums[4] + sums[5]
        by_q = np.zeros(len(q))
        by_q[0] = 0.5 * (by_noise + squares) / space.amplitudes[0]
        slopes = np.array([-0.5 * by_rate / rate if rate > 0 else 0.0]), np.zeros(1), by_q
        value = float(weights @ found.value - 0.5 * (sums[0] + squares))
        by_log_noise = float(weights @ found.by_log_noise - 0.5 * by_noise)
        by_theta = self.covariance.gradient(theta, *slopes)
        by_theta += by_log_noise / values.noise * self.covariance.covariance.noise_gradient(theta)
        return Bound(_finite(value, theta), by_theta, sites)

    def _settled(self, space: StateSpace, values: Values) -> TimeSites:
        """The sites of the largest bound."""
        sites = self._first(space, values) if self.start is None else self.start
        if self.likelihood.is_conjugate:
            return self._asked(self.likelihood, values, np.zeros((2, len(sites.linear))))[1]
        found, rate = self._look(space, values, sites), 1.0
        for _ in range(MOST_STEPS):
            mean, variance = found.smoothed.moments
            change = TimeSites(*(a - b for a, b in zip(found.target, sites)))
            pull = (change.linear - change.precision * mean) * np.sqrt(variance)
            size = max(np.abs(pull).max(), np.abs(change.precision * variance).max())
            if not size > CLOSE:
                break
            ahead = TimeSites(*(a + rate * b for a, b in zip(sites, change)))
            new = self._look(space, values, ahead)
            if new.bound >= found.bound - 1e-12 * abs(found.bound):
                sites, found, rate = ahead, new, min(1.0, 2.0 * rate)
            elif (rate := 0.5 * rate) < LEAST_RATE:
                break
        return sites

    def _first(self, space: StateSpace, values: Values) -> TimeSites:
        """Where the search for sites begins: at what rows ask for under the prior."""
        prior = np.zeros((2, len(self.series.times)))
        prior[1] = space.variance
        return self._asked(self.likelihood.start or self.likelihood, values, prior)[1]

    def _asked(
        self, likelihood: Likelihood, values: Values, moments: Array
    ) -> tuple[Expectation, TimeSites]:
        """Expectations of rows where f has these moments (2, T), and the sites they ask for."""
        series = self.series
        mean, variance = (series.at_rows(each)[:, None] for each in moments)
        found = likelihood.expect(series.y, mean, variance, values, np.random.default_rng(0))
        precision = series.summed(-2.0 * series.weights * found.by_variance[:, 0])
        linear = series.summed(series.weights * found.by_mean[:, 0]) + precision * moments[0]
        return found, TimeSites(linear, precision)

    def _look(
        self, space: StateSpace, values: Values, sites: TimeSites, *, slopes: bool = False
    ) -> Look:
        """The bound with these sites; minus infinity where they are of no distribution."""
        here = smoothed(space, self.series.times, sites, slopes=slopes)
        mean, variance = here.moments
        fits = np.count_nonzero(here.gains[:, -1] < 0) % 2 == 0 and np.all(variance > 0)
        if not (fits and np.all(np.isfinite(here.moments))):
            return Look(-np.inf, sites, here, 0.0)
        found, target = self._asked(self.likelihood, values, here.moments)
        divergence = mean @ (sites.linear - sites.precision * mean) - sites.precision @ variance
        divergence = 0.5 * (divergence + here.log_sum)
        weights = self.series.weights
        bound = float(weights @ found.value - divergence)
        return Look(bound, target, here, float(weights @ found.by_log_noise))


def _finite(value: float, theta: Array) -> float:
    """The value of a bound, which must be finite."""
    if not np.isfinite(value):
        raise np.linalg.LinAlgError(
            f"the bound of the Gaussian process is {value} at theta={theta.tolist()}"
        )
    return value
