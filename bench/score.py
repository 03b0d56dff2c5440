"""Times of the score-function gradient: `python bench/score.py [--repeats N]`."""

import argparse
import sys

import harness

PEERS = {"C twin": ("c", 1.0), "NumPy": ("numpy", 5.0), "pure Python": ("python", 500.0)}


def run(repeats):
    jobs = {
        name: lambda i, f=function: harness.call(sys.executable, "peers/score_twins.py", f)
        for name, (function, _) in PEERS.items()
    }
    jobs["fastvi"] = lambda i: harness.call(sys.executable, "ours_score.py", "gradient")
    results = harness.interleaved(jobs, repeats)
    times = {name: harness.median([r["ms"] for r in found]) for name, found in results.items()}
    what = "score-function gradient, K=100, logistic regression N=10000 D=50, "
    return [
        harness.row(
            what + name, times["fastvi"], times[name], times[name] / times["fastvi"], target,
            unit="ms",
        )
        for name, (_, target) in PEERS.items()
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", metavar="N", type=int, default=5)
    arguments = parser.parse_args()
    print(harness.markdown(run(arguments.repeats)))
