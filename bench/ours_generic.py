"""fastvi's side of the benchmarks of any log density."""

import json

import evaluation as ev
import numpy as np
import regression
from generic_targets import logistic, logistic_batched, schools

import fastvi
from fastvi import loop
from fastvi.base.parallel import single_threaded_blas
from fastvi.batches import Passes
from fastvi.families import MeanField
from fastvi.fitting.compiled import compiled_steps
from fastvi.objectives import elbo

LOGISTIC = "synthetic_logreg_N10000_D50"


def steps(target, n_draws, n_steps):
    """Adam on the ELBO of a mean-field Gaussian, through the loop of all fits."""
    member = MeanField(np.zeros(target.dim), np.full(target.dim, 0.1))
    begin = member.free()
    compiled = compiled_steps(target, elbo(), member, n_draws=n_draws, natural=False)

    def run():
        algorithm = compiled(0.01, n_steps)
        loop.run(
            algorithm, algorithm.init(begin), Passes(), n_epochs=10**9,
            rng=np.random.default_rng(0),
            after_step=lambda state, position, history: len(history) >= n_steps,
        )  # fmt: skip

    with single_threaded_blas():
        return regression.a_step(run, n_steps)


def logistic_step(n_draws, n=10_000, d=50):
    X, y, _, _ = regression.problem(n, d)
    form = logistic if n_draws == 1 else logistic_batched
    target = form.bind({"X": X, "moment": X.T @ y}, dim=d)
    return steps(target, n_draws, max(2000 // n_draws, 50))


def schools_step():
    return steps(schools.bind(regression.SCHOOLS, dim=10), 1, 20_000)


def accuracy(seed=0, family="fullrank"):
    """CPU seconds of a whole fit of the recorded problem, and its largest error in a mean."""
    folder = ev.data_folder().parent / "posteriors" / LOGISTIC
    with np.load(folder / "data.npz") as f:
        X, y = f["X"].astype(float), f["y"].astype(float)
    reference = json.loads((folder / "reference.json").read_text())
    target = logistic_batched.bind({"X": X, "moment": X.T @ y}, dim=X.shape[1])
    fastvi.fit(target, family, max_iter=1, random_state=seed)  # compiles
    with ev.Stopwatch() as watch:
        p = fastvi.fit(target, family, random_state=seed)
        converged = p.converged
    off = np.abs(p.mean - reference["mean"]) / reference["sd"]
    return {
        "cpu": watch.cpu, "wall": watch.wall, "error": float(off.max()), "converged": converged,
        "khat": p.khat, "steps": p.n_iter,
    }  # fmt: skip


if __name__ == "__main__":
    ev.main(logistic_step, schools_step, accuracy)
