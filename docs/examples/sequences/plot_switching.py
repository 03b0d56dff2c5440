"""
A motion that switches
======================

A point moves slowly, then fast, on a circle. Regimes have a transition of their own each; which one
is active is a hidden Markov chain.
"""

import numpy as np

import fastvi

rng = np.random.default_rng(0)
speed = np.repeat([0.05, 0.4, 0.05, 0.4], 60)
angle = np.cumsum(speed)
Y = np.column_stack((np.sin(angle), np.cos(angle))) + 0.05 * rng.normal(size=(240, 2))

model = fastvi.SwitchingSSM(n_regimes=2, n_components=2, random_state=0).fit(Y)
fastvi.plots.plot_states(model, Y, "regimes.png", name="regime")
