"""One tiny fit of each estimator and solver; as a script: a hash of what each has found.

``--reversed`` makes them in the other order. ``--seconds NAME`` prints the processor time of one
fit instead, which with an empty NUMBA_CACHE_DIR is what its kernels take to compile.
``--compiled`` prints what was compiled as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba.core import event

import fastvi

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(1.0, (40, 12))
X = RNG.normal(size=(40, 3))
TOPICS = {"n_components": 3, "max_iter": 3, "random_state": 0}
GP = {"inducing_points": 5, "max_iter": 3, "random_state": 0}


def topics(solver: str) -> Callable[[], Any]:
    return lambda: fastvi.LatentDirichletAllocation(solver=solver, **TOPICS).fit(COUNTS)


OF_COUNTS = (fastvi.PoissonHMM, fastvi.MultinomialHMM, fastvi.VariationalPoissonHMM)


def hidden(kind: Any, rows: Any) -> Callable[[], Any]:
    return lambda: kind(2, n_iter=3, random_state=0).fit(rows)


def gaussian() -> Any:
    def normal(z, grad):
        grad[0], grad[1] = -z[0], -4.0 * z[1]
        return -0.5 * z[0] ** 2 - 2.0 * z[1] ** 2

    found = fastvi.fit(fastvi.target(normal, dim=2), random_state=0)
    return {"mean": found.mean, "cov": found.cov, "log_ratios": found.log_ratios}


FITS: dict[str, Callable[[], Any]] = {
    **{f"topics, {solver}": topics(solver) for solver in ("cvb0", "scvb0", "cvb", "svi", "vb")},
    "topics, structured": lambda: fastvi.LatentDirichletAllocation(structured=True, **TOPICS).fit(
        COUNTS
    ),
    "correlated topics": lambda: fastvi.CorrelatedTopicModel(**TOPICS).fit(COUNTS),
    "topics with labels": lambda: fastvi.TopicClassifier(**TOPICS).fit(COUNTS, X.argmax(axis=1)),
    "topics with numbers": lambda: fastvi.TopicRegressor(**TOPICS).fit(COUNTS, X[:, 0]),
    "mixture": lambda: fastvi.BayesianGaussianMixture(
        n_components=2, max_iter=3, random_state=0
    ).fit(X),
    "PCA": lambda: fastvi.BayesianPCA(max_iter=3, random_state=0).fit(X),
    "factor analysis": lambda: fastvi.BayesianFactorAnalysis(max_iter=3, random_state=0).fit(X),
    "features": lambda: fastvi.BetaBernoulliFeatures(3, n_init=1, max_iter=3, random_state=0).fit(
        X
    ),
    "features, binary": lambda: fastvi.BetaBernoulliFeatures(
        2, likelihood="bernoulli", n_init=1, max_iter=3, random_state=0
    ).fit(X > 0),
    "autoencoder": lambda: fastvi.VariationalAutoencoder(2, max_iter=3, random_state=0).fit(X),
    "autoencoder, flow": lambda: fastvi.VariationalAutoencoder(
        2, family="iaf", prior="vamp", max_iter=3, random_state=0
    ).fit(X),
    "autoencoder, masked flow": lambda: fastvi.VariationalAutoencoder(
        2, family="maf", max_iter=3, random_state=0
    ).fit(X),
    "autoencoder, implicit": lambda: fastvi.VariationalAutoencoder(
        2, family="implicit", options={"ratio": "semi_implicit"}, max_iter=3, random_state=0
    ).fit(X),
    "autoencoder, paths": lambda: fastvi.VariationalAutoencoder(
        2, family="hamiltonian", max_iter=3, random_state=0
    ).fit(X),
    "autoencoder, structured": lambda: fastvi.VariationalAutoencoder(
        2, prior="structured", max_iter=3, random_state=0
    ).fit(X),
    "autoencoder, convolutions": lambda: fastvi.VariationalAutoencoder(
        2, decoder="conv", image_shape=(1, X.shape[1]), max_iter=3, random_state=0
    ).fit(X),
    "autoencoder, pixels": lambda: fastvi.VariationalAutoencoder(
        2, decoder="pixelcnn", image_shape=(1, X.shape[1]), max_iter=3, random_state=0
    ).fit(X),
    "autoencoder, painting": lambda: fastvi.VariationalAutoencoder(
        2, likelihood="bernoulli", decoder="draw", max_iter=3, random_state=0
    ).fit(X > 0),
    "logistic": lambda: fastvi.BayesianLogisticRegression(max_iter=3, random_state=0).fit(
        X, X[:, 0] > 0
    ),
    "logistic, EP": lambda: fastvi.BayesianLogisticRegression(solver="ep", max_iter=3).fit(
        X, X[:, 0] > 0
    ),
    "logistic, three labels": lambda: fastvi.BayesianLogisticRegression(
        max_iter=3, random_state=0
    ).fit(X, X.argmax(axis=1)),
    "Poisson": lambda: fastvi.PoissonFactorization(n_components=2, max_iter=3, random_state=0).fit(
        COUNTS
    ),
    "dynamic topics": lambda: fastvi.DynamicTopicModel(drift=True, **TOPICS).fit(
        COUNTS, np.arange(40) % 3
    ),
    "neural topics": lambda: fastvi.NeuralTopicModel(**TOPICS).fit(COUNTS),
    "neural topics, product": lambda: fastvi.NeuralTopicModel(form="product", **TOPICS).fit(COUNTS),
    "HDP": lambda: fastvi.HierarchicalDirichletProcess(**TOPICS).fit(COUNTS),
    "GP regression": lambda: fastvi.SparseGPRegressor(**GP).fit(X, X[:, 0]),
    "SVGP": lambda: fastvi.SVGP(likelihood="poisson", **GP).fit(X, COUNTS[:, 0]),
    "GP classifier": lambda: fastvi.SparseGPClassifier(**GP).fit(X, X[:, 0] > 0),
    "GP classifier of all rows": lambda: fastvi.GaussianProcessClassifier(max_iter=3).fit(
        X, X[:, 0] > 0
    ),
    "GPLVM": lambda: fastvi.BayesianGPLVM(**GP).fit(X).transform(X),
    "deep GP": lambda: fastvi.DeepGPRegressor(**GP).fit(X, X[:, 0]),
    "sparse EP": lambda: fastvi.SparseEP(**GP).fit(X, X[:, 0]),
    "GP classifier in time": lambda: fastvi.TemporalGPClassifier(max_iter=3).fit(
        np.arange(40.0), X[:, 0] > 0
    ),
    "GP in time": lambda: fastvi.TemporalGPRegressor(likelihood="poisson", max_iter=3).fit(
        np.arange(40.0), COUNTS[:, 0]
    ),
    "density": gaussian,
    "Gaussian HMM": lambda: fastvi.GaussianHMM(2, n_iter=3, random_state=0).fit(X),
    "mixture HMM": lambda: fastvi.GMMHMM(2, 2, n_iter=3, random_state=0).fit(X),
    "linear system": lambda: fastvi.LinearGaussianSSM(max_iter=3, random_state=0).fit(X),
    "switching system": lambda: fastvi.SwitchingSSM(n_init=1, max_iter=3, random_state=0).fit(X),
    "variational HMM": lambda: fastvi.VariationalGaussianHMM(2, n_iter=3, random_state=0).fit(X),
    **{f"{kind.__name__[:-3]} HMM": hidden(kind, COUNTS) for kind in OF_COUNTS},
    "variational categorical HMM": hidden(fastvi.VariationalCategoricalHMM, COUNTS[:, :1]),
    "categorical HMM": lambda: fastvi.CategoricalHMM(2, n_iter=3, random_state=0).fit(
        COUNTS[:, :1]
    ),
}


def arrays_of(value: Any, seen: set[int]) -> list[np.ndarray]:
    """Every number in an object, through its attributes, in their order."""
    if isinstance(value, np.ndarray | int | float | np.generic):
        return [np.asarray(value)] if np.asarray(value).dtype.kind in "fiub" else []
    if id(value) in seen:
        return []
    seen.add(id(value))
    parts = value if isinstance(value, tuple | list) else ()
    if isinstance(value, dict):
        parts = [value[key] for key in sorted(value, key=str) if "seconds" not in str(key)]
    elif type(value).__module__.startswith("fastvi."):
        parts = [*parts, getattr(value, "__dict__", {})]
    return [array for part in parts for array in arrays_of(part, seen)]


def hash_of(model: Any) -> str:
    arrays = arrays_of(model, set())
    assert sum(array.size for array in arrays) > 4
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def and_compiled(fit: Callable[[], Any]) -> tuple[Any, list[str]]:
    """A fit, and what Numba compiled meanwhile; the log knows of C functions as well."""
    with event.install_recorder("numba:compile") as recorder, announcements() as lines:
        model = fit()
    functions = [repr(e.data["dispatcher"]) for _, e in recorder.buffer if e.is_start]
    return model, [*functions, *lines]


@contextlib.contextmanager
def announcements() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("fastvi.kernels")
    before = log.level
    log.setLevel("INFO")
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def main(option: str = "", *names: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names or sorted(FITS, reverse=option == "--reversed"):
        begin = time.process_time()
        model, compiled = and_compiled(FITS[name])
        seconds = time.process_time() - begin
        found[name] = seconds if option == "--seconds" else hash_of(model)
        if option == "--compiled":
            found[name] = [found[name], compiled]
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # these fits stop before they converge
    print(json.dumps(main(*sys.argv[1:])))
