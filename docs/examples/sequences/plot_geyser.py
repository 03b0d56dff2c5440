"""
States of a geyser
==================

Eruptions like those of Old Faithful, made up: after a short one the next comes soon, after a long
one late, and two short ones never follow each other. A hidden Markov model finds the states and
their order.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

rng = np.random.default_rng(0)
kind = [1]
for _ in range(271):
    kind.append(1 if kind[-1] == 0 else int(rng.uniform() < 0.45))
kind = np.array(kind)
X = np.array([[2.0, 54.0], [4.3, 80.0]])[kind] + rng.normal(size=(272, 2)) * [0.35, 6.0]

model = fastvi.VariationalGaussianHMM(5, covariance_type="full", n_iter=300, random_state=0).fit(X)
model = model.prune(X)
states = model.predict(X)
print(model.n_components, "states; transitions:\n", model.transmat_.round(2))

figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
for state in range(model.n_components):
    rows = states == state
    axis.scatter(*X[rows].T, s=12, marker="o^sv"[state % 4], label=f"state {state}")
axis.set(xlabel="duration, minutes", ylabel="wait until the next, minutes")
axis.legend()
