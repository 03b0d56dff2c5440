"""What is imported when: a tool that feels light."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastvi

PACKAGE = Path(fastvi.__file__).parent
# Estimators, scikit-learn's kernels in Gaussian processes, and what cuts text into words.
PARTS = ("estimator", "predictions", "start", "stream")  # files that an estimator is made of
ESTIMATORS = {
    path.relative_to(PACKAGE).as_posix()
    for part in PARTS
    for path in PACKAGE.glob(f"models/*/{part}.py")
}
PROCESSES = (
    "classification",
    "collapsed",
    "deep/classification",
    "deep/estimator",
    "deep/regression",
    "deep/start",
    "dense_classification",
    "dense_learning",
    "files",
    "labels",
    "latent/estimator",
    "latent/predictions",
    "latent/start",
    "propagation",
    "regression",
    "searching",
    "start",
    "stochastic",
    "targets",
    "temporal",
    "temporal_classification",
    "temporal_regression",
    "variational",
)
MAY_IMPORT_SKLEARN = (
    ESTIMATORS
    | {"models/estimator.py", "models/kinds.py", "models/weights.py"}
    | {f"models/gp/{name}.py" for name in PROCESSES}
    | {
        "models/sequences/gaussian.py",
        "models/sequences/gmm.py",
        "models/sequences/pruning.py",
        "models/sequences/variational_gaussian.py",
    }
    | {f"models/statespace/{n}.py" for n in ("sequence_estimator", "switching_estimator")}
    | {"models/statespace/switching_predictions.py"}
    | {f"models/topics/{n}.py" for n in ("coherence", "correlated", "dynamic_scores")}
    | {f"models/topics/{n}.py" for n in ("hdp_scores", "supervised", "supervised_scores")}
    | {"models/topics/neural/scores.py"}
    | {"corpus/text.py", "cli/hot_loops.py", "cli/processes.py"}
)
FUNCTIONAL_CORE = [
    "fastvi.core", "fastvi.loop", "fastvi.batches", "fastvi.models.counts", "fastvi.optimizers",
    "fastvi.base.parallel", "fastvi.gradients.natural", "fastvi.models.topics.collapsed",
    "fastvi.models.topics.inference", "fastvi.models.topics.model",
    "fastvi.models.topics.solvers", "fastvi.models.topics.training",
    "fastvi.models.mixture.model", "fastvi.models.mixture.priors",
    "fastvi.models.topics.fitted", "fastvi.models.topics.held_out", "fastvi.cli.commands",
    "fastvi.cli.report", "fastvi.plots", "fastvi.corpus", "fastvi.targets", "fastvi.transforms",
]  # fmt: skip
MODULES = sorted(
    ".".join(["fastvi", *path.relative_to(PACKAGE).with_suffix("").parts])
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py") and "kernels" not in path.parts
)


def loaded_by(code: str, *names: str) -> set[str]:
    """Which of the packages `names` a new process has loaded after `code`."""
    script = f"{code}\nimport sys\nprint('loaded:', *(set(sys.modules) & {set(names)!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


HEAVY = ("numpy", "numba", "scipy", "sklearn", "tqdm", "matplotlib", "llvmlite", "threadpoolctl")


def test_import_loads_nothing() -> None:
    assert loaded_by("import fastvi; fastvi.__version__; dir(fastvi)", *HEAVY) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["lda", "--help"], ["--version"], ["lda", "-x"]])
def test_help_loads_nothing(arguments: list[str]) -> None:
    code = (
        "from fastvi.cli.main import main\n"
        f"try: main({arguments})\n"
        "except SystemExit as end: assert end.code in (0, 2), end.code"
    )
    assert loaded_by(code, *HEAVY) == set()


def test_functional_core_never_imports_sklearn(tmp_path: Path) -> None:
    """Nor does the command on a corpus that needs no cutting into words."""
    (tmp_path / "c.ldac").write_text("2 0:1 1:2\n2 1:1 2:3\n" * 10)
    code = (
        f"import {', '.join(FUNCTIONAL_CORE)}\n"
        "from fastvi.cli.main import main\n"
        f"assert main(['lda', {str(tmp_path / 'c.ldac')!r}, '-k', '2', '--passes', '1', '--quiet',"
        f" '-o', {str(tmp_path / 'm.npz')!r}]) == 0"
    )
    assert loaded_by(code, "sklearn", "matplotlib", "pandas", "joblib") == set()


def test_only_estimators_and_the_text_reader_import_sklearn() -> None:
    """Also inside of functions."""
    importers = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "sklearn" in text else ():
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "sklearn" for name in names):
                importers.add(path.relative_to(PACKAGE).as_posix())
    assert importers <= MAY_IMPORT_SKLEARN


def test_every_folder_goes_into_the_wheel() -> None:
    found = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    listed = set(found["tool"]["setuptools"]["packages"]) - {"fastvi.kernels"}
    folders = {path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")}
    assert listed == {".".join(folder.parts) for folder in folders if "kernels" not in folder.parts}


def test_public_names() -> None:
    for name in fastvi.__all__:
        assert getattr(fastvi, name) is not None
        assert name in dir(fastvi)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fastvi.nothing
    assert fastvi.__version__.count(".") == 2


def test_import_fastvi_is_enough() -> None:
    """Each public module is reachable when nothing else of fastvi was imported before."""
    code = (
        "import sys\n"
        f"for name in {[name for name in fastvi.__all__ if name not in fastvi._NAMES]}:\n"
        "    for module in [m for m in sys.modules if m.split('.')[0] == 'fastvi']:\n"
        "        del sys.modules[module]\n"
        "    import fastvi\n"
        "    assert getattr(fastvi, name) is not None"
    )
    assert loaded_by(code, "sklearn", "matplotlib", "pandas") == set()


def test_dir_lists_public_names_only() -> None:
    assert dir(fastvi) == sorted(fastvi.__all__)
    assert not [name for name in dir(fastvi) if name.startswith("_") and name != "__version__"]


@pytest.mark.parametrize("name", MODULES)
def test_declared_names_are_there(name: str) -> None:
    """And none of them twice."""
    module = importlib.import_module(name)
    declared = getattr(module, "__all__", [])
    assert len(set(declared)) == len(declared)
    for public in declared:
        assert hasattr(module, public), public


def has_examples(name: str) -> bool:
    """Whether examples of a module are run here.

    Those of densities are run, and compiled, by `test_densities` and the files beside it.
    """
    path = PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py")
    is_elsewhere = name.startswith("fastvi.densities.") and not name.endswith(".documentation")
    return not is_elsewhere and ">>>" in path.read_text()


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in MODULES if has_examples(name)])
def test_examples_of_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    module = importlib.import_module("fastvi.models.topics.estimator")
    assert any(test.examples for test in finder.find(module))


def test_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fastvi", "--version"], capture_output=True, text=True
    )
    assert done.stdout == f"fastvi {fastvi.__version__}\n"
