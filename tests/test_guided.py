"""Topics with seed words, and topics that stay while others are added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from simulated import simulate

import fastvi
from fastvi import LatentDirichletAllocation

N_WORDS = 40
WORDS = [f"w{v}" for v in range(N_WORDS)]
TRUE = simulate(300, N_WORDS, 4, 50, seed=8)
SEEDS = {k: [WORDS[v] for v in np.argsort(-topic)[:2]] for k, topic in enumerate(TRUE.topics)}


def distance(found: Any, true: Any) -> Any:
    return np.abs(found / found.sum(axis=1, keepdims=True) - true).sum(axis=1)


@pytest.mark.parametrize("solver", ["auto", "svi", "vb"])
def test_seeds_say_which_topic_is_which(solver: str) -> None:
    prior = fastvi.guided_prior(4, WORDS, SEEDS, base=0.05)
    model = LatentDirichletAllocation(
        4, solver=solver, topic_word_prior=prior, max_iter=10, random_state=3, batch_size=32
    ).fit(TRUE.counts)
    assert model.solver_ == ("scvb0" if solver == "auto" else solver)
    assert np.median(distance(model.components_, TRUE.topics)) < 0.3
    np.testing.assert_array_equal(model.topic_word_prior_, prior)
    shares = model.topic_model().topic_shares
    assert shares.sum() == pytest.approx(1)
    assert np.all(shares > 0.02)


def test_fixed_topics_stay() -> None:
    prior = fastvi.guided_prior(4, WORDS, fixed=TRUE.topics[:2], base=0.05)
    model = LatentDirichletAllocation(
        4, topic_word_prior=prior, max_iter=20, random_state=0, batch_size=32
    ).fit(TRUE.counts)
    assert np.all(distance(model.components_[:2], TRUE.topics[:2]) < 0.1)
    others = model.components_[2:]
    best = min(distance(others[order], TRUE.topics[2:]).max() for order in ([0, 1], [1, 0]))
    assert best < 0.6


def test_a_prior_of_equal_rows_is_the_prior_for_all() -> None:
    """In the bound too, and after a file."""
    one = np.linspace(0.1, 0.5, N_WORDS)
    fits = [
        LatentDirichletAllocation(
            3, solver="vb", topic_word_prior=prior, max_iter=3, random_state=0
        ).fit(TRUE.counts)
        for prior in (one, np.tile(one, (3, 1)))
    ]
    assert fits[0].elbo_ == pytest.approx(fits[1].elbo_, rel=1e-6)
    model, other = (fit.topic_model() for fit in fits)
    parts = fits[0]._counts(TRUE.counts, reset=False).parts
    same = type(model)(model.table, model.alpha, other.eta, False)
    assert same.bound(parts) == pytest.approx(model.bound(parts), rel=1e-6)
    np.testing.assert_allclose(same.topic_shares, model.topic_shares, rtol=1e-6)


def test_streams_and_files(tmp_path: Path) -> None:
    prior = fastvi.guided_prior(4, WORDS, SEEDS, base=0.05)
    model = LatentDirichletAllocation(4, topic_word_prior=prior, random_state=0)
    for start in range(0, 300, 100):
        model.partial_fit(TRUE.counts[start : start + 100])
    model.save(tmp_path / "m.npz")
    again = fastvi.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.topic_word_prior_, prior)
    np.testing.assert_array_equal(again.transform(TRUE.counts), model.transform(TRUE.counts))
    again.partial_fit(TRUE.counts[:50])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ({0: ["w1", "nonsense", "more"]},),
            "seeds of topic 0 are not in the vocabulary: 'nonsense'",
        ),
        (({4: ["w1"]},), "the number of a topic in seeds is 4"),
        (({0: "w1"},), "seeds of topic 0 are 'w1'; wanted a list"),
        (([["w1"], ["w2"]],), r"seeds is a list; wanted \{topic: \[words\]\}"),
    ],
)
def test_bad_seeds_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastvi.guided_prior(4, WORDS, *arguments)


def test_bad_priors_are_refused() -> None:
    for fixed in (np.ones(3), np.ones((2, 3)), np.ones((5, N_WORDS))):
        with pytest.raises(ValueError, match="fixed has shape"):
            fastvi.guided_prior(4, WORDS, fixed=fixed)
    with pytest.raises(ValueError, match="fixed has all 4 topics; wanted fewer, or no seeds"):
        fastvi.guided_prior(4, WORDS, {0: ["w1"]}, fixed=np.ones((4, N_WORDS)))
    for vocabulary in ({"b": 1, "a": 0}, "ab"):  # a dict's order need not be that of the columns
        with pytest.raises(ValueError, match=r"vocabulary is a (dict|str); wanted the words of"):
            fastvi.guided_prior(2, vocabulary, {0: ["a"]})
    with pytest.raises(ValueError, match="vocabulary must hold different words"):
        fastvi.guided_prior(2, ["a", "b", "a"], {0: ["a"]})
    with pytest.raises(ValueError, match="fixed must hold finite weights"):
        fastvi.guided_prior(4, WORDS, fixed=np.zeros((1, N_WORDS)))
    with pytest.raises(ValueError, match="the number of a topic in seeds is 0"):
        fastvi.guided_prior(4, WORDS, {0: ["w1"]}, fixed=np.ones((1, N_WORDS)))
    fit = LatentDirichletAllocation(4, topic_word_prior=np.ones((4, N_WORDS))).fit
    with pytest.raises(ValueError, match="wanted 'scvb0', 'svi' or 'vb'"):
        LatentDirichletAllocation(4, topic_word_prior=np.ones((4, N_WORDS)), solver="cvb0").fit(
            TRUE.counts
        )
    with pytest.raises(ValueError, match=r"topic_word_prior has 3 rows; wanted one for each of 4"):
        LatentDirichletAllocation(4, topic_word_prior=np.ones((3, N_WORDS))).fit(TRUE.counts)
    with pytest.raises(ValueError, match=r"topic_word_prior\[0\] has shape"):
        fit(TRUE.counts[:, 1:])


def test_arguments_of_pyldavis() -> None:
    """What `pyLDAvis.prepare` checks: sizes, and rows that sum to 1."""
    counts = csr_array(np.vstack([np.zeros((1, 6)), np.tile([3, 0, 1, 2, 0, 4], (5, 1))]))
    model = LatentDirichletAllocation(2, max_iter=2, random_state=0).fit(counts)
    found = model.to_pyldavis(counts)
    assert found["topic_term_dists"].shape == (2, 4)
    assert found["doc_topic_dists"].shape == (5, 2)
    for name in ("topic_term_dists", "doc_topic_dists"):
        np.testing.assert_allclose(found[name].sum(axis=1), 1, rtol=1e-12)
    assert found["doc_lengths"].tolist() == [10] * 5
    assert found["vocab"] == ["0", "2", "3", "5"]
    assert found["term_frequency"].tolist() == [15, 5, 10, 20]
    model.vocabulary_ = list("abcdef")
    assert model.to_pyldavis(counts)["vocab"] == list("acdf")
    with pytest.raises(ValueError, match="X has no words"):
        model.to_pyldavis(np.zeros((2, 6)))
