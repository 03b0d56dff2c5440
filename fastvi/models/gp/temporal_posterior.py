"""The posterior of a function of time, at any times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import temporal as filters
from fastvi.kernels import temporal_predict as kernels
from fastvi.models.gp.temporal_model import Smoothed, TimeSites, smoothed
from fastvi.models.gp.terms import StateSpace

__all__ = ["TemporalPosterior"]


class TemporalPosterior:
    """Mean and (co)variance of f, as `fastvi.models.gp.posterior.Latent` asks.

    A prediction filters and smooths the T times of the fit together with the n new ones, which
    takes O(T + n) time and memory.

    Parameters
    ----------
    space : StateSpace
    times : (T,) array
        They rise.
    sites : TimeSites
    """

    def __init__(self, space: StateSpace, times: Array, sites: TimeSites) -> None:
        self.space, self.times, self.sites = space, times, sites

    def predict(
        self, x: Array, *, variance: bool = True, n_threads: int = 1
    ) -> tuple[Array, Array | None]:
        """Mean (n, 1) and variance (n,) of f at x (n, 1), before noise."""
        found, _, where = self._together(x[:, 0], later=False)
        mean, spread = found.moments[:, where]
        return mean[:, None], np.maximum(spread, 0.0)

    def joint(self, x: Array) -> tuple[Array, Array]:
        """Mean (n, 1) and covariance (n, n) of f at x (n, 1), in O(T n + n^2) time."""
        found, merged, where = self._together(x[:, 0], later=True)
        chosen, which = np.unique(where, return_inverse=True)
        covariance = np.empty((len(chosen), len(chosen)))
        times, sites = merged
        kernels.covariances(
            self.space.terms, times, sites.precision, found.gains, found.later, chosen, covariance
        )
        which = which.reshape(-1)
        return found.moments[0, where][:, None], covariance[np.ix_(which, which)]

    def compiled(self) -> TimeMoments:
        """Mean and variance with nothing in between; keeps the states of all T times."""
        return TimeMoments(self)

    def _together(
        self, x: Array, *, later: bool
    ) -> tuple[Smoothed, tuple[Array, TimeSites], NDArray[np.int64]]:
        """The times of the fit and x (n,), smoothed, and which of them are x."""
        times = np.union1d(self.times, x)
        where = np.searchsorted(times, x)
        sites = TimeSites(np.zeros(len(times)), np.zeros(len(times)))
        at = np.searchsorted(times, self.times)
        for part, given in zip(sites, self.sites):
            part[at] = given
        slots = np.empty(0, np.int64)
        if later:
            chosen = np.unique(where)
            slots = np.full(len(times), -1)
            slots[chosen] = np.arange(len(chosen))
        return smoothed(self.space, times, sites, slots=slots), (times, sites), where


class TimeMoments:
    """Mean and variance of f at times, each in O(d^2 + log T) for states of d numbers.

    Parameters
    ----------
    posterior : TemporalPosterior
    """

    def __init__(self, posterior: TemporalPosterior) -> None:
        space, times, sites = posterior.space, posterior.times, posterior.sites
        q, n = space.q, len(times)
        d = len(q)
        mean, state = np.zeros(d), np.zeros((d, d))
        gains, means, states = np.empty((n, d + 3)), np.empty((n, d)), np.empty((n, d, d))
        filters.filter_sites(space.terms, q, times, *sites, 0, n, mean, state, gains, means, states)
        later = smoothed(space, times, sites, slots=np.arange(n)).later
        self._times = times
        self._given = space.terms, q, times, *sites, gains, means, states, later
        self.point = times[:1, None]

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance, (n,) each, at x (n, 1)."""
        x = np.ascontiguousarray(x[:, 0])
        out = np.empty((2, len(x)))
        before = np.searchsorted(self._times, x, "right") - 1
        kernels.predict_at(*self._given, x, before, out)
        return out[0], out[1]
