"""The benchmarks of neural topics: parts of `topics.py`."""

from harness import median, row

SCRIPT = "ours_topics_neural.py"
CORPORA = ("ap", "news20")


def mixture(s):
    """Held-out scores and coherence of the mixture form against CVB0, 50 topics."""
    rows = []
    for corpus in [name for name in s.corpora if name in CORPORA]:
        runs = [
            s.ours("held_out", script=SCRIPT, corpus=corpus, k=50, seed=seed)
            for seed in range(1 if s.quick else min(s.repeats, 3))
        ]
        s.details[f"neural topics, {corpus}"] = runs
        for name, ours, theirs, target in (
            ("held-out nats per word less CVB0's", "ours", "lda", -0.02),
            ("the same by the encoder alone", "encoder", "lda", -0.2),
            ("NPMI less CVB0's", "npmi ours", "npmi lda", -0.015),
        ):
            a, b = (median([run[key] for run in runs]) for key in (ours, theirs))
            rows.append(row(f"neural topics, mixture: {name}, {corpus}", a, b, a - b, target))
    return rows


def product(s):
    """Coherence of the product of experts on news20's 2,000 most frequent words."""
    runs = [
        s.ours("product", script=SCRIPT, corpus="news20", k=50, seed=seed)
        for seed in range(1 if s.quick else min(s.repeats, 3))
    ]
    s.details["neural topics, product"] = runs
    npmi = median([run["npmi"] for run in runs])
    what = "neural topics, product of experts: NPMI, news20, 2,000 words"
    return [row(what, npmi, None, npmi, 0.23)]


PARTS = {"neural-mixture": mixture, "neural-product": product}
