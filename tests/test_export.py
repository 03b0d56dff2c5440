"""The C library: predictions of models from their files, without Python."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest
import scipy.sparse as sp
from numba.core.codegen import get_host_cpu_features
from sklearn.base import clone
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Matern,
    WhiteKernel,
)

import fastvi
from fastvi.base import archive
from fastvi.export import library
from fastvi.export.building import SOURCES, build
from fastvi.export.objects import environment_of, levels_here
from fastvi.kernels._shipped import LEVELS

HOST = {name[1:] for name in get_host_cpu_features().split(",") if name[0] == "+"}
LEVEL = 1 if levels_here() == [1] else next(
    (int(name[-1]) for name in LEVELS if name != "x86-64-v4" and LEVELS[name] <= HOST), 0
)  # fmt: skip
STRICT = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror"]

pytestmark = [
    pytest.mark.jit,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the library is for Linux"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.skipif(LEVEL == 0, reason="no processor of x86-64-v2"),
]
POINTERS = {"f4": "float *", "f8": "double *", "i4": "int32_t *", "i8": "int64_t *"}


class Library:
    """The library by cffi, with arrays for pointers."""

    def __init__(self, path: Path) -> None:
        text = (SOURCES / "fastvi.h").read_text().replace("FASTVI_API ", "")
        text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.S)
        self.ffi = cffi.FFI()
        self.ffi.cdef(re.sub(r"^#.*$", "", text, flags=re.M))
        self.path, self.lib = path, self.ffi.dlopen(str(path))

    def __call__(self, name: str, *arguments: Any) -> int:
        code: int = getattr(self.lib, f"fastvi_{name}")(*map(self._passed, arguments))
        return code

    def _passed(self, value: Any) -> Any:
        if value is None:
            return self.ffi.NULL
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            return self.ffi.cast(POINTERS[value.dtype.str[1:]], value.ctypes.data)
        return value

    def open(self, path: Path) -> Any:
        place = self.ffi.new("fastvi_model **")
        code = self.lib.fastvi_open(os.fsencode(path), place)
        assert code == 0, self.message(code)
        return self.ffi.gc(place[0], self.lib.fastvi_close)

    def refusal(self, content: bytes) -> int:
        """The code with which a file is refused; 0 if it is not."""
        place = self.ffi.new("fastvi_model **")
        code: int = self.lib.fastvi_open_memory(content, len(content), place)
        assert (place[0] == self.ffi.NULL) == (code != 0)
        self.lib.fastvi_close(place[0])
        return code

    def message(self, code: int) -> str:
        text = self.ffi.string(self.lib.fastvi_message(code))
        assert isinstance(text, bytes)
        return text.decode()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """One that has no topics, which take longer to compile."""
    out = tmp_path_factory.mktemp("small")
    return Library(build(out, levels=[LEVEL], parts=["mixture"], flags=STRICT))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(build(tmp_path_factory.mktemp("whole"), levels=[LEVEL]))


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Library:
    out, parts = tmp_path_factory.mktemp("chains"), ["sequences", "processes", "autoencoders"]
    return Library(build(out, levels=[LEVEL], parts=parts, flags=STRICT))


@pytest.fixture(scope="module")
def clusters(rng_of_module: np.random.Generator) -> Any:
    centres = 4 * rng_of_module.normal(size=(3, 4))
    return centres[rng_of_module.integers(0, 3, 301)] + rng_of_module.normal(size=(301, 4))


@pytest.fixture(scope="module")
def rng_of_module() -> np.random.Generator:
    return np.random.default_rng(20240607)


# Mixtures


def mixture_of(small: Library, fitted: Any, X: Any, path: Path) -> tuple[Any, Any, Any]:
    fitted.save(path)
    model, k = small.open(path), fitted.n_components
    assert (small("n_features", model), small("n_outputs", model)) == (X.shape[1], k)
    shares, log_norm = np.empty((len(X), k)), np.empty(len(X))
    labels = np.empty(len(X), np.int64)
    assert small("mixture", model, len(X), X, shares, log_norm, labels) == 0
    return shares, log_norm, labels


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_mixtures(small: Library, clusters: Any, kind: str, tmp_path: Path) -> None:
    fitted = fastvi.BayesianGaussianMixture(
        n_components=5, covariance_type=kind, random_state=0, max_iter=20, tol=0
    ).fit(clusters)
    shares, log_norm, labels = mixture_of(small, fitted, clusters, tmp_path / "m")
    np.testing.assert_allclose(shares, fitted.predict_proba(clusters), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(log_norm, fitted.score_samples(clusters), rtol=1e-12)
    np.testing.assert_array_equal(labels, fitted.predict(clusters))


def test_mixtures_with_a_product_per_component(
    small: Library, rng: np.random.Generator, tmp_path: Path
) -> None:
    X = rng.normal(size=(150, 26)).astype(np.float32) * 3
    fitted = fastvi.BayesianGaussianMixture(n_components=2, random_state=0, max_iter=5, tol=0)
    assert fitted.fit(X)._model.by_roots
    X = X.astype(np.float64)
    shares, log_norm, _ = mixture_of(small, fitted, X, tmp_path / "m")
    np.testing.assert_allclose(shares, fitted.predict_proba(X), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(log_norm, fitted.score_samples(X), rtol=1e-11)


# Logistic regression


@pytest.mark.parametrize("options", [{}, {"solver": "ep", "link": "probit"}, {"n": 3}])
def test_logistic(
    small: Library, rng: np.random.Generator, options: dict[str, Any], tmp_path: Path
) -> None:
    X, n_classes = rng.normal(size=(200, 3)), options.pop("n", 2)
    y = np.digitize(X @ [1.0, -2.0, 0.5] + rng.normal(size=200), [0.0, 1.0][: n_classes - 1])
    fitted = fastvi.BayesianLogisticRegression(**options).fit(X, y)
    fitted.save(tmp_path / "m")
    far = np.concatenate((X, 10.0 ** rng.uniform(-2, 4, (200, 3)) * X))
    found = np.empty((len(far), n_classes))
    assert small("logistic", small.open(tmp_path / "m"), len(far), far, found) == 0
    np.testing.assert_allclose(found, fitted.predict_log_proba(far), rtol=1e-9, atol=1e-14)


# Sequences


def filtered(library: Library, fitted: Any, X: Any, path: Path) -> None:
    """In two calls, of which the second goes on."""
    fitted.save(path)
    model, online, before = library.open(path), fitted.compiled(), None
    k, rows = fitted.n_components, np.ascontiguousarray(X, np.float64)
    found, logs = np.empty((len(X), k)), np.empty(len(X))
    parts = rows[:7], None, found[:7], logs[:7]
    assert library("filter", model, 7, *parts) == 0
    parts = rows[7:], found[6], found[7:], logs[7:]
    assert library("filter", model, len(X) - 7, *parts) == 0
    alone = np.empty_like(found)
    assert library("filter", model, len(X), rows, None, alone, None) == 0
    np.testing.assert_array_equal(alone, found)
    for i, row in enumerate(rows):
        before, log_density = online.filter_step(row, before)
        np.testing.assert_allclose(found[i], before, rtol=1e-10, atol=1e-300)
        np.testing.assert_allclose(logs[i], log_density, rtol=1e-10)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["full", "diag", "GMMHMM"])
def test_filtering_of_gaussian_rows(
    chains: Library, rng: np.random.Generator, kind: str, tmp_path: Path
) -> None:
    X = np.repeat(rng.normal(size=(10, 2)) * 4, 8, axis=0) + rng.normal(size=(80, 2))
    options = {"n_iter": 3, "tol": 0, "random_state": 0}
    if kind == "GMMHMM":
        fitted = fastvi.GMMHMM(3, n_mix=2, **options).fit(X)
    else:
        fitted = fastvi.GaussianHMM(3, covariance_type=kind, **options).fit(X)
    X[5] = np.nan
    X[11, 1] = np.nan
    filtered(chains, fitted, X, tmp_path / "m")
    model = chains.open(tmp_path / "m")
    X[3, 0] = np.inf
    found, logs = np.empty((80, 3)), np.empty(80)
    assert chains("filter", model, 80, X, None, found, logs) == chains.lib.FASTVI_VALUES


@pytest.mark.thorough
def test_filtering_of_symbols_and_counts(
    chains: Library, rng: np.random.Generator, tmp_path: Path
) -> None:
    options = {"n_iter": 3, "tol": 0, "random_state": 0}
    symbols = np.repeat(rng.integers(0, 5, 20), 4)[:, None]
    fitted = fastvi.CategoricalHMM(2, **options).fit(symbols)
    fitted.emissionprob_ = np.array([[0.0, 0.4, 0.2, 0.2, 0.2], [0.6, 0.1, 0.1, 0.1, 0.1]])
    filtered(chains, fitted, symbols, tmp_path / "m")
    model, found, logs = chains.open(tmp_path / "m"), np.empty((1, 2)), np.empty(1)
    for wrong in (5.0, -1.0, 0.5):
        code = chains("filter", model, 1, np.array([[wrong]]), None, found, logs)
        assert code == chains.lib.FASTVI_VALUES
    counts = rng.poisson(np.repeat(rng.gamma(1.0, 5.0, (10, 3)), 8, axis=0))
    filtered(chains, fastvi.PoissonHMM(2, **options).fit(counts), counts, tmp_path / "m")
    assert chains("filter", chains.open(tmp_path / "m"), 1, -np.ones((1, 3)), None, found, logs)


# Gaussian processes


@pytest.mark.thorough
@pytest.mark.parametrize("which", ["RBF", "sum"])
def test_gaussian_processes(
    chains: Library, rng: np.random.Generator, which: str, tmp_path: Path
) -> None:
    X = rng.normal(size=(150, 2))
    Y = np.stack((np.sin(2 * X[:, 0]), X[:, 1]), axis=1) + 0.1 * rng.normal(size=(150, 2))
    kernel = ConstantKernel(2.0) * RBF([1.0, 2.0]) + WhiteKernel(0.01)
    if which == "sum":
        kernel = Matern(nu=1.5) * DotProduct() + RBF([1.0, 2.0]) + WhiteKernel(0.01)
    fitted = fastvi.SparseGPRegressor(
        kernel, inducing_points=20, max_iter=5, normalize_y=True, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged
        fitted.fit(X, Y).save(tmp_path / "m")
    model, new = chains.open(tmp_path / "m"), rng.normal(size=(75, 2))
    mean, deviation = np.empty((75, 2)), np.empty((75, 2))
    assert chains("gp", model, 75, new, mean, deviation) == 0
    wanted = fitted.compiled()(new)
    np.testing.assert_allclose(mean, wanted[0], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(deviation, wanted[1], rtol=1e-8)
    alone = np.empty_like(mean), np.empty_like(deviation)
    assert chains("gp", model, 75, new, alone[0], None) == 0
    assert chains("gp", model, 75, new, None, alone[1]) == 0
    np.testing.assert_array_equal(alone, (mean, deviation))


# Autoencoders


@pytest.mark.thorough
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "poisson", "categorical"])
def test_encoding(
    chains: Library, rng: np.random.Generator, likelihood: str, tmp_path: Path
) -> None:
    X = rng.normal(size=(100, 5)) * 3 + 1
    most = {"bernoulli": 1.0, "poisson": 9.0, "categorical": 2.0}.get(likelihood)
    X = X if most is None else np.clip(X.round(), 0.0, most)
    fitted = fastvi.VariationalAutoencoder(
        2, hidden_layer_sizes=(9, 17), likelihood=likelihood, max_iter=1, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged
        fitted.fit(X).save(tmp_path / "m")
    model, means, deviations = chains.open(tmp_path / "m"), np.empty((100, 2)), np.empty((100, 2))
    assert (chains("n_features", model), chains("n_outputs", model)) == (5, 2)
    assert chains("encode", model, 100, X, means, deviations) == 0
    wanted = fitted.posterior(X)
    np.testing.assert_allclose(means, wanted[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(deviations, wanted[1], rtol=1e-4)
    alone = np.empty_like(means), np.empty_like(deviations)
    assert chains("encode", model, 100, X, alone[0], None) == 0
    assert chains("encode", model, 100, X, None, alone[1]) == 0
    np.testing.assert_array_equal(alone, (means, deviations))
    for wrong in (np.nan, np.inf, *([] if likelihood == "gaussian" else [-1.0])):
        X[70, 3] = wrong
        code = chains("encode", model, 100, X, means, deviations)
        assert code == chains.lib.FASTVI_VALUES


# Errors


def saved(path: Path, X: Any) -> bytes:
    fastvi.BayesianGaussianMixture(n_components=2, random_state=0, max_iter=3, tol=0).fit(X).save(
        path
    )
    return path.read_bytes()


def test_damaged_files_are_refused(small: Library, clusters: Any, tmp_path: Path) -> None:
    """Wherever a byte differs, and wherever a file ends."""
    content, lib = saved(tmp_path / "m", clusters), small.lib
    assert small.refusal(content) == 0
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(content), 300).tolist():
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        small.refusal(bytes(damaged))  # most are found; none may do harm
        assert small.refusal(content[:at]) == lib.FASTVI_DAMAGED
    for junk in (b"", b"PK", bytes(30), content[-22:]):
        assert small.refusal(junk) == lib.FASTVI_DAMAGED
    inner = content.index(b"compiled.linear.npy") + 200
    damaged = bytearray(content)
    damaged[inner] ^= 4
    assert small.refusal(bytes(damaged)) == lib.FASTVI_DAMAGED


def test_files_of_other_kinds(small: Library, tmp_path: Path) -> None:
    lib, place = small.lib, small.ffi.new("fastvi_model **")
    assert lib.fastvi_open(os.fsencode(tmp_path / "none"), place) == lib.FASTVI_FILE
    assert lib.fastvi_open(os.fsencode(tmp_path), place) == lib.FASTVI_FILE
    for kind, name in [("estimator", "BayesianPCA"), ("posterior", ""), ("lda-model", "")]:
        archive.save(tmp_path / "m", kind, {"class": name}, {})  # topics are not in this build
        assert small.refusal((tmp_path / "m").read_bytes()) == lib.FASTVI_UNSUPPORTED
    archive.save(tmp_path / "m", "estimator", {"class": "BayesianLogisticRegression"}, {})
    assert small.refusal((tmp_path / "m").read_bytes()) == lib.FASTVI_OLD


def test_bad_arguments(small: Library, clusters: Any, tmp_path: Path) -> None:
    lib, X = small.lib, clusters.copy()
    saved(tmp_path / "m", X)
    model, shares = small.open(tmp_path / "m"), np.empty((len(X), 2))
    assert small("mixture", None, 1, X, shares, None, None) == lib.FASTVI_ARGUMENT
    assert small("mixture", model, -1, X, shares, None, None) == lib.FASTVI_ARGUMENT
    assert small("mixture", model, 1, None, shares, None, None) == lib.FASTVI_ARGUMENT
    assert small("mixture", model, 0, None, None, None, None) == lib.FASTVI_OK
    assert small("logistic", model, 1, X, shares) == lib.FASTVI_KIND
    assert small("topics_f64", model, 0, None, None, None, None) == lib.FASTVI_KIND
    X[70, 1] = np.nan
    assert small("mixture", model, len(X), X, shares, None, None) == lib.FASTVI_VALUES
    codes = [getattr(lib, name) for name in dir(lib) if name.isupper()]
    assert len({small.message(code) for code in range(max(codes) + 1)}) == max(codes) + 1
    assert small.message(99) == small.message(-1) == "no such error code"


def test_levels(small: Library, clusters: Any, tmp_path: Path) -> None:
    lib, place = small.lib, small.ffi.new("fastvi_model **")
    saved(tmp_path / "m", clusters)
    path = os.fsencode(tmp_path / "m")
    assert lib.fastvi_level() == LEVEL
    for level in (-1, 0, 1, 2, 3, 4, 5):
        code = lib.fastvi_open_level(path, level, place)
        assert code == (lib.FASTVI_OK if level == LEVEL else lib.FASTVI_PROCESSOR)
        lib.fastvi_close(place[0])
    assert lib.fastvi_kernel(LEVEL, b"mixture_responsibilities") != small.ffi.NULL
    for name in (b"lda_infer_f32", b"nothing"):
        assert lib.fastvi_kernel(LEVEL, name) == small.ffi.NULL


def test_threads_share_a_model(small: Library, clusters: Any, tmp_path: Path) -> None:
    saved(tmp_path / "m", clusters)
    model = small.open(tmp_path / "m")

    def shares(_: int) -> bytes:
        found = np.empty((len(clusters), 2))
        for _ in range(20):
            assert small("mixture", model, len(clusters), clusters, found, None, None) == 0
        return found.tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(shares, range(8)))) == 1


# From Python


@pytest.fixture
def used(small: Library, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that loads models by the library."""
    monkeypatch.setenv("FASTVI_LIBRARY", str(small.path))
    library.library.cache_clear()
    yield fastvi.load
    library.library.cache_clear()


@pytest.fixture
def labelled(rng: np.random.Generator, tmp_path: Path) -> tuple[Any, Any, Path]:
    X = rng.normal(size=(100, 3))
    fitted = fastvi.BayesianLogisticRegression().fit(X, X[:, 0] > 0)
    fitted.save(tmp_path / "m")
    return fitted, X, tmp_path / "m"


PREDICT = """
import sys
import numpy as np
import fastvi
found = fastvi.load(sys.argv[1]).compiled()(np.eye(3))
print(found.tolist())
assert not {"numba", "sklearn", "scipy"} & set(sys.modules), "too much is imported"
"""


def test_a_process_that_predicts_imports_little(small: Library, labelled: Any) -> None:
    fitted, _, path = labelled
    environment = os.environ | {"FASTVI_LIBRARY": str(small.path)}
    command = [sys.executable, "-c", PREDICT, path]
    printed = subprocess.check_output(command, env=environment, text=True)
    np.testing.assert_allclose(json.loads(printed), fitted.compiled()(np.eye(3)), rtol=1e-9)


def test_a_loaded_model_becomes_its_estimator(used: Any, labelled: Any) -> None:
    fitted, X, path = labelled
    loaded, pickled, copied, shown, changed = (used(path) for _ in range(5))
    path.unlink()  # what was loaded stays
    predict = loaded.compiled()
    np.testing.assert_allclose(predict(X), fitted.compiled()(X), rtol=1e-9)
    with pytest.raises(ValueError, match=r"x has shape \(2, 2\); wanted \(n, 3\)"):
        predict(np.ones((2, 2)))
    assert type(loaded) is not type(fitted)
    assert isinstance(loaded, fastvi.BayesianLogisticRegression)
    assert loaded.classes_.tolist() == [False, True]
    assert type(loaded) is type(fitted)
    assert not [name for name in vars(loaded) if "library" in name]
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert clone(pickle.loads(pickle.dumps(pickled))).get_params() == fitted.get_params()
    np.testing.assert_array_equal(copy.deepcopy(copied).coef_, fitted.coef_)
    assert repr(shown) == repr(fitted)
    changed.max_iter = 3
    assert changed.get_params()["max_iter"] == 3
    np.testing.assert_allclose(predict(X), fitted.compiled()(X), rtol=1e-9)


def test_what_the_library_does_not_read_is_loaded(
    used: Any, labelled: Any, clusters: Any, tmp_path: Path
) -> None:
    _, _, path = labelled
    fitted = fastvi.BayesianPCA(n_components=1).fit(clusters)
    fitted.save(tmp_path / "pca")
    assert type(used(tmp_path / "pca")) is fastvi.BayesianPCA
    content = bytearray(path.read_bytes())
    content[content.index(b"compiled.slopes.npy") + 200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        used(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        used(tmp_path / "nowhere")


def test_other_libraries_are_not_used(
    small: Library, labelled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, _, path = labelled
    other = tmp_path / "libfastvi.so"
    shutil.copy(small.path, other)
    monkeypatch.setenv("FASTVI_LIBRARY", str(other))

    def is_used() -> bool:
        library.library.cache_clear()
        return type(fastvi.load(path)) is not type(fitted)

    assert is_used()
    other.chmod(0o777)
    assert not is_used()
    other.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr(library, "build_name", lambda: "0.1.0 of other sources")
        assert not is_used()
    monkeypatch.setenv("FASTVI_LIBRARY", "")
    assert not is_used()
    library.library.cache_clear()


# Topics


@pytest.fixture(scope="module")
def counts() -> Any:
    rng = np.random.default_rng(7)
    return sp.csr_array(rng.poisson(rng.gamma(0.1, 1.0, (130, 40))).astype(np.float64))


def documents(X: Any, dtype: Any) -> tuple[Any, Any, Any]:
    return X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data.astype(dtype)


@pytest.mark.thorough
@pytest.mark.parametrize("solver", ["cvb0", "vb", "svi"])
@pytest.mark.parametrize(("dtype", "k"), [(np.float32, 20), (np.float64, 3), (np.float32, 150)])
def test_topics(
    whole: Library,
    counts: Any,
    solver: str,
    dtype: Any,
    k: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted = fastvi.LatentDirichletAllocation(k, solver=solver, max_iter=2, random_state=0)
    fitted.fit(counts.astype(dtype)).save(
        tmp_path / "m", vocabulary=[f"w\u00f6rd{i}" for i in range(40)]
    )
    model, suffix = whole.open(tmp_path / "m"), f"f{8 * np.dtype(dtype).itemsize}"
    given, n = documents(counts, dtype), counts.shape[0]
    theta, scores, bounds = np.empty((n, k), dtype), np.empty(n), np.empty(n)
    assert whole(f"topics_{suffix}", model, n, *given, theta) == 0
    assert theta.tobytes() == fitted.compiled()(*given).tobytes() or not same_processor()
    monkeypatch.setenv("FASTVI_LIBRARY", str(whole.path))
    library.library.cache_clear()
    loaded = fastvi.load(tmp_path / "m")
    assert loaded.compiled()(*given).tobytes() == theta.tobytes()
    with pytest.raises(ValueError, match="the model has words 0 to 39"):
        loaded.compiled()(given[0], given[1] + 1, given[2])
    with pytest.raises(ValueError, match="indptr must rise"):
        loaded.compiled()(given[0] + 1, *given[1:])
    assert type(loaded) is not type(fitted)
    library.library.cache_clear()
    np.testing.assert_allclose(theta, fitted.transform(counts), rtol=1e-4, atol=1e-5)
    topics = fitted.topic_model().topics
    assert whole(f"topics_log_likelihoods_{suffix}", model, n, *given, theta, scores) == 0
    padded = np.zeros((n, len(topics.alpha)), dtype)
    padded[:, :k] = theta
    np.testing.assert_allclose(scores, topics.log_likelihoods(padded, given), rtol=1e-6)
    assert whole(f"topics_bounds_{suffix}", model, n, *given, bounds) == 0
    np.testing.assert_allclose(bounds.sum(), fitted._model.documents_bound(given), rtol=1e-4)
    length = whole.ffi.new("int64_t *")
    word = whole.lib.fastvi_word(model, 39, length)
    assert bytes(whole.ffi.buffer(word, length[0])).decode() == "w\u00f6rd39"
    assert whole.lib.fastvi_word(model, 40, length) == whole.ffi.NULL


def same_processor() -> bool:
    """Whether this process compiles for the level of the library."""
    return os.environ.get("NUMBA_CPU_NAME") == f"x86-64-v{LEVEL}"


@pytest.mark.thorough
def test_bad_documents(whole: Library, counts: Any, tmp_path: Path) -> None:
    lib = whole.lib
    fastvi.LatentDirichletAllocation(2, max_iter=1, random_state=0).fit(
        counts.astype(np.float32)
    ).save(tmp_path / "m")
    model, theta = whole.open(tmp_path / "m"), np.empty((1, 2), np.float32)
    good = np.array([0, 2]), np.array([0, 39], np.int32), np.ones(2, np.float32)
    assert whole("topics_f32", model, 1, *good, theta) == 0
    for which, at, value, code in [
        (0, 1, -1, lib.FASTVI_DOCUMENTS), (0, 0, -1, lib.FASTVI_DOCUMENTS),
        (1, 0, 40, lib.FASTVI_DOCUMENTS), (1, 1, -1, lib.FASTVI_DOCUMENTS),
        (2, 0, -1, lib.FASTVI_VALUES), (2, 1, np.nan, lib.FASTVI_VALUES),
        (2, 1, np.inf, lib.FASTVI_VALUES),
    ]:  # fmt: skip
        bad = [part.copy() for part in good]
        bad[which][at] = value
        assert whole("topics_f32", model, 1, *bad, theta) == code
    assert whole("topics_f64", model, 1, *good[:2], np.ones(2), np.ones(2)) == lib.FASTVI_NUMBERS
    for i in range(4):
        missing = [None if j == i else part for j, part in enumerate((*good, theta))]
        assert whole("topics_f32", model, 1, *missing) == lib.FASTVI_ARGUMENT


@pytest.mark.thorough
def test_kernels_have_the_same_bits(whole: Library) -> None:
    program = Path(__file__).with_name("exported_kernels.py")
    done = subprocess.run(
        [sys.executable, program, whole.path, str(LEVEL)], env=environment_of(LEVEL),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(RuntimeError, match=r"'no-such-compiler' is not there; wanted"):
        build(tmp_path)


@pytest.mark.slow
def test_all_levels(tmp_path: Path) -> None:
    """Of one library that is small, asks for nothing but libc and libm, and has one soname."""
    path = build(tmp_path)
    assert path.stat().st_size < 3 << 20
    dynamic = subprocess.check_output(["readelf", "-d", path], text=True)
    needed = set(re.findall(r"NEEDED.*\[(.*?)\]", dynamic))
    assert {name.split(".")[0] for name in needed} <= {"libc", "libm"}
    assert re.findall(r"SONAME.*\[(.*?)\]", dynamic) == ["libfastvi.so.0"]
    symbols = subprocess.check_output(["nm", "-D", "--defined-only", path], text=True)
    names = {line.split()[-1] for line in symbols.splitlines()}
    declared = re.findall(r"\b(fastvi_\w+)\(", (SOURCES / "fastvi.h").read_text())
    assert names == set(declared)
    assert (tmp_path / "lib" / "libfastvi.a").exists()
