"""The parts of the topics suite about topics that change over time."""

import harness as h
from harness import median, row

OURS = "ours_topics_dynamic.py"


def completion(s):
    """Document completion on State of the Union addresses, K = 20, yearly."""
    rows = []
    seeds = range(1 if s.quick else 3)
    for drift, target in ((False, -6.87), (True, -6.86)):
        runs = [s.ours("completion", script=OURS, seed=i, drift=drift) for i in seeds]
        ours, static = (sum(r[name] for r in runs) / len(runs) for name in ("score", "static"))
        what = "dynamic topics" + (", with drift" if drift else "")
        what += ": document completion, sotu, K=20, yearly; static topics"
        rows.append(row(what, ours, static, ours, target, unit="nats"))
    return rows


def forecasts(s):
    """Forecasts of eleven years."""
    runs = [s.ours("forecasts", script=OURS, seed=i) for i in range(1 if s.quick else 3)]
    ours, theirs = (sum(r[name] for r in runs) / len(runs) for name in ("dynamic", "static"))
    what = "dynamic topics: forecasts of 11 years, sotu, K=20, against static topics"
    return [row(what, ours, theirs, ours - theirs, 0.04, unit="nats")]


def speed(s):
    """CPU seconds per iteration."""
    jobs = {
        "ours": lambda i: s.ours("iteration", script=OURS),
        "tomotopy": lambda i: s.peer("tomotopy_dynamic.py", "iteration"),
    }
    runs = h.interleaved(jobs, s.repeats)
    ours, theirs = (median([r["cpu"] for r in runs[name]]) for name in jobs)
    what = "dynamic topics: an iteration, sotu, K=20, decades, against tomotopy"
    return [row(what, ours, theirs, theirs / ours, 3, unit="s")]


def slow_peer(s):
    """One iteration of gensim's model takes minutes."""
    a = {"k": 5, "width": 10, "n_words": 1000}
    ours = median([s.ours("iteration", script=OURS, **a)["cpu"] for _ in range(s.repeats)])
    theirs = s.peer("gensim_dynamic.py", "iteration", **a)["cpu"]
    what = "dynamic topics: an iteration, sotu, V=1000, K=5, decades, against gensim"
    return [row(what, ours, theirs, theirs / ours, 5000, unit="s")]


PARTS = {
    "dynamic": completion, "forecasts": forecasts, "dynamic_speed": speed,
    "dynamic_gensim": slow_peer,
}  # fmt: skip
