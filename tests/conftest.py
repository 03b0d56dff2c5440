"""Fixtures shared by all tests."""
# ruff: noqa: E402

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Processes that share the cores get their share of threads for linear algebra: threads that wait
# for each other spin, and were a third of the time. Both are read when NumPy is imported.
SHARE = (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if "PYTEST_XDIST_WORKER" in os.environ and "OPENBLAS_NUM_THREADS" not in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(SHARE, 1)))

gc.disable()  # what is imported and collected stays: see pytest_collection_finish

import numpy as np
import pytest
from forked import Forks
from hypothesis import HealthCheck, settings

SEED = 20240607
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs: the
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests of Ctrl-C would wait for ever
JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT", "0") == "1"

# The first example of a test may compile a kernel, so no time limit. The same examples in every
# run; fewer of them where kernels are interpreted, and more with --hypothesis-profile=many, as in
# the pass of continuous integration with bounds checks.
settings.register_profile(
    "fastvi",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=5 if JIT_OFF else 20,
)
settings.register_profile("many", parent=settings.get_profile("fastvi"), max_examples=100)
settings.load_profile("fastvi")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run all tests, the long ones as well")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "jit: takes too long when kernels are not compiled")


# Processes take files in this order, then the others: two at a time that compile other kernels, or
# both would compile them, and long ones early, so that all processes end at about the same time.
FIRST = [
    "imports", "contract", "cli", "estimator", "fits_resumed", "gp_variational",
    "conjugate_contract", "estimator_base", "inference", "score", "target", "operator",
    "statespace", "temporal", "hmm", "switching", "dynamic_estimator", "correlated", "factors",
    "derivatives_models", "poisson", "gp_targets", "mixture", "target_cache", "logistic",
    "densities", "documents", "ksd", "kernels_covariance", "svgd", "gp_steps", "corpus_shards",
    "temporary", "corpus_default", "jit", "kernels_stein", "gp_regression", "gradients",
    "training", "archive", "special", "lda_methods", "topic_streams", "posterior_tables",
    "collapsed_bound", "kernels_drivers", "target_indices",
]  # fmt: skip


# Every estimator meets those of scikit-learn's checks that ask something of its model: of its types
# and shapes, weights, order of rows, seed and files. The others ask what base classes answer: one
# estimator of each kind meets all of them in a plain run, the rest in the thorough one.
OF_MODELS = {
    "check_dict_unchanged", "check_dtype_object", "check_estimator_sparse_array",
    "check_estimators_dtypes", "check_estimators_nan_inf", "check_estimators_pickle",
    "check_fit2d_1feature", "check_fit2d_1sample", "check_fit_idempotent",
    "check_methods_sample_order_invariance", "check_n_features_in",
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
}  # fmt: skip
MEET_ALL = {f"test_{name}" for name in ("estimator", "gp_regression", "hmm", "logistic", "mixture")}


def is_of_base_class(item: pytest.Item) -> bool:
    """Whether a test is a check of scikit-learn that other estimators meet as well."""
    check = item.callspec.params.get("check") if hasattr(item, "callspec") else None
    if item.path.stem in MEET_ALL or check is None or "estimator" not in item.callspec.params:
        return False
    name = getattr(check, "func", check).__name__
    return name not in OF_MODELS or bool(getattr(check, "keywords", {}))


# Files that compile or run for long, of what is built on kernels and models that other files test:
# they are thorough as a whole, and not even imported in a plain run, unless they are named on the
# command line.
LONG = {
    "annealed", "autoencoder", "autoencoder_conv", "autoencoder_draw", "autoencoder_implicit",
    "autoencoder_kinds", "boosting", "copulas", "corrected", "correlated", "densities",
    "densities_edges", "densities_matrices", "densities_processes", "derivatives_bounds",
    "derivatives_functions", "derivatives_matrices", "derivatives_models", "dynamic_estimator",
    "features", "fits_resumed", "flows", "gp_deep", "gp_gplvm", "gumbel", "hierarchical",
    "hmm_missing", "hmm_mixtures", "hmm_pruning", "importance", "kernels_autoencoder",
    "kernels_autoencoder_implicit", "kernels_components", "kernels_convolutions",
    "kernels_covariance", "kernels_draw", "kernels_drivers", "kernels_flows", "kernels_hmc",
    "kernels_margins", "kernels_networks", "kernels_neural_topics", "kernels_pyramids",
    "kernels_score", "kernels_structured", "kernels_temporal", "kernels_thin", "mixture_families",
    "neural_topics", "operator", "posterior_tables", "score", "statespace", "structured",
    "supervised", "switching", "tempering", "temporal", "vines",
}  # fmt: skip
# So are, among the cases of tests of all estimators, those whose models compile for longest.
DEAR = ("autoencoder", "neural topics", "correlated topics", "topics with labels")


def is_plain(config: pytest.Config) -> bool:
    """Whether neither all tests nor marked ones were asked for."""
    return not (config.getoption("--run-slow") or config.getoption("-m"))


def is_long(path: Path, config: pytest.Config) -> bool:
    """Whether a file is thorough as a whole."""
    named = {Path(argument.split("::")[0]).stem for argument in config.args}
    return path.stem.removeprefix("test_") in LONG and path.stem not in named


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out long files in a plain run."""
    return True if is_plain(config) and is_long(collection_path, config) else None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what is left out."""
    if is_plain(config):
        line = f"left out unless named: {len(LONG)} long files (pytest --run-slow runs all tests)"
        terminalreporter.write_line(line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long files first; leave out what is slow or thorough and was not asked for."""
    place = {f"test_{name}": i for i, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(FIRST)))
    named = {Path(argument.split("::")[0]).stem for argument in config.args}
    for item in items:
        if item.get_closest_marker("slow"):
            continue
        dear = item.path.stem not in named and any(f"[{name}" in item.name for name in DEAR)
        if dear or is_long(item.path, config) or is_of_base_class(item):
            item.add_marker(pytest.mark.thorough)
    if JIT_OFF:
        for item in items:
            if item.get_closest_marker("jit"):
                item.add_marker(pytest.mark.skip(reason="too long without compiled kernels"))
    if not is_plain(config):
        return
    left_out = [
        item
        for item in items
        if any(item.get_closest_marker(marker) for marker in ("slow", "thorough"))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported and collected stays: the garbage collector need not look at it again.

    Nor need it look so often at what compilers and fits leave behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with the one seed stated in this file."""
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets, from the environment variable FASTVI_TEST_DATA."""
    folder = os.environ.get("FASTVI_TEST_DATA")
    if not folder:
        pytest.skip("FASTVI_TEST_DATA is not set: no real data to test on")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"FASTVI_TEST_DATA={folder} is not a folder")
    return path


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """What starts processes without the time to import Numba."""
    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.close()


@pytest.fixture(scope="module")
def quiet() -> Iterator[None]:
    """With JIT off kernels see NumPy scalars, which warn where IEEE arithmetic gives inf or NaN."""
    with np.errstate(all="ignore"):
        yield
