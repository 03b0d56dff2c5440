"""A user's script: a new model (its constant NEW has never been compiled) and a first answer.

It prints the CPU seconds of its process at the end.
"""

import sys
import time

import numpy as np

import fastvi
from fastvi.transforms import positive

NEW = 0.0
Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


@fastvi.target(data={"y": Y, "sigma": SIGMA}, names={"z": 8, "mu": (), "tau": positive()})
def schools(z, data, grad):
    J = data.y.size
    mu, tau = z[J], z[J + 1]
    value = NEW - np.log1p((tau / 5.0) ** 2) - 0.5 * (mu / 5.0) ** 2
    grad[J] = -mu / 25.0
    grad[J + 1] = -2.0 * tau / (25.0 + tau**2)
    for j in range(J):
        e = (data.y[j] - mu - tau * z[j]) / data.sigma[j]
        value -= 0.5 * (e * e + z[j] * z[j])
        grad[j] = e / data.sigma[j] * tau - z[j]
        grad[J] += e / data.sigma[j]
        grad[J + 1] += e / data.sigma[j] * z[j]
    return value


print(fastvi.fit(schools, random_state=0).summary())
assert "sklearn" not in sys.modules
print(time.process_time())
