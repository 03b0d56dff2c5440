"""The benchmarks of correlated topics: parts of `topics.py`."""

import harness as h
from harness import median, row

SCRIPT = "ours_topics_correlated.py"
GAINS = {"ap": 0.015, "news20": 0.012, "sotu": 0.03}
TOPICS = {"ap": 50, "news20": 50, "sotu": 20}
LABELS = {"0": 0.4, "3": 0.2, "10": 0.08}


def sweep(s):
    """CPU seconds of a sweep against tomotopy."""
    problem = {"corpus": "ap", "k": 50}
    jobs = {
        "fastvi": lambda i: s.ours("sweeps", script=SCRIPT, **problem),
        "tomotopy": lambda i: s.peer("tomotopy_ctm.py", "sweeps", **problem),
    }
    runs = h.interleaved(jobs, s.repeats)
    s.details["correlated sweep"] = runs
    ours, theirs = (median([sum(r["seconds"]) / len(r["seconds"]) for r in runs[n]]) for n in jobs)
    what = "correlated topics: a sweep against tomotopy, AP, K=50"
    return [row(what, ours, theirs, theirs / ours, 10, unit="s")]


def time_to_best(s):
    """CPU seconds to tomotopy's best held-out perplexity."""
    pairs = []
    for seed in range(1 if s.quick else s.repeats):
        problem = {"corpus": "ap", "k": 50, "seed": seed}
        theirs = s.peer("tomotopy_ctm.py", "curve", **problem)
        best = min(theirs["points"], key=lambda point: point["perplexity"])
        ours = s.ours("curve", script=SCRIPT, **problem)
        reached = [p for p in ours["points"] if p["perplexity"] <= best["perplexity"]]
        s.details[f"correlated curves, seed {seed}"] = {"fastvi": ours, "tomotopy": theirs}
        pairs.append((reached[0]["cpu"] if reached else None, best["cpu"], best["perplexity"]))
    what = "correlated topics: CPU time to tomotopy's best held-out perplexity, AP, K=50"
    if any(pair[0] is None for pair in pairs):
        return [row(what, None, pairs[0][1], None, 30, unit="s", note="not reached")]
    ours, theirs, value = (median([pair[i] for pair in pairs]) for i in range(3))
    note = f"perplexity {value:.0f}"
    return [row(what, ours, theirs, theirs / ours, 30, unit="s", note=note)]


def held_out(s):
    """Scores with few tokens and with whole halves, against LDA with learned priors."""
    rows = []
    for corpus in s.corpora:
        runs = [
            s.ours("held_out", script=SCRIPT, corpus=corpus, k=TOPICS[corpus], seed=seed)
            for seed in range(1 if s.quick else min(s.repeats, 3))
        ]
        s.details[f"correlated held-out, {corpus}"] = runs
        for i, (name, target) in enumerate(
            (("10 observed tokens", GAINS[corpus]), ("whole halves", -0.006))
        ):
            ours, lda = (median([r[n][i] for r in runs]) for n in ("ours", "lda"))
            what = f"correlated topics: held-out nats per word less LDA's, {corpus}, {name}"
            rows.append(row(what, ours, lda, ours - lda, target))
    return rows


def covariates(s):
    """Gains from news20's labels."""
    runs = [
        s.ours("covariates", script=SCRIPT, seed=seed)
        for seed in range(1 if s.quick else min(s.repeats, 3))
    ]
    s.details["covariates"] = runs
    rows = []
    for n, target in LABELS.items():
        gain = median([r[n] for r in runs])
        what = f"covariates: news20's labels, {n} observed tokens, nats per word above LDA"
        rows.append(row(what, None, None, gain, target))
    return rows


PARTS = {
    "correlated-sweep": sweep,
    "correlated-time": time_to_best,
    "correlated-held-out": held_out,
    "covariates": covariates,
}
