"""pykalman's filter, smoother and expectation maximisation."""

import time

import evaluation as ev
import numpy as np
from pykalman import KalmanFilter
from statespace_problem import problem


def model_of(A, Q, C, R, mean, covariance):
    return KalmanFilter(A, C, Q, np.diag(R), initial_state_mean=mean,
                        initial_state_covariance=covariance)  # fmt: skip


def passes(n, k, d, gaps=0.0):
    """CPU seconds of a filter pass (log likelihood), and of filter and smoother."""
    X, *parts = problem(n, k, d, gaps)
    X, model = np.ma.masked_invalid(X), model_of(*parts)
    start = time.process_time()
    score = model.loglikelihood(X)
    middle = time.process_time()
    model.smooth(X)
    end = time.process_time()
    return {"filter": middle - start, "smoother": end - middle, "score": float(score)}


def iteration(n, k, d, gaps=0.0):
    """CPU seconds of an iteration: of two, less that of none."""
    X, *parts = problem(n, k, d, gaps)
    X, model = np.ma.masked_invalid(X), model_of(*parts)
    every = [
        "transition_matrices", "observation_matrices", "transition_covariance",
        "observation_covariance", "observation_offsets", "initial_state_mean",
        "initial_state_covariance",
    ]  # fmt: skip
    start = time.process_time()
    model.em(X, n_iter=2, em_vars=every)
    return {"seconds": (time.process_time() - start) / 2}


if __name__ == "__main__":
    ev.main(passes, iteration)
