"""Coherence and diversity of topics, from how often their words occur together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks
from fastvi.base.bags import bags_of_words
from fastvi.base.typing import AnyArray, Array, ArrayLike, Indices, RowsLike
from fastvi.models.topics.guidance import words_of

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["topic_coherence", "topic_diversity"]

EPSILON = 1e-12  # added to probabilities of pairs, as in gensim
WIDTHS = {"npmi": 10, "c_v": 110, "u_mass": None}  # of windows, in words; None: whole documents
Words: TypeAlias = Sequence[Sequence[str]]
# A fitted estimator of topics, weights of words (n_topics, n_features), or lists of words.
TopicsLike: TypeAlias = "BaseEstimator | ArrayLike | Words"


def topic_coherence(
    topics: TopicsLike,
    documents: RowsLike | Words,
    *,
    measure: str = "npmi",
    n_words: int = 10,
    window: int | None = None,
    vocabulary: Sequence[str] | None = None,
) -> Array:
    """Coherence of each topic: how often its most probable words occur together.

    The measures are those of Röder, Both and Hinneburg (2015, "Exploring the space of topic
    coherence measures"). A word that `documents` do not contain has an NPMI of 0 with all others.

    Parameters
    ----------
    topics : fitted estimator of topics, (n_topics, n_features) array, or lists of words
        An array holds weights of words, such as `components_`. Lists hold the words of each topic,
        the most probable first, all of which are used.
    documents : (n_documents, n_features) CSR matrix or array, or lists of words
        Counts, or the words of each document in their order.
    measure : {"npmi", "c_v", "u_mass"}, default="npmi"
        ``"npmi"``: the mean over pairs of words of their normalised pointwise mutual information,
        from -1 to 1. ``"c_v"``: the mean cosine between each word's vector of NPMI with the topic's
        words and the sum of these vectors. ``"u_mass"``: the mean of log P(word | a more probable
        word), at most 0 (Mimno et al. 2011, with 1e-12 instead of 1 / n_documents as smoothing).
    n_words : int, default=10
        Words per topic.
    window : int, optional
        Width of the sliding windows in which words occur together; by default 10 words for "npmi",
        110 for "c_v", and whole documents for "u_mass". Counts have no order, so that whole
        documents are the windows.
    vocabulary : sequence of str, optional
        The words of the columns, if one of `topics` and `documents` is given as words; by default
        the estimator's `feature_names_in_` or `vocabulary_`.

    Returns
    -------
    (n_topics,) array

    Raises
    ------
    ValueError
        If an argument is invalid, or the vocabulary is missing or lacks a word.

    Examples
    --------
    >>> import fastvi
    >>> texts = [["sun", "moon"], ["moon", "sun", "star"], ["tea", "milk"], ["milk", "tea", "star"]]
    >>> fastvi.topic_coherence([["sun", "moon"], ["sun", "tea"]], texts).round(3)
    array([ 1.  , -0.95])
    """
    measure = checks.choice(measure, "measure", tuple(WIDTHS))
    documents = _listed(documents)
    best = _best_words(topics, checks.integer(n_words, "n_words", 1))
    names = _names(topics, vocabulary)
    places: list[Indices]
    if _are_words(documents):
        width = WIDTHS[measure] if window is None else checks.integer(window, "window", 1)
        places, shared = _in_texts(best, documents, names, width)
    else:
        if window is not None:
            raise ValueError("window is given, but documents are counts, which have no order")
        places, shared = _in_counts(best, documents, names)
    value = {"npmi": _npmi, "c_v": _c_v, "u_mass": _u_mass}[measure]
    return np.array([value(shared[np.ix_(place, place)]) for place in places])


def topic_diversity(topics: TopicsLike, *, n_words: int = 25) -> float:
    """Share of distinct words among the most probable words of all topics (Dieng et al. 2020).

    Parameters
    ----------
    topics : fitted estimator of topics, (n_topics, n_features) array, or lists of words
        As in `topic_coherence`.
    n_words : int, default=25
        Words per topic.

    Examples
    --------
    >>> import fastvi
    >>> fastvi.topic_diversity([["sun", "moon"], ["sun", "tea"]])
    0.75
    """
    best = _best_words(topics, checks.integer(n_words, "n_words", 1))
    words = [word for topic in best for word in topic]
    return len(set(words)) / len(words)


# Words of topics


def _listed(given: Any) -> Any:
    """Return a series or an array of lists as a list of these, and all else as it is."""
    if getattr(getattr(given, "dtype", None), "kind", "") == "O" and given.ndim == 1:
        given = list(given)
    if hasattr(given, "shape") or (hasattr(given, "__len__") and len(given)):
        return given
    raise ValueError("documents must be counts, or a list with at least one list of words")


def _are_words(given: Any) -> bool:
    """Whether these are lists of words, not numbers."""
    if hasattr(given, "shape") or hasattr(given, "dtype") or not len(given):
        return False
    first = given[0]
    if isinstance(first, str):
        raise ValueError(
            f"wanted a list of words for each topic and document; the first is {first[:30]!r}"
        )
    words = [word for words in given for word in words]
    return not words or any(isinstance(word, str) for word in words)


def _best_words(topics: TopicsLike, n_words: int) -> list[list[Any]]:
    """The words of each topic by decreasing weight: strings, or numbers of columns."""
    if hasattr(topics, "get_params"):
        check_is_fitted(topics)
    weights: Any = getattr(topics, "components_", topics)
    if not hasattr(weights, "shape") and _are_words(weights):
        best = [list(words)[:n_words] for words in weights]
    else:
        table: AnyArray = np.asarray(weights)
        if table.ndim != 2 or table.dtype.kind not in "biuf" or not np.all(np.isfinite(table)):
            raise ValueError("topics must be a fitted estimator, finite weights, or lists of words")
        best = np.argsort(-table.astype(float), axis=1, kind="stable")[:, :n_words].tolist()
    for k, words in enumerate(best):
        if len(set(words)) < max(len(words), 2):
            raise ValueError(f"topic {k} is {words}; wanted at least two words, all different")
    return best


def _names(topics: TopicsLike, vocabulary: Sequence[str] | None) -> list[str] | None:
    if vocabulary is None:
        vocabulary = getattr(topics, "feature_names_in_", getattr(topics, "vocabulary_", None))
    return None if vocabulary is None else words_of(vocabulary)


def _needed(names: list[str] | None) -> list[str]:
    if names is None:
        raise ValueError("vocabulary is needed where only one of topics and documents is words")
    return names


def _numbered(best: list[list[Any]]) -> tuple[dict[Any, int], list[Indices]]:
    """Number the distinct words of all topics; return these numbers, and those of each topic."""
    numbers: dict[Any, int] = {}
    places = [[numbers.setdefault(word, len(numbers)) for word in words] for words in best]
    return numbers, [np.array(place) for place in places]


# Shares of windows


class _Corpus(NamedTuple):
    """Texts over the numbered words, with -1 for all others."""

    indptr: NDArray[np.int64]
    words: NDArray[np.int32]


def _in_counts(
    best: list[list[Any]], documents: RowsLike, names: list[str] | None
) -> tuple[list[Indices], Array]:
    """Places of the topics' words, and the share of documents that hold each pair of these."""
    from scipy.sparse import csr_array

    bags = bags_of_words(documents, "documents")
    if isinstance(best[0][0], str):
        columns = {name: v for v, name in enumerate(_needed(names))}
        unknown = next((word for words in best for word in words if word not in columns), None)
        if unknown is not None:
            raise ValueError(f"the vocabulary does not have {unknown!r}, a word of a topic")
        best = [[columns[word] for word in words] for words in best]
    numbers, places = _numbered(best)
    if max(numbers) >= bags.n_words:
        raise ValueError(f"topics have word {max(numbers)}, documents {bags.n_words} columns")
    shape = len(bags.indptr) - 1, bags.n_words
    held = csr_array(((bags.counts > 0).astype(float), bags.indices, bags.indptr), shape=shape)
    held = held[:, list(numbers)]
    n_documents = max(int(np.count_nonzero(np.diff(bags.indptr))), 1)
    return places, (held.T @ held).toarray() / n_documents


def _in_texts(
    best: list[list[Any]], documents: Words, names: list[str] | None, width: int | None
) -> tuple[list[Indices], Array]:
    """Places of the topics' words, and the share of windows that hold each pair of these."""
    from fastvi.kernels.coherence import windows_together

    if not isinstance(best[0][0], str):
        known = _needed(names)
        if max(map(max, best)) >= len(known):
            raise ValueError(f"topics have word {max(map(max, best))}, vocabulary {len(known)}")
        best = [[known[v] for v in words] for words in best]
    numbers, places = _numbered(best)
    corpus = _corpus(documents, numbers)
    joint = np.zeros((len(numbers), len(numbers)), np.int64)
    if width is None:
        width = max(int(np.diff(corpus.indptr).max()), 1)
    n_windows = windows_together(*corpus, width, joint)
    both = joint + joint.T
    np.fill_diagonal(both, joint.diagonal())
    return places, both / max(n_windows, 1)


def _corpus(documents: Words, numbers: dict[Any, int]) -> _Corpus:
    lengths, words = [0], []
    for d, text in enumerate(documents):
        if isinstance(text, str):
            raise ValueError(f"document {d} is a string; wanted a list of its words")
        words += [numbers.get(word, -1) for word in text]
        lengths.append(len(words))
    return _Corpus(np.array(lengths, np.int64), np.array(words, np.int32))


# Measures of a topic, from the shares of windows (n, n) that hold each pair of its words


def _pairs_npmi(shares: Array) -> Array:
    """NPMI of all pairs, 0 for words that do not occur."""
    each, both = np.outer(shares.diagonal(), shares.diagonal()), shares + EPSILON
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(each > 0, np.log(both / each) / -np.log(both), 0.0)


def _npmi(shares: Array) -> float:
    n = len(shares)
    values = _pairs_npmi(shares)
    return float((values.sum() - values.trace()) / (n * (n - 1)))


def _c_v(shares: Array) -> float:
    vectors = _pairs_npmi(shares)
    whole = vectors.sum(axis=0)
    sizes = np.linalg.norm(vectors, axis=1) * np.linalg.norm(whole)
    return float(np.mean(vectors @ whole / np.where(sizes > 0, sizes, 1.0)))


def _u_mass(shares: Array) -> float:
    later, earlier = np.tril_indices(len(shares), -1)
    known = shares.diagonal()[earlier]
    both = shares[later, earlier] + EPSILON
    return float(np.mean(np.log(np.where(known > 0, both / np.where(known > 0, known, 1.0), 1.0))))
