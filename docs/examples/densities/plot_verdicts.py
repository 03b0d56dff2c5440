"""
Fits that are bad, and say so
=============================

Four posteriors, each fitted by one Gaussian. The verdict of a fit comes from weighting its draws by
the target; it is right to trust the first and to warn of the others.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi


@fastvi.target(names={"z": 2})
def gaussian(z):
    return -0.5 * z[0] ** 2 - 2.0 * (z[1] - 0.5 * z[0]) ** 2


@fastvi.target(names={"z": 2})
def banana(z):
    return -0.5 * z[0] ** 2 - 2.0 * (z[1] - z[0] ** 2) ** 2


@fastvi.target(names={"z": 2})
def two_modes(z):
    left, right = -4.0 * (z[0] + 1.5) ** 2, -4.0 * (z[0] - 1.5) ** 2
    return np.logaddexp(left, right) - 0.5 * z[1] ** 2


@fastvi.target(names={"z": 2})
def funnel(z):
    return -0.5 * (z[1] / 1.2) ** 2 - 0.5 * (z[0] * np.exp(-z[1])) ** 2 - z[1]


targets = {"Gaussian": gaussian, "banana": banana, "two modes": two_modes, "funnel": funnel}
grid = np.stack(np.meshgrid(np.linspace(-4, 4, 150), np.linspace(-4, 4, 150)), axis=-1)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for axis, (name, target) in zip(axes, targets.items()):
    posterior = fastvi.fit(target, random_state=0)
    density = np.exp(target.log_prob(grid.reshape(-1, 2)).reshape(150, 150))
    axis.contourf(grid[..., 0], grid[..., 1], density, levels=8, cmap="Greys")
    axis.scatter(*posterior.sample(300, random_state=0).T, s=3, color="#d55e00")
    axis.set(title=f"{name}: {posterior.verdict.word}", xlim=(-4, 4), ylim=(-4, 4))
    print(f"{name}: {posterior.verdict}")
