"""
Two branches
============

Targets may lie on either of two branches. A Gaussian's mean is on none of them. With a latent input
for each row, a deep process has both.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

rng = np.random.default_rng(0)
x = rng.uniform(-2.0, 2.0, 400)
y = rng.choice([-1.0, 1.0], 400) * (1.0 + 0.5 * np.sin(2.0 * x)) + 0.1 * rng.normal(size=400)
options = {
    "inducing_points": 25, "max_iter": 600, "batch_size": 100, "tol": 0.0, "random_state": 0,
    "n_predictive_draws": 100,
}  # fmt: skip
plain = fastvi.DeepGPRegressor(2, **options)
latent = fastvi.DeepGPRegressor(2, latent_inputs=1, n_draws=5, **options)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
grid, heights = np.linspace(-2.0, 2.0, 80), np.linspace(-2.2, 2.2, 90)
rows = np.repeat(grid, len(heights))[:, None]
for axis, model, title in zip(axes, (plain, latent), ("X alone", "a latent input")):
    log = model.fit(x[:, None], y).log_predictive_density(rows, np.tile(heights, len(grid)))
    density = np.exp(log).reshape(len(grid), -1).T
    axis.pcolormesh(grid, heights, density, cmap="Blues", vmax=1.5)
    axis.scatter(x, y, s=2, color="0.3")
    axis.set(title=title)
