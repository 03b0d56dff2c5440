"""The benchmarks of the stochastic toolbox and of the conjugate models."""

import harness as h
import numpy as np
from harness import median, row
from stochastic_report import extra_tables, plot

__all__ = ["PARTS", "extra_tables", "plot", "run"]

PEERS = ["scikit-learn", "bayespy"]
# Fits of topics to compare: name -> options of LatentDirichletAllocation.
TOPICS = {
    "SVI, Robbins-Monro": {"solver": "svi"},
    "SVI, adaptive rate": {"solver": "svi", "optimizer": "adaptive"},
    "SVI, SVRG": {"solver": "svi", "optimizer": 0.1, "variance_reduction": "svrg"},
    "SVI, window": {"solver": "svi", "variance_reduction": "window"},
    "SVI, importance": {"solver": "svi", "sampling": "importance"},
    "SVI, growing batches": {"solver": "svi", "optimizer": 0.1, "sampling": "growing"},
    "plain gradient, Adam": {"solver": "svi", "optimizer": "adam"},
    "plain gradient, AdaGrad": {"solver": "svi", "optimizer": "adagrad"},
    "CAVI": {"solver": "vb"},
    "SCVB0": {"solver": "scvb0"},
    "CVB0": {"solver": "cvb0"},
    "CVB": {"solver": "cvb"},
}
# Fits of a mixture: name -> options of BayesianGaussianMixture, and batch size.
MIXTURES = {
    "CAVI": {},
    "SVI, Robbins-Monro": {"batch_size": 2000},
    "SVI, adaptive rate": {"batch_size": 2000, "optimizer": "adaptive"},
    "SVI, constant 0.1": {"batch_size": 2000, "optimizer": 0.1},
    "SVI, SVRG": {"batch_size": 2000, "optimizer": 0.1, "variance_reduction": "svrg"},
    "SVI, window": {"batch_size": 2000, "variance_reduction": "window"},
}
GRID = [(tau, kappa) for tau in (1, 16, 256) for kappa in (0.51, 0.7, 0.9)]


def mixture(s):
    """An iteration of a Gaussian mixture."""
    large = {"n": 20_000 if s.quick else 200_000, "d": 20, "k": 32}
    small = {"n": 20_000, "d": 20, "k": 8}
    rows = []
    for dtype, target in (("float64", 8), ("float32", 14)):
        a = large | {"dtype": dtype}
        rows.append(_iterations(s, "sklearn_mixture.py", "scikit-learn", a, target))
    rows.append(_iterations(s, "bayespy_mixture.py", "BayesPy", small, 20))
    return rows


def _iterations(s, script, peer, a, target):
    jobs = {
        "ours": lambda i: s.ours("iteration", script="ours_mixture.py", **a),
        "peer": lambda i: s.peer(script, "iteration", **a),
    }
    runs = h.interleaved(jobs, s.repeats)
    ours, theirs = (median([r["cpu"] for r in runs[n]]) for n in jobs)
    kind = a.get("dtype", "float64")
    what = f"Gaussian mixture, an iteration, n={a['n']}, D={a['d']}, K={a['k']}, full covariance, "
    return row(f"{what}{kind}, against {peer}", ours, theirs, theirs / ours, target, unit="s")


def poisson(s):
    """A pass of Poisson factorization over the largest corpus."""
    a = {"corpus": "ap" if s.quick else "imdb20k", "k": 50, "iterations": 20}
    jobs = {
        "ours": lambda i: s.ours("passes", script="ours_poisson.py", **a),
        "NumPy": lambda i: s.peer("poisson_twins.py", "numpy", **(a | {"repeats": 1})),
        "C": lambda i: s.peer("poisson_twins.py", "c", **a),
    }
    runs = h.interleaved(jobs, s.repeats)
    cpu = {n: median([r["cpu"] for r in x]) for n, x in runs.items()}
    rows = []
    for peer, label, target in (("NumPy", "NumPy and sparse SciPy", 5), ("C", "a C twin", 1 / 1.1)):
        what = f"Poisson factorization, a pass, {a['corpus']}, K={a['k']}, {a['iterations']} "
        what += f"inner iterations, against {label}"
        rows.append(row(what, cpu["ours"], cpu[peer], cpu[peer] / cpu["ours"], target, unit="s"))
    return rows


def features(s):
    """A pass of binary features and its bound; digits compressed to the same numbers of bits."""
    n, few, rows = 5000 if s.quick else 50_000, 500, []
    jobs = {
        "ours": lambda i: s.ours("iteration", script="ours_features.py", n=n, repeats=10),
        "NumPy": lambda i: s.peer("features_twins.py", "iteration", n=n, repeats=5),
        "loops": lambda i: s.peer("features_twins.py", "iteration", n=few, loops=True, repeats=2),
    }
    runs = h.interleaved(jobs, s.repeats)
    cpu = {name: median([r["seconds"] for r in x]) for name, x in runs.items()}
    cpu["loops"] *= n / few
    for peer, label, target in (("NumPy", "NumPy, all rows at a time", 2), ("loops", "loops", 300)):
        what = f"binary features, a pass and its bound, n={n}, D=36, K=20, against {label}"
        rows.append(row(what, cpu["ours"], cpu[peer], cpu[peer] / cpu["ours"], target, unit="s"))
    for bits in (8,) if s.quick else (8, 16, 32):
        ours = s.ours("digits", script="ours_features.py", bits=bits)["error"]
        for peer in ("pca", "dictionary"):
            theirs = s.peer("features_twins.py", peer, bits=bits)["error"]
            what = f"digits in {bits} bits, relative error, against {peer}"
            rows.append(row(what, ours, theirs, theirs / ours, 1))
    return rows


def overhead(s):
    """The Python side of a step."""
    value = median([s.ours("overhead")["microseconds"] for _ in range(s.repeats)])
    what = "overhead of the loop per step (Python)"
    return [row(what, value, None, value, 100, at_most=True, unit="us")]


def grid(s):
    """The adaptive rate against nine Robbins-Monro schedules, batches of 256, three passes."""
    corpus = s.corpora[-1]
    a = {"corpus": corpus, "k": 50, "passes": [3], "solver": "svi"}
    rates = {
        f"{tau}, {kappa}": {"learning_offset": tau, "learning_decay": kappa} for tau, kappa in GRID
    } | {"adaptive": {"optimizer": "adaptive"}}

    def job(options):
        chosen = options | {"batch_size": 256}
        return lambda i: s.ours("curve", script="ours_lda.py", seed=i, options=chosen, **a)

    runs = h.interleaved({n: job(o) for n, o in rates.items()}, s.repeats)
    ends = {n: median([r["points"][-1]["perplexity"] for r in x]) for n, x in runs.items()}
    scores = {n: -float(np.log(perplexity)) for n, perplexity in ends.items()}
    s.details["grid"] = scores
    best = max(scores, key=lambda n: scores[n] if n != "adaptive" else -np.inf)
    gap = scores[best] - scores["adaptive"]
    what = f"adaptive rate, {h.NAMES[corpus]}, K=50, 3 passes: nats per word below the best of 9 "
    what += "Robbins-Monro schedules"
    note = f"tau, kappa = {best}"
    return [
        row(what, scores["adaptive"], scores[best], gap, 0.01, at_most=True, unit="nats", note=note)
    ]


def topics(s):
    """Held-out score of topic fits against seconds, for the picture."""
    corpus = s.corpora[-1]
    marks = [1, 2, 5, 10] if s.quick else [1, 2, 3, 5, 10, 20]
    for name, options in TOPICS.items():
        options = dict(options)
        solver = options.pop("solver")
        runs = [
            s.ours(
                "curve", script="ours_lda.py", corpus=corpus, k=50, seed=i, solver=solver,
                passes=marks, options=options,
            )
            for i in range(min(s.repeats, 3))
        ]  # fmt: skip
        points = [
            [{**p, "score": -float(np.log(p["perplexity"]))} for p in run["points"]] for run in runs
        ]
        s.keep(name, corpus, 50, [{"points": p} for p in points])
    return []


def mixtures(s):
    """Held-out density of mixture fits against seconds, for the picture."""
    for name, options in MIXTURES.items():
        runs = [
            s.ours("mixture_curve", seed=i, n=20_000 if s.quick else 200_000, options=options)
            for i in range(min(s.repeats, 3))
        ]
        s.keep(name, "mixture", 32, runs)
    return []


PARTS = {
    "mixture": mixture, "poisson": poisson, "features": features, "overhead": overhead,
    "grid": grid, "topics": topics, "mixtures": mixtures,
}  # fmt: skip


def run(only, quick, repeats=None, corpora=None):
    """Measure the named parts (all by default); return the result as plain data."""
    corpora = corpora or (["ap"] if quick else ["news20"])
    session = h.Session("stochastic", "ours_stochastic.py", quick, repeats, corpora)
    return session.run(PARTS, only, PEERS)
