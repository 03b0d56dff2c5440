"""The benchmarks of models of sequences."""

import harness as h
import sequences_temporal
from harness import median, row

__all__ = ["PARTS", "extra_tables", "plot", "run"]

PEERS = ["hmmlearn", "dynamax", "celerite2", "tinygp"]
# Method, states, features, covariances, length of sequences, wanted ratio.
ITERATIONS = [
    ("VB", 8, 2, "full", None, 12), ("VB", 8, 2, "diag", None, 10), ("VB", 2, 1, "full", None, 5),
    ("EM", 8, 2, "full", None, 8), ("EM", 8, 2, "diag", None, 6.5), ("EM", 2, 1, "full", None, 3.5),
    ("EM", 32, 10, "full", None, 8), ("EM", 8, 2, "full", 100, 15), ("VB", 8, 2, "full", 100, 15),
]  # fmt: skip
# States, features, length of sequences, wanted ratio.
SINGLE = [(8, 2, None, 3), (32, 10, None, 3), (8, 2, 100, 3)]
PATHS = [(8, None, 10), (2, None, 2.5), (8, 100, 10)]


def iterations(s):
    """An iteration of hidden Markov models with Gaussian states."""
    n, rows = 10_000 if s.quick else 100_000, []
    for method, k, d, kind, length, wanted in ITERATIONS:
        a = {"method": method, "n": n, "k": k, "d": d, "kind": kind, "length": length}
        what = f"{method}, an iteration, {_size(n, length)}, K={k}, D={d}, {kind}"
        rows.append(_ratio(s, "iteration", a, f"{what}, against hmmlearn", wanted))
    return rows


def paths(s):
    """The best path."""
    n, rows = 10_000 if s.quick else 100_000, []
    for k, length, wanted in PATHS:
        a = {"n": n, "k": k, "d": 2, "length": length}
        what = f"Viterbi, {_size(n, length)}, K={k}, D=2, full, against hmmlearn"
        rows.append(_ratio(s, "viterbi", a, what, wanted))
    return rows


def single_precision(s):
    """Iterations against dynamax in float32, which begin at the same parameters."""
    n, rows = 10_000 if s.quick else 100_000, []
    for k, d, length, wanted in SINGLE:
        a = {"n": n, "k": k, "d": d, "length": length}
        what = f"EM, an iteration, {_size(n, length)}, K={k}, D={d}, full"
        what += ", against dynamax in float32"
        rows.append(_ratio(s, "iteration", a, what, wanted, "dynamax_hmm.py", method="EM"))
    return rows


def single(s):
    """One row at a time."""
    rows = []
    for d in (2, 10):
        for gaps in (False, True):
            a = {"k": 8, "d": d, "gaps": gaps}
            found = [s.ours("online", **a)["seconds"] for _ in range(s.repeats)]
            what = f"filter_step, K=8, D={d}, full" + (", a number missing" if gaps else "")
            rows.append(row(what, median(found), None, None, None, unit="s"))
    return rows


def threads(s):
    """Two threads against one, wall time."""
    a = {"method": "EM", "n": 20_000 if s.quick else 400_000, "k": 8, "d": 2}
    jobs = {
        n: lambda i, n=n: s.ours("iteration", n_jobs=n, clock="perf_counter", **a) for n in (1, 2)
    }
    runs = h.interleaved(jobs, s.repeats)
    assert {r["bound"] for r in runs[1]} == {r["bound"] for r in runs[2]}
    one, two = (median([r["seconds"] for r in runs[n]]) for n in jobs)
    what = f"EM, an iteration, T={a['n']}, K=8, D=2, full: 2 threads against 1, wall (same bits)"
    return [row(what, two, one, one / two, 1.8, unit="s")]


def _size(n, length):
    return f"T={n}" if length is None else f"{n // length} sequences of {length}"


def _ratio(s, function, a, what, wanted, script="hmmlearn_hmm.py", **of_ours):
    """A row: seconds of ours, which may take more arguments, and of a peer."""
    jobs = {
        "ours": lambda i: s.ours(function, **a, **of_ours),
        "peer": lambda i: s.peer(script, function, **a),
    }
    runs = h.interleaved(jobs, s.repeats)
    ours, theirs = (median([r["seconds"] for r in runs[n]]) for n in jobs)
    return row(what, ours, theirs, theirs / ours, wanted, unit="s")


PARTS = {
    "iterations": iterations, "paths": paths, "float32": single_precision, "single": single,
    "threads": threads,
} | sequences_temporal.PARTS  # fmt: skip


def run(only=None, quick=False, repeats=None, corpora=None):
    """Measure the parts (all by default); the result as plain data."""
    return h.Session("sequences", "ours_hmm.py", quick, repeats).run(PARTS, only, PEERS)


def extra_tables(result):
    """No tables beside the rows."""
    return ""


def plot(result, path):
    """There are no curves to draw."""
    raise SystemExit("--plot: this suite has no curves")
