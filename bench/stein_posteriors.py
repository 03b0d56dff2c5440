"""Stein particles and Gaussians against gold-standard draws: `python bench/stein_posteriors.py`.

Prints a table of docs/stein.md. FASTVI_TEST_DATA names the folder of the data.
"""

import argparse
import runpy
import time
from pathlib import Path

import evaluation as ev
import numpy as np

import fastvi

# posteriors.py of this folder, which imports that of tests by the same name
everything = runpy.run_path(str(Path(__file__).with_name("posteriors.py")))["everything"]

METHODS = ("plain", "matrix", "sliced")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="particles")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some posteriors")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    args = parser.parse_args()
    print("| posterior | method | CPU s | steps | mean off, sd | sd ratio | width | converged |")
    print("|---|---|---|---|---|---|---|---|")
    for name, target, mean, sd in everything(ev.data_folder().parent / "posteriors"):
        if args.only and name not in args.only:
            continue
        fastvi.fit(target, max_iter=10, random_state=0)  # compiles
        q, seconds = timed(lambda target=target: fastvi.fit(target, random_state=0))
        show(name, "Gaussian, full rank", q, seconds, mean, sd)
        for method in args.methods:
            fastvi.svgd(target, args.n, 1, method=method)  # compiles
            p, seconds = timed(
                lambda target=target, method=method: fastvi.svgd(
                    target, args.n, 1000, method=method, random_state=0
                )
            )
            show(name, method, p, seconds, mean, sd)


def timed(fit):
    """Result of `fit` and its CPU seconds, including a Gaussian's check of convergence."""
    began = time.process_time()
    found = fit()
    _ = found.converged
    return found, time.process_time() - began


def show(name, method, found, seconds, mean, sd):
    """A row of the table."""
    off, ratio = np.abs((found.mean - mean) / sd).max(), found.sd / sd
    width = getattr(found, "width", None)
    print(
        f"| {name} | {method} | {seconds:.2f} | {found.n_iter} | {off:.3f} "
        f"| {ratio.min():.2f} to {ratio.max():.2f} "
        f"| {'–' if width is None else f'{width.min():.2f} to {width.max():.2f}'} "
        f"| {'yes' if found.converged else 'no'} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
