"""``fastvi warmup``: compile kernels ahead of their first use, by tiny fits."""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import fastvi

__all__ = ["FITS", "warm_up"]

ROWS = 40
TYPES = (np.float64, np.float32)


def warm_up(options: argparse.Namespace) -> None:
    """Run the requested fits, and print where compiled kernels are kept."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        raise ValueError("NUMBA_DISABLE_JIT is set, so nothing is compiled; unset it")
    chosen = FITS if "all" in options.what else dict.fromkeys(options.what)
    for name in chosen:
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such small fits do not converge
            FITS[name]()
        print(f"{name}: {time.perf_counter() - begin:.1f} s", flush=True)
    print(f"Compiled kernels are kept in {_folder()}; NUMBA_CACHE_DIR names another folder.")


def _folder() -> str:
    from fastvi.kernels.special import digamma

    return str(digamma.stats.cache_path)


def _numbers(dtype: Any = np.float64) -> Any:
    return np.random.default_rng(0).normal(size=(ROWS, 3)).astype(dtype)


def _counts(dtype: Any = np.float64) -> Any:
    return np.random.default_rng(0).poisson(1.0, (ROWS, 12)).astype(dtype)


def _topics() -> None:
    for dtype in TYPES:
        X = _counts(dtype)
        for solver in ("cvb0", "scvb0", "cvb", "svi", "vb"):
            model = fastvi.LatentDirichletAllocation(
                n_components=3, solver=solver, max_iter=2, random_state=0
            )
            model.fit(X).transform(X)
            model.document_completion(X)
            model.perplexity(X)
        fastvi.LatentDirichletAllocation(3, structured=True, max_iter=2, random_state=0).fit(X)
        fastvi.CorrelatedTopicModel(3, max_iter=2, random_state=0).fit(X).transform(X)
        dynamic = fastvi.DynamicTopicModel(3, drift=True, max_iter=2, random_state=0)
        dynamic.fit(X, np.arange(ROWS) % 3).document_completion(X, np.arange(ROWS) % 3)
        labels = np.arange(ROWS) % 2
        fastvi.TopicClassifier(3, max_iter=2, random_state=0).fit(X, labels).predict(X)
        fastvi.HierarchicalDirichletProcess(3, max_iter=2, random_state=0).fit(X).transform(X)
    for form in ("mixture", "product"):
        neural = fastvi.NeuralTopicModel(3, form=form, max_iter=2, random_state=0).fit(X)
        neural.document_completion(X)


def _mixture() -> None:
    for dtype in TYPES:
        X = _numbers(dtype)
        for kind in ("full", "tied", "diag", "spherical"):
            for batch_size in (None, 20):
                model = fastvi.BayesianGaussianMixture(
                    n_components=2,
                    covariance_type=kind,
                    max_iter=2,
                    batch_size=batch_size,
                    random_state=0,
                )
                model.fit(X).predict(X)


def _factors() -> None:
    for dtype in TYPES:
        X = _numbers(dtype)
        for kind in (fastvi.BayesianPCA, fastvi.BayesianFactorAnalysis):
            for batch_size in (None, 20):
                kind(max_iter=2, batch_size=batch_size, random_state=0).fit(X).transform(X)


def _features() -> None:
    X = _numbers()
    for rows, likelihood in ((X, "gaussian"), (X > 0, "bernoulli")):
        fastvi.BetaBernoulliFeatures(
            2, likelihood=likelihood, n_init=1, max_iter=2, random_state=0
        ).fit(rows)


def _autoencoder() -> None:
    from fastvi.models.autoencoder.likelihoods import compile_all

    compile_all()
    X = _counts()
    model = fastvi.VariationalAutoencoder(2, likelihood="poisson", max_iter=2, random_state=0)
    model.fit(X)
    model.score_samples(X)
    model.reconstruct(X)
    for decoder in ("conv", "pixelcnn"):
        model = fastvi.VariationalAutoencoder(
            2, decoder=decoder, image_shape=(1, X.shape[1]), max_iter=2, random_state=0
        )
        model.fit(X).sample()
    model = fastvi.VariationalAutoencoder(
        2, likelihood="bernoulli", decoder="draw", max_iter=2, random_state=0
    )
    model.fit(X > 0).score_samples(X > 0)
    for family, prior in (
        ("iaf", "vamp"), ("maf", "normal"), ("planar", "normal"), ("radial", "mixture"),
        ("categorical", "normal"), ("hamiltonian", "normal"),
    ):  # fmt: skip
        kind = fastvi.VariationalAutoencoder(
            2, likelihood="poisson", family=family, prior=prior, max_iter=2, random_state=0
        )
        kind.fit(X).score_samples(X)
    model.set_params(prior="structured").fit(X)
    for ratio in ("adversarial", "semi_implicit"):
        implicit = fastvi.VariationalAutoencoder(
            2, likelihood="poisson", family="implicit", options={"ratio": ratio}, max_iter=2,
            random_state=0,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it is not trusted yet
            implicit.fit(X).score_samples(X)


def _logistic() -> None:
    for dtype in TYPES:
        X = _numbers(dtype)
        for batch_size in (None, 20):
            model = fastvi.BayesianLogisticRegression(
                max_iter=2, batch_size=batch_size, random_state=0
            )
            for labels in (X[:, 0] > 0, X.argmax(axis=1)):
                model.fit(X, labels).predict_proba(X)
    X = _numbers()
    fastvi.BayesianLogisticRegression(solver="ep", max_iter=2).fit(X, X[:, 0] > 0)


def _poisson() -> None:
    for dtype in TYPES:
        X = _counts(dtype)
        for batch_size in (None, 20):
            model = fastvi.PoissonFactorization(
                n_components=2, max_iter=2, batch_size=batch_size, random_state=0
            )
            model.fit(X).transform(X)


def _sequences() -> None:
    X, counts = _numbers(), _counts()
    for covariances in ("diag", "full"):
        fastvi.GaussianHMM(2, covariances, n_iter=2, random_state=0).fit(X).predict(X)
    fastvi.LinearGaussianSSM(max_iter=2).fit(X).compiled().filter_step(X[0])
    fastvi.SwitchingSSM(max_iter=2, n_init=1, random_state=0).fit(X)
    fastvi.GMMHMM(2, 2, n_iter=2, random_state=0).fit(X).predict(X)
    fastvi.VariationalGaussianHMM(2, n_iter=2, random_state=0).fit(X).predict(X)
    kinds: tuple[Any, ...] = (
        fastvi.PoissonHMM, fastvi.MultinomialHMM, fastvi.VariationalPoissonHMM,
        fastvi.CategoricalHMM, fastvi.VariationalCategoricalHMM,
    )  # fmt: skip
    for kind in kinds:
        kind(2, n_iter=2, random_state=0).fit(counts[:, :1]).predict(counts[:, :1])


def _gp() -> None:
    X = _numbers()
    options: dict[str, Any] = {"inducing_points": 5, "max_iter": 2, "random_state": 0}
    model = fastvi.SparseGPRegressor(**options).fit(X, X[:, 0])
    model.predict(X, return_std=True)
    model.compiled()(X)
    for likelihood, y in (("gaussian", X[:, 0]), ("poisson", _counts()[:, 0])):
        fastvi.SVGP(likelihood=likelihood, **options).fit(X, y).predict(X, return_std=True)
    for labels in (X[:, 0] > 0, X.argmax(axis=1)):
        fastvi.SparseGPClassifier(**options).fit(X, labels).predict_proba(X)
        fastvi.DeepGPClassifier(**options).fit(X, labels).predict_proba(X)
        fastvi.GaussianProcessClassifier(max_iter=2).fit(X, labels).predict_proba(X)
    fastvi.SparseEP(**options).fit(X, X[:, 0]).predict(X, return_std=True)
    fastvi.DeepGPRegressor(**options).fit(X, X[:, 0]).predict(X, return_std=True)
    fastvi.BayesianGPLVM(**options).fit(X).transform(X)
    times = np.arange(float(len(X)))
    for likelihood, y in (("gaussian", X[:, 0]), ("poisson", _counts()[:, 0])):
        series = fastvi.TemporalGPRegressor(likelihood=likelihood, max_iter=2).fit(times, y)
        series.sample_y(times)
        series.compiled()
    fastvi.TemporalGPClassifier(max_iter=2).fit(times, X[:, 0] > 0)


def _normal() -> Any:
    """Make a target that is compiled for this process only."""

    def normal(z: Any, grad: Any) -> Any:
        grad[0], grad[1] = -z[0], -z[1]
        return -0.5 * (z[0] ** 2 + z[1] ** 2)

    return fastvi.target(normal, names={"a": (), "b": fastvi.transforms.positive()})


def _densities() -> None:
    for family in (
        "fullrank", "meanfield", "lowrank", "mixture", "copula", "planar", "radial", "realnvp",
        "nsf", "hamiltonian", "hierarchical", "vgp",
    ):  # fmt: skip
        fastvi.fit(_normal(), family, random_state=0).summary()
    X = _numbers()
    line = fastvi.propagation.linear(X, X[:, 0], fastvi.propagation.student(0.1, 4.0))
    fastvi.ep(line, (0.0, 1.0))


def _particles() -> None:
    target = _normal()
    for method in ("plain", "matrix", "sliced"):
        for dtype in ("float64", "float32"):
            fit = fastvi.svgd(target, 20, 2, method=method, dtype=dtype, random_state=0)
    fastvi.ksd_test(target, fit.particles, random_state=0)
    fastvi.stein_thinning(target, fit.particles, 5)


FITS: dict[str, Callable[[], None]] = {
    "topics": _topics,
    "mixture": _mixture,
    "factors": _factors,
    "features": _features,
    "autoencoder": _autoencoder,
    "logistic": _logistic,
    "poisson": _poisson,
    "sequences": _sequences,
    "gp": _gp,
    "densities": _densities,
    "particles": _particles,
}
