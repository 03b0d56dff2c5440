"""Variances of Stein particles of N(0, I), by dimension: `python bench/stein_collapse.py`.

Prints a table of docs/stein.md.
"""

import argparse
import time

import numpy as np
from ours_stein import normal

import fastvi

METHODS = {
    "RBF": {},
    "IMQ": {"kernel": "imq"},
    "RBF, 4 times as many": {},
    "sliced": {"method": "sliced"},
    "sliced, axes": {"method": "sliced", "slices": "axes"},
}


def variance(d, n, options):
    """Mean variance, largest mean, largest correlation, and CPU seconds."""
    start = 2.0 * np.random.default_rng(d).normal(size=(n, d))
    began = time.process_time()
    p = fastvi.svgd(normal.bind(dim=d), start=start, n_iter=2000, random_state=0, **options)
    seconds = time.process_time() - began
    scaled = p.cov / np.outer(p.sd, p.sd) - np.eye(d)
    return np.trace(p.cov) / d, np.abs(p.mean).max(), np.abs(scaled).max(), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="particles")
    parser.add_argument("--dims", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50, 100])
    args = parser.parse_args()
    print("| D | " + " | ".join(METHODS) + " |")
    print("|---" * (len(METHODS) + 1) + "|")
    for d in args.dims:
        cells = []
        for name, options in METHODS.items():
            n = 4 * args.n if "4 times" in name else args.n
            trace, off, correlation, seconds = variance(d, n, options)
            cells.append(f"{trace:.2f} ({off:.2f}, {correlation:.2f}; {seconds:.1f} s)")
        print(f"| {d} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
