"""fastvi's side of the benchmarks: every call of fastvi is in this file."""

import hashlib
import time

import evaluation as ev
import numpy as np
import scipy.sparse as sp

from fastvi.core import Batch, LazyTable
from fastvi.documents import DocumentSource
from fastvi.models._lda import LDA, Topics, padded
from fastvi.models._lda_fit import Settings, make_solver

# What the defaults of the estimator are; overridden by `options` of a call.
DEFAULTS = {"batch_size": 128, "learning_offset": 10.0, "learning_decay": 0.7}


def source_of(X):
    return DocumentSource(
        X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data.astype(np.float32), X.shape[1]
    )


def solver_of(X, k, seed, solver, learn=False, n_threads=1, **options):
    """A fit ready to step: what `LatentDirichletAllocation.fit` does before its first step."""
    settings = Settings(
        solver, np.full(k, 1 / k), 1 / k, learn_alpha=learn, learn_eta=learn, seed=seed,
        **{**DEFAULTS, **options},
    )  # fmt: skip
    return make_solver(settings, source_of(X), n_threads)


def a_pass(fit, epoch, rng):
    """One pass over the corpus with what is due after it."""
    for batch in fit.batches.epoch(epoch):
        fit.state, _ = fit.algorithm.step(fit.state, batch, rng)
    fit.after_epoch()


def warm_up(k, solver, learn=False, **options):
    """Compile (or load from the cache) on a tiny corpus; wall seconds."""
    start = time.perf_counter()
    tiny = sp.random(20, 60, density=0.3, random_state=0, format="csr")
    tiny.data = np.ceil(tiny.data * 3).astype(np.int32)
    fit = solver_of(tiny, k, 0, solver, learn, **options)
    for epoch in range(12 if solver == "cvb0" else 5):  # far enough to learn priors and recount
        a_pass(fit, epoch, np.random.default_rng(0))
    topics_of(fit)
    return time.perf_counter() - start


def topics_of(fit):
    return fit.table()[:, : len(fit.alpha)].T


def curve(
    corpus, k, seed=0, solver="cvb0", passes=(1, 2, 5, 10), learn=False, until=None, limit=None,
    target=None, options=None,
):  # fmt: skip
    """Perplexity after the given passes; ends early at the perplexity `target`."""
    options = options or {}
    compiled = warm_up(k, solver, learn, **options)
    X, obs, score = ev.load(corpus, seed)
    rng = np.random.default_rng(seed)
    out = ev.Curve(obs, score, until)
    with out.watch:
        fit = solver_of(X, k, seed, solver, learn, **options)
    done = 0
    for mark in ev.checkpoints(passes, limit):
        with out.watch:
            for epoch in range(done, mark):
                a_pass(fit, epoch, rng)
        done = mark
        with out.watch:
            topics = topics_of(fit)
        out.add(done, topics, fit.alpha if learn else None)
        if out.settled() or (target is not None and out.points[-1]["perplexity"] <= target):
            break
    return {"points": out.points, "unit": "passes", "compile": compiled}


def updates(corpus, k, iterations):
    """Word-updates a CPU second at a fixed number of inner iterations.

    The whole local step of a batch of all documents: word weights, updates, bound, statistics.
    """
    X, _ = ev.update_problem(corpus, k)
    lam = np.zeros((X.shape[1], padded(k)), np.float32)
    lam[:, :k] = np.load(ev.topics_file(corpus, k)).T
    model = LDA(np.full(k, 1 / k), 1 / k, max_iter=iterations, tol=0.0)  # tol 0: never sooner
    table = LazyTable(lam, model.prior)

    def prepare(part):
        documents = source_of(part).all()
        return Batch(documents, np.ones(documents.n_documents))

    return ev.updates_rate(lambda b: model.local(table, b, None, None), X, iterations, prepare)


def infer(corpus, k, seed=0, solver="cvb0", passes=10):
    """Topic proportions of the observed halves: documents a CPU second, and what they score."""
    X, obs, score = ev.load(corpus, seed)
    fit = solver_of(X, k, seed, solver)
    for epoch in range(passes):
        a_pass(fit, epoch, np.random.default_rng(seed))
    topics = Topics.of(fit.table(), fit.alpha, collapsed=solver in ("cvb0", "scvb0"))

    def transform(new):
        """What `transform` does."""
        parts = new.indptr.astype(np.int64), new.indices.astype(np.int32), new.data
        gamma = topics.infer(*parts[:2], parts[2].astype(np.float32))[:, :k]
        return gamma / gamma.sum(axis=1, keepdims=True)

    transform(obs[:10])
    watch = ev.Stopwatch()
    with watch:
        theta = transform(obs)
    return ev.inference(watch, theta.astype(float), ev.normalised(topics_of(fit)), obs, score)


def threads(corpus, k, solver, n_threads, passes):
    """Wall seconds of some passes, without the first, and a hash of the result's bits."""
    X, _, _ = ev.load(corpus)
    warm_up(k, solver)
    fit = solver_of(X, k, 0, solver, n_threads=n_threads)
    rng = np.random.default_rng(0)
    a_pass(fit, 0, rng)
    start = time.perf_counter()
    for epoch in range(1, passes + 1):
        a_pass(fit, epoch, rng)
    wall = time.perf_counter() - start
    bits = hashlib.sha256(np.ascontiguousarray(fit.table()).tobytes()).hexdigest()
    return {"wall": wall, "bits": bits}


def svi_step(n_words, k=50, n_documents=128, words_each=100, steps=100):
    """Median seconds of an SVI step on the same batches, their words spread over `n_words`."""
    rng = np.random.default_rng(0)
    base = 10_000
    words = np.sort(
        np.argsort(rng.random((8 * n_documents, base)), axis=1)[:, :words_each], axis=1
    ).astype(np.int32)
    indptr = np.arange(0, words.size + 1, words_each)
    shape = (8 * n_documents, n_words)
    spread = words.ravel() * (n_words // base)
    X = sp.csr_matrix((np.ones(words.size, np.float32), spread, indptr), shape=shape)
    fit = solver_of(X, k, 0, "svi", batch_size=n_documents)
    rng = np.random.default_rng(0)
    seconds = []
    epoch = 0
    while len(seconds) < steps + 8:
        for batch in fit.batches.epoch(epoch):
            start = time.perf_counter()
            fit.state, _ = fit.algorithm.step(fit.state, batch, rng)
            seconds.append(time.perf_counter() - start)
        epoch += 1
    return {"seconds": float(np.median(seconds[8:]))}


def sgemm(n=2000, repeats=5):
    """Float32 matrix-product peak, flop a CPU second."""
    a = np.random.default_rng(0).random((n, n), dtype=np.float32)
    a @ a
    rates = []
    for _ in range(repeats):
        with ev.Stopwatch() as watch:
            a @ a
        rates.append(2 * n**3 / watch.cpu)
    return {"flops": max(rates)}


if __name__ == "__main__":
    ev.main(
        curve=curve,
        updates=updates,
        infer=infer,
        threads=threads,
        svi_step=svi_step,
        sgemm=sgemm,
        warm_up=lambda **a: {"seconds": warm_up(**a)},
    )
