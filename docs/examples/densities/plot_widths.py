"""
Right widths from a mean-field fit
==================================

Independent parameters are too narrow where parameters are correlated. Linear response asks how the
means would move if the target were tilted, and so has the target's covariance.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 6)) @ (np.eye(6) + 0.9)
y = (X @ np.linspace(-1.0, 1.0, 6) + rng.normal(size=80) > 0.0).astype(float)


@fastvi.target(data={"X": X, "y": y}, names={"beta": 6})
def logistic(z, data):
    eta = data.X @ z
    return np.sum(data.y * eta - np.log1p(np.exp(eta))) - 0.5 * np.sum(z**2)


wide = fastvi.fit(logistic, random_state=0)
narrow = fastvi.fit(logistic, "meanfield", method="deterministic", random_state=0)
response = narrow.linear_response()

figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
at = np.arange(6)
axis.bar(at - 0.25, wide.sd, 0.25, label="full rank", color="#0072b2")
axis.bar(at, narrow.sd, 0.25, label="mean field", color="#d55e00", hatch="//")
axis.bar(at + 0.25, response.sd, 0.25, label="its linear response", color="#009e73", hatch="..")
axis.set(xlabel="coefficient", ylabel="standard deviation")
axis.legend()
