"""What a report on topics shows, gathered from any fitted topic model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastvi.base.typing import AnyArray, Array, RowsLike
from fastvi.models.topics.fitted import TopicModel

__all__ = ["Change", "Example", "Reported", "Summary", "distances", "scaled", "summary_of"]

LEAN = 0.3  # weight of the probability itself in distinctive words (Sievert and Shirley 2014)
MOST_CELLS = 2e9  # of pairs of topics by words; rarer words are left out of distances above
N_SHOWN = 8  # slices whose words are listed
EXCERPT = 400  # characters of a document
Words = list[tuple[str, float]]


class Reported(Protocol):
    """A fitted estimator of topics, or a topic model."""

    def topic_model(self) -> TopicModel:
        """Return the topics without scikit-learn."""
        ...


class Example(NamedTuple):
    """A document that shows a topic."""

    name: str
    share: float
    text: str


class Change(NamedTuple):
    """How topics change over time.

    Attributes
    ----------
    labels : list of str
        Of the slices.
    shares : (T, K) array
    words : list of (label, words of each topic)
        For some slices.
    rising, falling : lists of the words of each topic
    """

    labels: list[str]
    shares: Array
    words: list[tuple[str, list[list[str]]]]
    rising: list[list[str]]
    falling: list[list[str]]


class Summary(NamedTuple):
    """What a report shows, by topic."""

    shares: Array  # (K,)
    words: list[Words]
    distinctive: list[list[str]]
    places: Array  # (K, 2) on the map
    kept: float  # share of squared distances that the map keeps
    facts: list[str]
    examples: list[list[Example]] | None
    coherence: Array | None  # (K,)
    diversity: float
    change: Change | None
    correlation: AnyArray | None  # (K, K)
    effects: list[tuple[str, Array]]  # coefficients (K,) of covariates

    @property
    def order(self) -> list[int]:
        """Topics by decreasing share."""
        return [int(k) for k in np.argsort(-self.shares, kind="stable")]


def distances(probabilities: AnyArray) -> Array:
    """Jensen-Shannon divergences (K, K) of topics (K, V), in nats.

    Their square roots are distances, which have places in Euclidean space (Fuglede and Topsoe
    2004).
    """
    p = np.asarray(probabilities, np.float64)
    most = max(int(MOST_CELLS / len(p) ** 2), 100)
    if p.shape[1] > most:
        p = p[:, np.argsort(-p.sum(axis=0), kind="stable")[:most]]
        p = p / p.sum(axis=1, keepdims=True)
    own = -_plogp(p).sum(axis=1)
    result = np.zeros((len(p), len(p)))
    for k in range(len(p) - 1):
        middle = -_plogp((p[k] + p[k + 1 :]) / 2).sum(axis=1)
        result[k, k + 1 :] = np.maximum(middle - (own[k] + own[k + 1 :]) / 2, 0.0)
    return result + result.T


def _plogp(p: Array) -> Array:
    return np.asarray(p * np.log(np.where(p > 0, p, 1.0)))


def scaled(squares: Array) -> tuple[Array, float]:
    """Places (K, 2) whose distances are close to the roots of `squares` (K, K).

    Classical scaling (Torgerson 1952). Also returns the share of squared distances that two
    dimensions keep. Signs are such that each coordinate's largest value is above 0.
    """
    n = len(squares)
    centred = squares - squares.mean(axis=0)
    inner = -0.5 * (centred - centred.mean(axis=1, keepdims=True))
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    values = np.maximum(values[::-1], 0.0)
    places = np.zeros((n, 2))
    for i in range(min(n, 2)):
        axis = vectors[:, n - 1 - i] * np.sqrt(values[i])
        places[:, i] = axis * (1 if axis[np.argmax(np.abs(axis))] >= 0 else -1)
    total = values.sum()
    return places, float(values[:2].sum() / total) if total > 0 else 1.0


def summary_of(
    topics: Any,
    counts: RowsLike | None,
    proportions: AnyArray | None,
    names: Sequence[str] | None,
    texts: Sequence[str] | None,
    n_words: int,
    n_documents: int,
) -> Summary:
    """Gather what a report shows; arguments are checked, and `counts` are CSR."""
    model: TopicModel = topics.topic_model()
    table = model.table[:, : model.n_topics].T.astype(np.float64)
    probabilities = table / table.sum(axis=1, keepdims=True)
    places, kept = scaled(distances(probabilities))
    words = model.top_words(n_words)
    examples, coherence = None, None
    if counts is not None and proportions is not None:
        coherence = _coherence(probabilities, counts)
        examples = _examples(model, counts, proportions, names, texts, n_documents)
    return Summary(
        model.topic_shares,
        words,
        _distinctive(model, probabilities, n_words),
        places,
        kept,
        _facts(model, counts),
        examples,
        coherence,
        len({word for topic in words for word, _ in topic}) / max(sum(map(len, words)), 1),
        _change(topics, n_words),
        getattr(topics, "correlation_", None),
        _effects(topics),
    )


def _distinctive(model: TopicModel, probabilities: Array, n_words: int) -> list[list[str]]:
    """The words of each topic by relevance: probable, and more so than elsewhere."""
    overall = np.maximum(model.topic_shares @ probabilities, 1e-300)
    logs = np.log(np.maximum(probabilities, 1e-300))
    relevance = logs - (1 - LEAN) * np.log(overall)
    best = np.argsort(-relevance, axis=1, kind="stable")[:, :n_words]
    names = model.vocabulary
    return [[names[v] if names else str(v) for v in row] for row in best.tolist()]


def _facts(model: TopicModel, counts: RowsLike | None) -> list[str]:
    """Return what was fitted to how much, and how well."""
    facts = [f"{len(model.table):,} words"]
    if model.info.get("n_documents"):
        facts.append(f"fitted to {model.info['n_documents']:,} documents")
    if counts is not None:
        facts.append(f"{counts.shape[0]:,} documents shown")  # type: ignore[union-attr]
    scores = model.history.get("held_out", np.empty(0))
    scores = scores[np.isfinite(scores)]
    if len(scores):
        facts.append(
            f"held-out log-likelihood {scores[-1]:.3f} nats per word "
            f"(perplexity {np.exp(-scores[-1]):,.0f})"
        )
    return facts


def _coherence(probabilities: Array, counts: RowsLike) -> Array | None:
    from fastvi.models.topics.coherence import topic_coherence  # imports scikit-learn

    if probabilities.shape[1] < 2:
        return None
    return topic_coherence(probabilities, counts)


def _examples(
    model: TopicModel,
    counts: Any,
    proportions: AnyArray,
    names: Sequence[str] | None,
    texts: Sequence[str] | None,
    n_documents: int,
) -> list[list[Example]]:
    """The documents with the largest share of each topic, longer ones first among equals."""
    lengths = np.asarray(counts.sum(axis=1), np.float64).ravel()
    full = np.flatnonzero(lengths > 0)
    found = []
    for k in range(model.n_topics):
        best = full[np.lexsort((-lengths[full], -proportions[full, k]))][:n_documents]
        found.append(
            [
                Example(
                    str(names[d]) if names is not None else f"document {d}",
                    float(proportions[d, k]),
                    _excerpt(texts[d]) if texts is not None else _telling(model, counts, d, k),
                )
                for d in best.tolist()
            ]
        )
    return found


def _excerpt(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= EXCERPT else text[:EXCERPT].rsplit(" ", 1)[0] + " …"


def _telling(model: TopicModel, counts: Any, d: int, k: int) -> str:
    """Return the words of a document that speak most for a topic."""
    row = slice(counts.indptr[d], counts.indptr[d + 1])
    words = counts.indices[row]
    weights = counts.data[row] * model.table[words, k]
    best = words[np.argsort(-weights, kind="stable")[:20]]
    return ", ".join(model.vocabulary[v] if model.vocabulary else str(v) for v in best.tolist())


def _change(topics: Any, n_words: int) -> Change | None:
    """Return change over time, of topics that have slices of time."""
    times = getattr(topics, "slice_times_", None)
    if times is None:
        return None
    labels = [_label(time) for time in times]
    shown = np.unique(np.linspace(0, len(labels) - 1, N_SHOWN).round().astype(int))
    return Change(
        labels,
        np.asarray(topics.topic_shares_),
        [(labels[t], _plain(topics.top_words(n_words, time=times[t]))) for t in shown],
        _plain(topics.rising_words(n_words)),
        _plain(topics.falling_words(n_words)),
    )


def _plain(words: list[Words]) -> list[list[str]]:
    return [[word for word, _ in topic] for topic in words]


def _label(time: Any) -> str:
    return f"{time:g}" if isinstance(time, (int, float, np.number)) else str(time)


def _effects(topics: Any) -> list[tuple[str, Array]]:
    """Coefficients of covariates, if any."""
    names = getattr(topics, "covariate_names_", [])
    return [(name, topics.coef_[:, i]) for i, name in enumerate(names)]
