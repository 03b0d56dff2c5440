"""Dynamic topic models: kernels against their twins, the ascent against optimisers, limits."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from naive import dynamic as naive
from tolerances import assert_never_falls

from fastvi.base.bags import bags_of_words
from fastvi.kernels import dynamic as kernels
from fastvi.models.topics import dynamic_ascent as steps
from fastvi.models.topics import dynamic_model as models
from fastvi.models.topics.dynamic_corpus import SlicedCorpus

KEEP = 0.7


class Problem:
    """A random corpus over slices, one of them empty, and a state after its first assignments."""

    def __init__(self, seed=0, n_words=7, n_topics=2, n_slices=5, drift=True, n_documents=30):
        rng = np.random.default_rng(seed)
        self.n_topics = n_topics
        counts = rng.poisson(rng.gamma(0.5, 2.0, (n_documents, n_words)))
        counts[3] = 0
        self.slices = rng.choice(np.delete(np.arange(n_slices), n_slices // 2), n_documents)
        self.bags = bags_of_words(counts.astype(np.float32))
        self.corpus = SlicedCorpus.of(self.bags, self.slices, n_slices)
        variance = 0.2 if drift else None
        words = counts.sum(axis=0).astype(float)
        start = models.start_of(words, n_topics, 3.0, variance)
        alpha = rng.gamma(1.0, 0.5, n_topics) + 0.05
        gaps = rng.choice([1.0, 2.0], n_slices - 1)
        self.model = models.DynamicModel(alpha, start, gaps, KEEP if drift else 0.0)
        topics = np.zeros_like(start.mean)
        topics[:, :n_topics] = rng.dirichlet(np.ones(n_words), n_topics).T
        self.state = steps.first_state(self.model, self.corpus, topics, 0.3, 0.1)
        self.pairs = steps.pairs_of(self.model, self.corpus, self.state)
        self.totals = steps.totals_of(self.model, self.corpus, self.state)

    def sweeps(self, n):
        """The bounds after sweeps."""
        bounds = []
        for _ in range(n):
            state, move = steps.sweep(
                self.model, self.pairs, self.totals, self.state, steps.no_move(self.state)
            )
            self.state, found = steps.settle(self.model, self.pairs, self.totals, state, move)
            bounds.append(found.bound)
        self.found = found
        return bounds

    def counts(self):
        """Expected counts (V, T, K), dense."""
        n = np.zeros(self.state.chains.means.swapaxes(0, 1).shape)
        owner = np.repeat(np.arange(len(n)), np.diff(self.pairs.starts))
        n[owner, self.pairs.slices] = self.pairs.counts
        return n[:, :, : self.n_topics]

    def prior(self):
        """Steps and shares kept (T - 1,), of the chains and of the drift."""
        prior = models.prior_of(self.model, self.state.chain_variance, self.state.drift_variance)
        shape = self.model.start.mean.shape
        prior = prior._replace(
            mean=prior.mean.reshape(shape), variance=prior.variance.reshape(shape)
        )
        chain = prior.steps[1:].astype(float), np.ones(len(prior.steps) - 1)
        return prior, chain, (prior.drift_steps[1:].astype(float), prior.drift_keep[1:])

    def bound(self, means, variances, drift_means, drift_variances):
        """The bound of chains, (V, T, K) and (V, T) or (V, 0)."""
        prior, (chain_steps, ones), (drift_steps, keep) = self.prior()
        n, common, half = self.counts(), 0.0, 0.5 * variances
        total = 0.0
        if drift_means.shape[1]:
            common, half = drift_means[:, :, None], half + 0.5 * drift_variances[:, :, None]
            total += sum(
                naive.chain_bound(m, v, 0.0, prior.drift_variance[0], drift_steps, keep)[0]
                for m, v in zip(drift_means, drift_variances)
            )
        zeta = np.exp(means + common + half).sum(axis=0)
        total += (n * (means + common)).sum() - (n.sum(axis=0) * np.log(zeta)).sum()
        for w in range(len(n)):
            for k in range(self.n_topics):
                total += naive.chain_bound(
                    means[w, :, k], variances[w, :, k], prior.mean[w, k], prior.variance[w, k],
                    chain_steps, ones,
                )[0]  # fmt: skip
        return total


def float64(chains, n_topics):
    """Means and variances (V, T, K), those of the drift (V, T) or (V, 0), in float64."""
    parts = (chains.means[:, :, :n_topics], chains.variances[:, :, :n_topics])
    drift = (chains.drift_means, chains.drift_variances)
    return [np.array(part.swapaxes(0, 1), float) for part in (*parts, *drift)]


def by_word(table, n_topics):
    """A table (T, V, K padded) as (V, T, K), in float64."""
    return np.array(table[:, :, :n_topics].swapaxes(0, 1), float)


def test_assignments_equal_their_twin():
    problem = Problem(seed=1)
    corpus, state = problem.corpus, problem.state
    bounds = zip(corpus.indptr[:-1], corpus.indptr[1:])
    rows = [list(zip(corpus.words[a:b], corpus.counts[a:b].astype(float))) for a, b in bounds]
    before = state.g.astype(float)
    topics = state.chains.weights.swapaxes(0, 1) / state.zeta
    score = steps.assign(problem.model, corpus, state)
    alpha = np.zeros(before.shape[1])
    alpha[: problem.n_topics] = problem.model.alpha
    doc_topic, scores, worst = naive.assign(
        rows, corpus.slices, alpha, topics, before, state.g.astype(float)
    )
    assert worst <= 0.51
    np.testing.assert_allclose(state.doc_topic, doc_topic, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(score, scores.sum(), rtol=1e-5)
    pairs = steps.pairs_of(problem.model, corpus, state)
    want = np.zeros((len(topics), corpus.n_slices, before.shape[1]))
    documents = np.repeat(np.arange(len(rows)), np.diff(corpus.indptr))
    np.add.at(
        want,
        (corpus.words, corpus.slices[documents]),
        corpus.counts[:, None] * state.g.astype(float) / naive.FULL,
    )
    owner = np.repeat(np.arange(len(topics)), np.diff(pairs.starts))
    np.testing.assert_allclose(pairs.counts, want[owner, pairs.slices], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pairs.counts.sum(), want.sum(), rtol=1e-5)
    totals = steps.totals_of(problem.model, corpus, state)
    np.testing.assert_allclose(totals, want.sum(axis=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("drift", [False, True])
def test_a_sweep_equals_its_twin(drift):
    problem = Problem(seed=2, drift=drift)
    problem.sweeps(2)
    state, n, size = problem.state, problem.counts(), problem.n_topics
    prior, (chain_steps, ones), (drift_steps, keep) = problem.prior()
    means, variances, drift_means, drift_variances = float64(state.chains, size)
    sites = by_word(state.chains.sites, size)
    weights, zeta = by_word(state.chains.weights, size), state.zeta[:, :size]
    expected = problem.totals[:, :size] / zeta * weights
    old = 0.0
    if drift:
        old = (drift_means + 0.5 * drift_variances)[:, :, None]
    for w in range(len(n)):
        for k in range(size):
            start = prior.mean[w, k]
            matrix = naive.precision(prior.variance[w, k], chain_steps, ones)
            means[w, :, k], variances[w, :, k], sites[w, :, k] = naive.update_chain(
                n[w, :, k], expected[w, :, k], means[w, :, k], variances[w, :, k], sites[w, :, k],
                start, matrix, chain_steps,
            )  # fmt: skip
    weights = np.exp(means + 0.5 * variances + old)
    if drift:
        matrix = naive.precision(prior.drift_variance[0], drift_steps, keep)
        for w in range(len(n)):
            lam = (problem.totals[:, :size] / zeta * weights[w]).sum(axis=1)
            drift_means[w], drift_variances[w] = naive.update_drift(
                n[w].sum(axis=1), lam, drift_means[w], matrix
            )
        weights *= np.exp((drift_means + 0.5 * drift_variances)[:, :, None] - old)
    after, move = steps.sweep(
        problem.model, problem.pairs, problem.totals, state, steps.no_move(state)
    )
    found = float64(after.chains, size)
    for got, want in zip(found, (means, variances, drift_means, drift_variances)):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(by_word(after.chains.weights, size), weights, rtol=3e-4)
    np.testing.assert_allclose(after.zeta[:, :size], weights.sum(axis=0), rtol=3e-4)
    centre = (means - prior.mean[:, None, :size]).mean(axis=0)
    np.testing.assert_allclose(move.topics[:, :size], centre, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("drift", [False, True])
def test_moments_and_bound_equal_their_twins(drift):
    problem = Problem(seed=3, drift=drift)
    (bound,) = problem.sweeps(1)
    size = problem.n_topics
    parts = float64(problem.state.chains, size)
    np.testing.assert_allclose(bound, problem.bound(*parts), rtol=1e-5)
    prior, (chain_steps, ones), _ = problem.prior()
    want = sum(
        naive.chain_bound(
            parts[0][w, :, k], parts[1][w, :, k], prior.mean[w, k], prior.variance[w, k],
            chain_steps, ones,
        )[1]
        for w in range(len(parts[0]))
        for k in range(size)
    )  # fmt: skip
    np.testing.assert_allclose(problem.found.increments[1:], want, rtol=1e-4)


@pytest.mark.parametrize("drift", [False, True])
def test_sweeps_never_lower_the_bound(drift):
    for seed in range(8):
        problem = Problem(seed, n_words=9, n_topics=3, n_slices=6, drift=drift)
        bounds = problem.sweeps(30)
        n_terms = problem.state.chains.means.size
        assert_never_falls(bounds, np.float32, n_terms, abs(bounds[-1]) + n_terms)


@pytest.mark.thorough
@pytest.mark.parametrize("drift", [False, True])
def test_sweeps_end_at_the_optimum_of_l_bfgs(drift):
    """On the same bound, over means and logarithms of variances."""
    problem = Problem(seed=4, n_words=3, n_slices=3, drift=drift)
    bound = problem.sweeps(100)[-1]
    parts = float64(problem.state.chains, problem.n_topics)
    shapes = [part.shape for part in parts]
    cuts = np.cumsum([part.size for part in parts])[:-1]

    def split(free):
        means, logs, drift_means, drift_logs = (
            part.reshape(shape) for part, shape in zip(np.split(free, cuts), shapes)
        )
        return means, np.exp(logs), drift_means, np.exp(drift_logs)

    free = np.concatenate([np.ravel(np.log(p) if i % 2 else p) for i, p in enumerate(parts)])
    rng = np.random.default_rng(0)
    best = scipy.optimize.minimize(
        lambda x: -problem.bound(*split(x)), free + 0.3 * rng.normal(size=len(free)),
        method="L-BFGS-B", options={"maxfun": 10**6, "ftol": 1e-13},
    )  # fmt: skip
    assert abs(-best.fun - bound) < 1e-3
    means, variances, drift_means, drift_variances = split(best.x)
    logs = means + 0.5 * variances
    if drift:
        logs += (drift_means + 0.5 * drift_variances)[:, :, None]
    want = np.exp(logs) / np.exp(logs).sum(axis=0)
    weights = by_word(problem.state.chains.weights, problem.n_topics)
    np.testing.assert_allclose(weights / weights.sum(axis=0), want, atol=1e-3)


@pytest.mark.parametrize("drift", [False, True])
def test_threads_do_not_change_bits(drift, monkeypatch):
    monkeypatch.setattr(models, "CHUNK_CELLS", 60)
    results = set()
    for n_threads in (1, 2, 8):
        problem = Problem(seed=5, drift=drift)
        model = replace(problem.model, n_threads=n_threads)
        state = problem.state
        for _ in range(3):
            state, info = steps.ascent(model, problem.corpus).step(state, None, None)
        results.add((repr(info), state.g.tobytes(), *(part.tobytes() for part in state.chains)))
    assert len(results) == 1


def test_the_padding_stays_without_counts():
    problem = Problem(seed=6, n_topics=3)
    problem.sweeps(3)
    assert not problem.state.g[:, 3:].any()
    assert not problem.totals[:, 3:].any()
    assert np.all(np.isfinite(problem.state.chains.weights))
    assert np.float32(naive.LONGEST_RISE) == kernels.LONGEST_RISE
