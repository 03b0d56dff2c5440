"""
Features that rows have or lack
===============================

Each image is the sum of some of four shapes and noise. A mixture would need a component for each of
the sixteen combinations; binary features find the shapes.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

shapes = np.zeros((4, 6, 6))
shapes[0, 0:3, 1] = shapes[0, 1, 0:3] = 1.0  # a plus
shapes[1, 0:2, 4:6] = 1.0  # a square
shapes[2, 3:6, 0:3] = np.eye(3)  # a diagonal
shapes[3, 3:6, 4] = shapes[3, 5, 3:6] = 1.0  # a corner
rng = np.random.default_rng(0)
X = rng.integers(2, size=(150, 4)) @ shapes.reshape(4, 36) + 0.4 * rng.normal(size=(150, 36))

model = fastvi.BetaBernoulliFeatures(random_state=0).fit(X)
figure, axes = plt.subplots(2, 5, figsize=(7, 3), layout="constrained")
for axis, image in zip(axes[0], X):
    axis.imshow(image.reshape(6, 6), cmap="Greys", vmin=-0.5, vmax=1.5)
for axis, image, share in zip(axes[1], model.components_, model.usage_):
    axis.imshow(image.reshape(6, 6), cmap="Greys", vmin=-0.5, vmax=1.5)
    axis.set_title(f"in {100 * share:.0f} %", fontsize=9)
for axis in axes.flat:
    axis.set_axis_off()
figure.suptitle(f"Five rows, and the {model.n_components_} features found")
