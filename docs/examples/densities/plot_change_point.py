"""
When did the rate change?
=========================

The model of a change point sums over the time of the change, so that its density is smooth. Counts
are yearly disasters in British coal mines (Jarrett 1979).
"""

import math

import matplotlib.pyplot as plt
import numba
import numpy as np

import fastvi
from fastvi import densities
from fastvi.transforms import positive

counts = np.array([
    4, 5, 4, 0, 1, 4, 3, 4, 0, 6, 3, 3, 4, 0, 2, 6, 3, 3, 5, 4, 5, 3, 1, 4, 4, 1, 5, 5, 3, 4, 2, 5,
    2, 2, 3, 4, 2, 1, 3, 2, 2, 1, 1, 1, 1, 3, 0, 0, 1, 0, 1, 1, 0, 0, 3, 1, 0, 3, 2, 2, 0, 1, 1, 1,
    0, 1, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 1, 1, 0, 2, 3, 3, 1, 1, 2, 1, 1, 1, 1, 2, 4, 2, 0, 0, 1, 4,
    0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1,
], float)  # fmt: skip
years = 1851 + np.arange(counts.size)


@numba.njit
def by_time(counts, early, late):
    """Log density of all counts, for each time of the change."""
    value = np.empty(counts.size)
    before, after = 0.0, densities.poisson(counts, late)
    for t in range(counts.size):
        value[t] = before + after
        before += densities.poisson(counts[t], early)
        after -= densities.poisson(counts[t], late)
    return value


@fastvi.target(data={"counts": counts}, names={"early": positive(), "late": positive()})
def change(z, data):
    prior = densities.exponential(z, 0.2) - math.log(data.counts.size)
    return prior + densities.log_sum_exp(by_time(data.counts, z[0], z[1]))


posterior = fastvi.fit(change, random_state=0)
print(posterior)
draws = posterior.sample_parameters(300, random_state=0)
logs = np.array([by_time(counts, *rates) for rates in zip(draws["early"], draws["late"])])
weights = np.exp(logs - logs.max(axis=1, keepdims=True))
probability = (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)

figure, (above, below) = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
above.bar(years, counts, color="0.7")
above.set_ylabel("disasters")
below.bar(years, probability, color="#0072b2")
below.set(ylabel="probability of the change", xlabel="year")
