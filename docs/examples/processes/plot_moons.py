"""
Probabilities of classes
========================

Expectation propagation on two half moons: probabilities go back to 1/2 away from the data.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

import fastvi

X, y = make_moons(120, noise=0.2, random_state=0)
model = fastvi.GaussianProcessClassifier(ConstantKernel() * RBF([1.0, 1.0])).fit(X, y)
a, b = np.meshgrid(np.linspace(-2.5, 3.5, 80), np.linspace(-2, 2.5, 80))
p = model.predict_proba(np.c_[a.ravel(), b.ravel()])[:, 1].reshape(a.shape)

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
shades = axis.contourf(a, b, p, levels=np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.8)
axis.contour(a, b, p, levels=[0.5], colors="black")
axis.scatter(*X[y == 0].T, s=14, marker="o", color="#08306b")
axis.scatter(*X[y == 1].T, s=18, marker="^", color="#67000d")
figure.colorbar(shades, label="probability of a triangle")
