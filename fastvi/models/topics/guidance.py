"""Guided topics: priors of words by topic, from seed words and from topics to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, ArrayLike
from fastvi.models.counts import padded

__all__ = ["by_topic", "guided_prior", "public_prior", "words_of"]


def guided_prior(
    n_components: int,
    vocabulary: Sequence[str],
    seeds: Mapping[int, Sequence[str]] | None = None,
    *,
    fixed: ArrayLike | None = None,
    base: float | None = None,
    weight: float = 10.0,
    fixed_weight: float = 1e5,
) -> Array:
    """Prior of words by topic, for ``LatentDirichletAllocation(topic_word_prior=...)``.

    Parameters
    ----------
    n_components : int
        Number of topics.
    vocabulary : sequence of str
        The words of the columns of X.
    seeds : dict of int to sequence of str, optional
        Words that a topic should contain, by the topic's number.
    fixed : (m, n_words) array, optional
        Topics to keep while others are added, such as `components_` of an earlier fit: they are the
        first m topics.
    base : float, optional
        Prior of all other words; by default 1 / n_components.
    weight : float, default=10.0
        Pseudo-counts of each seed word.
    fixed_weight : float, default=1e5
        Pseudo-counts of a fixed topic. The counts of its words in X are added to them, and move it
        by as much as they weigh in comparison.

    Returns
    -------
    (n_components, n_words) array

    Raises
    ------
    ValueError
        If a seed is not in the vocabulary, a topic's number is out of range, or an argument is
        invalid.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> words = ["goal", "team", "vote", "law"]
    >>> X = np.array([[3, 2, 0, 0], [2, 3, 0, 1], [0, 0, 3, 2], [0, 0, 2, 3]] * 5)
    >>> prior = fastvi.guided_prior(2, words, {0: ["vote"], 1: ["goal"]})
    >>> lda = fastvi.LatentDirichletAllocation(2, topic_word_prior=prior, random_state=0).fit(X)
    >>> [sorted(words[v] for v in np.argsort(-topic)[:2]) for topic in lda.components_]
    [['law', 'vote'], ['goal', 'team']]
    """
    n_topics = checks.integer(n_components, "n_components", 1)
    low, high = checks.PRIOR_RANGE
    base = checks.number(1.0 / n_topics if base is None else base, "base", low, high)
    names = words_of(vocabulary)
    if seeds is not None and not isinstance(seeds, Mapping):
        raise ValueError(f"seeds is a {type(seeds).__name__}; wanted {{topic: [words]}}")
    prior = np.full((n_topics, len(names)), base)
    n_fixed = 0
    if fixed is not None:
        kept = _fixed_topics(fixed, n_topics, len(names))
        mass = checks.number(fixed_weight, "fixed_weight", low, high)
        n_fixed = len(kept)
        prior[:n_fixed] = np.clip(mass * kept, low, high)
    weight = checks.number(weight, "weight", low, high)
    columns = {word: v for v, word in enumerate(names)}
    if len(columns) < len(names):
        raise ValueError("vocabulary must hold different words, one for each column of X")
    if seeds and n_fixed == n_topics:
        raise ValueError(f"fixed has all {n_topics} topics; wanted fewer, or no seeds")
    for topic, words in (seeds or {}).items():
        number = checks.integer(topic, "the number of a topic in seeds", n_fixed, n_topics - 1)
        if isinstance(words, str):
            raise ValueError(f"seeds of topic {topic} are {words!r}; wanted a list of words")
        unknown = [word for word in words if word not in columns]
        if unknown:
            raise ValueError(
                f"seeds of topic {topic} are not in the vocabulary: "
                + ", ".join(map(repr, unknown[:10]))
            )
        prior[number, [columns[word] for word in words]] += weight
    return prior


def words_of(vocabulary: Sequence[str]) -> list[str]:
    """Return the words of the columns of X, in their order.

    Raises
    ------
    ValueError
        If they are a string, or a dict, whose order need not be that of the columns.
    """
    if isinstance(vocabulary, (str, Mapping)):
        raise ValueError(
            f"vocabulary is a {type(vocabulary).__name__}; wanted the words of the columns in "
            "their order, such as vectorizer.get_feature_names_out()"
        )
    return [str(word) for word in vocabulary]


def _fixed_topics(fixed: ArrayLike, n_topics: int, n_words: int) -> Array:
    """Check topics to keep, and return them as probabilities."""
    kept = np.asarray(fixed, np.float64)
    if kept.ndim != 2 or kept.shape[1] != n_words or len(kept) > n_topics:
        raise ValueError(
            f"fixed has shape {kept.shape}; wanted at most {n_topics} topics of {n_words} words"
        )
    if not np.all(np.isfinite(kept) & (kept >= 0)) or not np.all(kept.sum(axis=1) > 0):
        raise ValueError("fixed must hold finite weights >= 0, with one above 0 in each topic")
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


def by_topic(prior: AnyArray, n_topics: int, n_words: int) -> Array:
    """Check a prior (n_topics, n_words), and return it as solvers have it: (V, K padded)."""
    if len(prior) != n_topics:
        raise ValueError(
            f"topic_word_prior has {len(prior)} rows; wanted one for each of {n_topics} topics"
        )
    eta = np.ones((n_words, padded(n_topics)))
    for k, row in enumerate(prior):
        eta[:, k] = checks.prior(row, f"topic_word_prior[{k}]", n_words, 0.0)
    return eta


def public_prior(eta: Any, n_topics: int) -> Any:
    """Return the prior of a solver as `topic_word_prior`: a number, (V,) or (K, V)."""
    if np.ndim(eta) == 0:
        return eta
    return eta[:, 0] if eta.shape[1] == 1 else np.ascontiguousarray(eta[:, :n_topics].T)
