"""Structured stochastic variational inference: topics that are drawn in each step."""

from __future__ import annotations

import numpy as np
import pytest
from naive import lda as naive
from scipy.special import psi
from simulated import simulate

from fastvi import LatentDirichletAllocation
from fastvi.core import Batch, LazyTable
from fastvi.models.counts import DocumentSource
from fastvi.models.topics.model import LDA
from fastvi.models.topics.perplexity import structured_bound
from fastvi.models.topics.structured import drawn_weights


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_have_the_moments_of_dirichlet_distributions(dtype: type) -> None:
    """Three words of six, one with a tiny parameter; also all of them, without a rest."""
    rng = np.random.default_rng(1)
    table = np.zeros((6, 8), dtype)
    table[:, :2] = rng.gamma(2.0, size=(6, 2)) + 0.2
    table[1, 0] = 0.01
    sums = table.sum(axis=0, dtype=np.float64)
    exact = table[:, :2] / sums[:2]
    for rows in (np.arange(3), np.arange(6)):
        draws = []
        for _ in range(4000):
            weights, log_factors = drawn_weights(table[rows].copy(), sums, 2, rng)
            assert not weights[:, 2:].any()
            with np.errstate(divide="ignore"):
                draws.append(np.log(weights[:, :2]) + log_factors[:, None])
        topics = np.exp(draws)
        if len(rows) == 6:
            np.testing.assert_allclose(topics.sum(axis=1), 1, rtol=1e-4)
        error = np.sqrt(exact[rows] * (1 - exact[rows]) / (1 + sums[:2]) / 4000)
        assert np.all(np.abs(topics.mean(axis=0) - exact[rows]) < 4.5 * error)
        second = exact[rows] * (exact[rows] * sums[:2] + 1) / (sums[:2] + 1)
        np.testing.assert_allclose((topics**2).mean(axis=0), second, rtol=0.15, atol=1e-3)
        usual = np.isfinite(draws).all(axis=0)  # ratios below float32's range are 0
        logs = (psi(table[:, :2]) - psi(sums[:2]))[rows]
        np.testing.assert_allclose(np.mean(draws, axis=0)[usual], logs[usual], rtol=0.05, atol=0.05)


def test_the_bound_lies_between_that_of_mean_field_and_the_evidence() -> None:
    """All assignments of nine tokens can be counted. Topics are those that mean-field finds."""
    documents = [[(0, 2), (1, 1)], [(2, 3)], [(0, 1), (2, 1), (1, 1)]]
    X = np.zeros((3, 3))
    for d, document in enumerate(documents):
        for w, c in document:
            X[d, w] = c
    alpha, eta = np.array([0.6, 0.3]), 0.4
    exact = naive.log_evidence(documents, 3, alpha, eta)
    fit = LatentDirichletAllocation(
        2, solver="vb", doc_topic_prior=alpha, topic_word_prior=eta, max_iter=100, random_state=0
    ).fit(X)
    indptr, indices = np.array([0, 2, 3, 6]), np.array([0, 1, 2, 0, 1, 2], np.int32)
    source = DocumentSource(indptr, indices, X[X > 0], 3)
    model = LDA(alpha, eta, dtype=np.float64, max_iter=1000, tol=1e-9)
    table = LazyTable(fit._model.table.copy(), model.prior)
    drawn = LDA(alpha, eta, dtype=np.float64, max_iter=1000, tol=1e-9, structured=True)
    rng, batch = np.random.default_rng(0), Batch(source.all(), np.ones(3))
    fixed = model.global_bound(table)
    mean_field = model.local(table, batch, None, rng).bound + fixed
    bounds = [drawn.local(table, batch, None, rng).bound + fixed for _ in range(3000)]
    mean, error = np.mean(bounds), np.std(bounds) / np.sqrt(3000)
    assert mean_field == pytest.approx(fit.elbo_, rel=1e-6)
    assert mean_field + 0.1 < mean - 4 * error
    assert mean + 4 * error < exact


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_bound_of_a_fit(seed: int) -> None:
    """`elbo_` is the mean of eight draws, of which the standard error comes from 500 means."""
    documents = [[(0, 2), (1, 1)], [(2, 3)], [(0, 1), (2, 1), (1, 1)]]
    X = np.array([[2.0, 1, 0], [0, 0, 3], [1, 1, 1]])
    alpha, eta = np.array([0.6, 0.3]), 0.4
    exact = naive.log_evidence(documents, 3, alpha, eta)
    fit = LatentDirichletAllocation(
        2, solver="svi", structured=True, doc_topic_prior=alpha, topic_word_prior=eta, batch_size=3,
        mean_change_tol=1e-9, max_iter=60, evaluate_every=60, random_state=seed,
    ).fit(X)  # fmt: skip
    model, rng = fit.topic_model(), np.random.default_rng(seed)
    parts = np.array([0, 2, 3, 6]), np.array([0, 1, 2, 0, 1, 2], np.int32), X[X > 0]
    means = [structured_bound(model, parts, rng, 8) for _ in range(500)]
    spread = np.std(means)
    assert model.bound(parts) < np.mean(means) - 4 * spread / np.sqrt(500)
    assert np.mean(means) + 4 * spread / np.sqrt(500) < exact
    assert abs(fit.elbo_ - np.mean(means)) < 4.5 * spread
    assert fit.history_["perplexity"][-1] == pytest.approx(np.exp(-fit.elbo_ / X.sum()))


def test_threads_do_not_matter() -> None:
    """More words than in a task, with and without a rest."""
    rng = np.random.default_rng(0)
    table = np.zeros((1300, 8), np.float32)
    table[:, :5] = rng.gamma(0.3, size=(1300, 5)) + 1e-3
    sums = table.sum(axis=0, dtype=np.float64)
    for rows in (slice(None), slice(0, 1200)):
        one, two = (
            drawn_weights(table[rows].copy(), sums, 5, np.random.default_rng(7), n) for n in (1, 2)
        )
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


def test_fits_and_streams() -> None:
    """The option chooses the solver; each call of a stream draws other topics."""
    true = simulate(300, 60, 4, 50, seed=4)
    X, test = true.counts[:250], true.counts[250:]
    scores = []
    for structured in (False, True):
        model = LatentDirichletAllocation(
            4, solver="svi", structured=structured, batch_size=32, max_iter=10, random_state=0
        )
        scores.append(model.fit(X).document_completion(test, random_state=0))
    assert scores[1] > scores[0] - 0.05
    model = LatentDirichletAllocation(4, structured=True, random_state=0, total_samples=250)
    first = model.partial_fit(X[:50]).components_
    assert model.solver_ == "svi"
    model.partial_fit(X[50:100])
    assert np.all(np.isfinite(model.components_))
    assert np.any(model.components_ != first)


@pytest.mark.parametrize("solver", ["cvb", "cvb0", "scvb0", "vb"])
def test_other_solvers_refuse_it(solver: str) -> None:
    model = LatentDirichletAllocation(2, solver=solver, structured=True)
    with pytest.raises(ValueError, match=f"structured=True with solver='{solver}'"):
        model.fit(np.ones((4, 3)))
    with pytest.raises(ValueError, match="structured is 1; wanted True or False"):
        model.set_params(structured=1).fit(np.ones((4, 3)))
