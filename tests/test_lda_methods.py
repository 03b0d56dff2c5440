"""Fits of topics: against exact enumeration, plain twins, each other, and on real documents."""

import itertools

import numpy as np
import pytest
import scipy.sparse
from cases import CASES, N_TOPICS, bars, settings, solve, source
from naive import lda as naive
from naive import sparse as naive_sparse
from simulated import best_match
from thoroughly import mostly_thorough
from tolerances import assert_never_falls

from fastvi import LatentDirichletAllocation, optimizers
from fastvi.batches import Everything, ShuffledEpochs
from fastvi.core import LazyTable, ascend
from fastvi.gradients.natural import natural
from fastvi.models.counts import DocumentSource
from fastvi.models.topics.base import fit
from fastvi.models.topics.inference import Topics
from fastvi.models.topics.model import LDA
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.solvers import make_solver

pytestmark = pytest.mark.jit

TINY = {  # documents of three or four tokens over four words
    "words apart": [[(0, 2), (1, 1)], [(2, 3), (3, 1)]],
    "words shared": [[(0, 1), (1, 1), (2, 1)], [(1, 2), (2, 2)]],
    "one word": [[(0, 4)], [(0, 3)]],
    "an empty document": [[(0, 2), (2, 1)], [], [(1, 3)]],
}


def in_float64(documents, n_words):
    return DocumentSource(*naive_sparse.csr(documents, np.float64), n_words)


def cavi(documents, n_words, alpha, eta, n_epochs, seed=0, **changes):
    """A float64 fit whose local steps settle, and its bounds."""
    chosen = Settings(
        "vb", np.array(alpha), eta, seed=seed, dtype=np.float64, mean_change_tol=1e-12,
        max_doc_update_iter=5000, **changes,
    )  # fmt: skip
    solver, history = solve(chosen, in_float64(documents, n_words), n_epochs)
    return solver, np.array(history.columns["elbo"])


@pytest.mark.parametrize("documents", TINY)
@pytest.mark.parametrize(
    ("alpha", "eta"),
    mostly_thorough(
        [
            ([0.5, 0.5], 0.5),
            ([0.2, 1.5], 0.3),
            ([0.01] * 2, 0.01),
            ([1.0, 1.0], 1.0),
            ([0.1, 0.1], 0.1),
        ],
        3,
    ),
)
def test_the_bound_is_below_the_evidence_and_not_far(documents, alpha, eta):
    """Two topics can change places without q knowing: a gap of log 2 = 0.69 is the least, where
    priors are symmetric; independence of z, theta and beta costs the rest, on these up to 1.8.
    """
    documents = TINY[documents]
    evidence = naive.log_evidence(documents, 4, np.array(alpha), eta)
    bounds = [cavi(documents, 4, alpha, eta, 60, seed)[1] for seed in range(5)]
    assert np.max(bounds) < evidence
    assert max(b[-1] for b in bounds) > evidence - 2.5
    if alpha[0] == alpha[1]:
        assert np.max(bounds) < evidence - 0.69


@pytest.mark.parametrize("documents", TINY)
def test_with_one_topic_the_bound_is_the_evidence(documents):
    """Nothing is hidden but the topic, whose posterior is a Dirichlet."""
    documents = TINY[documents]
    _, bounds = cavi(documents, 4, [0.7], 0.3, 3)
    evidence = naive.log_evidence(documents, 4, np.array([0.7]), 0.3)
    np.testing.assert_allclose(bounds[1:], evidence, rtol=1e-12)


def random_documents(seed, n_documents=12, n_words=15):
    rng = np.random.default_rng(seed)
    counts = scipy.sparse.csr_array(rng.poisson(rng.gamma(0.2, 2.0, (n_documents, n_words))))
    return naive_sparse.rows_of(counts.indptr, counts.indices, counts.data)


@pytest.mark.parametrize("tol", [1e-12, 1e-2])
@pytest.mark.parametrize("learned", ["neither", "alpha", "eta", "both"])
@pytest.mark.parametrize("seed", mostly_thorough(range(4), 2))
def test_the_bound_never_falls(seed, learned, tol):
    """Also where local steps end early, and across updates of the priors."""
    chosen = Settings(
        "vb", np.geomspace(0.03, 2.0, 4), 0.05, learned in ("alpha", "both"),
        learned in ("eta", "both"), seed=seed, dtype=np.float64, mean_change_tol=tol,
    )  # fmt: skip
    _, history = solve(chosen, in_float64(random_documents(seed), 15), 40)
    bounds = np.array(history.columns["elbo"])
    assert_never_falls(bounds, np.float64, 15 * 4, abs(bounds[-1]))
    assert bounds[-1] > bounds[0] + 1


@pytest.mark.parametrize("name", ["vb", "vb, priors learned"])
def test_the_bound_in_float32_rises_but_for_rounding(name):
    corpus = source()
    _, history = solve(settings(name), corpus, 30)
    bounds, entries = np.array(history.columns["elbo"]), len(corpus.counts) / corpus.n_rows
    assert_never_falls(bounds, np.float32, entries * N_TOPICS, abs(bounds[-1]))


def start_table(n_words, n_topics, rng):
    table = np.zeros((n_words, (n_topics + 7) // 8 * 8))
    table[:, :n_topics] = rng.gamma(2.0, 0.5, (n_words, n_topics)) + 0.1
    return table


def test_the_bound_is_what_its_definition_says(rng):
    """At each step: the topics it began with and the proportions it found."""
    documents, alpha, eta = random_documents(5), np.array([0.1, 0.5, 1.0]), 0.2
    model = LDA(alpha, eta, dtype=np.float64)
    algorithm = ascend(natural(model, remember=True), optimizers.constant())
    state = algorithm.init(LazyTable(start_table(15, 3, rng), model.prior))
    (batch,) = Everything(in_float64(documents, 15)).epoch(0)
    for _ in range(4):
        table = state.params.dense()[:, :3]
        state, info = algorithm.step(state, batch, rng)
        gamma = state.gradient[0][:, :3]
        want = naive.elbo(documents, table, gamma, alpha, eta)
        assert info["elbo"] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("batch_size", [3, 12])
def test_a_stochastic_step_equals_the_plain_twin(collapsed, batch_size, rng):
    """lambda + rate * (eta + D / S * expected counts - lambda), seven local iterations."""
    documents, alpha, eta, n_iter = random_documents(6), np.array([0.2, 0.4, 1.0]), 0.1, 7
    corpus = in_float64(documents, 15)
    model = LDA(alpha, eta, collapsed=collapsed, max_iter=n_iter, tol=0.0, dtype=np.float64)
    optimizer = optimizers.robbins_monro(2.0, 0.6)
    algorithm = ascend(natural(model), optimizer)
    table = start_table(15, 3, rng)
    state = algorithm.init(LazyTable(table.copy(), model.prior))
    table = table[:, :3]
    plan = ShuffledEpochs(corpus, batch_size, 4)
    order = np.random.default_rng([4, 0]).permutation(len(documents))
    for t, batch in enumerate(itertools.islice(plan.epoch(0), 3), 1):
        state, info = algorithm.step(state, batch, rng)
        chosen = [documents[d] for d in order[(t - 1) * batch_size : t * batch_size]]
        weights, shift = naive.word_weights(table, table.sum(axis=0), 3, collapsed)
        steps = [naive.local_step(d, weights, shift, alpha, collapsed, n_iter) for d in chosen]
        gamma, e, ratios, bounds = zip(*steps)
        factor = len(documents) / len(chosen)
        shares = np.full(len(chosen), factor)
        if collapsed:
            counts = naive.collapsed_statistics(chosen, weights, alpha, gamma, shares)
        else:
            counts = naive.statistics(chosen, weights, ratios, e, shares)
        table = table + (2.0 + t) ** -0.6 * (eta + counts - table)
        np.testing.assert_allclose(state.params.dense()[:, :3], table, rtol=1e-10)
        np.testing.assert_allclose(info["local_elbo"], factor * sum(bounds), rtol=1e-10)


def test_a_batch_of_all_documents_at_rate_one_is_coordinate_ascent(rng):
    corpus = in_float64(random_documents(7, 30), 15)
    table, states = start_table(15, 3, rng), []
    plans = Everything(corpus), ShuffledEpochs(corpus, 30, 1)
    for remember, plan in zip((True, False), plans):
        model = LDA(np.full(3, 0.3), 0.1, dtype=np.float64)
        optimizer = optimizers.constant() if remember else optimizers.robbins_monro(0.0, 0.7)
        algorithm = ascend(natural(model, remember=remember), optimizer)
        (batch,) = plan.epoch(0)
        state = algorithm.init(LazyTable(table.copy(), model.prior))
        states.append(algorithm.step(state, batch, rng)[0].params.dense())
    np.testing.assert_allclose(*states, rtol=1e-12)


ONE_OF_A_KIND = ["cvb", "cvb0", "scvb0", "svi", "vb", "svi, plain", "scvb0, svrg"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    [
        *ONE_OF_A_KIND,
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in CASES
            if "learned" not in name and name not in ONE_OF_A_KIND
        ),
    ],
)
def test_bars_are_found(name):
    """Within 15 % of their words' probability: all ten from one of four starts, most from each.

    The others end in optima where a topic holds two bars.
    """
    corpus, truth = bars()
    n_found = []
    for seed in range(4):
        chosen = settings(name, alpha=np.full(10, 0.1), eta=0.05, seed=seed, batch_size=64)
        solver, _ = solve(chosen, corpus, 40)
        topics = solver.table()[:, :10].T
        topics /= topics.sum(axis=1, keepdims=True)
        n_found.append(np.sum(best_match(topics, truth) < 0.3))
    assert max(n_found) == 10, n_found
    assert min(n_found) >= 6, n_found


@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_topics_infer_and_score_as_their_twins(collapsed, dtype, rng):
    documents = random_documents(8)
    parts = naive_sparse.csr(documents, dtype)
    table, alpha = start_table(15, 3, rng).astype(dtype), np.array([0.25, 0.5, 1.0])
    topics = Topics.of(table, alpha, collapsed=collapsed, max_iter=9, tol=0.0)
    weights, shift = naive.word_weights(
        table[:, :3], table[:, :3].sum(axis=0, dtype=float), 3, collapsed
    )
    means, _ = naive.word_weights(table[:, :3], table[:, :3].sum(axis=0, dtype=float), 3, True)
    steps = [naive.local_step(d, weights, shift, alpha, collapsed, 9) for d in documents]
    gamma = np.array([step[0] for step in steps])
    limit = 3000 * np.finfo(dtype).eps
    np.testing.assert_allclose(topics.infer(*parts)[:, :3], gamma, rtol=limit)
    bounds = topics.bounds(*parts)
    size = 1 + np.array([sum(count for _, count in d) for d in documents])
    np.testing.assert_allclose(bounds / size, [step[3] for step in steps] / size, atol=limit)
    theta = gamma / gamma.sum(axis=1, keepdims=True)
    scored = random_documents(9)
    want = sum(naive.score(d, means, row) for d, row in zip(scored, theta))
    n_tokens = sum(count for d in scored for _, count in d)
    result = topics.completion(parts, naive_sparse.csr(scored, dtype))
    assert result == pytest.approx(want / n_tokens, rel=float(limit))
    for n_threads in (2, 8):
        assert topics.completion(parts, naive_sparse.csr(scored, dtype), n_threads) == result


def test_many_topics_do_not_learn_documents_by_heart():
    """Ten true topics and 100 in the model. Perplexities of CVB0 are 305 to 316; where each token
    saw its own share in its document's counts, those of SCVB0 were 443 to 464.
    """
    topics = np.random.default_rng(5).dirichlet(np.full(500, 0.1), 10)

    def documents(seed, n):
        rng = np.random.default_rng(seed)
        theta = rng.dirichlet(np.full(10, 0.3), n)
        return np.array([rng.multinomial(60, p) for p in theta @ topics])

    lda = LatentDirichletAllocation(100, solver="scvb0", max_iter=10, random_state=0)
    lda.fit(documents(1, 1000))
    assert np.exp(-lda.document_completion(documents(2, 200), random_state=0)) < 320


def parts_of(counts):
    return (
        counts.indptr.astype(np.int64), counts.indices.astype(np.int32),
        counts.data.astype(np.float32),
    )  # fmt: skip


@pytest.fixture(scope="module")
def ap(data_dir):
    """Training documents in random order, observed and scored halves of the held-out ones."""
    with np.load(data_dir / "text" / "ap.npz") as f:
        counts = scipy.sparse.csr_array((f["data"], f["indices"], f["indptr"]), tuple(f["shape"]))
    with np.load(data_dir / "text" / "ap_split.npz") as f:
        train = np.random.default_rng(0).permutation(f["train_idx"])
        halves = [
            scipy.sparse.csr_array(
                (f[f"{half}_data"], f[f"{half}_indices"], f[f"{half}_indptr"]),
                (len(f["test_idx"]), counts.shape[1]),
            )
            for half in ("obs", "score")
        ]
    train = counts[train]
    train.sort_indices()
    return train, *halves


def completion(table, ap, alpha):
    """Held-out nats a word of topics (V, K padded), by one evaluation for everybody."""
    topics = Topics.of(table, alpha, collapsed=False, max_iter=500, tol=1e-5)
    return topics.completion(parts_of(ap[1]), parts_of(ap[2]))


def fitted(solver, ap, n_topics, n_epochs, seed=0, table=None):
    """Topics (V, K padded) after so many passes."""
    alpha = np.full(n_topics, 1 / n_topics)
    corpus = DocumentSource(*parts_of(ap[0]), ap[0].shape[1])
    chosen = Settings(solver, alpha, 1 / n_topics, seed=seed)
    if table is None:
        return solve(chosen, corpus, n_epochs, n_threads=2)[0].table()
    going_on = make_solver(chosen, corpus, 2)
    state, _ = fit(going_on, n_epochs, going_on.algorithm.init(table))
    return going_on.read(state).table.dense()


@pytest.mark.slow
def test_one_stochastic_pass_is_near_the_batch_fit_on_ap(ap):
    """Within 0.05 nats a held-out word of 20 passes of coordinate ascent from the same start,
    20 topics, medians of 3 seeds.
    """
    alpha, losses = np.full(20, 1 / 20), []
    for seed in range(3):
        start = fitted("svi", ap, 20, 0, seed)
        batch = fitted("vb", ap, 20, 20, seed, table=start.copy())
        one_pass = fitted("svi", ap, 20, 1, seed, table=start)
        losses.append(completion(batch, ap, alpha) - completion(one_pass, ap, alpha))
    assert np.median(losses) < 0.05


@pytest.mark.slow
def test_variational_bayes_is_no_worse_than_scikit_learn_on_ap(ap):
    """Batch, 20 topics, 5 passes, medians of 3 seeds: at most 0.005 nats a word below."""
    from sklearn.decomposition import LatentDirichletAllocation

    ours, theirs = [], []
    for seed in range(3):
        ours.append(completion(fitted("vb", ap, 20, 5, seed), ap, np.full(20, 1 / 20)))
        peer = LatentDirichletAllocation(20, max_iter=5, learning_method="batch", random_state=seed)
        table = np.zeros((ap[0].shape[1], 24))
        table[:, :20] = peer.fit(ap[0]).components_.T
        theirs.append(completion(table, ap, np.full(20, 1 / 20)))
    assert np.median(ours) >= np.median(theirs) - 0.005
