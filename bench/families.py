"""What other families gain: ``python bench/families.py [--docs] [--pictures] [NAME ...]``.

Bounds (nats) and CPU seconds of fits of posteriors of posteriordb, medians of three seeds.
``--docs`` puts the table into docs/families.md; ``--pictures`` draws densities of fits (lines) over
those of targets in docs/families/. Families can be named; by default all.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

import fastvi
from fastvi import families

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import harness
import posteriors

PAGE = Path(__file__).parents[1] / "docs" / "families.md"
FAMILIES = {
    "copula": {
        "sinh-arcsinh": "copula",
        "Yeo-Johnson": families.copula("yeo-johnson"),
        "spline": families.copula("spline"),
    },
    "hierarchical": {"hierarchical": "hierarchical"},
    "vgp": {"vgp": "vgp"},
}
SEEDS = range(3)


@fastvi.target(dim=2)
def skewed(z):
    """Logarithms of Gamma variables with shapes 1 and 2, of which one moves the other."""
    away = z[1] - 0.6 * z[0]
    return z[0] - np.exp(z[0]) + 2.0 * away - np.exp(away)


@fastvi.target(dim=2)
def banana(z):
    bend = z[1] + 0.5 * z[0] ** 2
    return -0.25 * z[0] ** 2 - 2.0 * bend * bend


@fastvi.target(dim=2)
def ring(z):
    away = np.sqrt(z[0] ** 2 + z[1] ** 2 + 1e-12) - 2.0
    return -8.0 * away * away


@fastvi.target(dim=2)
def two_modes(z):
    left, right = (z[0] + 1.5) ** 2 + z[1] ** 2, (z[0] - 1.5) ** 2 + z[1] ** 2
    return np.logaddexp(-1.5 * left, -1.5 * right)


SHAPES = {"skewed": skewed, "banana": banana, "ring": ring, "two modes": two_modes}


def fitted(target, family):
    """Median bound and CPU seconds over the seeds, after a fit that compiles."""
    found = []
    for seed in (SEEDS[0], *SEEDS):
        began = time.process_time()
        posterior = fastvi.fit(target, family, random_state=seed, verdict=False)
        found.append((posterior.elbo, time.process_time() - began, posterior.elbo_error))
    return np.median(found[1:], axis=0)


def table(members):
    """Rows of posteriors: the bound of the full-rank Gaussian, and what members gain over it."""
    folder = Path(os.environ["FASTVI_TEST_DATA"]) / "posteriors"
    heads = [cell for name in members for cell in (name, "CPU s")]
    lines = [
        f"| posterior | full rank | CPU s | {' | '.join(heads)} |",
        f"|---|---:|---:|{'---:|' * len(heads)}",
    ]
    for name in posteriors.POSTERIORS:
        target = posteriors.target(folder, name)
        least, seconds, error = fitted(target, "fullrank")
        cells = [f"{least:.2f} +- {error:.2f}", f"{seconds:.2g}"]
        for family in members.values():
            bound, seconds, _ = fitted(target, family)
            cells += [f"{bound - least:+.2f}", f"{seconds:.2g}"]
        lines.append(f"| {name.split('-', 1)[-1]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def divergence(posterior, edge=6.0, n=121):
    """Points of a grid, log densities of target and fit on it, and KL(fit || target) in nats."""
    line = np.linspace(-edge, edge, n)
    Z = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    log_p = posterior.target.log_prob(Z)
    log_q = posterior.log_prob(Z)
    cell = (line[1] - line[0]) ** 2
    log_p = log_p - np.log(np.exp(log_p - log_p.max()).sum() * cell) - log_p.max()
    q = np.exp(log_q)
    return line, log_p.reshape(n, n), log_q.reshape(n, n), float(np.sum(q * (log_q - log_p)) * cell)


def picture(name, family):
    """Contours of the fit (lines) over the density of the target, for each shape."""
    plt = harness.pyplot()
    figure, axes = plt.subplots(1, len(SHAPES), figsize=(12, 3.2), layout="constrained")
    for axis, (title, target) in zip(axes, SHAPES.items()):
        posterior = fastvi.fit(target, family, random_state=0, verdict=False)
        line, log_p, log_q, found = divergence(posterior)
        axis.contourf(line, line, np.exp(log_p).T, 12, cmap="Greys")
        axis.contour(line, line, np.exp(log_q).T, 6, colors="tab:blue", linewidths=0.8)
        axis.set_title(f"{title}: {found:.2g} nats")
        axis.set_xlim(-4.5, 3.5)
        axis.set_ylim(-5.0, 3.5)
    folder = PAGE.with_suffix("")
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=80)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[], help="of families: " + ", ".join(FAMILIES))
    parser.add_argument("--docs", action="store_true", help="put tables into docs/families.md")
    parser.add_argument("--pictures", action="store_true", help="draw pictures, and no table")
    args = parser.parse_args()
    for name in args.names or FAMILIES:
        members = FAMILIES[name]
        if args.pictures:
            picture(name, next(iter(members.values())))
            continue
        machine = harness.describe(harness.machine() | {"repeats": len(SEEDS)})
        text = f"{machine}\n\nBounds in nats, and gains over that of full rank:\n\n{table(members)}"
        print(text)
        if args.docs:
            harness.replace_block(PAGE, f"families-{name}", text)


if __name__ == "__main__":
    main()
