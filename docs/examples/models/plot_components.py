"""
How many directions do digits have?
===================================

Bayesian principal components switch off what the data do not need. Images of digits lose their
noise when they are made from what is left.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastvi

X, _ = load_digits(return_X_y=True)
pca = fastvi.BayesianPCA().fit(X)
rng = np.random.default_rng(0)
noisy = X[:8] + 3.0 * rng.normal(size=(8, 64))
cleaned = pca.inverse_transform(pca.transform(noisy))

figure, axes = plt.subplots(2, 8, figsize=(8, 2.4), layout="constrained")
for column in range(8):
    for row, images in enumerate((noisy, cleaned)):
        axes[row, column].imshow(images[column].reshape(8, 8), cmap="Greys", vmin=0, vmax=16)
        axes[row, column].set_axis_off()
figure.suptitle(f"With noise, and from {pca.n_relevant_} components")
