"""fastvi's side of the benchmarks of linear systems: every call of fastvi is in this file."""

import time
import warnings

import evaluation as ev
import numpy as np
from statespace_problem import problem

import fastvi


def known(n, k, d, gaps=0.0):
    """Rows, and a model whose parameters are given."""
    X, A, Q, C, R, mean, covariance = problem(n, k, d, gaps)
    model = fastvi.LinearGaussianSSM(
        k, solver="em", transition_matrix=A, transition_covariance=Q, observation_matrix=C,
        observation_covariance=R, observation_offset=np.zeros(d), initial_mean=mean,
        initial_covariance=covariance, max_iter=1, tol=0.0,
    )  # fmt: skip
    return X, model.fit(X)


def passes(n, k, d, gaps=0.0):
    """CPU seconds of a filter pass (log likelihood), and of filter and smoother (means)."""
    X, model = known(n, k, d, gaps)
    found = {}
    for name, call in (("filter", model.score), ("smoother", model.transform)):
        times = []
        for _ in range(5):
            start = time.process_time()
            call(X)
            times.append(time.process_time() - start)
        found[name] = float(np.median(times))
    return found | {"score": model.score(X)}


def iteration(n, k, d, gaps=0.0, solver="em"):
    """CPU seconds of an iteration, the median of ten after the first."""
    X, times = problem(n, k, d, gaps)[0], {}

    def watch(state):
        times.setdefault(state.n_steps, time.process_time())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fastvi.LinearGaussianSSM(k, solver=solver, max_iter=12, tol=0.0)
        model.fit(X, callback=watch)
    return {"seconds": float(np.median(np.diff(list(times.values()))[1:])), "bound": model.elbo_}


def online(k, d, n=2000):
    """Seconds of a step, the median."""
    X, model = known(n, k, d)
    online, state, times = model.compiled(), None, []
    for row in X:
        start = time.perf_counter()
        state, _ = online.filter_step(row, state)
        times.append(time.perf_counter() - start)
    return {"seconds": float(np.median(times))}


if __name__ == "__main__":
    ev.main(passes, iteration, online)
