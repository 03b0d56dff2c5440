"""The hierarchical Dirichlet process of topics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naive import hdp as naive
from naive import lda as naive_lda
from scipy.sparse import csr_array
from scipy.special import gammaln, psi, xlogy
from simulated import best_match, simulate
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import HierarchicalDirichletProcess
from fastvi.core import Batch, LazyTable
from fastvi.models.counts import DocumentSource
from fastvi.models.topics import hdp_merges
from fastvi.models.topics.hdp_model import HDP, HDPParameters, log_shares, mean_shares

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ASCENT: dict[str, Any] = {"batch_size": None, "tol": 0.0, "random_state": 0}


def test_shares(rng: np.random.Generator) -> None:
    sticks = rng.gamma(1.0, 2.0, (6, 2)) + 0.01
    np.testing.assert_allclose(log_shares(sticks), naive.log_shares(sticks), rtol=1e-12)
    np.testing.assert_allclose(mean_shares(sticks), naive.mean_shares(sticks), rtol=1e-12)
    assert mean_shares(sticks).sum() == pytest.approx(1)
    assert mean_shares(np.ones((0, 2))).tolist() == [1]
    v = rng.beta(*sticks.T, size=(20_000, 6))
    v = np.concatenate([v, np.ones((len(v), 1))], axis=1)
    left = np.concatenate([np.ones((len(v), 1)), np.cumprod(1 - v[:, :-1], axis=1)], axis=1)
    np.testing.assert_allclose((v * left).mean(axis=0), mean_shares(sticks), atol=0.01)


def test_local_step_and_bound(rng: np.random.Generator) -> None:
    """The statistics and the bound by definition, at the gamma that the kernel finds."""
    counts = csr_array(rng.poisson(0.8, (6, 9)).astype(float))
    parts = counts.indptr.astype(np.int64), counts.indices.astype(np.int32), counts.data
    source = DocumentSource(*parts, 9)
    model = HDP(5, 0.1, 0.7, 1.3, dtype=np.float64)
    table = np.zeros((9, 8))
    table[:, :5] = rng.gamma(1.0, 2.0, (9, 5)) + 0.1
    sticks = rng.gamma(1.0, 2.0, (4, 2)) + 0.1
    params = HDPParameters(LazyTable(table, model.prior.table), sticks)
    weights = rng.uniform(0.5, 2.0, 6)
    local = model.local(params, Batch(source.all(), weights), None, rng, norms=True)
    gamma, alpha = local.variables[:, :5], 0.7 * np.exp(naive.log_shares(sticks))
    own = [naive.on_sticks(naive.tables([g], alpha)) for g in gamma]
    found: HDPParameters = local.statistics
    want = sum(w * part for w, part in zip(weights, own))
    np.testing.assert_allclose(found.sticks, want, rtol=1e-9, atol=1e-12)
    of_words = model._lda(alpha).local(params.table, Batch(source.all(), weights), None, rng)
    np.testing.assert_array_equal(found.table.values, of_words.statistics.values)
    assert local.norms is not None
    assert np.all(local.norms >= [np.linalg.norm(part) for part in own])

    once = model.local(params, Batch(source.all(), np.ones(6)), None, rng)
    bound = once.bound + model.global_bound(params)
    word_weights = naive_lda.word_weights(table[:, :5], table.sum(axis=0), 5, False)
    documents = [[(int(v), counts[d, v]) for v in range(9) if counts[d, v]] for d in range(6)]
    want = naive.bound(documents, gamma, *word_weights, table[:, :5], sticks, 0.1, 0.7, 1.3)
    assert bound == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("concentration", [0.3, 2.0])
def test_the_bound_is_below_the_evidence(concentration: float) -> None:
    """Two topics and three words, where all assignments can be counted."""
    documents = [[(0, 2), (1, 1)], [(2, 3)], [(0, 1), (2, 1)]]
    X = np.zeros((3, 3))
    for d, document in enumerate(documents):
        for w, c in document:
            X[d, w] = c
    exact = naive.log_evidence(documents, 3, 0.4, concentration, 1.5)
    model = HierarchicalDirichletProcess(
        2, concentration=concentration, corpus_concentration=1.5, topic_word_prior=0.4,
        max_iter=100, **ASCENT,
    ).fit(X)  # fmt: skip
    assert exact - 3.0 < model.elbo_ < exact


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_never_falls(dtype: Any) -> None:
    X = simulate(60, 40, 3, 30, seed=3).counts.astype(dtype)
    model = HierarchicalDirichletProcess(12, max_iter=60, **ASCENT).fit(X)
    elbo = model.history_["elbo"]
    allowed = 1e-6 if dtype == np.float32 else 1e-12
    assert np.diff(elbo).min() > -allowed * abs(elbo[-1])
    assert elbo[-1] == model.elbo_


def test_topics_are_found() -> None:
    """Those of simulated documents, most words in as many topics as there are."""
    true = simulate(400, 60, 5, 60, seed=1)
    model = HierarchicalDirichletProcess(
        20, batch_size=64, max_iter=15, topic_word_prior=0.05, random_state=0
    ).fit(true.counts)
    components = model.components_
    assert components.shape == (model.n_topics_, 60)
    assert 5 <= model.n_topics_ <= 20
    topics = components / components.sum(axis=1, keepdims=True)
    assert np.median(best_match(topics, true.topics)) < 0.3
    assert np.all(np.diff(components.sum(axis=1)) <= 0)
    theta = model.transform(true.counts)
    assert theta.shape == (400, model.n_topics_)
    np.testing.assert_allclose(theta.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.doc_topic_prior_, model.topic_shares_, rtol=1e-6)
    assert model.topic_shares_.sum() <= 1 + 1e-6


def halved_topics() -> tuple[HDP, DocumentSource, HDPParameters]:
    """Three topics with their own words, each of them twice with half of the counts."""
    rng = np.random.default_rng(0)
    topics = np.kron(np.eye(3), np.full(5, 0.2))
    X = np.stack([rng.multinomial(40, rng.dirichlet(np.ones(3)) @ topics) for _ in range(80)])
    counts = csr_array(X.astype(float))
    parts = counts.indptr.astype(np.int64), counts.indices.astype(np.int32), counts.data
    source, model = DocumentSource(*parts, 15), HDP(7, 0.1, 1.0, 1.0, dtype=np.float64)
    table = np.zeros((15, 8))
    table[:, :7] = 0.1
    table[:, :6] += (
        np.repeat(topics.T * 80 * 40 / 3, 2, axis=1) / 2 * rng.uniform(0.9, 1.1, (15, 6))
    )
    return model, source, model.start(table, 80)


def test_topics_that_share_words_are_merged() -> None:
    model, source, params = halved_topics()
    bounds = []
    for found in (params, hdp_merges.merge(model, source, params, 0)):
        rng, batch = np.random.default_rng(0), Batch(source.all(), np.ones(80))
        bounds.append(model.local(found, batch, None, rng).bound + model.global_bound(found))
    words = found.table.dense().sum(axis=0)[:7] - 15 * 0.1
    assert (words > 1).tolist() == [True] * 3 + [False] * 4
    assert words.sum() == pytest.approx(source.counts.sum())
    assert bounds[1] > bounds[0] + 10


def test_the_change_of_the_bound_by_a_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the bound before and after, at the assignments that both have."""
    model, source, params = halved_topics()
    monkeypatch.setattr(hdp_merges, "FEW", -1.0)  # nothing is left out
    now = hdp_merges._assign(model, source, 1.0, params, np.random.default_rng(0))
    table = now.params.table.dense()[:, :7].astype(float)
    of_topics = hdp_merges._of_topics(table, psi(table) - psi(table.sum(axis=0)), 0.1)
    whole = of_topics + model.bound_of_sticks(now.params.sticks)
    assert whole == pytest.approx(model.global_bound(now.params))
    (n, m), (a, b) = now.counts[:, :2].T, now.alpha[:2]
    assert hdp_merges._of_documents(now, (0, 1)) == pytest.approx(
        (gammaln(a + b + n + m) - gammaln(a + b)).sum()
        - sum((gammaln(x + y) - gammaln(x)).sum() for x, y in ((a, n), (b, m)))
    )
    both = table[:, 0] + table[:, 1] - 0.1
    columns = [both, np.full(15, 0.1)], [table[:, 0], table[:, 1]]
    after, before = (sum(gammaln(c).sum() - gammaln(c.sum()) for c in some) for some in columns)
    assert hdp_merges._of_words(table, 0.1, (0, 1)) == pytest.approx(after - before)
    owners = np.repeat(np.arange(80), np.diff(source.indptr))
    of_documents, of_words, sums = now.shares
    phi = of_documents[owners, :2] * of_words[source.indices, :2] / sums[:, None]
    entropy = xlogy(phi.sum(axis=1), phi.sum(axis=1)) - xlogy(phi, phi).sum(axis=1)
    found = hdp_merges._entropy(source, owners, now, (0, 1))
    assert found == pytest.approx(source.counts @ entropy, rel=1e-3)


def test_streams(tmp_path: Path) -> None:
    """From scratch and after a fit; a failure changes nothing; files keep the stream's end."""
    true = simulate(300, 50, 4, 50, seed=2)
    X, test = true.counts[:250], true.counts[250:]
    options: dict[str, Any] = {"n_components": 10, "random_state": 0, "topic_word_prior": 0.05}
    fit = HierarchicalDirichletProcess(batch_size=32, **options).fit(X)
    stream = HierarchicalDirichletProcess(**options)
    for _ in range(2):
        for start in range(0, 250, 50):
            stream.partial_fit(X[start : start + 50])
    score, of_stream = (m.document_completion(test, random_state=0) for m in (fit, stream))
    assert of_stream > score - 0.2
    before = stream.components_
    with pytest.raises(ValueError, match="features"):
        stream.partial_fit(X[:, 1:])
    np.testing.assert_array_equal(stream.components_, before)
    stream.save(tmp_path / "m.npz")
    again = fastvi.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.transform(test), stream.transform(test))
    further = fit.partial_fit(X[:50])
    assert further.n_batch_iter_ == 20 * 8 + 2  # 32 documents, and 18
    with pytest.raises(ValueError, match=r"n_components is 4 .* from are 10"):
        again.set_params(n_components=4).partial_fit(X)


@pytest.mark.parametrize("batch_size", [None, 40])
def test_same_bits_for_any_number_of_threads(batch_size: int | None) -> None:
    X = simulate(150, 50, 4, 40, seed=6).counts
    found = [
        HierarchicalDirichletProcess(
            9, n_jobs=n_jobs, max_iter=3, **{**ASCENT, "batch_size": batch_size}
        ).fit(X)
        for n_jobs in (1, 2, 8)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].components_, other.components_)
        np.testing.assert_array_equal(found[0].topic_shares_, other.topic_shares_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"concentration": 0.0}, "concentration"),
        ({"corpus_concentration": -1.0}, "corpus_concentration"),
        ({"topic_word_prior": np.nan}, "topic_word_prior"),
        ({"merge": 1}, "merge is 1"),
    ],
)
def test_bad_parameters_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HierarchicalDirichletProcess(**options).fit(np.ones((3, 4)))


def test_what_is_there_after_fit_only() -> None:
    model = HierarchicalDirichletProcess(3)
    for name in ("components_", "n_topics_", "topic_shares_", "doc_topic_prior_"):
        assert not hasattr(model, name)
    with pytest.raises(ValueError, match="every document is empty"):
        model.fit(np.zeros((3, 4)))


@parametrize_with_checks([HierarchicalDirichletProcess(3)])
@pytest.mark.jit
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)
