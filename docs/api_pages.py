"""Pages of the API, from the public names: one for each class and function, one for each module."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import fastvi

__all__ = ["documented", "escaped", "write"]

GROUPS = {  # by the folder that a name comes from
    "models.topics": "Topic models",
    "models.mixture": "Mixtures",
    "models.factors": "Factor models",
    "models.features": "Latent binary features",
    "models.poisson": "Poisson factorization",
    "models.logistic": "Logistic regression",
    "models.gp": "Gaussian processes",
    "models.sequences": "Hidden Markov models",
    "models.statespace": "Linear systems",
    "models.autoencoder": "Autoencoders",
    "targets": "Log densities",
    "fitting": "Fits of log densities",
    "posteriors": "What fits return",
    "propagation": "Expectation propagation",
    "stein": "Stein discrepancies",
    "loading": "Files",
    "cluster": "Many machines",
}
BASES = "tuple, dict, Exception, Protocol"  # whose methods are not repeated
MARKUP = re.compile(r"\||(?<!^)\*|^\*(?=\w)|(?<=\w)_(?!\w)")
INTRODUCTION = """\
All public names are attributes of ``fastvi`` and are imported on first use. Estimators also have
scikit-learn's ``get_params``, ``set_params``, ``get_feature_names_out`` and, where they transform
rows or predict, ``fit_transform``, ``fit_predict`` or ``score``. The package has types throughout
(``py.typed``): mypy and editors see every signature.
"""


def group_of(name: str) -> str:
    """The group of a public name of the package."""
    parts = getattr(fastvi, name).__module__.split(".")
    return ".".join(parts[1:3] if parts[1] == "models" else parts[1:2])


def modules() -> dict[str, ModuleType]:
    """The public modules by name."""
    found = {name: getattr(fastvi, name) for name in fastvi.__all__}
    return {name: value for name, value in found.items() if isinstance(value, ModuleType)}


def names() -> dict[str, list[str]]:
    """The public names that are no modules, by group, in the order of `GROUPS`."""
    found: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name in sorted(set(fastvi.__all__) - set(modules()) - {"__version__"}, key=str.lower):
        found.setdefault(group_of(name), []).append(name)
    return {group: listed for group, listed in found.items() if listed}


def documented() -> list[str]:
    """The full names of everything that the pages describe."""
    single = [f"fastvi.{name}" for listed in names().values() for name in listed]
    inside = [f"fastvi.{m}.{name}" for m, module in modules().items() for name in public(module)]
    return single + inside


def public(module: ModuleType) -> list[str]:
    """Names of a module, submodules last."""
    return sorted(module.__all__, key=lambda n: (isinstance(getattr(module, n), ModuleType), n))


def heading(title: str, line: str = "=") -> str:
    return f"{title}\n{line * len(title)}\n\n"


def entry(name: str, value: Any) -> str:
    """The directive that documents a value."""
    if inspect.isclass(value):
        options = f"   :members:\n   :inherited-members: {BASES}\n"
        return f".. autoclass:: {name}\n{options}\n"
    if isinstance(value, ModuleType):
        return f".. automodule:: {name}\n   :members:\n\n"
    if callable(value) and hasattr(value, "__name__"):
        return f".. autofunction:: {name}\n\n"
    return f".. autodata:: {name}\n   :no-value:\n\n"


def first_line(value: Any) -> str:
    """The first paragraph of a docstring, or the kind of a value that has none of its own."""
    owned = (callable(value) and hasattr(value, "__name__")) or isinstance(value, ModuleType)
    text = (inspect.getdoc(value) or "") if owned else f"A {type(value).__name__}."
    return escaped(text.split("\n\n")[0]).replace("\n", " ")


def escaped(text: str) -> str:
    """A docstring whose prose may hold |x|, (n, *shape) and names that end in an underscore.

    These are markup in reStructuredText. Code, and what stands in backticks, stays as it is.
    """
    lines, literal = [], False
    for line in text.split("\n"):
        if line.strip() and not line.startswith("    "):
            literal = False
        if line.lstrip().startswith((">>>", "...", "..")) or literal:
            lines.append(line)
            continue
        literal = literal or line.endswith("::")
        name, colon, rest = line.partition(" : ")
        lead = name + colon if colon and re.fullmatch(r"\s*[\w*, ]+", name) else ""
        parts = re.split(r"(`+[^`]*`+_?)", rest if lead else line)
        parts[::2] = [MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
        lines.append(lead + "".join(parts))
    return "\n".join(lines)


def table(rows: list[tuple[str, str]]) -> str:
    lines = [".. list-table::", "   :widths: 35 65", ""]
    for left, right in rows:
        lines += [f"   * - {left}", f"     - {right}"]
    return "\n".join(lines) + "\n\n"


def toctree(entries: list[str]) -> str:
    return ".. toctree::\n   :hidden:\n\n" + "".join(f"   {e}\n" for e in entries) + "\n"


def index() -> str:
    """The first page: every name with the first sentence of its docstring."""
    text = heading("API") + INTRODUCTION + "\n"
    for group, listed in names().items():
        rows = [(f":doc:`{n} <{n}>`", first_line(getattr(fastvi, n))) for n in listed]
        text += heading(GROUPS.get(group, group.capitalize()), "-") + table(rows) + toctree(listed)
    text += heading("Modules", "-")
    found = modules()
    text += table([(f":doc:`fastvi.{n} <{n}>`", first_line(found[n])) for n in found])
    return text + toctree(list(found))


def module_page(name: str, module: ModuleType) -> str:
    """All of a module on one page."""
    full = f"fastvi.{name}"
    text = heading(full) + f".. automodule:: {full}\n   :no-members:\n\n"
    found = {n: getattr(module, n) for n in public(module)}
    rows = [(f":py:obj:`{n} <{full}.{n}>`", first_line(v)) for n, v in found.items()]
    return text + table(rows) + "".join(entry(f"{full}.{n}", v) for n, v in found.items())


def write(folder: Path) -> None:
    """Write the pages that have changed, and remove others."""
    pages = {"index": index()}
    for listed in names().values():
        pages |= {n: heading(n) + entry(f"fastvi.{n}", getattr(fastvi, n)) for n in listed}
    pages |= {name: module_page(name, module) for name, module in modules().items()}
    assert len({name.lower() for name in pages}) == len(pages)  # where case does not count
    folder.mkdir(exist_ok=True)
    for old in set(folder.glob("*.rst")) - {folder / f"{name}.rst" for name in pages}:
        old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
