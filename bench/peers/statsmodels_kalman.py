"""statsmodels' Kalman filter and smoother, compiled from Cython."""

import time

import evaluation as ev
import numpy as np
from statespace_problem import problem
from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother


def passes(n, k, d, gaps=0.0):
    """CPU seconds of a filter pass (log likelihood), and of filter and smoother."""
    X, A, Q, C, R, mean, covariance = problem(n, k, d, gaps)
    model = KalmanSmoother(k_endog=d, k_states=k, k_posdef=k)
    model.bind(np.ascontiguousarray(X))
    model["transition"], model["selection"], model["state_cov"] = A, np.eye(k), Q
    model["design"], model["obs_cov"] = C, np.diag(R)
    model.initialize_known(mean, covariance)
    found, score = {}, 0.0
    for name, call in (("filter", model.loglike), ("smoother", model.smooth)):
        times = []
        for _ in range(4):
            start = time.process_time()
            result = call()
            times.append(time.process_time() - start)
        found[name] = float(np.median(times[1:]))
        score = result if name == "filter" else score
    return found | {"score": float(score)}


if __name__ == "__main__":
    ev.main(passes)
