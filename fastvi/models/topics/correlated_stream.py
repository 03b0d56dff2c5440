"""Correlated topics of a stream: steps on batches of documents, after a fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.models.counts import padded
from fastvi.models.files import Saved
from fastvi.models.streaming import FADING, ROUNDS
from fastvi.models.topics.correlated_model import CorrelatedParameters, Moments, Sweeps

__all__ = ["CorrelatedStream", "go_on"]

N_STEPS = 20  # of Newton's method on a document's log weights


class CorrelatedStream(NamedTuple):
    """What batches of documents have left.

    Attributes
    ----------
    params : CorrelatedParameters
    moments : Moments
        Of log weights and covariates.
    n_rows : int
        Documents seen.
    """

    params: CorrelatedParameters
    moments: Moments
    n_rows: int

    @classmethod
    def restored(cls, saved: Saved, width: int, n_topics: int) -> CorrelatedStream:
        """Return what a file holds, for a design with `width` columns."""
        k = n_topics
        params = saved.tree(
            "params",
            CorrelatedParameters(
                np.zeros((saved.n_features, padded(k)), np.float32), np.zeros((width, k)),
                np.zeros((k, k)), np.zeros((k, k)),
            ),
        )  # fmt: skip
        if np.any(params.table[:, :k] <= 0) or np.any(np.linalg.eigvalsh(params.covariance) <= 0):
            raise ValueError(f"{saved.path}: topics and covariance_ must be positive")
        zeros = Moments(np.zeros((width, width)), np.zeros((width, k)), np.zeros((k, k)))
        n_seen = checks.integer(saved.values["n_seen"], f"{saved.path}: n_seen", 0)
        return cls(params, saved.tree("moments", zeros), n_seen)


def go_on(stream: CorrelatedStream, sweeps: Sweeps) -> CorrelatedStream:
    """Take a step on the documents of `sweeps`, whose topics and regression follow.

    As in `fastvi.models.streaming`, n documents after N others replace the share 1.5 n / (N + n)
    of what was learned.
    """
    params, moments, n_rows = stream
    n_new = len(sweeps.design)
    lost = min(FADING * n_new / (n_rows + n_new), 1.0)
    n_topics, prior = len(params.covariance), np.float32(sweeps.topic_prior)
    old = params.table.copy()
    old[:, :n_topics] -= prior
    old *= np.float32(1.0 - lost)
    kept = Moments(*((1.0 - lost) * part for part in moments))
    with single_threaded_blas():
        state = sweeps.unassigned(params)
        for _ in range(ROUNDS):
            state, found = sweeps.assign(state, N_STEPS)
            table = state.params.table  # the batch's counts and the prior
            table += old
            moments = Moments(*map(np.add, kept, found))
            regression = sweeps.prior.update(moments)
            spread = params.uncertainty + lost * (state.params.uncertainty - params.uncertainty)
            state = state._replace(params=CorrelatedParameters(table, *regression, spread))
    return CorrelatedStream(state.params, moments, n_rows + n_new)
