"""
A season and a trend
====================

A monthly series with a trend, a season and gaps, and its forecast. Kernels are scikit-learn's, and
time grows with the number of rows, not with its cube.
"""

import numpy as np
from sklearn.gaussian_process.kernels import ConstantKernel, ExpSineSquared, Matern, WhiteKernel

import fastvi

rng = np.random.default_rng(0)
t = np.arange(0.0, 12.0, 1.0 / 12.0)
y = 0.3 * t + np.sin(2.0 * np.pi * t) + 0.1 * np.cumsum(rng.normal(size=len(t))) * 0.5
y += 0.2 * rng.normal(size=len(t))
y[50:62] = np.nan

trend = ConstantKernel(4.0) * Matern(5.0, nu=2.5)
season = (
    ConstantKernel() * Matern(20.0, nu=1.5) * ExpSineSquared(1.5, 1.0, periodicity_bounds="fixed")
)
model = fastvi.TemporalGPRegressor(trend + season + WhiteKernel(0.05), random_state=0).fit(t, y)
print(model.kernel_)
fastvi.plots.plot_times(model, t, y, "season.png", until=15.0)
