"""
Digits in two dimensions
========================

Two principal components of handwritten digits overlap. A Gaussian process latent variable model
starts from them and bends: digits move apart.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import fastvi

X, y = load_digits(n_class=6, return_X_y=True)
X, y = X[:400], y[:400]
model = fastvi.BayesianGPLVM(2, inducing_points=30, max_iter=200, random_state=0).fit(X)
places = {
    "principal components": PCA(2).fit_transform(X),
    "latent variables": model.embedding_,
}

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for axis, (title, Z) in zip(axes, places.items()):
    for digit in np.unique(y):
        axis.scatter(*Z[y == digit].T, s=6, label=digit)
    axis.set(title=title)
axes[1].legend(fontsize=8, markerscale=2)
