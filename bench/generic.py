"""The benchmarks of fits of any log density."""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

import derived as gradients_derived
import harness as h
import score
from harness import median, row

__all__ = ["PARTS", "extra_tables", "plot", "run"]

PEERS = ["numpyro", "jax", "pymc", "pytensor"]
SCRIPTS = {"NumPyro": "numpyro_generic.py", "PyMC": "pymc_generic.py"}
LOGISTIC = {1: {"NumPyro": 1.0, "PyMC": 2.0}, 10: {"NumPyro": 1.7, "PyMC": 3.5}, 100: {"PyMC": 4.0}}
SCHOOLS = {"NumPyro": 1.0, "PyMC": 10.0}
STAN_SECONDS = 4.7  # recorded, of NUTS on the same problem; a tenth of it is wanted


def _against(s, what, function, targets, peers=SCRIPTS, **arguments):
    """Rows of milliseconds per step against each peer, from interleaved runs."""
    jobs = {"fastvi": lambda i: s.ours(function, **arguments)}
    for name in peers:
        script = SCRIPTS[name]
        jobs[name] = lambda i, script=script: s.peer(script, function, **arguments)
    runs = h.interleaved(jobs, s.repeats)
    s.details[what] = runs
    ms = {name: median([r["ms"] for r in found]) for name, found in runs.items()}
    rows = []
    firsts = {name: median([r["first"] for r in found]) for name, found in runs.items()}
    for name in peers:
        rows.append(row(
            f"{what}, against {name}", ms["fastvi"], ms[name], ms[name] / ms["fastvi"],
            targets.get(name, 1.0), unit="ms",
            note=f"first call {firsts['fastvi']:.1f} s and {firsts[name]:.1f} s",
        ))  # fmt: skip
    return rows


def logistic(s):
    """Steps of a logistic regression."""
    rows = []
    for n_draws in (1, 10) if s.quick else LOGISTIC:
        what = f"logistic regression, N=10000, D=50, float64, mean-field step, K={n_draws}"
        rows += _against(s, what, "logistic_step", LOGISTIC[n_draws], n_draws=n_draws)
    return rows


def schools(s):
    """Steps of the eight schools."""
    return _against(s, "eight schools, mean-field step, K=1", "schools_step", SCHOOLS)


def gradients(s):
    """Score-function gradients, see `score.py`."""
    return score.run(s.repeats)


def _until_then(command):
    """CPU seconds that a process prints at the end."""
    done = subprocess.run(
        command, env=h.environment(), capture_output=True, text=True, check=False
    )  # fmt: skip
    if done.returncode:
        raise h.Missing((done.stderr.strip() or "?").splitlines()[-1])
    return float(done.stdout.split()[-1])


def start(s):
    """Time from the start of a process to the summary of a fit of a new model."""
    source = (h.BENCH / "start_generic.py").read_text()
    said = "; import time; print(time.process_time())"

    def ours(i):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.py"
            path.write_text(source.replace("NEW = 0.0", f"NEW = {random.random()}"))
            return _until_then([sys.executable, path])

    def floor(i):
        return _until_then([sys.executable, "-c", f"import numpy, numba{said}"])

    def peer(name):
        return lambda i: s.peer(SCRIPTS[name], "start")["cpu"]

    ours(0)  # compiles drivers
    jobs = {"fastvi": ours, "floor": floor} | {name: peer(name) for name in SCRIPTS}
    seconds = {name: median(x) for name, x in h.interleaved(jobs, s.repeats).items()}
    s.details["start"] = seconds
    others = ", ".join(f"{name} {seconds[name]:.1f} s" for name in SCRIPTS)
    what = "process start to first answer, eight schools, model not compiled before"
    note = f"interpreter, NumPy and Numba alone {seconds['floor']:.2f} s; {others}"
    return [row(what, seconds["fastvi"], None, seconds["fastvi"], 2.0, at_most=True, unit="s",
                note=note)]  # fmt: skip


def accuracy(s):
    """The fit of the recorded problem, when all means are within 0.1 standard deviations."""
    runs = [s.ours("accuracy", seed=i) for i in range(s.repeats)]
    s.details["accuracy"] = runs
    cpu, worst = median([r["cpu"] for r in runs]), max(r["error"] for r in runs)
    what = "logistic regression, N=10000, D=50, full-rank fit, all means within 0.1 sd"
    note = f"largest error {worst:.3f} sd; the peer is Stan's NUTS as recorded, to 0.14 sd"
    at_most = 0.1 * STAN_SECONDS if worst < 0.1 else 0.0
    return [row(what, cpu, STAN_SECONDS, cpu, at_most, at_most=True, unit="s", note=note)]


def derived(s):
    """Derived gradients, see `derived.py`."""
    return gradients_derived.run(s.repeats, s.quick)


PARTS = {
    "logistic": logistic, "schools": schools, "gradients": gradients, "start": start,
    "accuracy": accuracy, "derived": derived,
}  # fmt: skip


def extra_tables(result):
    """No extra tables."""
    return ""


def plot(result, path):
    """No plot."""
    raise SystemExit("--plot: the generic benchmarks have no curves")


def run(only, quick, repeats=None, corpora=None):
    """Measure the named parts (all by default); return the result as plain data."""
    session = h.Session("generic", "ours_generic.py", quick, repeats)
    return session.run(PARTS, only, PEERS)
