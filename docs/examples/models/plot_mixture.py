"""
How many groups of wines?
=========================

Twelve components are offered to thirteen measurements of 178 wines, whose grapes are not told.
Those that the data do not need get weights near 0. Marks are the three true grapes, colours are
components.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

import fastvi

X, grape = load_wine(return_X_y=True)
X = StandardScaler().fit_transform(X)
mixture = fastvi.BayesianGaussianMixture(
    n_components=12, covariance_type="diag", weight_concentration_prior=0.01, max_iter=500,
    n_init=5, random_state=0,
).fit(X)  # fmt: skip
labels = mixture.predict(X)
Z = fastvi.BayesianPCA(2).fit_transform(X)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.bar(range(12), np.sort(mixture.weights_)[::-1], color="#0072b2")
left.set(xlabel="component", ylabel="weight")
for kind, mark in enumerate("o^s"):
    rows = grape == kind
    right.scatter(*Z[rows].T, c=labels[rows], marker=mark, cmap="tab10", vmin=0, vmax=11, s=25)
right.set(xlabel="first component", ylabel="second component")
