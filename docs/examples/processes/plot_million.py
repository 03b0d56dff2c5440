"""
A Gaussian process of a million rows
====================================

Mini-batches of 1000 rows and 40 inducing inputs. Time per step does not depend on the number of
rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

import fastvi

rng = np.random.default_rng(0)
X = rng.uniform(0.0, 10.0, (1_000_000, 1))
y = np.sin(3.0 * X[:, 0]) * np.exp(-0.2 * X[:, 0]) + 0.3 * rng.normal(size=len(X))

gp = fastvi.SVGP(
    ConstantKernel() * RBF(), inducing_points=40, inducing_selection="subset", batch_size=1000,
    max_iter=1000, tol=0.0, random_state=0,
)  # fmt: skip
gp.fit(X, y)
grid = np.linspace(0.0, 10.0, 300)[:, None]
mean, std = gp.predict(grid, return_std=True)

figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
axis.scatter(*np.c_[X, y][:3000].T, s=1, color="0.6")
axis.plot(grid, mean, color="#0072b2")
axis.fill_between(grid[:, 0], mean - 2 * std, mean + 2 * std, color="#0072b2", alpha=0.15, lw=0)
axis.plot(gp.inducing_points_[:, 0], np.full(40, -1.7), "^", color="#d55e00", ms=4)
axis.set(xlabel="x", ylabel="y (3000 of a million rows)")
