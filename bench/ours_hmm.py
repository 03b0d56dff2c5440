"""fastvi's side of the benchmarks of hidden Markov models: every call of fastvi is in this file."""

import time
import warnings

import evaluation as ev
import numpy as np
from hmm_problem import begin, problem

import fastvi

MODELS = {"EM": fastvi.GaussianHMM, "VB": fastvi.VariationalGaussianHMM}


def iteration(method, n, k, d, kind="full", length=None, n_jobs=None, clock="process_time"):
    """Seconds of an iteration, the median of ten after the first."""
    X, lengths, *parts = problem(n, k, d, kind, length)
    now, times = getattr(time, clock), {}
    model = MODELS[method](
        k, covariance_type=kind, n_iter=12, tol=0.0, init_params="", n_jobs=n_jobs
    )

    def watch(state):
        times.setdefault(state.n_steps, now())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begin(model, *parts, n).fit(X, lengths, callback=watch)
    seconds = np.median(np.diff(list(times.values()))[1:])
    return {"seconds": float(seconds), "bound": model.monitor_.history[-1]}


def viterbi(n, k, d, kind="full", length=None):
    """CPU seconds of `predict`."""
    X, lengths, *parts = problem(n, k, d, kind, length)
    model = begin(fastvi.GaussianHMM(k, covariance_type=kind), *parts, n)
    model.predict(X, lengths)
    times = []
    for _ in range(5):
        start = time.process_time()
        path = model.predict(X, lengths)
        times.append(time.process_time() - start)
    return {"seconds": float(np.median(times)), "path": int(path.sum())}


def online(k, d, n=2000, gaps=False):
    """CPU seconds of a row of `filter_step`, the median of five passes; rows may lack a number."""
    X, _, *parts = problem(n, k, d)
    X[:, 0] = np.nan if gaps else X[:, 0]
    step = begin(fastvi.GaussianHMM(k, covariance_type="full"), *parts, n).compiled().filter_step
    before, times = step(X[0])[0], []
    for _ in range(5):
        start = time.process_time()
        for row in X:
            before, _ = step(row, before)
        times.append((time.process_time() - start) / n)
    return {"seconds": float(np.median(times))}


if __name__ == "__main__":
    ev.main(iteration, viterbi, online)
