"""The posterior of a function of time, at any times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import temporal as filters
from fastvi.kernels import temporal_predict as kernels
from fastvi.models.gp.temporal_model import Smoothed, TimeSites, gains_of, smoothed
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
        out, early = np.empty((2, len(x))), x[:, 0] < self.times[0]
        if not early.all():
            out[:, ~early] = self._marginals(x[~early, 0])
        if early.any():
            out[:, early] = self.mirrored()._marginals(-x[early, 0])
        return out[0][:, None], np.maximum(out[1], 0.0)

    def mirrored(self) -> TemporalPosterior:
        """The posterior of f(-t).

        Before the first time, variances are those of the prior less what rows say, in which small
        ones lose all digits; after the last they are not.
        """
        sites = TimeSites(*(np.ascontiguousarray(part[::-1]) for part in self.sites))
        return TemporalPosterior(self.space, np.ascontiguousarray(-self.times[::-1]), sites)

    def _marginals(self, x: Array) -> Array:
        found, _, where = self._together(x, later=False)
        return found.moments[:, where]

    def joint(self, x: Array) -> tuple[Array, Array]:
        """Mean (n, 1) and covariance (n, n) of f at x (n, 1), in O(T n + n^2) time."""
        if self._is_early(x):
            return self.mirrored().joint(-x)
        found, merged, where = self._together(x[:, 0], later=True)
        chosen, which = np.unique(where, return_inverse=True)
        covariance = np.empty((len(chosen), len(chosen)))
        times, sites = merged
        kernels.covariances(
            self.space.terms, times, sites.precision, found.gains, found.later, chosen, covariance
        )
        which = which.reshape(-1)
        return found.moments[0, where][:, None], covariance[np.ix_(which, which)]

    def draws(self, x: Array, normals: Array) -> Array:
        """Joint draws (n, R) of f at x (n, 1) from standard normals (n, R), in O((T + n) R)."""
        if self._is_early(x):
            return self.mirrored().draws(-x, normals)
        times, sites, where = self._merged(x[:, 0])
        chosen, which = np.unique(where, return_inverse=True)
        gains, _ = gains_of(self.space, times, sites)
        found = np.empty((len(chosen), normals.shape[1]))
        kernels.draw_back(self.space.terms, times, *sites, gains, chosen, normals, found)
        return np.asarray(found[which.reshape(-1)])

    def _is_early(self, x: Array) -> bool:
        """Whether some times are before the first of the fit, and none after the last."""
        return bool(x.min() <= self.times[0] and x.max() < self.times[-1])

    def compiled(self) -> TimeMoments:
        """Mean and variance with nothing in between; keeps the states of all T times."""
        return TimeMoments(self)

    def _together(
        self, x: Array, *, later: bool
    ) -> tuple[Smoothed, tuple[Array, TimeSites], NDArray[np.int64]]:
        """The times of the fit and x (n,), smoothed, and which of them are x."""
        times, sites, where = self._merged(x)
        slots = np.empty(0, np.int64)
        if later:
            chosen = np.unique(where)
            slots = np.full(len(times), -1)
            slots[chosen] = np.arange(len(chosen))
        return smoothed(self.space, times, sites, slots=slots), (times, sites), where

    def _merged(self, x: Array) -> tuple[Array, TimeSites, NDArray[np.int64]]:
        """The times of the fit and x (n,), sites of all, and which of them are x."""
        times = np.union1d(self.times, x)
        sites = TimeSites(np.zeros(len(times)), np.zeros(len(times)))
        at = np.searchsorted(times, self.times)
        for part, given in zip(sites, self.sites):
            part[at] = given
        return times, sites, np.searchsorted(times, x)


class TimeMoments:
    """Mean and variance of f at times, each in O(d^2 + log T) for states of d numbers.

    Parameters
    ----------
    posterior : TemporalPosterior
    """

    def __init__(self, posterior: TemporalPosterior) -> None:
        space, times = posterior.space, posterior.times
        later = smoothed(space, times, posterior.sites, slots=np.arange(len(times))).later
        self._times, self._given = times, (*_states(posterior), later)
        last = slice(-1, None)
        terms, q, *rows = _states(posterior.mirrored())
        self._early = (terms, q, *(part[last].copy() for part in rows), later[last])
        self.point = times[:1, None]

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance, (n,) each, at x (n, 1)."""
        x = np.ascontiguousarray(x[:, 0])
        out = np.empty((2, len(x)))
        before = np.searchsorted(self._times, x, "right") - 1
        kernels.predict_at(*self._given, x, before, out)
        early = before < 0
        if early.any():
            own = np.empty((2, np.count_nonzero(early)))
            kernels.predict_at(*self._early, -x[early], 1 + before[early], own)
            out[:, early] = own
        return out[0], out[1]


def _states(posterior: TemporalPosterior) -> tuple[Any, ...]:
    """Terms, q, times, sites and gains, means and states of the filter."""
    space, times, sites = posterior.space, posterior.times, posterior.sites
    q, n = space.q, len(times)
    d = len(q)
    mean, state = np.zeros(d), np.zeros((d, d))
    gains, means, states = np.empty((n, d + 3)), np.empty((n, d)), np.empty((n, d, d))
    filters.filter_sites(space.terms, q, times, *sites, 0, n, mean, state, gains, means, states)
    return space.terms, q, times, *sites, gains, means, states
