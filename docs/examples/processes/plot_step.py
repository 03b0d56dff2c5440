"""
A step, shallow and deep
========================

One length scale cannot be right for a step: a shallow process overshoots. A deep process bends its
inputs first.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

rng = np.random.default_rng(0)
X = np.sort(rng.uniform(-2.0, 2.0, (200, 1)), axis=0)
y = np.where(X[:, 0] > 0.0, 1.0, -1.0) + 0.05 * rng.normal(size=200)
grid = np.linspace(-2.5, 2.5, 300)[:, None]
shallow = fastvi.SparseGPRegressor(inducing_points=25, random_state=0)
deep = fastvi.DeepGPRegressor(
    (1,), inducing_points=25, batch_size=200, max_iter=1500, tol=0.0, random_state=0
)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for axis, model, title in zip(axes, (shallow, deep), ("one layer", "two layers")):
    mean, std = model.fit(X, y).predict(grid, return_std=True)
    axis.scatter(X, y, s=4, color="0.5")
    axis.plot(grid, mean, color="#0072b2")
    axis.fill_between(grid[:, 0], mean - 2 * std, mean + 2 * std, color="#0072b2", alpha=0.2, lw=0)
    axis.set(title=title, ylim=(-2, 2))
