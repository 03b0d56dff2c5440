"""Fits of topics that end when another pass gains little, and starts that keep topics apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastvi import LatentDirichletAllocation as LDA
from fastvi.models.topics.settings import SOLVERS, Settings
from fastvi.models.topics.settling import COLUMN, GAIN, LIMIT
from fastvi.models.topics.solvers import random_topics

RNG = np.random.default_rng(0)
TOPICS = RNG.dirichlet(np.full(60, 0.1), 5)
X = np.stack([RNG.multinomial(40, RNG.dirichlet(np.full(5, 0.2)) @ TOPICS) for _ in range(150)])


def known(lda: LDA) -> np.ndarray:
    scores = lda.history_[COLUMN]
    return scores[~np.isnan(scores)]


@pytest.mark.parametrize("solver", SOLVERS)
def test_passes_go_on_until_the_last_two_gain_little(solver: str) -> None:
    lda = LDA(5, solver=solver, random_state=0).fit(X)
    scores = known(lda)
    means = (scores[2:] - scores[:-2]) / 2
    assert len(scores) == lda.n_iter_
    assert lda.converged_ == (means[-1] < GAIN)
    assert lda.converged_ or lda.n_iter_ == LIMIT
    assert np.all(means[:-1] >= GAIN)
    fixed = LDA(5, solver=solver, random_state=0, max_iter=lda.n_iter_).fit(X)
    assert np.array_equal(fixed.components_, lda.components_)  # scores change nothing
    assert not fixed.converged_
    assert COLUMN not in fixed.history_


def test_a_fit_that_is_resumed_ends_in_the_same_pass(tmp_path: Path) -> None:
    path = tmp_path / "fit.npz"
    whole = LDA(5, random_state=0).fit(X)
    for n_passes in (2, whole.n_iter_):

        def stop(state: object, n_passes: int = n_passes) -> bool:
            return state.epoch >= n_passes  # type: ignore[attr-defined]

        LDA(5, random_state=0).fit(X, callback=stop, checkpoint=path)
        again = LDA(5, random_state=0).fit(X, checkpoint=path, resume=True)
        assert again.n_iter_ == whole.n_iter_
        assert again.converged_
        assert np.array_equal(again.components_, whole.components_)


def test_counts_need_not_be_integers_nor_documents_have_two_words() -> None:
    for counts in (X * 0.3, np.eye(60)[RNG.integers(60, size=40)]):
        lda = LDA(3, random_state=0).fit(counts)
        assert np.isfinite(known(lda)).all()


def test_more_topics_start_further_apart() -> None:
    spread = []
    for k in (10, 50, 100, 200, 400):
        table = random_topics(Settings("cvb0", np.full(k, 0.1), 0.1), 2000)[:, :k]
        assert table.mean() == pytest.approx(1.0, rel=0.02)
        spread.append(table.std())
    assert spread == pytest.approx([0.1, 0.1, 0.336, 1.0, 1.0], rel=0.05)
