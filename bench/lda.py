"""The topic-model benchmarks: measurements and tables."""

import evaluation as ev
import harness as h
import lda_system as system
from harness import NAMES, median, row
from lda_report import extra_tables, plot

__all__ = ["PARTS", "extra_tables", "plot", "run"]

GROUP = "topics"
PEERS = ["tomotopy", "scikit-learn", "vowpalwabbit", "gensim"]
SWEEPS = {"ap": [10, 20, 50, 100, 200], "news20": [10, 20, 50, 100]}
PASSES = [*range(1, 31), *range(35, 101, 5)]


def updates(s):
    """Word-updates per CPU second at fixed inner iterations; each row is the worst setting."""
    settings = [(c, k, i) for c in s.corpora for k in (50, 100) for i in (20, 100)]
    table = []
    for corpus, k, iterations in settings:
        problem = {"corpus": corpus, "k": k}
        path = ev.topics_file(corpus, k)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            s.peer("sklearn_lda.py", "fitted_topics", path=str(path), **problem)
        a = problem | {"iterations": iterations}
        jobs = {
            "fastvi": lambda i, a=a: s.ours("updates", **a),
            "C": lambda i, a=a: s.peer("twins.py", "c", **a),
            "scikit-learn": lambda i, a=a: s.peer("sklearn_lda.py", "updates", **a),
            "sklearn64": lambda i, a=a: s.peer("sklearn_lda.py", "updates", dtype="float64", **a),
            "gensim": lambda i, a=a: s.peer("gensim_lda.py", "updates", **a),
        }
        if iterations == 20:
            jobs["Python"] = lambda i, a=a: s.peer("twins.py", "python", **a)
        runs = h.interleaved(jobs, s.repeats)
        rates = {n: median([r["word_updates_per_s"] for r in x]) for n, x in runs.items()}
        # the faster of scikit-learn's two precisions is the peer
        rates["scikit-learn"] = max(rates["scikit-learn"], rates.pop("sklearn64"))
        first = median([r["first_call"] for r in runs["fastvi"]])
        table.append(a | {"rates": rates, "first_call": first})
    s.details["updates"] = table
    wanted = {"scikit-learn": 8, "gensim": 12, "C": 1, "Python": 500}
    label = {"C": "a C twin", "Python": "pure Python"}
    rows = []
    for peer, target in wanted.items():
        worst = min(
            (t for t in table if peer in t["rates"]),
            key=lambda t, peer=peer: t["rates"]["fastvi"] / t["rates"][peer],
        )
        ours, theirs = worst["rates"]["fastvi"], worst["rates"][peer]
        note = f"worst of all: {NAMES[worst['corpus']]}, K={worst['k']}, {worst['iterations']} it."
        what = f"VB update, word-updates/s against {label.get(peer, peer)}"
        rows.append(row(what, ours, theirs, ours / theirs, target, unit="/s", note=note))
    return rows + share(s, table)


def share(s, table):
    """Share of the matrix-product peak: 4 flops per entry, topic and inner iteration."""
    peak = median([s.ours("sgemm")["flops"] for _ in range(s.repeats)])
    s.details["sgemm"] = peak
    rows = []
    for iterations, target in ((100, 0.30), (20, 0.22)):
        rates = [
            t["rates"]["fastvi"] * 4 * t["k"]
            for t in table
            if t["k"] == 100 and t["iterations"] == iterations
        ]
        what = f"VB update, share of the sgemm peak, K=100, {iterations} inner iterations"
        worst = min(rates)
        rows.append(row(what, worst, peak, worst / peak, target, unit="flop/s"))
    return rows


def time_to(s, corpus, k, target, peer_name, peer, solver):
    """CPU seconds to the peer's final perplexity; medians over seeds."""
    pairs = []
    for seed in range(s.repeats):  # A B A B: a target for every seed
        theirs = peer(seed)
        goal = theirs["points"][-1]["perplexity"]
        ours = s.ours(
            "curve", corpus=corpus, k=k, seed=seed, solver=solver, passes=PASSES, target=goal,
        )  # fmt: skip
        s.keep(peer_name, corpus, k, [theirs | {"seed": seed}])
        s.keep(f"fastvi {solver}", corpus, k, [ours | {"seed": seed}])
        pairs.append((ours["points"][-1], theirs["points"][-1], ours["compile"]))
    last = theirs["points"][-1]["passes"]
    what = (
        f"{solver.upper()}: CPU time to {peer_name}'s perplexity after {last} {theirs['unit']}, "
        f"{NAMES[corpus]}, K={k}"
    )
    reached = all(a["perplexity"] <= b["perplexity"] for a, b, _ in pairs)
    a, b = (median([p[i]["cpu"] for p in pairs]) for i in (0, 1))
    ratio = median([p[1]["cpu"] / p[0]["cpu"] for p in pairs])
    wall = median([p[1]["wall"] / p[0]["wall"] for p in pairs])
    goal = median([p[1]["perplexity"] for p in pairs])
    note = f"perplexity {goal:.0f}, {median([p[0]['passes'] for p in pairs]):.0f} passes, "
    note += f"wall ratio {wall:.3g}, first call {median([p[2] for p in pairs]):.2g} s not counted"
    if not reached:
        failed = sum(x["perplexity"] > y["perplexity"] for x, y, _ in pairs)
        never = row(what, None, b, None, target, unit="s", note=f"{note}; {failed} seeds never did")
        return never | {"reached": False}
    return row(what, a, b, ratio, target, unit="s", note=note)


def cvb0(s):
    """Time to tomotopy's perplexity."""
    cases = [("ap", 50, 50), ("news20", 50, 15), ("ap", 200, 10), ("news20", 200, 10)]
    rows = []
    for corpus, k, target in cases:
        if corpus not in s.corpora or (s.quick and k > 50):
            continue

        def peer(seed, corpus=corpus, k=k):
            return s.peer(
                "tomotopy_lda.py", "curve", corpus=corpus, k=k, seed=seed, passes=SWEEPS[corpus]
            )

        rows.append(time_to(s, corpus, k, target, "tomotopy", peer, "cvb0"))
    return rows


def final(s, learn=False):
    """Perplexity of each method once 100 sweeps or passes gain less than 0.1 %."""
    rows = []
    stop = {"passes": [1, 2, 5, 10, 20, 50, 100], "until": 1e-3, "limit": 200 if s.quick else 3000}
    for corpus in s.corpora:
        a = {"corpus": corpus, "k": 50, "learn": learn, **stop}
        jobs = {
            "tomotopy": lambda i, a=a: s.peer("tomotopy_lda.py", "curve", seed=i, **a),
            "fastvi cvb0": lambda i, a=a: s.ours("curve", solver="cvb0", seed=i, **a),
        }
        runs = h.interleaved(jobs, s.repeats)
        for name, curves in runs.items():
            s.keep(name + ", priors learned" * learn, corpus, 50, curves)
        ours, theirs = (
            median([r["points"][-1]["perplexity"] for r in runs[n]])
            for n in ("fastvi cvb0", "tomotopy")
        )
        ends = {n: median([r["points"][-1]["passes"] for r in x]) for n, x in runs.items()}
        what = (
            f"CVB0: final perplexity against tomotopy, {NAMES[corpus]}, K=50, "
            f"priors {'learned by both' if learn else 'fixed'}"
        )
        note = f"after {ends['fastvi cvb0']:.0f} passes / {ends['tomotopy']:.0f} sweeps"
        r = row(what, ours, theirs, ours / theirs, 1.0, at_most=True, note=note, sign="< ")
        r["reached"] = ours < theirs
        rows.append(r)
    return rows


def final_learned(s):
    """The same with both tools learning both priors."""
    return final(s, learn=True)


def svi(s):
    """Time to Vowpal Wabbit's perplexity."""
    corpus = s.corpora[-1]

    def peer(seed):
        return s.peer("vw_lda.py", "curve", corpus=corpus, k=50, seed=seed, passes=[1, 2, 5])

    return [time_to(s, corpus, 50, 5, "Vowpal Wabbit", peer, "svi")]


def inference(s):
    """Documents per CPU second, on the observed halves of the test documents."""
    rows, details = [], []
    for corpus in s.corpora:
        a = {"corpus": corpus, "k": 50}
        few = a | {"documents": 100 if s.quick else 400}
        jobs = {
            "fastvi": lambda i, a=a: s.ours("infer", seed=i, **a),
            "scikit-learn": lambda i, a=a: s.peer("sklearn_lda.py", "infer", seed=i, **a),
            "tomotopy": lambda i, a=few: s.peer("tomotopy_lda.py", "infer", seed=i, **a),
            "tomotopy together": lambda i, a=a: s.peer(
                "tomotopy_lda.py", "infer", seed=i, together=True, **a
            ),
            "gensim": lambda i, a=a: s.peer("gensim_lda.py", "infer", seed=i, **a),
        }
        runs = h.interleaved(jobs, s.repeats)
        rates = {n: median([r["docs_per_s"] for r in x]) for n, x in runs.items()}
        details.append({"corpus": corpus, "runs": runs, "docs_per_s": rates})
        for peer, target in (("scikit-learn", 8), ("tomotopy", 100)):
            what = f"inference on new documents against {peer}, {NAMES[corpus]}, K=50"
            ratio = rates["fastvi"] / rates[peer]
            note = ""
            if peer == "tomotopy":
                other = rates["tomotopy together"]
                note = f"with its together=True {h.number(other)} docs/s"
            rows.append(
                row(what, rates["fastvi"], rates[peer], ratio, target, unit="docs/s", note=note)
            )
    s.details["inference"] = details
    return rows


def curves(s):
    """Perplexity against CPU seconds of all other methods, for the plot."""
    for corpus in s.corpora:
        a = {"corpus": corpus, "k": 50, "passes": [1, 2, 5, 10]}
        many = a | {"passes": [1, 2, 5, 10, 20, 50, 100]}
        jobs = {
            "scikit-learn online": lambda i, a=a: s.peer("sklearn_lda.py", "curve", seed=i, **a),
            "scikit-learn batch": lambda i, a=a: s.peer(
                "sklearn_lda.py", "curve", seed=i, method="batch", **a
            ),
            "gensim": lambda i, a=a: s.peer("gensim_lda.py", "curve", seed=i, **a),
            "Vowpal Wabbit": lambda i, a=a: s.peer("vw_lda.py", "curve", seed=i, **a),
            "tomotopy": lambda i, a=a: s.peer(
                "tomotopy_lda.py", "curve", seed=i, **(a | {"passes": [10, 20, 50, 100, 200]})
            ),
        }
        for solver in ("cvb0", "scvb0", "svi", "vb"):
            jobs[f"fastvi {solver}"] = lambda i, a=many, solver=solver: s.ours(
                "curve", seed=i, solver=solver, **a
            )
        for name, runs in h.interleaved(jobs, s.repeats).items():
            s.keep(name, corpus, 50, runs)
    return []


PARTS = {
    "updates": updates, "cvb0": cvb0, "final": final, "final_learned": final_learned,
    "svi": svi, "inference": inference,
    "threads": system.threads, "vocabulary": system.vocabulary, "memory": system.memory,
    "startup": system.startup, "main_job": system.main_job, "compile": system.compile_time,
    "curves": curves,
}  # fmt: skip


def run(only, quick, repeats=None, corpora=None):
    """Measure the named parts (all by default); return the result as plain data."""
    corpora = corpora or (["ap"] if quick else ["ap", "news20"])
    return h.Session(GROUP, "ours_lda.py", quick, repeats, corpora).run(PARTS, only, PEERS)
