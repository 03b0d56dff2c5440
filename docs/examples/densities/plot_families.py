"""
Five families on a banana
=========================

A curved density, and what each family makes of it. Titles give the evidence lower bound; it is at
most the log of the normaliser.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi


@fastvi.target(names={"z": 2})
def banana(z):
    return -0.5 * z[0] ** 2 - 2.0 * (z[1] - z[0] ** 2) ** 2


grid = np.stack(np.meshgrid(np.linspace(-3, 3, 120), np.linspace(-2, 7, 120)), axis=-1)
density = np.exp(banana.log_prob(grid.reshape(-1, 2)).reshape(120, 120))
families = ["meanfield", "fullrank", "mixture", "hierarchical", "maf"]
figure, axes = plt.subplots(1, 5, figsize=(13, 3), sharey=True, layout="constrained")
for axis, family in zip(axes, families):
    posterior = fastvi.fit(banana, family, random_state=0)
    axis.contourf(grid[..., 0], grid[..., 1], density, levels=6, cmap="Greys")
    axis.scatter(*posterior.sample(300, random_state=0).T, s=3, color="#d55e00")
    axis.set(title=f"{family}: {posterior.elbo:.2f}", xlim=(-3, 3), ylim=(-2, 7))
