"""
Who is the best player?
=======================

Two hundred games among eight players, some of them drawn. Expectation propagation has a factor per
game and gives each player a skill with its uncertainty, as TrueSkill does.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi
from fastvi import propagation

rng = np.random.default_rng(0)
skills = np.sort(rng.normal(size=8))
pairs = np.array([rng.choice(8, 2, replace=False) for _ in range(200)])
gap = skills[pairs[:, 0]] - skills[pairs[:, 1]] + rng.normal(size=200)
A = np.zeros((200, 8))
A[np.arange(200), pairs[:, 0]] = 1.0
A[np.arange(200), pairs[:, 1]] = -1.0
result = np.digitize(gap, [-0.5, 0.5])  # 0 lost, 1 drawn, 2 won

games = propagation.linear(A, result, propagation.ordinal(np.array([-0.5, 0.5])))
found = fastvi.ep(games, prior=(0.0, 1.0))

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.errorbar(range(8), found.mean, 2 * found.sd, fmt="o", color="#0072b2", label="posterior, 2 sd")
axis.plot(range(8), skills, "x", color="#d55e00", label="truth")
axis.set(xlabel="player", ylabel="skill")
axis.legend()
