"""
Particles on their way
======================

Stein variational gradient descent moves 80 particles from a cloud to two curved modes. A callback
sees the particles after each step.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation

import fastvi


@fastvi.target(names={"z": 2})
def smile(z):
    bend = z[1] - 0.5 * z[0] ** 2
    return np.logaddexp(-2.0 * (z[0] - 1.5) ** 2, -2.0 * (z[0] + 1.5) ** 2) - 4.0 * bend**2


start = np.random.default_rng(0).normal(size=(80, 2)) * 0.7 + [0.0, 3.0]
frames = [start]
for _ in range(14):
    moved = fastvi.svgd(smile, 80, max_iter=8, start=frames[-1], verdict=False, random_state=0)
    frames.append(moved.particles)

grid = np.stack(np.meshgrid(np.linspace(-4, 4, 100), np.linspace(-2, 6, 100)), axis=-1)
density = np.exp(smile.log_prob(grid.reshape(-1, 2)).reshape(100, 100))
figure, axis = plt.subplots(figsize=(4.5, 3.6), layout="constrained")
axis.contourf(grid[..., 0], grid[..., 1], density, levels=8, cmap="Greys")
dots = axis.scatter(*start.T, s=10, color="#d55e00")
axis.set(xlim=(-4, 4), ylim=(-2, 6))
animation = FuncAnimation(figure, lambda i: dots.set_offsets(frames[i]), len(frames), interval=200)
