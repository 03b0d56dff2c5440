"""The conjugate models that contract tests loop over: a new model is an entry in `MODELS`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from cases import N_TOPICS
from cases import source as corpus

from fastvi.core import LazyTable
from fastvi.models.counts import DocumentSource
from fastvi.models.factors.model import Factors, Hyperparameters
from fastvi.models.factors.rows import StandardRows
from fastvi.models.logistic.model import Logistic, Prior
from fastvi.models.logistic.multinomial import Multinomial
from fastvi.models.mixture.model import Mixture, RowsInMemory
from fastvi.models.mixture.model import Prior as MixturePrior
from fastvi.models.mixture.rows import Frame
from fastvi.models.poisson.model import GammaPrior, PoissonFactors
from fastvi.models.topics.model import LDA
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.solvers import random_topics


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


def _logistic(groups, n_classes=2):
    def make(n_threads):
        rng = np.random.default_rng(20240607)
        X = rng.normal(size=(120, 3)) * rng.gamma(0.5, 2.0, (120, 1))
        y = (rng.random(120) < 1 / (1 + np.exp(-(X[:, 0] - X[:, 1] + 0.3)))).astype(np.int64)
        prior = Prior(np.array([1.0, 1.0, 1.0, 1e-3]), np.array([*groups, -1]), 0.3, 0.2)
        if n_classes > 2:
            y += rng.integers(n_classes - 1, size=120)
            model = Multinomial(prior, n_classes, intercept=True, n_threads=n_threads)
        else:
            model = Logistic(prior, intercept=True, n_threads=n_threads)
        start = model.start(np.append(np.square(X).mean(axis=0), 1.0))
        return model, model.source(X, y, np.ones(120)), start

    return Entry(
        make,
        sums=lambda statistics: [statistics.precision_mean, statistics.precision],
        data=lambda source: list(source.rows),
        coordinates=True,
        norms=n_classes == 2,  # residuals of more classes have no bound
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


def _mixture(kind, process):
    def make(n_threads):
        rng = np.random.default_rng(20240607)
        X = rng.normal(size=(120, 2)) * [1.0, 2.0]
        X[:40] += 6.0
        scatter = {"full": np.eye(2), "tied": np.eye(2), "diag": np.ones(2), "spherical": 1.0}[kind]
        prior = MixturePrior(0.7, process, 0.6, np.zeros(2), 3.5, scatter)
        frame = Frame(np.ones(2), np.full(2, 2.0))
        model = Mixture(prior, frame, 3, kind, n_threads=n_threads)
        start = rng.dirichlet(np.full(3, 0.2), 120)
        start[:40, 0] += 2.0  # away from where components are all the same
        return model, RowsInMemory(X, frame), model.gather(X, start / start.sum(axis=1)[:, None])

    return Entry(make, sums=list, data=lambda source: [source.rows], coordinates=True, norms=True)


def _factors(per_feature):
    def make(n_threads):
        rng = np.random.default_rng(20240607)
        X = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 4)) + 0.5 * rng.normal(size=(120, 4))
        hyper = Hyperparameters(0.3, 0.2, 0.4, 0.3, 0.1)
        model = Factors(4, 2, per_feature=per_feature, hyper=hyper, n_threads=n_threads)
        noise = np.full(4 if per_feature else 1, 1.0)
        start = model.start(120.0, rng.normal(size=(4, 2)), noise)
        return model, StandardRows(X, np.zeros(4), np.ones(4)), start

    return Entry(
        make,
        sums=lambda statistics: list(statistics[:4]),  # the rates are not of rows
        data=lambda source: [source.x],
        coordinates=True,
    )


def _poisson(hierarchical):
    def make(n_threads):
        documents = corpus(dtype=np.float64)
        parts = documents.indptr, documents.indices, documents.counts
        source = DocumentSource(*parts, documents.n_words)
        learnt = (0.6, 0.8) if hierarchical else (0.0, 0.0)
        priors = GammaPrior(0.4, 1.3, learnt[0]), GammaPrior(0.5, 0.7, learnt[1])
        model = PoissonFactors(3, *priors, 50, dtype=np.float64, n_threads=n_threads)
        totals = np.bincount(documents.indices, documents.counts, 50)
        start = model.start(totals, source.n_rows, np.random.default_rng(0))
        return model, source, model.lazy(start)

    def sums(statistics):
        table = np.zeros((50, statistics.shapes.values.shape[1]))
        table[statistics.shapes.rows] = statistics.shapes.values
        return [table, statistics.rates]

    return Entry(
        make,
        sums,
        data=lambda source: [source.indptr, source.indices, source.counts],
        coordinates=True,  # norms of counts leave the sums of factors out
    )


MODELS = {
    "logistic": _logistic([-1, -1, -1]),
    "logistic, ard": _logistic([0, 1, 2]),
    "logistic, classes": _logistic([-1, -1, -1], 3),
    "logistic, classes, ard": _logistic([0, 1, 2], 3),
    "lda": _lda(collapsed=False),
    "lda, collapsed": _lda(collapsed=True),
    "mixture": _mixture("full", process=True),
    "mixture, diagonal": _mixture("diag", process=False),
    "mixture, tied": _mixture("tied", process=False),
    "mixture, spherical": _mixture("spherical", process=True),
    "pca": _factors(per_feature=False),
    "factor analysis": _factors(per_feature=True),
    "poisson": _poisson(hierarchical=False),
    "poisson, hierarchical": _poisson(hierarchical=True),
}
