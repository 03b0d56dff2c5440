"""
A rate that changes over time
=============================

Yearly disasters in British coal mines (Jarrett 1979). The logarithm of their rate is a Gaussian
process, and years are Poisson counts of it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

import fastvi

counts = [
    4, 5, 4, 0, 1, 4, 3, 4, 0, 6, 3, 3, 4, 0, 2, 6, 3, 3, 5, 4, 5, 3, 1, 4, 4, 1, 5, 5, 3, 4, 2, 5,
    2, 2, 3, 4, 2, 1, 3, 2, 2, 1, 1, 1, 1, 3, 0, 0, 1, 0, 1, 1, 0, 0, 3, 1, 0, 3, 2, 2, 0, 1, 1, 1,
    0, 1, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 1, 1, 0, 2, 3, 3, 1, 1, 2, 1, 1, 1, 1, 2, 4, 2, 0, 0, 1, 4,
    0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1,
]  # fmt: skip
years = 1851.0 + np.arange(len(counts))
model = fastvi.TemporalGPRegressor(
    ConstantKernel() * Matern(20.0, nu=1.5), likelihood="poisson", random_state=0
).fit(years, counts)
f, variance = model.latent_mean_and_variance(years)
sd = np.sqrt(variance)

figure, axis = plt.subplots(figsize=(7, 3.3), layout="constrained")
axis.bar(years, counts, color="0.8", label="disasters")
axis.plot(years, np.exp(f), color="#0072b2", label="rate")
axis.fill_between(years, np.exp(f - 2 * sd), np.exp(f + 2 * sd), color="#0072b2", alpha=0.2, lw=0)
axis.set(xlabel="year", ylabel="per year")
axis.legend()
