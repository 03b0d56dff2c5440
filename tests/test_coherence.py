"""Coherence and diversity of topics, against definitions, gensim and tomotopy."""

from __future__ import annotations

from typing import Any

import numpy as np
import peer_coherence
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import coherence as naive
from scipy.sparse import csr_array

import fastvi
from fastvi.kernels.coherence import windows_together

# `python tests/peer_coherence.py` with gensim 4.4.0 and tomotopy 0.14.0
GENSIM = {
    "npmi": [0.27467960462913477, 0.13120430042984185, -0.050174538801552204],
    "c_v": [0.8219405483959253, 0.7731202242043026, 0.780544490401835],
    "u_mass": [-0.27730675296987306, -0.2808686065371032, -0.2853483406302721],
}
TOMOTOPY = {"u_mass": [-0.2773067529717033, -0.28086860653901885, -0.2853483406321788]}
TEXTS = st.lists(st.lists(st.integers(0, 5), max_size=9), min_size=1, max_size=4)


@given(TEXTS, st.integers(1, 11))
def test_windows_are_counted(texts: list[list[int]], width: int) -> None:
    """Words 4 and 5 do not matter: they are -1 to the kernel."""
    words = np.array([v if v < 4 else -1 for text in texts for v in text], np.int32)
    indptr = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    joint = np.zeros((4, 4), np.int64)
    n_windows = windows_together(indptr, words, width, joint)
    places = naive.windows(texts, width)
    assert n_windows == len(places)
    both = joint + joint.T - np.diag(joint.diagonal())
    want = [[sum(v in p and w in p for p in places) for w in range(4)] for v in range(4)]
    assert both.tolist() == want


@pytest.mark.parametrize("measure", GENSIM)
def test_numbers_of_other_libraries(measure: str) -> None:
    """tomotopy's windows are others than gensim's, so that only "u_mass" can be compared."""
    found = fastvi.topic_coherence(peer_coherence.TOPICS, peer_coherence.texts(), measure=measure)
    np.testing.assert_allclose(found, GENSIM[measure], rtol=1e-12)
    if measure in TOMOTOPY:
        np.testing.assert_allclose(found, TOMOTOPY[measure], rtol=1e-9)


def test_definitions() -> None:
    """Words may occur several times in a window."""
    rng = np.random.default_rng(2)
    texts = [[f"w{v}" for v in rng.integers(0, 12, n)] for n in rng.integers(1, 60, 30)]
    topics = [["w0", "w1", "w2"], ["w5", "w4", "w3", "w11"]]
    for measure, of_topic in (("npmi", naive.npmi), ("c_v", naive.c_v)):
        found = fastvi.topic_coherence(topics, texts, measure=measure, window=7)
        np.testing.assert_allclose(found, [of_topic(topic, texts, 7) for topic in topics])
    found = fastvi.topic_coherence(topics, texts, measure="u_mass")
    np.testing.assert_allclose(found, [naive.u_mass(topic, texts) for topic in topics])


def test_all_ways_to_give_topics_and_documents() -> None:
    rng = np.random.default_rng(4)
    counts = rng.poisson(0.4, (50, 9))
    names = [f"w{v}" for v in range(9)]
    texts = [np.repeat(names, row).tolist() for row in counts]
    weights = rng.gamma(1.0, size=(3, 9))
    words = [[names[v] for v in np.argsort(-row)[:4]] for row in weights]
    options: dict[str, Any] = {"n_words": 4, "measure": "u_mass"}
    want = fastvi.topic_coherence(words, [text for text in texts if text], **options)

    class Model:
        components_, vocabulary_ = weights, names

    pairs: list[tuple[Any, Any]] = [
        (Model(), counts),
        (Model(), texts),
        (weights, csr_array(counts)),
    ]
    for topics, documents in pairs:
        found = fastvi.topic_coherence(topics, documents, **options)
        np.testing.assert_allclose(found, want)
    found = fastvi.topic_coherence(words, counts, vocabulary=names, **options)
    np.testing.assert_allclose(found, want)
    by_documents = fastvi.topic_coherence(weights, counts, n_words=4)  # no windows in counts
    np.testing.assert_allclose(
        by_documents, fastvi.topic_coherence(words, texts, window=10**6), rtol=1e-12
    )
    assert fastvi.topic_diversity(weights, n_words=9) == pytest.approx(1 / 3)
    assert fastvi.topic_diversity(words) == len({w for t in words for w in t}) / 12


def test_words_that_never_occur() -> None:
    texts = [["a", "b"], ["b", "c"], []]
    column = np.empty(3, object)  # as in a data frame
    column[:] = texts
    same = fastvi.topic_coherence([["a", "b"]], column)
    np.testing.assert_array_equal(same, fastvi.topic_coherence([["a", "b"]], texts))
    assert fastvi.topic_coherence([["a", "b"]], [[], []]).tolist() == [0.0]
    for measure in GENSIM:
        found = fastvi.topic_coherence([["a", "b"], ["x", "y"]], texts, measure=measure)
        assert np.isfinite(found).all()
        assert found[1] == 0


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.eye(3), np.eye(3)), {"measure": "uci"}, "measure is 'uci'"),
        ((np.eye(3), np.eye(3)), {"window": 5}, "counts, which have no order"),
        ((np.eye(3), [["a"]]), {}, "vocabulary is needed"),
        (([["a", "b"]], np.eye(3)), {}, "vocabulary is needed"),
        (([["a", "b"]], np.eye(2)), {"vocabulary": ["a", "c"]}, "does not have 'b'"),
        ((np.eye(4), np.eye(3)), {}, "topics have word 3, documents 3 columns"),
        ((np.eye(4), [["a"]]), {"vocabulary": ["a", "c"]}, "topics have word 3, vocabulary 2"),
        (([["a"]], [["a"]]), {}, "at least two words"),
        (([["a", "a"]], [["a"]]), {}, "all different"),
        ((["a", "b"], [["a"]]), {}, "the first is 'a'"),
        (([["a", "b"]], [["a"], "a b"]), {}, "document 1 is a string"),
        ((np.full((2, 3), np.nan), np.eye(3)), {}, "finite weights"),
        (([["a", "b"]], []), {}, "documents must be counts, or a list with at least one"),
        (([["a", "b"]], iter([["a"]])), {}, "documents must be counts, or a list with at least"),
        ((np.eye(2), [["a"]]), {"vocabulary": {"b": 1, "a": 0}}, "vocabulary is a dict"),
        ((fastvi.LatentDirichletAllocation(), np.eye(3)), {}, "not fitted"),
    ],
)
def test_bad_input_is_refused(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastvi.topic_coherence(*arguments, **options)
