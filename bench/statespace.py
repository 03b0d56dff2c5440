"""The benchmarks of linear systems."""

import harness as h
from harness import median, row

__all__ = ["PARTS", "extra_tables", "plot", "run"]

PEERS = ["statsmodels", "pykalman", "dynamax", "jax"]
SIZES = [(2, 2, 0.0), (4, 4, 0.0), (10, 20, 0.0), (4, 4, 0.1)]  # states, features, gaps
SCRIPTS = {
    "statsmodels": "statsmodels_kalman.py", "dynamax": "dynamax_kalman.py",
    "pykalman": "pykalman_kalman.py",
}  # fmt: skip


def passes(s):
    """A filter pass, which is a log likelihood, and filter and smoother."""
    n, rows = 2000 if s.quick else 10_000, []
    for k, d, gaps in SIZES:
        a = {"n": n, "k": k, "d": d} | ({"gaps": gaps} if gaps else {})
        for peer, script in SCRIPTS.items():
            if peer == "dynamax" and gaps:
                continue  # it takes no missing rows
            runs = _runs(s, "passes", a, script)
            scores = [runs[side][0]["score"] for side in runs]
            assert abs(scores[0] - scores[1]) < 1e-6 * abs(scores[0]), scores
            for kind in ("filter", "smoother"):
                ours, theirs = (median([r[kind] for r in runs[side]]) for side in runs)
                what = f"{kind}, T={n}, {_size(k, d, gaps)}, against {peer}"
                rows.append(row(what, ours, theirs, theirs / ours, 5, unit="s"))
    return rows


def iterations(s):
    """An iteration of expectation maximisation of all parameters."""
    n, rows = 2000 if s.quick else 10_000, []
    for k, d, _ in SIZES[1:3]:
        for peer in ("dynamax", "pykalman"):
            runs = _runs(s, "iteration", {"n": n, "k": k, "d": d}, SCRIPTS[peer])
            ours, theirs = (median([r["seconds"] for r in runs[side]]) for side in runs)
            what = f"EM, an iteration, T={n}, {_size(k, d, 0.0)}, against {peer}"
            rows.append(row(what, ours, theirs, theirs / ours, 5, unit="s"))
    return rows


def online(s):
    """One row at a time."""
    found = [s.ours("online", k=4, d=4)["seconds"] for _ in range(s.repeats)]
    return [row("filter_step, K=4, D=4", median(found), None, None, None, unit="s")]


def _size(k, d, gaps):
    return f"K={k}, D={d}" + (f", {gaps:.0%} of rows missing" if gaps else "")


def _runs(s, function, a, script):
    """Of fastvi and a peer in turns; slow peers once."""
    jobs = {
        "ours": lambda i: s.ours(function, **a),
        "peer": lambda i: s.peer(script, function, **a),
    }
    return h.interleaved(jobs, 1 if "pykalman" in script else s.repeats)


PARTS = {"passes": passes, "iterations": iterations, "online": online}


def run(only=None, quick=False, repeats=None, corpora=None):
    """Measure the parts (all by default); the result as plain data."""
    return h.Session("statespace", "ours_statespace.py", quick, repeats).run(PARTS, only, PEERS)


def extra_tables(result):
    """No tables beside the rows."""
    return ""


def plot(result, path):
    """There are no curves to draw."""
    raise SystemExit("--plot: this suite has no curves")
