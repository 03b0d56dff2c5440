"""Merges of topics of a hierarchical Dirichlet process, as long as the bound rises.

Gradient steps split topics more readily than they merge them (Bryant and Sudderth 2012, "Truly
nonparametric online variational inference for hierarchical Dirichlet processes"). Two topics that
are merged have the sum of their assignments. At given assignments the best Dirichlet distributions
are known, and so is the change of the bound: that of the normalisers of topics and documents, less
the entropy of whether a word belongs to the one or the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, psi

from fastvi.base.typing import AnyArray, Array
from fastvi.core import Batch, LazyTable
from fastvi.models.counts import DocumentSource
from fastvi.models.topics.hdp_model import HDP, HDPParameters

__all__ = ["merge"]

NEIGHBOURS = 4  # of each topic that are tried: those with the most similar documents and words
MOST_DOCUMENTS = 4096  # that are looked at
ROUNDS = 10
FEW = 0.01  # words of a topic below which a document, or a word, is left out
EMPTY = 1.0  # words of a topic that is not in use


class _Assigned(NamedTuple):
    """Documents under topics: a bound, and what it takes to know how it would change.

    Attributes
    ----------
    bound : float
    params : HDPParameters
        The best ones for the assignments.
    alpha : (K,) array
        Prior of documents in the local step.
    counts : (D, K) array
        Words of documents in topics.
    shares : (D, K), (V, K) arrays
        Factors of the assignments, and (N,) their sums.
    """

    bound: float
    params: HDPParameters
    alpha: Array
    counts: Array
    shares: tuple[Array, Array, Array]


def merge(model: HDP, source: DocumentSource, params: HDPParameters, seed: int) -> HDPParameters:
    """Merge pairs of topics until none makes the bound larger.

    Of a large corpus, `MOST_DOCUMENTS` stand for all.
    """
    rng = np.random.default_rng(seed)
    if model.n_topics < 2:
        return params
    source, scale = _some(source, rng)
    best = _assign(model, source, scale, params, rng)
    for _ in range(ROUNDS):
        pairs = _better(model, source, scale, best)
        if not pairs:
            break
        found = _assign(model, source, scale, _united(model, best.params, pairs), rng)
        if not found.bound > best.bound:
            break
        best = found
    return best.params


def _some(source: DocumentSource, rng: np.random.Generator) -> tuple[DocumentSource, float]:
    """Return some documents, and how many each stands for."""
    n_rows = source.n_rows
    if n_rows <= MOST_DOCUMENTS:
        return source, 1.0
    chosen = source.take(np.sort(rng.choice(n_rows, MOST_DOCUMENTS, replace=False)))
    words = chosen.rows[chosen.words]
    some = DocumentSource(chosen.indptr, words, chosen.counts, source.n_words, source.marker)
    return some, n_rows / MOST_DOCUMENTS


def _assign(
    model: HDP,
    source: DocumentSource,
    scale: float,
    params: HDPParameters,
    rng: np.random.Generator,
) -> _Assigned:
    """Take a step of coordinate ascent on all documents."""
    batch = Batch(source.all(), np.full(source.n_rows, scale))
    k = model.n_topics
    local = model.local(params, batch, None, rng)
    alpha = model.documents_prior(params.sticks)
    gamma = local.variables[:, :k].astype(np.float64)
    table = params.table.dense()[:, :k].astype(np.float64)
    of_documents = np.exp(psi(gamma) - psi(gamma.sum(axis=1, keepdims=True)))
    logs = psi(table) - psi(table.sum(axis=0))
    of_words = np.exp(logs)
    bound = local.bound + _of_topics(table, logs, model.eta) + model.bound_of_sticks(params.sticks)
    owners = np.repeat(np.arange(source.n_rows), np.diff(source.indptr))
    sums = np.empty(len(owners))
    for i in range(0, len(owners), 8192):
        some = slice(i, i + 8192)
        rows, words = owners[some], source.indices[some]
        sums[some] = np.einsum("nk,nk->n", of_documents[rows], of_words[words])
    statistics = local.statistics
    new = np.full_like(params.table.dense(), model.eta)
    new[:, k:] = 0
    new[statistics.table.rows] += statistics.table.values
    sticks = model.prior.sticks + statistics.sticks
    params = HDPParameters(LazyTable(new, model.prior.table), sticks)
    return _Assigned(bound, params, alpha, gamma - alpha, (of_documents, of_words, sums))


def _of_topics(table: Array, logs: Array, eta: float) -> float:
    """Topics' part of the bound, in nats; logs (V, K) are their expected logarithms."""
    n_words, k = table.shape
    prior = k * (gammaln(n_words * eta) - n_words * gammaln(eta))
    own = gammaln(table).sum() - gammaln(table.sum(axis=0)).sum()
    return float(prior + own + ((eta - table) * logs).sum())


def _better(
    model: HDP, source: DocumentSource, scale: float, now: _Assigned
) -> list[tuple[int, int]]:
    """Pairs of topics, no topic twice, whose merge makes the bound larger, the best first."""
    k = model.n_topics
    table = now.params.table.dense()[:, :k].astype(np.float64)
    owners = np.repeat(np.arange(source.n_rows), np.diff(source.indptr))
    gains = []
    for pair in _candidates(now, table - model.eta):
        gain = scale * _of_documents(now, pair) + _of_words(table, model.eta, pair)
        if gain > 0:
            gain -= scale * _entropy(source, owners, now, pair)
        if gain > 0:
            gains.append((gain, pair))
    chosen: list[tuple[int, int]] = []
    used: set[int] = set()
    for _, pair in sorted(gains, reverse=True):
        if used.isdisjoint(pair):
            chosen.append(pair)
            used.update(pair)
    return chosen


def _candidates(now: _Assigned, words: Array) -> list[tuple[int, int]]:
    """Pairs (k, l), k < l, of topics in use, of which one is among the most similar to another."""
    used = np.flatnonzero(words.sum(axis=0) > EMPTY)
    pairs: set[tuple[int, int]] = set()
    for counts in (words, now.counts):
        features = np.maximum(counts[:, used], 0.0)
        features /= np.linalg.norm(features, axis=0)
        similar = features.T @ features
        np.fill_diagonal(similar, -1.0)
        for k, others in enumerate(np.argsort(-similar, axis=1, kind="stable")):
            near = used[[l for l in others[:NEIGHBOURS] if l != k]]
            pairs.update((int(min(used[k], l)), int(max(used[k], l))) for l in near)
    return sorted(pairs)


def _of_documents(now: _Assigned, pair: tuple[int, int]) -> float:
    """Change of documents' normalisers."""
    (a, b), (n, m) = now.alpha[list(pair)], now.counts[:, pair].T
    some = np.maximum(n, m) > FEW
    n, m = n[some], m[some]
    values = gammaln(a + b + n + m) - gammaln(a + n) - gammaln(b + m)
    return float(values.sum() - len(n) * (gammaln(a + b) - gammaln(a) - gammaln(b)))


def _of_words(table: Array, eta: float, pair: tuple[int, int]) -> float:
    """Change of topics' normalisers, one of which becomes that of the prior."""
    first, second = table[:, pair].T
    both = np.flatnonzero(np.minimum(first, second) > eta + FEW)
    one, other, n_words = first[both], second[both], len(table)
    change = gammaln(one + other - eta) + gammaln(eta) - gammaln(one) - gammaln(other)
    a, b = first.sum(), second.sum()
    total = gammaln(a + b - n_words * eta) + gammaln(n_words * eta) - gammaln(a) - gammaln(b)
    return float(change.sum() - total)


def _entropy(
    source: DocumentSource, owners: AnyArray, now: _Assigned, pair: tuple[int, int]
) -> float:
    """Entropy of whether words belong to the one or the other."""
    of_documents, of_words, sums = now.shares
    both = now.counts[:, pair].min(axis=1) > FEW
    entries = np.flatnonzero(both[owners])
    rows, words = owners[entries], source.indices[entries]
    weights = source.counts[entries] / sums[entries]
    first, second = (of_documents[rows, k] * of_words[words, k] for k in pair)
    total = np.maximum(first + second, 1e-300)
    share = np.clip(first / total, 1e-12, 1 - 1e-12)
    each = -share * np.log(share) - (1 - share) * np.log1p(-share)
    return float((weights * total) @ each)


def _united(model: HDP, params: HDPParameters, pairs: list[tuple[int, int]]) -> HDPParameters:
    """Add second topics of pairs to the first ones, and sort topics by their size."""
    table = params.table.dense()
    tables = np.append(params.sticks[:, 0] - 1.0, params.sticks[-1, 1] - model.corpus_concentration)
    for first, second in pairs:
        table[:, first] += table[:, second] - table.dtype.type(model.eta)
        table[:, second] = model.eta
        tables[first] += tables[second]
        tables[second] = 0.0
    return model.arranged(table, tables)
