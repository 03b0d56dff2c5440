"""The conjugate models that contract tests loop over: a new model is an entry in `MODELS`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from cases import N_TOPICS
from cases import source as corpus

from fastvi.core import LazyTable
from fastvi.models._lda import LDA
from fastvi.models._lda_fit import random_topics
from fastvi.models._lda_settings import Settings
from fastvi.models._logistic import LabelledRows, Logistic, Prior


class Entry(NamedTuple):
    """A model on some data.

    ``make(n_threads) -> (model, source, start)``, anew at each call. ``sums(statistics)`` is those
    parts of `Local.statistics` that are sums over rows, as a list of dense arrays. ``data(source)``
    is the arrays that must stay as they are. `bound` says whether there is one, `coordinates`
    whether plain gradients are to be had, `norms` whether the source's `norms` are upper bounds.
    """

    make: Callable[[int], tuple[Any, Any, Any]]
    sums: Callable[[Any], list[np.ndarray]]
    data: Callable[[Any], list[np.ndarray]]
    bound: bool = True
    coordinates: bool = False
    norms: bool = False


def _logistic(groups):
    def make(n_threads):
        rng = np.random.default_rng(20240607)
        X = rng.normal(size=(120, 3)) * rng.gamma(0.5, 2.0, (120, 1))
        y = rng.random(120) < 1 / (1 + np.exp(-(X[:, 0] - X[:, 1] + 0.3)))
        prior = Prior(np.array([1.0, 1.0, 1.0, 1e-3]), np.array([*groups, -1]), 0.3, 0.2)
        model = Logistic(prior, intercept=True, n_threads=n_threads)
        start = model.start(np.append(np.square(X).mean(axis=0), 1.0))
        return model, LabelledRows(X, y - 0.5, True), start

    return Entry(
        make,
        sums=lambda statistics: [statistics.precision_mean, statistics.precision],
        data=lambda source: list(source.rows),
        norms=True,
    )


def _lda(collapsed):
    def make(n_threads):
        source = corpus(dtype=np.float64)
        alpha = np.full(N_TOPICS, 0.2)
        model = LDA(alpha, 0.1, collapsed=collapsed, dtype=np.float64, n_threads=n_threads)
        start = random_topics(Settings("svi", alpha, 0.1, dtype=np.float64), source.n_words)
        return model, source, LazyTable(start, model.prior)

    def sums(statistics):
        table = np.zeros((50, statistics.values.shape[1]))
        table[statistics.rows] = statistics.values
        return [table]

    return Entry(
        make,
        sums,
        data=lambda source: [source.indptr, source.indices, source.counts],
        bound=not collapsed,
        coordinates=not collapsed,
        norms=True,
    )


MODELS = {
    "logistic": _logistic([-1, -1, -1]),
    "logistic, ard": _logistic([0, 1, 2]),
    "lda": _lda(collapsed=False),
    "lda, collapsed": _lda(collapsed=True),
}
