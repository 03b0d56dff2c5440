"""
The level of the Nile
=====================

The yearly flow of the Nile at Aswan (1871 to 1970) as a level that moves, and noise: a local level
model. With it the two variances are learned, the level is smoothed, and forecasts follow.
"""

import numpy as np

import fastvi

flow = [
    1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180,
    799, 958, 1140, 1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833,
    701, 916, 692, 1020, 1050, 969, 831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845,
    864, 862, 698, 845, 744, 796, 1040, 759, 781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649,
    846, 812, 742, 801, 1040, 860, 874, 848, 890, 744, 749, 838, 1050, 918, 986, 797, 923, 975, 815,
    1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
]  # fmt: skip
X = np.array(flow, float)[:, None]
level = fastvi.LinearGaussianSSM(
    1, solver="em", transition_matrix=[[1.0]], observation_matrix=[[1.0]],
    observation_offset=[0.0], initial="diffuse",
).fit(X)  # fmt: skip
print("variance of the level's steps:", level.transition_covariance_.round(0))
print("variance of the noise:", level.observation_covariance_.round(0))
fastvi.plots.plot_forecast(level, X, "nile.png", steps=20, past=100)
