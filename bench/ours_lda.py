"""fastvi's side of the benchmarks: every call of fastvi is in this file."""

import hashlib
import time

import evaluation as ev
import numpy as np
import scipy.sparse as sp

from fastvi import LatentDirichletAllocation
from fastvi.base.bags import bags_of_words
from fastvi.core import Batch, LazyTable
from fastvi.models.counts import DocumentSource, padded
from fastvi.models.topics.model import LDA
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.solvers import make_solver


def model_of(k, seed, solver, passes, learn=False, **options):
    return LatentDirichletAllocation(
        n_components=k,
        solver=solver,
        max_iter=passes,
        random_state=seed,
        learn_doc_topic_prior=learn,
        learn_topic_word_prior=learn,
        **options,
    )


def after_passes(look):
    """Make a callback that calls ``look(params, n_passes)`` after each pass."""
    return lambda state: state.step == 0 and look(state.params, state.epoch)


def warm_up(k, solver, learn=False, **options):
    """Compile (or load from the cache) on a tiny corpus; wall seconds."""
    start = time.perf_counter()
    tiny = sp.random(20, 60, density=0.3, random_state=0, format="csr")
    tiny.data = np.ceil(tiny.data * 3).astype(np.int32)
    # far enough to learn priors and to recount
    model_of(k, 0, solver, 12, learn, **options).fit(tiny).transform(tiny)
    return time.perf_counter() - start


def topics_of(found):
    return found.table.dense()[:, : len(found.alpha)].T


def curve(
    corpus, k, seed=0, solver="cvb0", passes=(1, 2, 5, 10), learn=False, until=None, limit=None,
    target=None, options=None,
):  # fmt: skip
    """Perplexity after the given passes; stops early at the perplexity `target`."""
    options = options or {}
    compiled = warm_up(k, solver, learn, **options)
    X, obs, score = ev.load(corpus, seed)
    out = ev.Curve(obs, score, until)
    marks = ev.checkpoints(passes, limit)
    model = model_of(k, seed, solver, marks[-1], learn, **options)

    def after_pass(found, n):
        if n not in marks:
            return False
        out.watch.__exit__()
        out.add(n, topics_of(found), found.alpha if learn else None)
        out.watch.__enter__()
        reached = target is not None and out.points[-1]["perplexity"] <= target
        return reached or out.settled()

    with out.watch:
        model.fit(X, callback=after_passes(after_pass))
    return {"points": out.points, "unit": "passes", "compile": compiled}


def updates(corpus, k, iterations):
    """Word-updates per CPU second at a fixed number of inner iterations.

    The whole local step of a batch of all documents: word weights, updates, bound, statistics.
    """
    X, _ = ev.update_problem(corpus, k)
    lam = np.zeros((X.shape[1], padded(k)), np.float32)
    lam[:, :k] = np.load(ev.topics_file(corpus, k)).T
    model = LDA(np.full(k, 1 / k), 1 / k, max_iter=iterations, tol=0.0)  # tol 0: never sooner
    table = LazyTable(lam, model.prior)

    def prepare(part):
        counts = part.data.astype(np.float32)
        indptr = part.indptr.astype(np.int64)
        documents = DocumentSource(indptr, part.indices, counts, part.shape[1]).all()
        return Batch(documents, np.ones(documents.n_documents))

    return ev.updates_rate(lambda b: model.local(table, b, None, None), X, iterations, prepare)


def infer(corpus, k, seed=0, solver="scvb0", passes=10):
    """`transform` of the observed halves: documents per CPU second, and their scores."""
    X, obs, score = ev.load(corpus, seed)
    model = model_of(k, seed, solver, passes).fit(X)
    model.transform(obs[:10])
    theta, watch = ev.timed(lambda: model.transform(obs))
    return ev.inference(watch, theta, ev.normalised(model.components_), obs, score)


def threads(corpus, k, solver, n_threads, passes):
    """Wall seconds of a fit, of its passes after the first, and a hash of the result's bits."""
    X, _, _ = ev.load(corpus)
    warm_up(k, solver, n_jobs=n_threads)
    model = model_of(k, 0, solver, passes, n_jobs=n_threads)
    times = [time.perf_counter()]
    model.fit(X, callback=after_passes(lambda params, n: times.append(time.perf_counter())))
    bits = hashlib.sha256(np.ascontiguousarray(model.components_).tobytes()).hexdigest()
    return {"wall": times[-1] - times[0], "passes": times[-1] - times[1], "bits": bits}


def svi_step(n_words, k=50, n_documents=128, words_each=100, steps=100):
    """Median seconds of an SVI step on the same batches, their words spread over `n_words`."""
    rng = np.random.default_rng(0)
    base = 10_000
    words = np.argsort(rng.random((8 * n_documents, base)), axis=1)[:, :words_each]
    words = np.sort(words, axis=1).astype(np.int32).ravel() * (n_words // base)
    indptr = np.arange(0, words.size + 1, words_each)
    shape = (8 * n_documents, n_words)
    X = sp.csr_matrix((np.ones(words.size, np.float32), words, indptr), shape=shape)
    settings = Settings("svi", alpha=np.full(k, 1 / k), eta=1 / k, batch_size=n_documents)
    fit = make_solver(settings, DocumentSource(*bags_of_words(X)), 1)
    state = fit.start()
    seconds = []
    rng = np.random.default_rng(0)
    for epoch in range((steps + 15) // 8):  # the first is not counted
        batches = fit.batches.epoch(epoch)
        for _ in range(8):
            start = time.perf_counter()
            state, _ = fit.algorithm.step(state, next(batches), rng)
            seconds.append(time.perf_counter() - start)
    return {"seconds": float(np.median(seconds[8:]))}


def sgemm(n=2000, repeats=5):
    """Float32 matrix-product peak, flops per CPU second."""
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
        curve, updates, infer, threads, svi_step, sgemm,
        warm_up=lambda **a: {"seconds": warm_up(**a)},
    )  # fmt: skip
