"""Draw docs/overview.png, the picture in README: `python docs/overview.py`; needs matplotlib."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse

import fastvi

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SHADES = (2.0, 1.0)  # standard deviations


def topics(axis: Any) -> None:
    """Two topics of the docstrings of Python's standard library."""
    corpus = fastvi.corpus.standard_library()
    lda = fastvi.LatentDirichletAllocation(n_components=20, random_state=0).fit(corpus.counts)
    words = np.array(corpus.vocabulary)
    weights = lda.components_ / lda.components_.sum(axis=1, keepdims=True)
    at = 0
    for colour, word in zip(COLOURS, ("socket", "thread")):
        topic = weights[weights[:, list(words).index(word)].argmax()]
        best = np.argsort(-topic)[:6]
        places = at + np.arange(len(best))
        axis.barh(places, topic[best], color=colour, alpha=0.8)
        for place, name in zip(places, words[best]):
            axis.text(0.0, place, f" {name}", va="center", fontsize=9)
        at += len(best) + 1
    axis.invert_yaxis()
    axis.set(title="Topics", yticks=[], xlabel="probability of the word")


def mixture(axis: Any, rng: np.random.Generator) -> None:
    """Ten components are offered, and four are used."""
    centres = np.array([[-3.0, 0.0], [0.0, 2.5], [2.5, -1.0], [4.0, 3.0]])
    shapes = rng.normal(size=(4, 2, 2)) * 0.7
    x = np.concatenate([c + rng.normal(size=(150, 2)) @ s for c, s in zip(centres, shapes)])
    model = fastvi.BayesianGaussianMixture(
        n_components=10, weight_concentration_prior=0.01, max_iter=1000, random_state=0
    ).fit(x)
    labels = model.predict(x)
    used = [k for k in range(10) if model.weights_[k] > 0.02]
    for colour, k in zip(COLOURS, used):
        axis.scatter(*x[labels == k].T, s=3, color=colour, alpha=0.5)
        sizes, directions = np.linalg.eigh(model.covariances_[k])
        angle = np.degrees(np.arctan2(*directions[::-1, 1]))
        for shade in SHADES:
            width, height = 2.0 * shade * np.sqrt(sizes[::-1])
            axis.add_patch(
                Ellipse(model.means_[k], width, height, angle=angle, color=colour, fill=False)
            )
    axis.set(title=f"Mixtures: {len(used)} of 10 components used", xticks=[], yticks=[])


@fastvi.target(dim=2)
def banana(z: Any, grad: Any) -> float:
    """A curved density."""
    bend = z[1] - z[0] ** 2
    grad[0] = 4.0 * bend * z[0] - z[0]
    grad[1] = -2.0 * bend
    value: float = -(bend**2) - 0.5 * z[0] ** 2
    return value


def density(axis: Any) -> None:
    """A density, a Gaussian and particles."""
    grid = np.meshgrid(np.linspace(-3, 3, 200), np.linspace(-2.5, 6.5, 200))
    values = banana.log_prob(np.stack([g.ravel() for g in grid], axis=1)).reshape(200, 200)
    axis.contourf(*grid, np.exp(values), levels=8, cmap="Greys")
    gaussian = fastvi.fit(banana, random_state=0)
    sizes, directions = np.linalg.eigh(gaussian.cov)
    angle = np.degrees(np.arctan2(*directions[::-1, 1]))
    for shade in SHADES:
        width, height = 2.0 * shade * np.sqrt(sizes[::-1])
        axis.add_patch(
            Ellipse(gaussian.mean, width, height, angle=angle, color=COLOURS[0], fill=False)
        )
    particles = fastvi.svgd(banana, 60, random_state=0).particles
    axis.scatter(*particles.T, s=8, color=COLOURS[1])
    axis.set(title="Any log density: Gaussian, particles", xticks=[], yticks=[])


def process(axis: Any, rng: np.random.Generator) -> None:
    """A Gaussian process and its inducing inputs."""
    x = np.sort(rng.uniform(-4, 4, 400))
    x = x[(x < 0.5) | (x > 1.5)]
    y = np.sin(2.0 * x) + 0.3 * x + 0.25 * rng.normal(size=len(x))
    gp = fastvi.SparseGPRegressor(inducing_points=12, random_state=0).fit(x[:, None], y)
    new = np.linspace(-5, 5, 300)
    mean, std = gp.predict(new[:, None], return_std=True)
    axis.scatter(x, y, s=2, color="0.5")
    axis.plot(new, mean, color=COLOURS[0])
    for shade in SHADES:
        axis.fill_between(
            new, mean - shade * std, mean + shade * std, color=COLOURS[0], alpha=0.15, lw=0
        )
    inducing = gp.inducing_points_[:, 0]
    axis.plot(inducing, np.full(len(inducing), -3.2), "^", color=COLOURS[1], ms=4)
    axis.set(title="Sparse Gaussian processes", xticks=[], yticks=[])


def main() -> None:
    """Draw the four panels side by side."""
    mpl.use("Agg")
    rng = np.random.default_rng(3)
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.1), layout="constrained")
    topics(axes[0])
    mixture(axes[1], rng)
    density(axes[2])
    process(axes[3], rng)
    figure.savefig(Path(__file__).with_name("overview.png"), dpi=80)


if __name__ == "__main__":
    main()
