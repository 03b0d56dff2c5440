"""Run the programs of recipes.md and draw their pictures: `python docs/recipes.py [NAME ...]`.

Needs matplotlib. Each section of the page that has a picture has a function of its name here.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from fastvi import densities

PAGE = Path(__file__).with_suffix(".md")
BLUE, RED, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
GRID = np.linspace(-2.0, 2.0, 100)
BAND = 0.05, 0.5, 0.95


def sections() -> Iterator[tuple[str, list[str]]]:
    """The name of each section's picture, or "", and its programs."""
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE):
        name = re.search(r"\]\(recipes/(\w+)\.png\)", section)
        programs = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        yield name[1] if name else "", programs


def band(axis: Any, x: Any, curves: Any, colour: str = BLUE, label: str | None = None) -> None:
    """The median of curves (n, len(x)), and what holds 90 % of them."""
    low, middle, high = np.quantile(curves, BAND, axis=0)
    axis.plot(x, middle, color=colour, label=label)
    axis.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)


def bars(axis: Any, draws: Any, colour: str = BLUE, shift: float = 0.0, label: str = "") -> None:
    """Median and 90 % of the columns of draws (n, k)."""
    low, middle, high = np.quantile(draws, BAND, axis=0)
    at = np.arange(len(middle)) + shift
    axis.errorbar(at, middle, [middle - low, high - middle], fmt="o", ms=3, color=colour,
                  label=label)  # fmt: skip


def predictor(s: dict[str, Any]) -> Any:
    """The line alpha + beta x on a grid, for each draw."""
    return s["draws"]["alpha"][:, None] + s["draws"]["beta"][:, None] * GRID


def points(axis: Any, s: dict[str, Any]) -> None:
    """The data."""
    axis.scatter(s["x"], s["y"], s=5, color="0.4")


def linear(axis: Any, s: dict[str, Any]) -> None:
    """Data and line."""
    points(axis, s)
    band(axis, GRID, predictor(s))


def robust(axis: Any, s: dict[str, Any]) -> None:
    """The same, with the line of least squares (dashed)."""
    linear(axis, s)
    axis.plot(GRID, np.polyval(np.polyfit(s["x"], s["y"], 1), GRID), "--", color=RED)


def logistic(axis: Any, s: dict[str, Any]) -> None:
    """Labels and the probability of 1."""
    points(axis, s)
    band(axis, GRID, 1.0 / (1.0 + np.exp(-predictor(s))))


def poisson(axis: Any, s: dict[str, Any]) -> None:
    """Counts and their rate."""
    points(axis, s)
    band(axis, GRID, np.exp(predictor(s)))


def ordinal(axis: Any, s: dict[str, Any]) -> None:
    """The probability of each class."""
    at = s["draws"]["beta"][:, None, None] * GRID[:, None]
    below = 1.0 / (1.0 + np.exp(at - s["draws"]["cuts"][:, None, :]))
    each = np.diff(below, axis=-1, prepend=0.0, append=1.0)
    for k, colour in enumerate((BLUE, RED, GREEN, PURPLE)):
        band(axis, GRID, each[..., k], colour)
    axis.set_ylabel("probability")


def hierarchy(axis: Any, s: dict[str, Any]) -> None:
    """Effects in both forms."""
    bars(axis, s["from_centred"]["theta"], RED, -0.1, "centred")
    bars(axis, s["draws"]["theta"], BLUE, 0.1, "non-centred")
    axis.set_ylim(-13, 16)
    axis.legend(frameon=False, ncols=2, loc="lower center")


def autoregression(axis: Any, s: dict[str, Any]) -> None:
    """The series and its forecast."""
    axis.plot(s["y"], color="0.4", lw=1)
    band(axis, np.arange(119, 150), s["forecast"][:, 119:])


def garch(axis: Any, s: dict[str, Any]) -> None:
    """Sizes of returns and their volatility."""
    axis.plot(np.abs(s["returns"]), color="0.7", lw=0.7)
    band(axis, np.arange(400), s["volatility"])


def change(axis: Any, s: dict[str, Any]) -> None:
    """Counts, their rate, and ten times the probability of each time."""
    axis.bar(np.arange(80), s["counts"], color="0.8")
    later = np.cumsum(s["weights"], axis=1)  # probability that the rate has changed
    early, late = s["draws"]["early"][:, None], s["draws"]["late"][:, None]
    band(axis, np.arange(80), early + (late - early) * later)
    axis.plot(10.0 * s["weights"].mean(axis=0), color=RED)


def mixture(axis: Any, s: dict[str, Any]) -> None:
    """A histogram and the density."""
    axis.hist(s["y"], bins=30, density=True, color="0.8")
    grid, d = np.linspace(-4, 5, 150)[:, None], s["draws"]
    each = d["weights"][:, None] * stats.norm.pdf(grid, d["mean"][:, None], d["sd"][:, None])
    band(axis, grid[:, 0], each.sum(axis=-1))


def hmm(axis: Any, s: dict[str, Any]) -> None:
    """The series, coloured by its true states, and their means."""
    axis.scatter(np.arange(200), s["y"], s=5, c=np.array([BLUE, RED])[s["state"]])
    for k, colour in enumerate((BLUE, RED)):
        band(axis, [0, 199], s["draws"]["mean"][:, k, None].repeat(2, axis=1), colour)


def process(axis: Any, s: dict[str, Any]) -> None:
    """Data and draws of the curve."""
    axis.scatter(s["inputs"], s["y"], s=5, color="0.4")
    band(axis, s["new"], s["curves"])


def ode(axis: Any, s: dict[str, Any]) -> None:
    """Pelts and solutions."""
    times, d = np.linspace(0.0, 20.0, 120), s["draws"]
    paths = np.array([
        densities.ode_rk45(s["predation"], initial, 0.0, times, rates)
        for rates, initial in zip(d["rates"], d["initial"])
    ])  # fmt: skip
    for k, (colour, name) in enumerate(((BLUE, "hares"), (RED, "lynxes"))):
        axis.scatter(np.arange(21), s["pelts"][:, k], s=8, color=colour)
        band(axis, times, paths[..., k], colour, name)
    axis.legend(frameon=False)


def items(axis: Any, s: dict[str, Any]) -> None:
    """Difficulties, and the true ones."""
    bars(axis, s["draws"]["difficulty"])
    axis.plot(s["difficulty"], "x", color=RED)


def survival(axis: Any, s: dict[str, Any]) -> None:
    """Survival of treated (blue) and others, until the study ends."""
    t, d = np.linspace(0.01, 12.0, 100), s["draws"]
    for treated, colour in ((0.0, RED), (1.0, BLUE)):
        scale = np.exp(d["alpha"] + d["beta"] * treated)[:, None]
        band(axis, t, np.exp(-((t / scale) ** d["shape"][:, None])), colour)
    axis.axvline(8.0, color="0.6", ls=":")


def main(wanted: list[str]) -> None:
    """Run the programs in their order, and draw each picture (or only those wanted)."""
    mpl.use("Agg")
    scope: dict[str, Any] = {"__name__": "recipes"}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, programs) in enumerate(sections()):
            if wanted and name and name not in wanted:
                continue
            path = Path(folder) / f"recipe_{number}.py"
            path.write_text("\n".join(programs))  # so that a compiled function has a source
            exec(compile(path.read_text(), str(path), "exec"), scope)
            if name:
                figure, axis = plt.subplots(figsize=(4.2, 2.4), layout="constrained")
                globals()[name](axis, scope)
                figure.savefig(PAGE.with_suffix("") / f"{name}.png", dpi=80)
                plt.close(figure)
                print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
