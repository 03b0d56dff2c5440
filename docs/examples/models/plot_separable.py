"""
Labels that a line separates
============================

Twenty rows whose labels a threshold separates: maximum likelihood has no answer. The bound of
Jaakkola and Jordan is too sure of the slope; expectation propagation is not. The grey band holds 90
% of the curves under the posterior by expectation propagation.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

x = np.linspace(-3.0, 3.0, 20)
y = x > 0.4
grid = np.linspace(-4.0, 4.0, 200)[:, None]
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for solver, colour, style in (("ep", "#0072b2", "-"), ("bound", "#d55e00", "--")):
    model = fastvi.BayesianLogisticRegression(solver=solver).fit(x[:, None], y)
    axis.plot(grid, model.predict_proba(grid)[:, 1], style, color=colour, label=solver)
    sd = np.sqrt(model.sigma_.ravel()[0])
    print(f"{solver}: slope {model.coef_.ravel()[0]:.2f} +- {sd:.2f}")
axis.scatter(x, y, s=15, color="0.3")
axis.set(xlabel="x", ylabel="probability of 1")
axis.legend()
