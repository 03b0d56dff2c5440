"""fastvi's side of the benchmarks of Poisson factorization."""

import time

import evaluation as ev
import numpy as np
import poisson_problem as problem

from fastvi import PoissonFactorization
from fastvi.core import Batch, LazyTable, add
from fastvi.gradients import natural
from fastvi.models.counts import DocumentSource, padded
from fastvi.models.poisson.model import Factors, GammaPrior, PoissonFactors


class Pass:
    """A pass of coordinate ascent; a call is a pass from the start.

    It includes the columns' weights, the rows' local steps, statistics and the step. `bound` adds
    the columns' part of the ELBO; the rows' part, which the twins do not compute, is always
    included.
    """

    def __init__(self, X, k, iterations, bound=False, n_threads=1):
        prior = GammaPrior(problem.A, problem.B_PRIME, problem.A_PRIME)
        self.model = PoissonFactors(
            k, prior, prior, X.shape[1], max_iter=iterations, tol=0.0, n_threads=n_threads
        )  # tol 0: never sooner
        source = DocumentSource(X.indptr.astype(np.int64), X.indices, X.data, X.shape[1])
        self.batch = Batch(source.all(), np.ones(X.shape[0]))
        given = problem.start(X, k)
        shapes = np.full((X.shape[1], padded(k)), problem.A, np.float32)
        shapes[:, :k] = given.shapes
        rates = np.ones(padded(k))
        rates[:k] = given.rates
        self.start = Factors(shapes, rates, given.popularity)
        self.estimator = natural(self.model, remember=bound)
        self.found = None

    def __call__(self):
        shapes, rates, popularity = (part.copy() for part in self.start)
        params = Factors(LazyTable(shapes, self.model.prior.shapes), rates, popularity)
        state = self.estimator.init(params)
        step, _, info = self.estimator.estimate(state, params, self.batch, None)
        self.found = add(params, step), info["local"].variables


def passes(corpus, k, iterations, repeats=5, bound=False, n_threads=1):
    """CPU seconds of a pass with a fixed number of inner iterations."""
    X = problem.counts(corpus)
    return problem.timing(Pass(X, k, iterations, bound, n_threads), X, iterations, repeats)


def check(corpus="ap", k=20, iterations=5, twin="c"):
    """Largest relative differences from a twin, which this imports (so it needs cffi)."""
    from peers import poisson_twins

    X = problem.counts(corpus)
    ours, theirs = Pass(X, k, iterations), poisson_twins.TWINS[twin](X, k, iterations)
    ours()
    theirs()
    params, rows = ours.found
    found = [params.shapes.dense()[:, :k], params.popularity, params.rates[:k]]
    found += [rows.shapes[:, :k], rows.activity]
    wanted = (*theirs.found[0], *theirs.found[1:])
    names = ("shapes", "popularity", "rates", "gamma", "xi")
    return {n: float(np.max(np.abs(x - y) / np.abs(y))) for n, x, y in zip(names, found, wanted)}


def curve(corpus, k, seed=0, max_iter=100, **options):
    """The bound after each pass of the public `fit` by CPU seconds; the score for mini-batches."""
    X = problem.counts(corpus)
    began = time.perf_counter()
    tiny = PoissonFactorization(k, max_iter=2, tol=0.0, **options)
    tiny.fit(X[:20]).score(X[:20])
    compiled = time.perf_counter() - began
    model = PoissonFactorization(k, random_state=seed, max_iter=max_iter, tol=0.0, **options)
    with ev.Stopwatch() as watch:
        model.fit(X)
    history = {name: column.tolist() for name, column in model.history_.items()}
    return {
        "cpu": watch.cpu, "compile": compiled, "score": model.score(X),
        "bound": history.get("elbo"), "seconds": history["seconds"],
    }  # fmt: skip


if __name__ == "__main__":
    ev.main(passes, check, curve)
