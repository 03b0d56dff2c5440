"""Seconds that first calls compile for: ``python bench/compile_times.py [NAME ...]``.

Prints the CPU seconds that each call takes in an empty cache, from Numba's compile events: the sum
over all kernels that it needs. A kernel that several calls need is compiled once.
``--write`` puts them into docs/compile-times.md instead. ``--check`` fails if a call takes longer
than it may.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import event
from numba.core.ccallback import CFunc

import fastvi
from fastvi.kernels import _shipped
from fastvi.kernels._cache import KernelCache, TargetCache
from fastvi.kernels._linkage import KernelCompiler

PAGE = Path(__file__).parents[1] / "docs" / "compile-times.md"
LIMIT = 8.0  # seconds that a call may take
EXCEPTIONS = {  # calls that take longer, and the most they took: they may only get faster
    "VariationalAutoencoder().fit": 13.0,
    "VariationalAutoencoder(family='iaf').fit": 16.7,
    "VariationalAutoencoder(family='maf').fit": 15.5,
    "VariationalAutoencoder(family='hamiltonian').fit": 11.3,
    "VariationalAutoencoder(family='implicit').fit": 16.3,
    "VariationalAutoencoder(prior='structured').fit": 18.1,
    "VariationalAutoencoder(decoder='conv').fit": 19.2,
    "VariationalAutoencoder(decoder='pixelcnn').fit": 16.8,
    "VariationalAutoencoder(decoder='draw').fit": 18.6,
    "CorrelatedTopicModel().fit": 13.7,
    "TopicClassifier().fit": 12.5,
    "TopicRegressor().fit": 11.6,
    "DynamicTopicModel().fit": 16.1,
    "NeuralTopicModel().fit": 15.2,
    "NeuralTopicModel(form='product').fit": 13.5,
    "fit(family='mixture')": 10.3,
    "fit(family='copula')": 11.9,
    "fit(family='realnvp')": 13.4,
    "fit(family='hamiltonian')": 14.0,
    "fit(family='hierarchical')": 21.7,
}
NOISE = 1.25  # of measurements beside other programs
YARDSTICK = "(yardstick: np.sort and a slice assignment)"  # how fast this machine compiles

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(1.0, (40, 12)).astype(float)
X = RNG.normal(size=(40, 3))
SHORT: dict[str, Any] = {"max_iter": 2, "random_state": 0}
GP: dict[str, Any] = {"inducing_points": 5, **SHORT}


def lda(solver: str) -> Callable[[], Any]:
    return lambda: fastvi.LatentDirichletAllocation(3, solver=solver, **SHORT).fit(COUNTS)


def normal() -> Any:
    def normal(z: Any, grad: Any) -> Any:
        grad[0], grad[1] = -z[0], -z[1]
        return -0.5 * (z[0] ** 2 + z[1] ** 2)

    return fastvi.target(normal, dim=2)


def density(**options: Any) -> Callable[[], Any]:
    return lambda: fastvi.fit(normal(), random_state=0, max_iter=200, **options)


def of_rows() -> Any:
    def of_rows(z: Any, data: Any, rows: Any, weights: Any, grad: Any) -> Any:
        value = 0.0
        for m in range(rows.size):
            for j in range(2):
                away = data.X[rows[m], j] - z[j]
                value -= 0.5 * weights[m] * away**2
                grad[j] += weights[m] * away
        return value

    return fastvi.target(of_rows, dim=2, data={"X": X}, rows="X")


def particles(**options: Any) -> Callable[[], Any]:
    return lambda: fastvi.svgd(normal(), 20, 2, random_state=0, **options)


def decoding() -> None:
    model = fastvi.GaussianHMM(2)
    model.startprob_, model.transmat_ = np.full(2, 0.5), np.full((2, 2), 0.5)
    model.means_, model.covars_ = X[:2], np.ones((2, X.shape[1]))
    model.decode(X)


def autoencoder(**kind: str) -> Callable[[], Any]:
    """Return a fit of an autoencoder of some kind."""
    return lambda: fastvi.VariationalAutoencoder(2, **kind, **SHORT).fit(X)


def variational(name: str, rows: Any) -> Callable[[], Any]:
    return lambda: getattr(fastvi, name)(2, n_iter=3, random_state=0).fit(rows)


def yardstick() -> None:
    @numba.njit
    def sorted_sum(a: Any) -> Any:
        b = np.sort(a)
        b[1:] = a[:-1]
        return b.sum()

    sorted_sum(np.ones(3))


def series() -> fastvi.TemporalGPRegressor:
    return fastvi.TemporalGPRegressor(max_iter=3)


CALLS: dict[str, Callable[[], Any]] = {
    **{
        f"LatentDirichletAllocation(solver={solver!r}).fit": lda(solver)
        for solver in ("cvb0", "scvb0", "cvb", "svi", "vb")
    },
    "BayesianGaussianMixture().fit": lambda: fastvi.BayesianGaussianMixture(
        n_components=2, **SHORT
    ).fit(X),
    "BayesianPCA().fit": lambda: fastvi.BayesianPCA(**SHORT).fit(X),
    "BayesianFactorAnalysis().fit": lambda: fastvi.BayesianFactorAnalysis(**SHORT).fit(X),
    "BetaBernoulliFeatures().fit": lambda: fastvi.BetaBernoulliFeatures(
        2, n_init=1, **SHORT
    ).fit(X),
    "VariationalAutoencoder().fit": lambda: fastvi.VariationalAutoencoder(2, **SHORT).fit(X),
    "VariationalAutoencoder(family='iaf').fit": autoencoder(family="iaf", prior="vamp"),
    **{f"VariationalAutoencoder(family={family!r}).fit": autoencoder(family=family)
       for family in ("maf", "hamiltonian", "implicit")},
    "VariationalAutoencoder(prior='structured').fit": autoencoder(prior="structured"),
    "VariationalAutoencoder(decoder='conv').fit": lambda: fastvi.VariationalAutoencoder(
        2, decoder="conv", image_shape=(1, 3), **SHORT
    ).fit(X),
    "VariationalAutoencoder(decoder='pixelcnn').fit": lambda: fastvi.VariationalAutoencoder(
        2, decoder="pixelcnn", image_shape=(1, 3), **SHORT
    ).fit(X),
    "VariationalAutoencoder(decoder='draw').fit": lambda: fastvi.VariationalAutoencoder(
        2, likelihood="bernoulli", decoder="draw", image_shape=(3, 4), **SHORT
    ).fit(np.minimum(COUNTS, 1.0)),
    "BayesianLogisticRegression().fit": lambda: fastvi.BayesianLogisticRegression(**SHORT).fit(
        X, X[:, 0] > 0
    ),
    "BayesianLogisticRegression(solver='ep').fit": lambda: fastvi.BayesianLogisticRegression(
        solver="ep", **SHORT
    ).fit(X, X[:, 0] > 0),
    "CorrelatedTopicModel().fit": lambda: fastvi.CorrelatedTopicModel(2, **SHORT).fit(COUNTS),
    "TopicClassifier().fit": lambda: fastvi.TopicClassifier(2, **SHORT).fit(COUNTS, X[:, 0] > 0),
    "TopicRegressor().fit": lambda: fastvi.TopicRegressor(2, **SHORT).fit(COUNTS, X[:, 0]),
    "PoissonFactorization().fit": lambda: fastvi.PoissonFactorization(2, **SHORT).fit(COUNTS),
    "DynamicTopicModel().fit": lambda: fastvi.DynamicTopicModel(3, **SHORT).fit(
        COUNTS, np.arange(40) % 3
    ),
    "HierarchicalDirichletProcess().fit": lambda: fastvi.HierarchicalDirichletProcess(
        3, max_iter=2, random_state=0
    ).fit(COUNTS),
    "NeuralTopicModel().fit": lambda: fastvi.NeuralTopicModel(2, **SHORT).fit(COUNTS),
    "NeuralTopicModel(form='product').fit": lambda: fastvi.NeuralTopicModel(
        2, form="product", **SHORT
    ).fit(COUNTS),
    "GaussianHMM().fit": lambda: fastvi.GaussianHMM(2, n_iter=3, random_state=0).fit(X),
    "GaussianHMM().decode": decoding,
    "GMMHMM().fit": lambda: fastvi.GMMHMM(2, 2, n_iter=3, random_state=0).fit(X),
    "PoissonHMM().fit": lambda: fastvi.PoissonHMM(2, n_iter=3, random_state=0).fit(COUNTS),
    "MultinomialHMM().fit": lambda: fastvi.MultinomialHMM(2, n_iter=3, random_state=0).fit(COUNTS),
    "SwitchingSSM().fit": lambda: fastvi.SwitchingSSM(n_init=1, **SHORT).fit(X),
    "LinearGaussianSSM().fit": lambda: fastvi.LinearGaussianSSM(**SHORT).fit(X),
    **{
        f"{name}().fit": variational(name, rows)
        for name, rows in (
            ("VariationalGaussianHMM", X),
            ("VariationalPoissonHMM", COUNTS),
            ("VariationalCategoricalHMM", COUNTS[:, :1]),
        )
    },
    "CategoricalHMM().fit": lambda: fastvi.CategoricalHMM(2, n_iter=3, random_state=0).fit(
        COUNTS[:, :1]
    ),
    "GaussianProcessClassifier().fit": lambda: fastvi.GaussianProcessClassifier(max_iter=2).fit(
        X, X[:, 0] > 0
    ),
    "SparseGPRegressor().fit": lambda: fastvi.SparseGPRegressor(**GP).fit(X, X[:, 0]),
    "SparseGPClassifier().fit": lambda: fastvi.SparseGPClassifier(**GP).fit(X, X[:, 0] > 0),
    "SparseEP().fit": lambda: fastvi.SparseEP(**GP).fit(X, X[:, 0]),
    "SVGP().fit": lambda: fastvi.SVGP(**GP).fit(X, X[:, 0]),
    "BayesianGPLVM().fit": lambda: fastvi.BayesianGPLVM(**GP).fit(X),
    "DeepGPRegressor().fit": lambda: fastvi.DeepGPRegressor(**GP).fit(X, X[:, 0]),
    "DeepGPClassifier().fit": lambda: fastvi.DeepGPClassifier(**GP).fit(X, X[:, 0] > 0),
    "TemporalGPRegressor().fit": lambda: series().fit(np.arange(40.0), X[:, 0]),
    "TemporalGPRegressor().sample_y": lambda: (
        series().fit(np.arange(40.0), X[:, 0]).sample_y(np.arange(40.0))
    ),
    "TemporalGPClassifier().fit": lambda: fastvi.TemporalGPClassifier(max_iter=3).fit(
        np.arange(40.0), X[:, 0] > 0
    ),
    **{f"fit(family={family!r})": density(family=family)
       for family in ("fullrank", "meanfield", "lowrank", "mixture", "copula", "realnvp",
                      "hamiltonian", "hierarchical")},
    "fit(method='sgd')": lambda: fastvi.fit(
        of_rows(), method="sgd", batch_size=4, tol=0.2, random_state=0
    ),
    **{f"svgd(method={method!r})": particles(method=method)
       for method in ("plain", "matrix", "sliced")},
    "ep": lambda: fastvi.ep(
        fastvi.propagation.linear(X, X[:, 0], fastvi.propagation.student(0.1, 4.0)), (0.0, 1.0)
    ),
    "pathfinder": lambda: fastvi.pathfinder(normal(), random_state=0),
    "operator_vi": lambda: fastvi.operator_vi(normal(), max_iter=20, random_state=0),
    "ksd_test": lambda: fastvi.ksd_test(normal(), X[:, :2], random_state=0),
    "stein_thinning": lambda: fastvi.stein_thinning(normal(), X[:, :2], 5),
    "topic_coherence": lambda: fastvi.topic_coherence([["a", "b"]], [["a", "b", "c"]]),
    YARDSTICK: yardstick,
}  # fmt: skip


class Recorder(event.Listener):
    """What each kernel took to compile, without those that it calls, and which these are.

    Attributes
    ----------
    kernels : dict of str to (float, set of str)
        CPU seconds and callees of each kernel that was compiled, also by other calls.
    needed : set of str
        Kernels that were compiled or found in the cache outside of any other's compilation.
    """

    def __init__(self, kernels: dict[str, tuple[float, set[str]]]) -> None:
        self.kernels, self.needed = kernels, set[str]()
        self.open: list[tuple[float, list[float], set[str]]] = []  # compilations inside each other

    def found(self, key: str) -> None:
        (self.open[-1][2] if self.open else self.needed).add(key)

    def on_start(self, event: Any) -> None:
        self.open.append((time.process_time(), [], set()))

    def on_end(self, event: Any) -> None:
        dispatcher = event.data["dispatcher"]
        compiler = dispatcher._compiler.pipeline_class
        self.end(named(dispatcher.py_func, event.data["args"], compiler))

    def end(self, key: str) -> None:
        began, inner, callees = self.open.pop()
        seconds = time.process_time() - began
        self.kernels.setdefault(key, (seconds - sum(inner), callees))
        self.found(key)
        if self.open:
            self.open[-1][1].append(seconds)

    def seconds(self) -> float:
        """CPU seconds of all kernels that were needed, each of them once."""
        todo, done = list(self.needed), set[str]()
        while todo:
            if (key := todo.pop()) not in done:
                done.add(key)
                todo += self.kernels[key][1]
        return sum(self.kernels[key][0] for key in done)


def named(function: Any, signature: Any, compiler: type = KernelCompiler) -> str:
    return f"{function.__module__}.{function.__qualname__}{signature} {compiler.__name__}"


def watch_cache(recorder: Recorder) -> None:
    """Tell of kernels that are found in the cache; functions of users are compiled again."""
    load = KernelCache.load_overload

    def watched(cache: Any, signature: Any, context: Any) -> Any:
        found = load(cache, signature, context)
        if found is not None:
            recorder.found(named(cache._py_func, signature))
        return found

    compiled = CFunc._compile_uncached  # which Numba has no event for

    def timed(function: Any) -> Any:
        recorder.on_start(None)
        try:
            return compiled(function)
        finally:
            recorder.end(named(function._pyfunc, function._sig))

    CFunc._compile_uncached = timed
    KernelCache.load_overload = watched
    TargetCache.load_overload = lambda *_: None


def measured(call: Callable[[], Any], kernels: dict[str, tuple[float, set[str]]]) -> float:
    """Seconds that a call compiles for, in a process of its own.

    kernels: what others compiled into the same cache, and this call need not compile again to know
    what it takes; empty to measure with an empty cache.
    """
    if not kernels:
        shutil.rmtree(numba.config.CACHE_DIR, ignore_errors=True)
    read, write = os.pipe()
    if not os.fork():
        with event.install_listener("numba:compile", Recorder(kernels)) as recorder:
            watch_cache(recorder)
            call()
        with open(write, "wb") as pipe:
            pickle.dump((recorder.seconds(), kernels), pipe)
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        seconds, compiled = pickle.load(pipe)
    os.wait()
    kernels.update(compiled)
    return float(seconds)


def listed() -> dict[str, float]:
    """Seconds of the calls in the page."""
    rows = re.findall(r"^\| `?(.*?)`? \| ([\d.]+) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: float(seconds) for name, seconds in rows}


def row(name: str, seconds: float) -> str:
    return f"| {name if name == YARDSTICK else f'`{name}`'} | {seconds:.1f} |"


def too_slow(seconds: dict[str, float]) -> list[str]:
    """Calls that take too long, on a machine that may be slower than that of the page."""
    return [name for name in seconds if seconds[name] > limit(name, seconds)]


def limit(name: str, seconds: dict[str, float]) -> float:
    """Seconds that a call may take here."""
    slower = max(1.0, seconds[YARDSTICK] / listed()[YARDSTICK])
    return NOISE * slower * EXCEPTIONS.get(name, LIMIT)


def check(seconds: dict[str, float]) -> None:
    """Measure slow calls again, as another program may have been in the way; leave if they stay."""
    for _ in range(2):
        for name in too_slow(seconds):
            seconds[name] = min(seconds[name], measured(CALLS[name], {}))
        seconds[YARDSTICK] = max(seconds[YARDSTICK], measured(yardstick, {}))
    if slow := too_slow(seconds):
        lines = (f"{n}: {seconds[n]:.1f} s, at most {limit(n, seconds):.1f}" for n in slow)
        sys.exit("\n".join(["these calls compile for too long:", *lines]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(CALLS))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # such short fits do not converge
    numba.config.CACHE_DIR = tempfile.mkdtemp()
    _shipped.FOLDER = Path(numba.config.CACHE_DIR)  # which has no compiled kernels
    yardstick()  # what Numba imports and registers before it compiles
    for name in ("LatentDirichletAllocation", "SVGP"):
        getattr(fastvi, name)  # imports
    seconds, kernels = {}, {}
    for name in options.names:
        seconds[name] = measured(CALLS[name], kernels)
        print(row(name, seconds[name]), flush=True)
    if options.write:
        rows = "\n".join(row(*item) for item in seconds.items())
        page = re.sub(r"(?s)(\|---\|---:?\|\n).*?\n\n", rf"\1{rows}\n\n", PAGE.read_text(), count=1)
        PAGE.write_text(page)
    if options.check:
        check(seconds)
    shutil.rmtree(numba.config.CACHE_DIR, ignore_errors=True)


if __name__ == "__main__":
    main()
