"""The programs of docs/c-library in other languages: compiled, run, and compared with Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastvi
from fastvi.export.building import build
from fastvi.export.objects import levels_here

PROGRAMS = Path(__file__).parent.parent / "docs" / "c-library"
ROW = ["0.5", "-1.25", "3"]

pytestmark = [
    pytest.mark.jit,
    pytest.mark.thorough,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the library is for Linux"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
]


def java_version() -> int:
    """0 without a compiler."""
    if shutil.which("javac") is None:
        return 0
    said = subprocess.run(["javac", "-version"], capture_output=True, text=True)
    found = re.search(r"\d+", said.stdout + said.stderr)
    return int(found[0]) if found else 0


def needs(program: str) -> Any:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"no {program}")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("library")
    build(out, levels=levels_here()[:1])
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A fitted mixture and its file."""
    X = np.random.default_rng(0).normal(size=(60, 3))
    fitted = fastvi.BayesianGaussianMixture(n_components=3, random_state=0, max_iter=5, tol=0)
    path = tmp_path_factory.mktemp("model") / "m\u00f6del.npz"
    fitted.fit(X).save(path)
    return fitted, path


def flags(prefix: Path) -> list[str]:
    """What pkg-config says."""
    text = (prefix / "lib" / "pkgconfig" / "fastvi.pc").read_text()
    fields = dict(re.findall(r"^(?:(\w+)[=:] ?)(.*)$", text, flags=re.M))
    said = f"{fields['Cflags']} {fields['Libs']}"
    for name in ("includedir", "libdir", "prefix"):
        said = said.replace(f"${{{name}}}", fields[name])
    return said.split()


Compiled = Callable[[Path, Path], list[str | Path]]


def with_c(prefix: Path, folder: Path) -> list[str | Path]:
    options = ["-std=c11", "-Wall", "-Wextra", "-Werror", PROGRAMS / "mixture.c"]
    run(["cc", *options, "-o", folder / "c", *flags(prefix)])
    return [folder / "c"]


def with_static_c(prefix: Path, folder: Path) -> list[str | Path]:
    options = ["-I", prefix / "include", PROGRAMS / "mixture.c", prefix / "lib" / "libfastvi.a"]
    run(["cc", *options, "-o", folder / "static", "-lm"])
    return [folder / "static"]


def with_cpp(prefix: Path, folder: Path) -> list[str | Path]:
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", PROGRAMS / "mixture.cpp"]
    run(["g++", *options, "-o", folder / "cpp", *flags(prefix)])
    return [folder / "cpp"]


def with_rust(prefix: Path, folder: Path) -> list[str | Path]:
    run(
        [
            "rustc",
            "-D",
            "warnings",
            "-L",
            prefix / "lib",
            PROGRAMS / "mixture.rs",
            "-o",
            folder / "r",
        ]
    )
    return [folder / "r"]


def with_java(prefix: Path, folder: Path) -> list[str | Path]:
    run(["javac", "-Xlint:all", "-Werror", "-d", folder, PROGRAMS / "Mixture.java"])
    options = ["--enable-native-access=ALL-UNNAMED", "-cp", folder, "Mixture"]
    return ["java", *options, prefix / "lib" / "libfastvi.so"]


def with_go(prefix: Path, folder: Path) -> list[str | Path]:
    paths = {"CGO_CFLAGS": f"-I{prefix}/include", "CGO_LDFLAGS": f"-L{prefix}/lib"}
    run(["go", "build", "-o", folder / "go", PROGRAMS / "mixture.go"], **paths)
    return [folder / "go"]


def with_cffi(prefix: Path, folder: Path) -> list[str | Path]:
    return [sys.executable, PROGRAMS / "mixture.py", prefix / "lib" / "libfastvi.so"]


def run(command: list[Any], **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "compiled",
    [
        with_c,
        with_static_c,
        pytest.param(with_cpp, marks=needs("g++")),
        pytest.param(with_rust, marks=needs("rustc")),
        pytest.param(
            with_java,
            marks=pytest.mark.skipif(java_version() < 22, reason="no JDK of version 22 or later"),
        ),
        pytest.param(with_go, marks=needs("go")),
        with_cffi,
    ],
)
def test_programs(compiled: Compiled, prefix: Path, model: Any, tmp_path: Path) -> None:
    fitted, path = model
    command = compiled(prefix, tmp_path)
    paths = {"LD_LIBRARY_PATH": str(prefix / "lib")}
    found = [float(line) for line in run([*command, path, *ROW], **paths).stdout.split()]
    (wanted,) = fitted.predict_proba([[float(x) for x in ROW]])
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-13)
    refused = subprocess.run(
        [*command, tmp_path / "none", *ROW], env=os.environ | paths, capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "the file cannot be opened or read" in refused.stderr


def fitted_models(rng: np.random.Generator) -> dict[str, tuple[Any, Any, Callable[[Any], Any]]]:
    """Models of every kind, rows, and what `predict.cpp` prints for these."""
    X = rng.normal(size=(60, 2))
    words = rng.poisson(0.7, (40, 6))
    topics = {"n_components": 2, "max_iter": 3, "random_state": 0}
    hmm = fastvi.GaussianHMM(2, n_iter=3, random_state=0).fit(X)
    logistic = fastvi.BayesianLogisticRegression().fit(X, X[:, 0] > 0)
    gp = fastvi.SparseGPRegressor(inducing_points=8).fit(X, X[:, 0] + rng.normal(size=60))
    encoder = fastvi.VariationalAutoencoder(2, hidden_layer_sizes=(4,), max_iter=2, random_state=0)
    encoder.fit(X)
    lda = fastvi.LatentDirichletAllocation(**topics, solver="vb").fit(words.astype(float))
    single = fastvi.LatentDirichletAllocation(**topics).fit(words.astype(np.float32))

    def filtered(rows: Any) -> Any:
        online, states, out = hmm.compiled(), None, []
        for row in rows:
            states, _ = online.filter_step(row, states)
            out.append(states)
        return out

    return {
        "chain": (hmm, X[:5], filtered),
        "logistic": (logistic, X[:5], logistic.predict_log_proba),
        "process": (gp, X[:5], lambda rows: gp.predict(rows)[:, None]),
        "encoder": (encoder, X[:5], encoder.transform),
        "topics": (lda, words[:5].astype(float), lda.transform),
        "topics in float32": (single, words[:5], lambda r: single.transform(r.astype(np.float32))),
    }


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_the_wrapper_for_cpp(prefix: Path, rng: np.random.Generator, tmp_path: Path) -> None:
    program = tmp_path / "predict"
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", PROGRAMS / "predict.cpp"]
    run(["g++", *options, "-o", program, *flags(prefix)])
    paths = os.environ | {"LD_LIBRARY_PATH": str(prefix / "lib")}
    for name, (model, rows, wanted) in fitted_models(rng).items():
        model.save(tmp_path / "model")
        lines = [
            " ".join(f"{j} {row[j]}" for j in np.flatnonzero(row)) if "topics" in name
            else " ".join(map(repr, row.tolist()))
            for row in rows
        ]  # fmt: skip
        done = subprocess.run(
            [program, tmp_path / "model"], input="\n".join(lines), capture_output=True, text=True,
            env=paths, check=True,
        )  # fmt: skip
        found = np.array([line.split() for line in done.stdout.splitlines()], np.float64)
        rtol = 1e-4 if name in ("encoder", "topics in float32") else 1e-9
        np.testing.assert_allclose(found, wanted(rows), rtol=rtol, atol=1e-6 * rtol, err_msg=name)
