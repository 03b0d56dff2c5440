"""
Which of these draws are right?
===============================

Three sets of 300 draws for the same target: its own, too narrow ones, and ones beside it. The test
by Stein's discrepancy needs only the slope of the log density. Crosses are 12 draws that represent
the first set (Stein thinning).
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi


@fastvi.target(names={"z": 2})
def gaussian(z):
    return -0.5 * z[0] ** 2 - 2.0 * (z[1] - 0.5 * z[0]) ** 2


rng = np.random.default_rng(0)
noise = rng.normal(size=(300, 2))
own = np.c_[noise[:, 0], 0.5 * noise[:, 0] + 0.5 * noise[:, 1]]
sets = {"its own": own, "too narrow": 0.7 * own, "beside it": own + np.array([0.4, 0.0])}

figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
for axis, (name, draws) in zip(axes, sets.items()):
    test = fastvi.ksd_test(gaussian, draws, random_state=0)
    axis.scatter(*draws.T, s=4, color="0.5")
    axis.set_title(f"{name}: p = {test.p_value:.3f}")
few = own[fastvi.stein_thinning(gaussian, own, 12)]
axes[0].scatter(*few.T, marker="x", color="#d55e00")
