"""hmmlearn's hidden Markov models."""

import logging
import time
import warnings

import evaluation as ev
import numpy as np
from hmm_problem import begin, problem
from hmmlearn.base import ConvergenceMonitor
from hmmlearn.hmm import GaussianHMM
from hmmlearn.vhmm import VariationalGaussianHMM

logging.disable(logging.CRITICAL)
MODELS = {"EM": GaussianHMM, "VB": VariationalGaussianHMM}


def model_of(method, k, kind, n_iter, scaled):
    return MODELS[method](
        k, covariance_type=kind, n_iter=n_iter, tol=-1e300, init_params="",
        implementation="scaling" if scaled else "log",
    )  # fmt: skip


class Watch(ConvergenceMonitor):
    """Notes when iterations end."""

    def report(self, log_prob):
        super().report(log_prob)
        self.times = [*getattr(self, "times", []), time.process_time()]


def iteration(method, n, k, d, kind="full", length=None):
    """CPU seconds of an iteration, the median of four, by its faster implementation."""
    X, lengths, *parts = problem(n, k, d, kind, length)
    found = []
    for scaled in (True, False):
        model = begin(model_of(method, k, kind, 5, scaled), *parts, n)
        model.monitor_ = Watch(-1e300, 5, False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, lengths)
        found.append(float(np.median(np.diff(model.monitor_.times))))
    return {"seconds": min(found), "bound": float(model.monitor_.history[-1])}


def viterbi(n, k, d, kind="full", length=None):
    """CPU seconds of `predict`."""
    X, lengths, *parts = problem(n, k, d, kind, length)
    model = begin(GaussianHMM(k, covariance_type=kind), *parts, n)
    model.n_features = d
    start = time.process_time()
    path = model.predict(X, lengths)
    return {"seconds": time.process_time() - start, "path": int(np.sum(path))}


if __name__ == "__main__":
    ev.main(iteration, viterbi)
