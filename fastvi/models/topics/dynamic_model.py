"""Dynamic topic models without scikit-learn: their prior, and the state of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.typing import Array
from fastvi.kernels.dynamic import Chains, Prior
from fastvi.models.counts import padded
from fastvi.models.topics.dynamic_corpus import Single, SlicedCorpus

__all__ = [
    "DynamicModel",
    "Start",
    "State",
    "distances",
    "empty_state",
    "padded_alpha",
    "prior_of",
    "start_of",
]

CHUNK_CELLS = 400_000  # words x slices x topics per chunk, about 1 ms
WIDEST_STEP = 3.0  # variance over a long distance; far wider ones make the ascent diverge


class Start(NamedTuple):
    """Prior of the chains in the first slice; the drift arrays are empty without drift.

    Attributes
    ----------
    mean, variance : (V, K padded) float32 arrays
    drift_mean, drift_variance : (V,) or (0,) float32 arrays
    """

    mean: Single
    variance: Single
    drift_mean: Single
    drift_variance: Single


@dataclass(frozen=True, eq=False)
class DynamicModel:
    """A dynamic topic model: all that a fit does not learn.

    Parameters
    ----------
    alpha : (n_topics,) float64 array
        Dirichlet prior of proportions.
    start : Start
    gaps : (T - 1,) float64 array
        Distances between slices, in units of the variances of a step.
    keep : float
        Share of the drift that is kept per step.
    learns : bool
        Whether the variances of steps are learned.
    n_threads : int
        Results do not depend on it.
    """

    alpha: Array
    start: Start
    gaps: Array
    keep: float = 0.0
    learns: bool = True
    n_threads: int = 1

    @property
    def has_drift(self) -> bool:
        """Whether words have a drift that all topics share."""
        return len(self.start.drift_mean) > 0

    @property
    def kept(self) -> Array:
        """Share of the drift that is kept from each slice to the next, (T - 1,)."""
        return self.keep**self.gaps

    @property
    def drift_gaps(self) -> Array:
        """Variances of the drift's steps (T - 1,), in units of that of one step."""
        return (1.0 - self.kept**2) / (1.0 - self.keep**2)

    def chunks(self) -> NDArray[np.int64]:
        """Boundaries of chunks of words, which depend only on sizes."""
        n_words, width = self.start.mean.shape
        per_word = (len(self.gaps) + 1) * width
        return parallel.split(np.arange(n_words + 1) * per_word, CHUNK_CELLS)


class State(NamedTuple):
    """State of a fit.

    Attributes
    ----------
    g : (N, K padded) uint16 array
        Responsibilities in units of 1 / 65535.
    doc_topic : (D, K padded) float32 array
        Expected counts plus prior.
    chains : Chains
    zeta : (T, K padded) float64 array
        Sums over words of the chains' weights.
    chain_variance, drift_variance : float
        Variances of a step.
    alpha : (n_topics,) float64 array
        The prior of proportions, which comes from the static topics.
    """

    g: NDArray[np.uint16]
    doc_topic: Single
    chains: Chains
    zeta: Array
    chain_variance: float
    drift_variance: float
    alpha: Array


def distances(gaps: Array, chain_variance: float) -> Array:
    """Return distances between slices in steps, with long ones cut.

    Over a distance of several steps the walks' variance grows to `WIDEST_STEP` at most, which says
    hardly more than a wider one: a factor of 30 either way is then within two standard deviations.
    """
    return np.minimum(gaps, max(1.0, WIDEST_STEP / chain_variance))


def prior_of(model: DynamicModel, chain_variance: float, drift_variance: float) -> Prior:
    """Return the chains' prior in the form that kernels take."""
    start, first = model.start, np.zeros(1)
    steps = np.concatenate((first, chain_variance * distances(model.gaps, chain_variance)))
    drift: list[Any] = [np.zeros(0)] * 4
    if model.has_drift:
        kept = np.concatenate((first, model.kept))
        drift_steps = np.concatenate((first, drift_variance * model.drift_gaps))
        drift = [start.drift_mean, start.drift_variance, kept, drift_steps]
    parts = (start.mean.ravel(), start.variance.ravel(), steps, *drift)
    return Prior(*(np.ascontiguousarray(part, np.float32) for part in parts))


def empty_state(model: DynamicModel, corpus: SlicedCorpus) -> State:
    """Return a state without content, which a checkpoint may fill."""
    (n_words, width), n_slices = model.start.mean.shape, corpus.n_slices
    drift = n_slices if model.has_drift else 0, n_words
    shapes = ((n_slices, n_words, width),) * 3 + (drift, drift, (n_slices, n_words, width))
    return State(
        np.zeros((len(corpus.words), width), np.uint16),
        np.zeros((len(corpus.slices), width), np.float32),
        Chains(*(np.zeros(shape, np.float32) for shape in shapes)),
        np.ones((n_slices, width)),
        0.0,
        0.0,
        np.ones(len(model.alpha)),
    )


def padded_alpha(alpha: Array) -> Single:
    """The prior of proportions, (K padded,)."""
    result = np.zeros(padded(len(alpha)), np.float32)
    result[: len(alpha)] = alpha
    return result


def start_of(
    word_counts: Array, n_topics: int, initial_variance: float, drift_variance: float | None
) -> Start:
    """The prior of the first slice: word frequencies (V,), the same for all topics."""
    shape = len(word_counts), padded(n_topics)
    frequency = np.log((word_counts + 0.5) / (word_counts + 0.5).sum())
    mean = np.repeat(frequency.astype(np.float32)[:, None], shape[1], axis=1)
    variance = np.full(shape, initial_variance, np.float32)
    n = shape[0] if drift_variance is not None else 0
    return Start(
        mean, variance, np.zeros(n, np.float32), np.full(n, drift_variance or 0.0, np.float32)
    )
