"""A type checker sees every public signature: mistakes in a user's program are flagged."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastvi

# The lines that end in "# error: CODES" must be flagged with those codes, and no others.
PROGRAM = """
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastvi
from fastvi.transforms import positive

Array = NDArray[np.float64]
y = np.ones(3)


@fastvi.target(data={"y": y}, names={"mu": (), "sigma": positive()})
def normal(z: Array, data: Any, grad: Array) -> float:
    return 0.0


@fastvi.target
def unbound(z: Array, data: Any) -> float:
    return 0.0


@fastvi.target(rows="y")
def also_unbound(z: Array, data: Any, rows: Any, weights: Any) -> float:
    return 0.0


@fastvi.target(dimension=2)  # error: call-overload, untyped-decorator
def wrong(z: Array) -> float:
    return 0.0


normal.bind({"y": y}).log_prob(np.zeros(2))
unbound.bind({"y": y}, dim=2).log_prob(np.zeros(2))
fastvi.target(lambda z: 0.0, dim=1).check_gradient()
normal.gradients()  # error: attr-defined
also_unbound.log_prob(np.zeros(2))  # error: attr-defined

posterior = fastvi.fit(normal, "meanfield", random_state=0)
fastvi.fit(normal, familly="fullrank")  # error: call-arg
fastvi.fit("normal")  # error: arg-type
print(posterior.summary(), posterior.mean.shape)
posterior.sumary()  # error: attr-defined
particles = fastvi.svgd(normal, 50)
fastvi.svgd(normal, "many")  # error: arg-type
few = fastvi.stein_thinning(normal, particles.particles, 5)
print(few + 1, fastvi.ksd(None, y, scores=y).value)
fastvi.ksd(normal, y).valu  # error: attr-defined

lda = fastvi.LatentDirichletAllocation(n_components=5).fit(np.ones((3, 4)))
lda.transform(np.ones((3, 4)))
fastvi.LatentDirichletAllocation(n_topics=5)  # error: call-arg
fastvi.SparseGPRegressor(inducing_points=10)
fastvi.PoissonFactorisation()  # error: attr-defined
fastvi.objectives.renyi(0.5)
fastvi.optimizers.adam(0.1)
fastvi.targets.from_pymc(None)
fastvi.families.MeanField
fastvi.corpus.read(["a.txt"])
fastvi.gradients.naturall  # error: attr-defined
fastvi.plots.plot_history(lda.history_, "history.png")
fastvi.corpus.reed("a.txt")  # error: attr-defined
"""


@pytest.mark.slow  # ten seconds of mypy; .ci/run has it beside mypy for the package
@pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy, of the extra dev, is not installed"
)
def test_strict_mode(tmp_path: Path) -> None:
    """A user's program in mypy's strict mode, as with the installed package."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\nfollow_imports = silent\n"
        "[mypy-numba.*,scipy.*,sklearn.*]\nignore_missing_imports = True\nfollow_imports = skip\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "program.py", "--no-error-summary"],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(Path(fastvi.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    wanted = {
        (n, code)
        for n, line in enumerate(PROGRAM.splitlines(), 1)
        if "# error: " in line
        for code in line.split("# error: ")[1].split(", ")
    }
    found = re.findall(r"^program\.py:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    assert {(int(n), code) for n, code in found} == wanted, done.stdout + done.stderr


def test_checkers_and_imports_see_the_same_names() -> None:
    """Top-level names are listed twice: for type checkers, and for imports on first use."""
    for package in (fastvi, fastvi.corpus):
        seen = set()
        for node in ast.parse(Path(package.__file__).read_text()).body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                for line in node.body:
                    assert isinstance(line, ast.ImportFrom)
                    for alias in line.names:
                        assert alias.asname == alias.name
                        seen.add(alias.name)
        assert seen | {"__version__"} == set(package.__all__) | {"__version__"}
