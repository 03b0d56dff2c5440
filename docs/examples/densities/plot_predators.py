"""
Hares and lynxes
================

The equations of Lotka and Volterra, fitted to pelts that the Hudson's Bay Company took in
(thousands, 1900 to 1920). The solver of the equations is differentiated together with the density.
"""

import math

import matplotlib.pyplot as plt
import numba
import numpy as np

import fastvi
from fastvi import densities
from fastvi.transforms import positive

hares = [
    30.0, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22.0, 25.4, 27.1, 40.3, 57.0, 76.6, 52.3, 19.5,
    11.2, 7.6, 14.6, 16.2, 24.7,
]  # fmt: skip
lynxes = [
    4.0, 6.1, 9.8, 35.2, 59.4, 41.7, 19.0, 13.0, 8.3, 9.1, 7.4, 8.0, 12.3, 19.5, 45.7, 51.1, 29.7,
    15.8, 9.7, 10.1, 8.6,
]  # fmt: skip
pelts = np.column_stack([hares, lynxes])


@numba.njit
def predation(t, y, rates):
    growth = (rates[0] - rates[1] * y[1]) * y[0]
    return np.array([growth, (rates[3] * y[0] - rates[2]) * y[1]])


@fastvi.target(
    data={"t": np.arange(21.0), "y": pelts},
    names={"rates": positive(4), "initial": positive(2), "sd": positive(2)},
)
def lotka_volterra(z, data):
    rates, initial, sd = z[:4], z[4:6], z[6:]
    value = densities.normal(rates[0], 1.0, 0.5) + densities.normal(rates[2], 1.0, 0.5)
    value += densities.normal(rates[1], 0.05, 0.05) + densities.normal(rates[3], 0.05, 0.05)
    value += densities.lognormal(initial, math.log(10.0), 1.0) + densities.lognormal(sd, -1.0, 1.0)
    path = densities.ode_rk45(predation, initial, 0.0, data.t, rates)
    for k in range(2):
        value += densities.lognormal(data.y[:, k], np.log(path[:, k]), sd[k])
    return value


start = {"rates": [0.5, 0.03, 0.8, 0.03], "initial": [30.0, 4.0], "sd": [0.3, 0.3]}
posterior = fastvi.fit(lotka_volterra, start=start, random_state=0)
draws = posterior.sample_parameters(60, random_state=0)

t = np.linspace(0.0, 20.0, 100)
figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
for rates, initial in zip(draws["rates"], draws["initial"]):
    path = densities.ode_rk45(predation, initial, 0.0, t, rates)
    axis.plot(1900 + t, path[:, 0], color="#0072b2", alpha=0.1)
    axis.plot(1900 + t, path[:, 1], color="#d55e00", alpha=0.1)
axis.plot(range(1900, 1921), hares, "o", color="#0072b2", ms=4, label="hares")
axis.plot(range(1900, 1921), lynxes, "^", color="#d55e00", ms=4, label="lynxes")
axis.set(xlabel="year", ylabel="pelts, thousands")
axis.legend()
