"""Structured SVI and the hierarchical Dirichlet process of topics, on AP."""

import math

from harness import median, row

__all__ = ["PARTS"]

DISCRETE = "ours_topics_discrete.py"  # a Dirichlet distribution for each topic


def structured(s):
    """Structured SVI against SVI: AP, K=50, 10 passes, held-out nats per word, seed by seed."""
    gains, costs = [], []
    for seed in range(s.repeats):
        plain, drawn = (
            s.ours("svi", script=DISCRETE, k=50, seed=seed, passes=10, structured=flag)
            for flag in (False, True)
        )
        gains.append(drawn["score"] - plain["score"])
        costs.append(drawn["cpu"] / plain["cpu"])
    what = "structured SVI above SVI, AP, K=50, 10 passes"
    return [
        row(f"{what}: the smallest gain", min(gains), None, min(gains), 0.025, unit="nats"),
        row(f"{what}: time", None, None, median(costs), 1.5, at_most=True),
    ]


def hdp(s):
    """The process against the best of SVI with fixed priors, and against gensim and tomotopy."""
    ours = [s.ours("hdp", script=DISCRETE, seed=seed) for seed in range(s.repeats)]
    scores = {
        k: median([s.ours("svi", script=DISCRETE, k=k, seed=seed, passes=20)["score"]
                   for seed in range(s.repeats)])
        for k in (10, 20, 50, 100)
    }  # fmt: skip
    s.details["svi"] = scores
    score, best = median([run["score"] for run in ours]), max(scores.values())
    found = f"finds {median([run['n_topics'] for run in ours]):g} topics"
    speed = median([run["speed"] for run in ours])
    gensim = s.peer("gensim_hdp.py", "speed", corpus="ap", n_documents=512)["speed"]
    rows = [
        row("HDP, AP, above the best of SVI with K = 10, 20, 50, 100", score, best, score - best,
            -0.02, unit="nats", note=found),
        row("HDP, AP, documents per second, against gensim", speed, gensim, speed / gensim, 10),
    ]  # fmt: skip
    if not s.quick:
        other = s.peer("tomotopy_hdp.py", "fit", corpus="ap", sweeps=300)
        theirs = -math.log(other["perplexity"])
        note = f"tomotopy finds {other['n_topics']}; 300 sweeps"
        rows.append(
            row("HDP, AP, against tomotopy", score, theirs, score - theirs, 0.0, unit="nats",
                note=note)
        )  # fmt: skip
    return rows


PARTS = {"structured": structured, "hdp": hdp}
