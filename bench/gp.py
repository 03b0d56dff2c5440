"""The benchmarks of the sparse Gaussian processes."""

import functools
import statistics
import subprocess
import sys
import tempfile

import harness as h
from gp_problems import PUBLISHED
from harness import median, row

__all__ = ["PARTS", "extra_tables", "plot", "run"]

PEERS = ["gpflow", "gpflux", "gpytorch", "tensorflow-cpu", "torch"]
DEEP_PEERS = {"gpflux": "GPflux", "gpytorch": "GPyTorch"}
# Shapes and the ratio to GPflow that is wanted.
SGPR = ((10_000, 100, 4.5), (50_000, 200, 7), (10_000, 500, 4.5))
SVGP = ((256, 100, 3), (1024, 100, 3.5), (256, 500, 2.3), (1024, 500, 2.5))
NATURAL = 4  # with natural gradients, whatever the shape
SHARES = {100: 0.3, 200: 0.5, 500: 0.55}  # of the peak of dgemm, by M
STOCHASTIC = ("naval", "power", "kin40k", "protein")  # sets for steps on mini-batches
MOST = {"protein": 3000}  # iterations; the published rows had up to 10 000
START = """
import sys, time
import numpy as np
import sklearn.gaussian_process.kernels
start = time.process_time()
from fastvi import SparseGPRegressor
import warnings; warnings.simplefilter("ignore")
x = np.random.default_rng(0).normal(size=(1000, 8))
SparseGPRegressor(max_iter=20, random_state=0).fit(x, np.sin(x.sum(axis=1)))
print(time.process_time() - start)
"""


def sgpr(s):
    """Objective and gradient, against both peers."""
    rows = []
    for n, m, target in SGPR[: 1 if s.quick else None]:
        a = {"n": n, "m": m}
        times, runs = _times(s, "sgpr", a, a)
        what = f"SGPR, objective + gradient, N={n}, M={m}"
        rows.append(_against(s, what, times, target))
        share = median([r["share_of_dgemm"] for r in runs["ours"]])
        rows.append(row(f"{what}: share of dgemm's peak", share, None, share, SHARES[m]))
    return rows


def svgp(s):
    """A step: fastvi uses natural gradients and Adam, the peers Adam alone or both."""
    rows = []
    for b, m, target in SVGP[: 1 if s.quick else None]:
        a = {"n": b, "m": m}
        what = f"SVGP, a step, B={b}, M={m}"
        times, _ = _times(s, "svgp", a, a)
        rows.append(_against(s, what, times, target))
        if (b, m) != SVGP[0][:2]:
            times, _ = _times(s, "svgp", a, a | {"natural": True})
            what += ", the peers with natural gradients"
            rows.append(_against(s, what, times, NATURAL))
    return rows


def _times(s, function, ours, peers):
    """Return milliseconds by name, and all reports."""
    jobs = {
        "ours": lambda i: s.ours(function, **ours),
        "gpflow": lambda i: s.peer("gpflow_gp.py", function, **peers),
        "gpytorch": lambda i: s.peer("gpytorch_gp.py", function, **peers),
    }
    runs = h.interleaved(jobs, s.repeats)
    return {name: median([r["ms"] for r in x]) for name, x in runs.items()}, runs


def _against(s, what, times, target):
    s.details[f"times of {what}"] = times
    ratio = times["gpflow"] / times["ours"]
    return row(f"{what}, against GPflow", times["ours"], times["gpflow"], ratio, target, unit="ms")


def matrix(s):
    """The RBF matrix, against NumPy in the same process."""
    runs = [s.ours("matrix") for _ in range(s.repeats)]
    rows = []
    for peer, kind, target in (("numpy", "in place", 4), ("fresh", "into a fresh array", 3)):
        ours, theirs = (median([r[key] for r in runs]) for key in ("ours", peer))
        ratio = median([r[peer] / r["ours"] for r in runs])
        what = f"RBF matrix, 10000 x 500, D=8, against NumPy {kind}"
        rows.append(row(what, ours, theirs, ratio, target, unit="ms"))
    return rows


def large(s):
    """Many rows in little memory."""
    n = 100_000 if s.quick else 1_000_000
    run = s.ours("large", n=n)
    what = f"SGPR, objective + gradient, N={n}, D=8, M=200, {run['cpu']:.3g} CPU s: peak memory"
    peak = run["bytes"] / 2**30
    return [row(what, peak, None, peak, 2, at_most=True, unit="GiB")]


def point(s):
    """One prediction."""
    value = median([s.ours("point")["us"] for _ in range(s.repeats)])
    what = "mean and standard deviation of one point, M=100, `compiled()`"
    return [row(what, value, None, value, 50, at_most=True, unit="us")]


def cold(s):
    """A fit of 1000 points in a new process, beyond scikit-learn's own import."""
    seconds = []
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(START)
        script.flush()
        for _ in range(min(s.repeats, 3)):
            with tempfile.TemporaryDirectory() as folder:
                # as for most users, Python may keep what it compiled
                env = h.environment(NUMBA_CACHE_DIR=folder, PYTHONDONTWRITEBYTECODE="")
                seconds.append([_printed(script.name, env) for _ in range(3)][:3])
    rows = []
    for name, i, target in (("first time", 0, 5), ("after that", 2, 0.6)):
        value = median([times[i] for times in seconds])
        what = f"a fit of 1000 points beyond `import sklearn.gaussian_process`, {name}, CPU"
        rows.append(row(what, value, None, value, target, at_most=True, unit="s"))
    return rows


def _printed(script, env):
    done = subprocess.run(
        [sys.executable, script], env=env, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def fit(s):
    """CPU seconds to GPflow's bound after 1000 iterations on kin8nm; three starts."""
    iterations = 20 if s.quick else 1000
    peers = [s.peer("gpflow_gp.py", "fit", iterations=iterations) for _ in range(min(s.repeats, 2))]
    runs = [s.ours("fit", iterations=2 * iterations, seed=i) for i in range(min(s.repeats, 3))]
    bound, theirs = median([p["bound"] for p in peers]), median([p["cpu"] for p in peers])
    ours = median([_until(run, bound) for run in runs])
    s.details["kin8nm"] = {"gpflow": peers, "ours": runs}
    what = f"kin8nm, M=100, time to GPflow's bound after {iterations} iterations, {bound:.1f}"
    if ours == float("inf"):
        return [h.missing(what, 4, f"our bound ended at {runs[0]['bound']:.1f}")]
    return [row(what, ours, theirs, theirs / ours, 4, unit="s")]


def _until(run, bound):
    """CPU seconds until the bound was reached, from those of the fit in proportion to its clock."""
    for value, seconds in zip(run["bounds"], run["seconds"]):
        if value >= bound:
            return run["cpu"] - (run["seconds"][-1] - seconds) * run["cpu"] / run["wall"]
    return float("inf")


def uci(s, sets=None):
    """Test log-likelihoods over ten splits, against published ones."""
    names = sets or (("boston", "concrete", "energy") if s.quick else PUBLISHED)
    rows = []
    for name in names:
        tables = {}
        for ard in (False, True):
            runs = [
                s.ours(
                    "split", name=name, ard=ard, number=i,
                    iterations=1000 if ard else MOST.get(name, 10_000),
                )
                for i in range(2 if s.quick else 10)
            ]  # fmt: skip
            tables["a length scale a column" if ard else "one length scale"] = runs
        for scales, runs in tables.items():
            s.details[f"splits of {name}, {scales}"] = runs
        plain = tables["one length scale"]
        rows.append(_published(name, [r["log_likelihood"] for r in plain]))
    return rows


def stochastic(s, sets=None):
    """Test scores after as many steps as GPflow's natural gradients and Adam."""
    rows = []
    for name in sets or STOCHASTIC:
        a = {"name": name, "steps": 200 if s.quick else 2000}
        ours = s.ours("stochastic", **a, tol=0.0)
        peer = s.peer("gpflow_gp.py", "stochastic", **a)
        s.details[f"steps on {name}"] = {"ours": ours, "gpflow": peer}
        scores = ours["log_likelihood"], peer["log_likelihood"]
        what = f"{name}: mean test log-likelihood after {a['steps']} steps, against GPflow"
        rows.append(row(what, *scores, scores[0] - scores[1], 0.0, unit="nats"))
        errors = ours["rmse"], peer["rmse"]
        what = f"{name}: test RMSE after {a['steps']} steps, against GPflow"
        rows.append(row(what, *errors, errors[0] / errors[1], 1.0, at_most=True))
    return rows


def _published(name, scores):
    mean, std = PUBLISHED[name]
    ours = sum(scores) / len(scores)
    what = f"{name}: mean test log-likelihood, {len(scores)} splits, against the published one"
    note = "may be 2 standard errors below"
    return row(what, ours, mean, ours - mean, -2 * std / 10**0.5, unit="nats", note=note)


def deep(s):
    """A step of deep processes against both peers, and test scores against published ones."""
    rows = []
    for layers in (2, 3):
        a = {"n": 200 if s.quick else 1000, "m": 20 if s.quick else 100, "layers": layers}
        jobs = {
            "ours": lambda i, a=a: s.ours("deep_step", **a),
            "gpflux": lambda i, a=a: s.peer("gpflux_deep.py", "deep_step", **a),
            "gpytorch": lambda i, a=a: s.peer("gpytorch_gp.py", "deep_step", **a),
        }
        runs = h.interleaved(jobs, s.repeats)
        times = {name: median([r["ms"] for r in each]) for name, each in runs.items()}
        what = f"deep GP, a step, B={a['n']}, M={a['m']}, D=8, {layers} layers"
        for peer, target in (("gpflux", 2.0), ("gpytorch", 5.0 if layers == 2 else 7.0)):
            ratio, name = times[peer] / times["ours"], DEEP_PEERS[peer]
            title = f"{what}, against {name}"
            rows.append(row(title, times["ours"], times[peer], ratio, target, unit="ms"))
    for layers, published in ((2, 1.2913), (3, 1.3039)):
        steps = 50 if s.quick else 1000
        scores = [s.ours("deep", layers=layers, steps=steps, seed=i) for i in range(s.repeats)]
        score = median([each["log_likelihood"] for each in scores])
        s.details[f"kin8nm, {layers} layers"] = scores
        what = f"deep GP, kin8nm, {layers} layers: test log-likelihood after {steps} steps, "
        what += "against the authors' after 5000"
        rows.append(row(what, score, published, score - published, 0.0, unit="nats"))
    return rows


PARTS = {
    "sgpr": sgpr, "svgp": svgp, "matrix": matrix, "large": large, "point": point, "cold": cold,
    "fit": fit, "uci": uci, "stochastic": stochastic, "deep": deep,
}  # fmt: skip


def extra_tables(result):
    """Times of all three tools, and means over splits, as text."""
    lines = []
    times, splits = _details(result, "times of "), _details(result, "splits of ")
    if times:
        lines += ["CPU milliseconds:", "", "| | fastvi | GPflow | GPyTorch |", "|---|---|---|---|"]
        for what, t in times.items():
            cells = [h.number(t.get(name)) for name in ("ours", "gpflow", "gpytorch")]
            lines.append("| " + " | ".join([what, *cells]) + " |")
        lines.append("")
    if splits:
        lines += ["Means (standard deviations) over the splits, targets of variance 1:", ""]
        lines += ["| set | log-likelihood | RMSE | bound | iterations | CPU s |"]
        lines += ["|---" * 6 + "|"]
        for name, runs in splits.items():
            keys = ("log_likelihood", "rmse", "bound", "n_iter", "cpu")
            means = [sum(r[k] for r in runs) / len(runs) for k in keys]
            spread = statistics.stdev(r["log_likelihood"] for r in runs)
            cells = [f"{means[0]:.3f} ({spread:.3f})", f"{means[1]:.4f}"]
            cells += map(h.number, means[2:])
            lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines).strip()


def _details(result, start):
    """Return what was kept under names with this prefix; parts of several runs may be joined."""
    return {k[len(start) :]: t for k, t in result["details"].items() if k.startswith(start)}


def plot(result, path):
    """The bound of kin8nm against CPU seconds."""
    runs = result["details"].get("kin8nm")
    if not runs:
        raise SystemExit("--plot: no curve was measured; add `fit` to --only")
    plt = h.pyplot()
    figure, axis = plt.subplots(figsize=(7, 5), layout="constrained")
    for i, run in enumerate(runs["ours"]):
        axis.plot(run["seconds"], run["bounds"], color="C0", label=None if i else "fastvi")
    peer = runs["gpflow"][0]
    axis.plot(peer["cpu"], peer["bound"], "o", color="C1", label="GPflow, 1000 iterations")
    axis.set(xscale="log", xlabel="seconds", ylabel="bound, nats", title="kin8nm, M=100")
    axis.legend()
    figure.savefig(path, dpi=80)


def run(only, quick, repeats=None, corpora=None):
    """Measure the named parts (all by default); return the result as plain data."""
    on_sets = {"uci": uci, "stochastic": stochastic}
    parts = PARTS | {k: functools.partial(part, sets=corpora) for k, part in on_sets.items()}
    return h.Session("gp", "ours_gp.py", quick, repeats).run(parts, only, PEERS)
