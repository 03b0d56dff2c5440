"""Flows at equal CPU seconds: ``python bench/flows.py [NAME ...] [--docs]``.

Our fits end by themselves, those of splines after 4000 steps at the latest. NumPyro's automatic
guides get 5 and 10 CPU seconds for their steps, 100 draws in each; compilation counts on neither
side, the search for modes on ours. Where the density is normalised or its integral is known, the
table has KL(q || p) in nats, otherwise how far the bound is below the best one. ``--docs`` puts
the table into docs/flows.md. ``--picture`` draws docs/flows.png instead.
"""

import argparse
import sys
import time
from pathlib import Path

import evaluation as ev
import harness
import numpy as np

import fastvi
from fastvi.plots.posteriors import warped

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import posteriors
from energies import ENERGIES, LOG_Z, energy
from test_flows import banana

PAGE = Path(__file__).parents[1] / "docs" / "flows.md"
FAMILIES = ("fullrank", "planar", "radial", "realnvp", "iaf", "maf", "nsf")
GUIDES = ("AutoIAFNormal", "AutoBNAFNormal")
N_DRAWS, BUDGETS = 40_000, [5.0, 10.0]  # CPU seconds
SHOWN = ("fullrank", "planar", "radial", "realnvp", "maf", "hamiltonian")  # in the picture
LOG_Z_RING = float(np.log(2.0 * np.pi * 3.0 * 0.5 * np.sqrt(2.0 * np.pi)))
STEPS = {"nsf": 4000}  # at most, instead of 20,000


def problems(names):
    """(name, target, log of the integral or None, data for the peers) of each density."""
    folder = ev.data_folder().parent / "posteriors"
    found = {"banana": (banana(), 0.0, {})}
    found |= {name: (energy(name), LOG_Z[name], {}) for name in ENERGIES}
    for name, stored in (
        ("eight schools, centred", "eight_schools-eight_schools_centered"),
        ("GARCH", "garch-garch11"),
    ):
        _, data, _ = posteriors.load(folder, stored)
        plain = {key: np.asarray(value).tolist() for key, value in data.items()}
        found[name] = (posteriors.target(folder, stored), None, plain)
    return [(name, *found[name]) for name in (names or found)]


def ours(target, family, seed):
    """Bound, CPU seconds, steps and the verdict's word of a fit."""
    began = time.process_time()
    most = STEPS.get(family, 20_000)
    posterior = fastvi.fit(target, family, max_iter=most, random_state=seed, verdict=False)
    seconds = time.process_time() - began
    Z = posterior.sample(N_DRAWS, 1)
    log_p = target.attempt(Z, with_gradient=False)[0]
    bound = float(np.mean(log_p - posterior.log_prob(Z)))
    return bound, seconds, posterior.n_iter, posterior.verdict.word


def compared(name, target, log_z, data, python):
    """Rows of a density's table."""
    lines, start = [], fastvi.fit(target, max_iter=2, verdict=False, random_state=0).mean
    found = {}
    for family in FAMILIES:
        fastvi.fit(target, family, max_iter=2, random_state=1)  # compiles
        found[family] = ours(target, family, 0)
    peers = {}
    for guide in GUIDES:
        try:
            peers[guide] = harness.call(
                python, "peers/numpyro_flows.py", "fit", density=name, guide=guide,
                start=start.tolist(), seconds=BUDGETS, data=data,
            )  # fmt: skip
        except harness.Missing as why:
            print(f"{name}, {guide}: {why}", file=sys.stderr)
    best = max([f[0] for f in found.values()] + [b for p in peers.values() for b in p["bounds"]])
    top = best if log_z is None else log_z
    for family, (bound, seconds, n, word) in found.items():
        step = 1e3 * seconds / n
        lines.append(
            f"| {name} | {family} | {top - bound:.4f} | {seconds:.2f} | {step:.2f} | {word} |"
        )
    for guide, peer in peers.items():
        for bound, seconds in zip(peer["bounds"], BUDGETS):
            step = 1e3 * peer["step"]
            lines.append(
                f"| {name} | NumPyro {guide} | {top - bound:.4f} | {seconds:.2f} | {step:.2f} | |"
            )
    return lines


def picture():
    """Draws of each family, with grids of noise as the flows warp them; KLs in nats."""
    plt = harness.pyplot()
    rows = {
        "banana": (banana(), 0.0, (-25, 25, -35, 15)),
        "U1": (energy("U1"), LOG_Z["U1"], (-3.5, 3.5, -3.5, 3.5)),
        "ring": (energy("ring"), LOG_Z_RING, (-5, 5, -5, 5)),
    }
    figure, axes = plt.subplots(len(rows), len(SHOWN), figsize=(13, 6.5), squeeze=False)
    for line, (name, (target, log_z, ends)) in zip(axes, rows.items()):
        for axis, family in zip(line, SHOWN):
            p = fastvi.fit(target, family, max_iter=4000, random_state=0, verdict=False)
            draws = target.constrain(p.sample(2000, 0))["z"]
            axis.plot(draws[:, 0], draws[:, 1], ",", color="tab:blue")
            for noise_line in warped(p):
                x, y = target.constrain(noise_line)["z"].T
                axis.plot(x, y, color="0.6", linewidth=0.4, zorder=0)
            axis.set(xlim=ends[:2], ylim=ends[2:], xticks=[], yticks=[])
            axis.set_title(f"{family} {log_z - p.elbo:.2f}", fontsize=9)
        line[0].set_ylabel(name)
    figure.tight_layout()
    figure.savefig(PAGE.with_suffix(".png"), dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="densities; by default all")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/flows.md")
    parser.add_argument("--picture", action="store_true", help="draw docs/flows.png")
    args = parser.parse_args()
    if args.picture:
        picture()
        return
    python = harness.peers_python("generic")
    lines = [
        "| density | family | KL or below the best bound, nats | CPU s | ms a step | verdict |",
        "|---|---|---:|---:|---:|---|",
    ]
    for problem in problems(args.names):
        lines += compared(*problem, python)
        print("\n".join(lines[-len(FAMILIES) - 2 * len(GUIDES) :]), flush=True)
    peers = harness.peer_versions(python, ["numpyro", "jax"])
    machine = harness.describe(harness.machine(peers) | {"repeats": 1})
    text = f"{machine}\n\n" + "\n".join(lines)
    if args.docs:
        harness.replace_block(PAGE, "flows", text)


if __name__ == "__main__":
    main()
