"""Times of derived and hand-written gradients: `python bench/derived.py`."""

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from unittest import mock

import harness
import numpy as np

import fastvi
from fastvi.base.parallel import single_threaded_blas
from fastvi.derivatives import derive
from fastvi.kernels import _compile
from fastvi.targets.python import SEVERAL

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from derivatives_models import cases
from generic_targets import logistic_batched

MEDIAN, WORST = 1.3, 2.0  # wanted, of derived by hand-written
XLA = 1.0  # wanted, of derived by XLA's
SECONDS = 0.02  # of each timing, at least
DERIVING, COMPILING = 50.0, 2.0  # at most: ms, and times what the function by hand takes


def _timer(function, Z):
    """Make a job that returns CPU microseconds of a call per vector."""
    start = time.process_time()
    function(Z[:1])
    n = int(np.clip(SECONDS / max(time.process_time() - start, 1e-7) / len(Z), 1, 10_000))

    def job(repeat):
        start = time.process_time()
        for _ in range(n):
            function(Z)
        return (time.process_time() - start) / n / len(Z) * 1e6

    return job


def times(function, by_hand, data, z, repeats):
    """Least microseconds of the value, of value and gradient, and of hand-written ones."""
    ours = fastvi.target(function, data=data, dim=z.size)
    theirs = fastvi.target(by_hand, data=data, dim=z.size)
    Z = z * (1.0 + 0.01 * np.random.default_rng(0).normal(size=(64, z.size)))
    calls = {"value": ours.log_prob, "derived": ours.log_prob_and_grad,
             "by hand": theirs.log_prob_and_grad}  # fmt: skip
    for call in calls.values():
        call(Z[:1])  # compiles
    jobs = {name: _timer(call, Z) for name, call in calls.items()}
    return {name: min(found) for name, found in harness.interleaved(jobs, repeats).items()}


def making(function, by_hand, data, dim):
    """CPU seconds to derive, to compile what is derived, and to compile the function by hand."""

    def compiled(target, derived=None):
        start = time.process_time()
        _compile.compile_user_function(target.source.logp, target.source.form(used), derived)
        return time.process_time() - start

    ours = fastvi.target(function, data=data, dim=dim)
    theirs = fastvi.target(by_hand, data=data, dim=dim)
    used, deriving = ours._data, []
    for _ in range(3):
        start = time.process_time()
        derived = derive(ours.source.plain, used.fields, used.named)
        deriving.append(time.process_time() - start)
    if used.size < SEVERAL:
        derived = derived.alone()
    with mock.patch.object(_compile, "_cache_for", return_value=None):
        return min(deriving), compiled(ours, derived), compiled(theirs)


def rows_of_making(models):
    """Rows of how long gradients take to derive and to compile."""
    rows, slowest = [], 0.0
    for name, (function, by_hand, data, z) in models.items():
        deriving, ours, theirs = making(function, by_hand, data, z.size)
        slowest = max(slowest, 1000.0 * deriving)
        rows.append(harness.row(
            f"compiling a derived gradient, {name}, against one by hand", ours, theirs,
            ours / theirs, COMPILING, at_most=True, unit="s",
            note=f"derived in {1000.0 * deriving:.0f} ms",
        ))  # fmt: skip
    what = "deriving a gradient, ms, slowest of these models"
    return [*rows, harness.row(what, slowest, None, slowest, DERIVING, at_most=True)]


def draws(repeats, n_rows):
    """Rows of a logistic regression for several draws at once, against a batched one by hand."""
    rows, models = [], cases(n_rows)
    for name in ("logistic", "logistic, vectorised"):
        function, _, data, z = models[name]
        X, y = data["X"], data["y"]
        ours = fastvi.target(function, data=data, dim=z.size)
        theirs = logistic_batched.bind({"X": X, "moment": X.T @ y}, dim=z.size)
        for k in (16, 64):
            Z = z * (1.0 + 0.01 * np.random.default_rng(0).normal(size=(k, z.size)))
            jobs, targets = {}, {"ours": ours, "theirs": theirs} | by_xla(data, z.size)
            for who, target in targets.items():
                target.log_prob_and_grad(Z)  # compiles
                jobs[who] = _timer(target.log_prob_and_grad, Z)
            us = {who: min(found) for who, found in harness.interleaved(jobs, repeats).items()}
            rows.append(harness.row(
                f"derived gradient, {name}, {k} draws at once, against batched by hand",
                us["ours"], us["theirs"], us["ours"] / us["theirs"], MEDIAN, at_most=True,
                unit="µs",
            ))  # fmt: skip
            what = f"derived gradient, {name}, {k} draws at once, against XLA's"
            rows.append(
                harness.row(what, us["ours"], us["xla"], us["ours"] / us["xla"], XLA, at_most=True,
                            unit="µs")
                if "xla" in us
                else harness.missing(what, XLA, "JAX is not installed")
            )  # fmt: skip
    return rows


def by_xla(data, dim):
    """The logistic regression written in JAX, if that is installed, as {"xla": target}."""
    if importlib.util.find_spec("jax") is None:
        return {}
    import jax.numpy as jnp

    def logistic(z, data):
        eta = data.X @ z
        rest = jnp.maximum(eta, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(eta)))
        return -0.5 * z @ z + jnp.sum(data.y * eta - rest)

    return {"xla": fastvi.targets.from_jax(logistic, dim=dim, data=data)}


def run(repeats, quick=False):
    """Rows of each model, of their median, of several draws at once, and of compilation."""
    rows, ratios = [], []
    n_rows = 300 if quick else 10_000
    with single_threaded_blas():
        several = draws(3 * repeats, n_rows)
        for name, case in cases(n_rows).items():
            us = times(*case, 3 * repeats)
            ratios.append(us["derived"] / us["by hand"])
            rows.append(harness.row(
                f"derived gradient, {name}, against by hand", us["derived"], us["by hand"],
                ratios[-1], WORST, at_most=True, unit="µs",
                note=f"{us['derived'] / us['value']:.2f} times the value",
            ))  # fmt: skip
    middle = harness.median(ratios)
    what = "derived gradients by those by hand, median of these models"
    rows.append(harness.row(what, middle, None, middle, MEDIAN, at_most=True))
    compiled = {n: case for n, case in cases(n_rows).items() if not quick or n == "eight schools"}
    return [*rows, *several, *rows_of_making(compiled)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", metavar="N", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small data")
    arguments = parser.parse_args()
    print(harness.markdown(run(arguments.repeats, arguments.quick)))
