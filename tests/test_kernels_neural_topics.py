"""`fastvi.kernels.neural_topics` equals its plain twins, and its gradients their differences."""

from dataclasses import replace

import numpy as np
import pytest
from naive import neural_topics as naive
from naive.networks import slope
from scipy.special import softmax

from fastvi.base.blas import sgemm
from fastvi.kernels import neural_topics as kernels
from fastvi.kernels import neural_topics_mixture as mixture
from fastvi.kernels import neural_topics_product as product
from fastvi.kernels.optimizers import Adam
from fastvi.models.topics.neural.fitted import NeuralTopics
from fastvi.models.topics.neural.model import Documents, Networks, logistic_normal
from fastvi.models.topics.neural.training import begin, read, stepper

pytestmark = pytest.mark.usefixtures("quiet")

N, V, K = 4, 9, 3
STILL = Adam(0.0, 0.0, 0.0, 0.0, 0.0)
FORMS = pytest.mark.parametrize("is_product", [False, True], ids=["mixture", "product"])


def made(rng, is_product, extras=0, covariates=0):
    """A model, its parameters, documents and their dense counts: the third has no words."""
    counts = rng.poisson(1.0, (N, V)) * (np.arange(N) != 2)[:, None]
    rows, words = np.nonzero(counts)
    indptr = np.searchsorted(rows, np.arange(N + 1))
    parts = indptr, words.astype(np.int32), counts[rows, words].astype(np.float32)
    more = (rng.normal(size=(N, n)).astype(np.float32) for n in (extras, covariates))
    documents = Documents.of(parts, *more)
    nets = Networks(
        V, K, (9, 4), logistic_normal(np.array([0.3, 0.5, 0.9])), 0.1, is_product, extras,
        covariates,
    )  # fmt: skip
    table = np.zeros((V, 8), np.float32)
    table[:, :K] = 0.1 + rng.gamma(1.0, size=(V, K))
    params = nets.start(table, rng)
    params.net[...] = 0.3 * rng.normal(size=params.net.shape)
    params.first[...] = 0.3 * rng.normal(size=params.first.shape)
    return nets, params, documents, counts


def stepped(nets, params, documents, eps, weight):
    """Sums of a step without a rate, and its scratch."""
    rows = np.arange(N)
    work, state = nets.work(documents, N), begin(nets, params)
    work.eps[...] = eps
    encoder = kernels.Encoder(
        nets.sizes, params.first, params.net, nets.prior, state.first_moments, state.net_moments
    )
    common = documents.data, rows, np.uint64(0), np.float32(weight), STILL
    scratch = [np.empty(shape, np.float32) for shape in nets.scratch(work, N)]
    if nets.is_product:
        more = product.Experts(params.decoder, state.decoder_moments, *scratch)
        return *product.step(sgemm(), encoder, more, *common, work), work, more
    more = mixture.Topics(params.decoder, state.scale, state.sums, *scratch)
    found = mixture.step(sgemm(), encoder, more, *common, 1.0, 0.0, np.float32(0.1), 2, work)
    return *found, work, more


@FORMS
@pytest.mark.parametrize("more", [0, 2])
def test_bounds_and_gradients(is_product, more):
    rng = np.random.default_rng(3)
    nets, params, documents, counts = made(rng, is_product, more, more)
    eps = rng.normal(size=(N, K)).astype(np.float32)
    total, kl, work, decoder = stepped(nets, params, documents, eps, 0.7)
    extras, design = documents.data.extras, documents.data.design

    def bound(**changed):
        given = params._replace(**changed)._asdict()
        exact = {name: part.astype(float) for name, part in given.items()}
        return naive.bound(nets, **exact, counts=counts, extras=extras, design=design, eps=eps,
                           weight=0.7)  # fmt: skip

    assert (total - 0.7 * kl) / N == pytest.approx(bound(), rel=1e-5)

    def differences(name):
        part = getattr(params, name)
        flat = slope(lambda p: bound(**{name: p.reshape(part.shape)}), part.ravel().astype(float))
        return flat.reshape(part.shape)

    want = differences("net")
    np.testing.assert_allclose(work.net_grads, want, rtol=2e-3, atol=2e-4 * np.abs(want).max())
    n = kernels.number_words(documents.data, np.arange(N), work.marks, work.slots, work.words)
    want = differences("first")
    found = np.zeros_like(params.first)
    found[work.words[:n]] = work.first_grads[:n]
    np.testing.assert_allclose(found, want, rtol=2e-3, atol=2e-4 * np.abs(want).max())
    if is_product:
        want = differences("decoder")
        np.testing.assert_allclose(decoder.grads, want, rtol=2e-3, atol=2e-4 * np.abs(want).max())


def test_counts_leave_out_a_token_itself():
    rng = np.random.default_rng(4)
    nets, params, documents, counts = made(rng, False)
    state, move = begin(nets, params), stepper(nets, documents, 0)
    table = params.decoder[:, :K].astype(float)
    theta = softmax(NeuralTopics(nets, params).encoded(documents)[0].astype(float), axis=1)
    for share in (0.2, 0.9999, 0.3):  # the second makes the scale small, the table is then moved
        adam = Adam(0.9, 0.999, 1e-30, 1.0, 1e-8)
        move(state, np.arange(N), np.uint64(3), 1.0, adam, share, 2.5)
        table = (1.0 - share) * table + 2.5 * share * naive.left_out(table, 0.1, theta, counts)
        np.testing.assert_allclose(read(state).decoder[:, :K], table, rtol=1e-4)
        np.testing.assert_allclose(state.sums[:K], table.sum(axis=0), rtol=1e-5)
    assert state.scale[0] > 0.1


@FORMS
def test_a_step_moves_only_the_words_of_the_batch(is_product):
    rng = np.random.default_rng(5)
    nets, params, documents, counts = made(rng, is_product)
    state, before = begin(nets, params), [part.copy() for part in params]
    adam = Adam(0.9, 0.999, 0.01 / (1 - 0.9), 1 / (1 - 0.999), 1e-8)
    stepper(nets, documents, 2)(state, np.array([1]), np.uint64(3), 1.0, adam, 0.1, 4.0)
    moved = np.any(state.params.first != before[0], axis=1)
    assert moved.tolist() == (counts[1] > 0).tolist()
    assert np.abs(state.params.first - before[0]).max() == pytest.approx(0.01, rel=0.01)
    assert np.abs(state.params.net - before[1]).max() == pytest.approx(0.01, rel=0.01)
    if is_product:
        assert np.abs(state.params.decoder - before[2]).max() == pytest.approx(0.01, rel=0.01)


def test_modes():
    rng = np.random.default_rng(6)
    nets, params, documents, counts = made(rng, False)
    topics = NeuralTopics(nets, params)
    start, _, means = topics.encoded(documents)
    beta = topics.weights[:, :K].astype(float)
    for n_steps in (1, 5, 60):
        z, _, theta = topics.infer(documents, n_steps)
        for d in (0, 1, 3):
            want = naive.mode(beta, nets.prior[1].astype(float), means[d], start[d].astype(float),
                              counts[d], n_steps)  # fmt: skip
            np.testing.assert_allclose(z[d], want, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(theta[:, :K], softmax(z.astype(float), axis=1), rtol=1e-5)
        np.testing.assert_allclose(theta[2, :K], softmax(nets.prior[0]), rtol=1e-5)

    def joint(z):
        theta = softmax(z)
        away = (z - means[1]) ** 2 / nets.prior[1]
        return counts[1] @ np.log(beta @ theta) - 0.5 * away.sum()

    assert np.abs(slope(joint, z[1].astype(float))).max() < 1e-3


@FORMS
def test_likelihoods_of_words_sum_to_one(is_product):
    nets, params, _, _ = made(np.random.default_rng(7), is_product)
    each = Documents.of((np.arange(V + 1), np.arange(V, dtype=np.int32), np.ones(V, np.float32)))
    topics = NeuralTopics(nets, params)
    theta = np.zeros((V, 8), np.float32)
    theta[:, :K] = [0.2, 0.5, 0.3]
    assert np.exp(topics.log_likelihoods(theta, each)).sum() == pytest.approx(1.0, rel=1e-5)
    assert topics.weights.sum(axis=0)[:K] == pytest.approx(1.0, rel=1e-5)


def test_an_unlikely_bound_is_refused():
    nets, params, documents, _ = made(np.random.default_rng(8), True)
    params.net[...] = np.nan
    total, kl, *_ = stepped(replace(nets), params, documents, np.zeros((N, K)), 1.0)
    assert not np.isfinite(total - kl)
