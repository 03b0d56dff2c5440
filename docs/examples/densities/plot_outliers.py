"""
Rows that do not belong
=======================

A tenth of the rows are wrong. `reweighted_fit` finds weights of rows together with the posterior;
the circle around a row grows as its weight falls.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

rng = np.random.default_rng(0)
x = rng.uniform(-2.0, 2.0, 100)
y = 1.0 + 2.0 * x + 0.3 * rng.normal(size=100)
y[:10] += rng.uniform(4.0, 8.0, 10)


@fastvi.target(data={"x": x, "y": y}, names={"alpha": (), "beta": ()}, rows=["x", "y"])
def line(z, data, rows, weights):
    value = -0.005 * (z[0] ** 2 + z[1] ** 2)
    for m in range(rows.size):
        i = rows[m]
        error = (data.y[i] - z[0] - z[1] * data.x[i]) / 0.3
        value += weights[m] * (-0.5 * error**2 - np.log(0.3) - 0.5 * np.log(2.0 * np.pi))
    return value


plain = fastvi.fit(line, random_state=0)
robust = fastvi.reweighted_fit(line, random_state=0)
weight = robust.row_weights_

figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
axis.scatter(x, y, s=8, color="0.3")
axis.scatter(x, y, s=150 * (1 - weight / weight.max()), facecolors="none", edgecolors="#d55e00")
for fitted, style, label in ((plain, "--", "all rows alike"), (robust.posterior, "-", "weights")):
    alpha, beta = fitted.mean
    axis.plot([-2, 2], [alpha - 2 * beta, alpha + 2 * beta], style, color="#0072b2", label=label)
axis.legend()
