"""
Iterates that are a posterior
=============================

Stochastic gradient descent of constant rate wanders about the mode. With the right rate and
preconditioner its iterates have the covariance of the posterior (Mandt, Hoffman and Blei 2017).
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

rng = np.random.default_rng(0)
X = rng.normal(size=(400, 2)) @ [[1.0, 0.6], [0.0, 0.5]]
y = X @ [1.0, -1.0] + rng.normal(size=400)


@fastvi.target(dim=2, data={"X": X, "y": y}, rows=["X", "y"])
def line(z, data, rows, weights):
    value = -0.005 * (z[0] ** 2 + z[1] ** 2)
    for m in range(rows.size):
        i = rows[m]
        error = data.y[i] - z[0] * data.X[i, 0] - z[1] * data.X[i, 1]
        value -= 0.5 * weights[m] * error**2
    return value


exact = fastvi.fit(line, random_state=0)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharex=True, sharey=True, layout="constrained")
for axis, preconditioner in zip(axes, ("full", "scalar")):
    descent = fastvi.fit(
        line, method="sgd", preconditioner=preconditioner, batch_size=10, tol=0.1, random_state=0
    )
    axis.scatter(*descent.sample(500, random_state=0).T, s=3, color="#0072b2", label="descent")
    for k in (1.0, 2.0):
        circle = np.linspace(0.0, 2.0 * np.pi, 100)
        ring = np.linalg.cholesky(exact.cov) @ [np.cos(circle), np.sin(circle)] * k
        axis.plot(*(exact.mean[:, None] + ring), color="#d55e00")
    axis.set_title(f"preconditioner: {preconditioner}")
