"""Corpora, document completion and the stopwatch: the same code for fastvi and every peer."""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.special import psi

SHUFFLE_SEED = 20


def data_folder():
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("FASTVI_TEST_DATA", default)) / "text"


def cache_folder():
    return Path(os.environ.get("FASTVI_BENCH_CACHE", Path.home() / ".cache" / "fastvi-bench"))


def load(name, seed=0):
    """Return shuffled training documents (also for AP, so that seeds act alike), and the test
    split.

    Returns X (train documents, V) int32 CSR, obs and score (test documents, V) CSR.
    """
    with np.load(data_folder() / f"{name}.npz") as f:
        X = sp.csr_matrix((f["data"], f["indices"], f["indptr"]), shape=tuple(f["shape"]))
    with np.load(data_folder() / f"{name}_split.npz") as f:
        halves = [
            sp.csr_matrix(
                (f[h + "_data"], f[h + "_indices"], f[h + "_indptr"]),
                shape=(f["test_idx"].size, X.shape[1]),
            )
            for h in ("obs", "score")
        ]
        train = f["train_idx"]
    order = np.random.default_rng([SHUFFLE_SEED, seed]).permutation(train.size)
    X = X[train[order]].tocsr()
    X.sort_indices()
    return X, *halves


def normalised(topics):
    """Topic-word weights (K, V) as float64 rows that sum to one."""
    topics = np.asarray(topics, dtype=np.float64)
    return topics / topics.sum(axis=1, keepdims=True)


def entries(X):
    """Return document and word numbers of all stored entries of a CSR matrix."""
    return np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), X.indices


def theta_by_completion(topics, obs, alpha, tol=1e-5, max_iter=1000):
    """Topic proportions (D, K) of `obs` by fixed-point VB at the given topics (K, V).

    A document stops when its mean |change of gamma| falls below `tol`.
    """
    beta = np.ascontiguousarray(topics.T)
    K = beta.shape[1]
    alpha = np.broadcast_to(np.asarray(alpha, dtype=np.float64), (K,))
    gamma = alpha + np.diff(obs.indptr)[:, None] / K
    active = np.flatnonzero(np.diff(obs.indptr))
    for _ in range(max_iter):
        part = obs[active]
        d, w = entries(part)
        rows = beta[w]
        starts = part.indptr[:-1]
        for _ in range(10):  # regather only now and then
            g = gamma[active]
            e = np.exp(psi(g) - psi(g.sum(axis=1, keepdims=True)))
            ratio = part.data / np.einsum("nk,nk->n", rows, e[d])
            new = alpha + e * np.add.reduceat(ratio[:, None] * rows, starts, axis=0)
            change = np.abs(new - g).mean(axis=1)
            gamma[active] = new
        active = active[change > tol]
        if active.size == 0:
            break
    return gamma / gamma.sum(axis=1, keepdims=True)


def score_theta(theta, topics, score):
    """Perplexity of the held-back halves: exp(-mean log p per token)."""
    d, w = entries(score)
    p = np.einsum("nk,nk->n", theta[d], np.ascontiguousarray(topics.T)[w])
    return float(np.exp(-(score.data * np.log(p)).sum() / score.data.sum()))


def perplexity(topics, obs, score, alpha=None):
    """Perplexity by document completion; `topics` (K, V) in any scale, `alpha` 1/K by default."""
    topics = normalised(topics)
    alpha = 1 / len(topics) if alpha is None else alpha
    return score_theta(theta_by_completion(topics, obs, alpha), topics, score)


def cpu_seconds():
    """User and system seconds of this process with all its threads."""
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


class Stopwatch:
    """CPU and wall seconds summed over its `with` blocks."""

    def __init__(self):
        self.cpu = self.wall = 0.0

    def __enter__(self):
        self._cpu, self._wall = cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_):
        self.cpu += cpu_seconds() - self._cpu
        self.wall += time.perf_counter() - self._wall


class Curve:
    """Points (passes, cpu, wall, perplexity); evaluating does not count as time.

    `until` ends the fit once 100 passes gained less than that fraction, twice in a row.
    """

    def __init__(self, obs, score, until=None):
        self.obs, self.score, self.until = obs, score, until
        self.watch = Stopwatch()
        self.points = []

    def add(self, passes, topics, alpha=None):
        value = perplexity(topics, self.obs, self.score, alpha)
        self.points.append(
            {"passes": passes, "cpu": self.watch.cpu, "wall": self.watch.wall, "perplexity": value}
        )

    def settled(self):
        """Whether each of the last two sets of 100 passes gained less than `until`.

        States of a sampler are noisy, so one set would stop Gibbs sampling far too soon.
        """
        if self.until is None:
            return False
        at = {p["passes"]: p["perplexity"] for p in self.points}
        n = self.points[-1]["passes"]
        if not {n - 100, n - 200} <= set(at):
            return False
        return all(at[m] > at[m - 100] * (1 - self.until) for m in (n, n - 100))


def checkpoints(passes, limit=None, every=100):
    """The given pass numbers, then one every `every` passes up to `limit`."""
    marks = sorted(passes)
    return marks + list(range((marks[-1] // every + 1) * every, (limit or 0) + 1, every))


def spread(n, count=None):
    """`count` row numbers spread evenly over n rows (all of them by default)."""
    return np.arange(n) if count is None else np.linspace(0, n - 1, min(n, count)).astype(int)


def timed(function, least=0.5):
    """Return `function()` and the time of a call, repeated for `least` CPU seconds."""
    calls, watch = 0, Stopwatch()
    while watch.cpu < least:
        with watch:
            result = function()
        calls += 1
    watch.cpu /= calls
    watch.wall /= calls
    return result, watch


def inference(watch, theta, topics, obs, score):
    """Report an inference run; `reference` scores theta by fixed-point VB on the same topics.

    The scores show whether proportions became worse with speed.
    """
    D, K = theta.shape
    best = theta_by_completion(topics, obs, 1 / K)
    return {
        "documents": D,
        "cpu": watch.cpu,
        "wall": watch.wall,
        "docs_per_s": D / watch.cpu,
        "perplexity": score_theta(theta, topics, score),
        "reference": score_theta(best, topics, score),
    }


def topics_file(corpus, k):
    return cache_folder() / f"lambda-{corpus}-{k}.npy"


def update_problem(corpus, k):
    """Documents and exp(E[log beta]) (K, V) float32 of a model after one online pass."""
    X, _, _ = load(corpus)
    lam = np.load(topics_file(corpus, k)).astype(np.float64)
    return X, np.exp(psi(lam) - psi(lam.sum(axis=1, keepdims=True))).astype(np.float32)


def updates_rate(run, X, iterations, prepare=lambda X: X):
    """Word-updates (entries x inner iterations) per CPU second of `run(prepare(X))`.

    The median of up to three runs, after one on three documents.
    """
    with Stopwatch() as first:
        run(prepare(X[:3]))
    ready = prepare(X)
    watches = []
    while len(watches) < 3 and sum(w.cpu for w in watches) < 3:
        with Stopwatch() as watch:
            run(ready)
        watches.append(watch)
    cpu = float(np.median([w.cpu for w in watches]))
    return {
        "word_updates_per_s": X.nnz * iterations / cpu,
        "entries": X.nnz,
        "cpu": cpu,
        "wall": float(np.median([w.wall for w in watches])),
        "first_call": first.wall,
    }


def hooked(estimator, step):
    """Return a subclass whose `hook`, if set, is called after each call of its method `step`."""

    def and_then(self, *args, **kwargs):
        out = getattr(estimator, step)(self, *args, **kwargs)
        if self.hook is not None:
            self.hook()
        return out

    return type("Hooked", (estimator,), {"hook": None, step: and_then})


def main(*functions, **named):
    """`SCRIPT NAME JSON` calls the function NAME with the JSON object; JSON on the last line."""
    named |= {function.__name__: function for function in functions}
    result = named[sys.argv[1]](**json.loads(sys.argv[2]))
    print("\n" + json.dumps(result), flush=True)
