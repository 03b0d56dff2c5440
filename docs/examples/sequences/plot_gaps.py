"""
Hidden states with gaps
=======================

Rows may be missing, wholly or in part. Posteriors of states bridge the gap, and become unsure in
it.
"""

import numpy as np

import fastvi

rng = np.random.default_rng(1)
states = np.repeat([0, 1, 0, 2, 1], 60)
X = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])[states] + rng.normal(size=(300, 2))
X[95:135] = np.nan
X[200:230, 1] = np.nan

model = fastvi.GaussianHMM(3, n_iter=100, n_init=5, random_state=0).fit(X)
fastvi.plots.plot_states(model, X, "states.png")
