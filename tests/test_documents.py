"""The documents keep what they promise: their examples run, and their links lead somewhere."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastvi
from fastvi.models.names import ESTIMATORS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/coming-from/*.md")])
MADE = ("api/", "gallery/")  # folders of the site whose pages Sphinx makes, and checks
OTHERS = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "bench" / "README.md"]


def examples(page: Path) -> list[str]:
    """The Python blocks of a page, which share their names; those of other tools if installed."""
    found = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in found if not (peer := PEER.match(block)) or find_spec(peer[1])]


PEER = re.compile(r"# (\w+)\n")  # the tool that a block is of


def texts() -> dict[str, Any]:
    """Documents, and their counts as bare arrays."""
    rng = np.random.default_rng(0)
    words = ["goal", "team", "vote", "law", *(f"word{letter}" for letter in "abcdefghijklmnop")]
    documents = [" ".join(rng.choice(words, 6)) for _ in range(60)]
    Path("texts.txt").write_text("\n".join(documents))
    parts = {"indptr": np.array([0, 2]), "indices": np.array([0, 3])}
    counts = np.array([1.0, 2.0])
    new = rng.poisson(1.0, (5, 20))
    years = {"years": np.repeat(np.arange(2001, 2007), 10), "years_new": np.arange(2001, 2006)}
    parties = np.array(["left", "right"])
    years |= {"parties": np.tile(parties, 30), "parties_new": parties[[0, 1, 1, 0, 1]]}
    vectors = {"vectors": rng.normal(size=(60, 3)), "vectors_new": rng.normal(size=(5, 3))}
    return {
        "texts": documents, "X_new": new, "X_2007": new, "counts": counts, **parts, **years,
        **vectors,
    }  # fmt: skip


def numbers(n: int = 80) -> dict[str, Any]:
    """Data of the models that are not of words."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 8))
    return {
        "X": x, "X_new": x[:5], "measurements": x, "y": x[:, 0],
        "labels": x[:, 0] + rng.normal(size=n) > 0,
        "inputs": x, "outputs": x[:, 0], "new_inputs": x[:5], "ratings": rng.poisson(1.0, (30, 25)),
        "n_events": rng.poisson(2.0, n), "other": x[:7, 1], "Z": np.zeros((3, 2)),
        "t": np.arange(n) / 10.0,
    }  # fmt: skip


def noisy(n: int) -> dict[str, Any]:
    """As `numbers`, with outputs that no line explains whole."""
    found = numbers(n)
    return {**found, "y": found["labels"].astype(float)}


def density() -> dict[str, Any]:
    """A target, draws of it and a chain."""
    rng = np.random.default_rng(2)

    @fastvi.target(names=["alpha", "sigma"])
    def target(z: Any, grad: Any) -> float:
        grad[0], grad[1] = -z[0], -z[1]
        return -0.5 * float(z[0] ** 2 + z[1] ** 2)

    draws = rng.normal(size=(200, 2))
    posterior = fastvi.fit(target, random_state=0)
    return {
        "target": target, "draws": draws, "chain": draws, "scores": -draws, "posterior": posterior,
    }  # fmt: skip


LONG = {"docs/recipes.md", "docs/analysis.md"}  # many or large models to compile
FIRST = {"README.md"}  # which all newcomers try
STAND_INS: dict[str, list[Callable[[], dict[str, Any]]]] = {
    "README.md": [numbers, texts],
    "docs/topics.md": [texts],
    "docs/ep.md": [numbers],
    "docs/models.md": [numbers],
    "docs/densities.md": [numbers],
    "docs/gp.md": [lambda: numbers(20)],  # as many inducing inputs as rows
    "docs/stein.md": [density],
    "docs/ksd.md": [density],
    "docs/sgd.md": [lambda: noisy(400)],
}


def runnable() -> list[Any]:
    """Names of the pages with examples."""
    names = [page.relative_to(ROOT).as_posix() for page in PAGES if examples(page)]
    mark = {n: [] if n in FIRST else [pytest.mark.thorough] for n in names}
    mark |= {n: [pytest.mark.slow] for n in LONG}
    return [pytest.param(n, marks=mark[n]) for n in names]


@pytest.mark.jit
@pytest.mark.parametrize("name", runnable())
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of small data
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")  # of a wrong model
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as they stand, on small data under the names that they use."""
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"__name__": "example"}
    for stand_in in STAND_INS.get(name, []):
        scope |= stand_in()
    for number, example in enumerate(examples(ROOT / name)):
        path = tmp_path / f"example_{number}.py"
        path.write_text(example)  # so that a compiled function has a source
        with warnings.catch_warnings():
            if (tool := PEER.match(example)) and tool[1] != "fastvi":
                warnings.simplefilter("ignore")  # of other tools about others
            exec(compile(example, str(path), "exec"), scope)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links(page: Path) -> None:
    """Links between files lead to files, and to headings that they have."""
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http", *MADE)):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), link
        if heading:
            assert heading in headings(target), link


def test_each_recipe_has_its_picture() -> None:
    """`python docs/recipes.py` draws one for each section but the first."""
    text = (ROOT / "docs" / "recipes.md").read_text()
    shown = re.findall(r"\]\(recipes/(\w+)\.png\)", text)
    assert len(shown) == text.count("\n## ")
    drawn = re.findall(
        r"^def (\w+)\(axis", (ROOT / "docs" / "recipes.py").read_text(), re.MULTILINE
    )
    assert set(shown) == set(drawn) - {"band", "bars", "points"}
    assert set(shown) == {path.stem for path in (ROOT / "docs" / "recipes").glob("*.png")}


# Parts of loops for conjugate models, which take a model of one's own
WITHOUT = {f"gradients.{name}" for name in ("averaged", "corrected", "natural", "plain")}


def test_every_public_docstring_has_an_example() -> None:
    """`test_imports` runs them, and `test_densities` those of densities."""
    modules = {name for name in fastvi.__all__ if isinstance(getattr(fastvi, name), ModuleType)}
    listed = {name: getattr(fastvi, name) for name in set(fastvi.__all__) - modules}
    for name in modules:
        module = getattr(fastvi, name)
        listed |= {f"{name}.{inside}": getattr(module, inside) for inside in module.__all__}
    own = {n: v for n, v in listed.items() if callable(v) and hasattr(v, "__name__")}
    assert len(own) > 250
    assert {n for n, v in own.items() if ">>>" not in (v.__doc__ or "")} == WITHOUT


def test_papers_are_those_of_the_bibliography() -> None:
    keys = re.findall(r"^@\w+{(\w+),", (ROOT / "docs" / "papers.bib").read_text(), re.MULTILINE)
    listed = re.findall(
        r"^\| (\w+\d{4}) \|", (ROOT / "docs" / "papers.md").read_text(), re.MULTILINE
    )
    assert listed == keys
    assert len(set(keys)) == len(keys)


def test_choosing_names_every_estimator() -> None:
    """And calls that exist: the table of methods, and the picture of the way to them."""
    text = (ROOT / "docs" / "choose.md").read_text() + (ROOT / "docs" / "sequences.md").read_text()
    assert {name for name in ESTIMATORS if name not in text} == set()
    drawn = re.findall(r"fastvi\.(\w+)", (ROOT / "docs" / "choose.svg").read_text())
    assert set(drawn) <= set(fastvi.__all__)


def headings(page: Path) -> set[str]:
    """The anchors of a page, made as is usual."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_suite_has_its_place() -> None:
    """`python bench/run.py SUITE --docs` writes between these lines."""
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    for suite in ("lda", "stochastic", "generic", "stein", "gp", "sequences"):
        assert text.count(f"<!-- bench:{suite} -->") == 1
        assert text.count(f"<!-- /bench:{suite} -->") == 1
    assert "wanted" not in text
