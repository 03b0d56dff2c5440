"""fastvi's side of the benchmarks of processes in time: every call of fastvi is in this file."""

import evaluation as ev
import numpy as np
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from temporal_problem import LENGTH, NOISE, SD, series, timed

from fastvi.models.gp.likelihoods import named
from fastvi.models.gp.temporal_model import Series, TemporalModel
from fastvi.models.gp.terms import TimeCovariance

NU = {"matern12": 0.5, "matern32": 1.5, "matern52": 2.5}


def likelihood(kernel, n):
    """CPU seconds of the log likelihood alone and with its gradient."""
    t, y = series(n)
    matern = ConstantKernel(SD**2) * Matern(LENGTH, nu=NU[kernel])
    covariance = TimeCovariance(matern + WhiteKernel(NOISE))
    model = TemporalModel(covariance, named("gaussian", 4.0), Series.of_rows(t, y, np.ones(n)))
    theta = covariance.theta
    value, found = timed(lambda: model.bound(theta, gradient=False))
    gradient, _ = timed(lambda: model.bound(theta))
    return {"value": value, "gradient": gradient, "log_likelihood": float(found.value)}


if __name__ == "__main__":
    ev.main(likelihood)
