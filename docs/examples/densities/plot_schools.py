"""
Eight schools, centred and non-centred
======================================

The same model written in two ways (Rubin 1981). One Gaussian fits the non-centred form; the centred
one is a funnel, and the verdict of its fit says so.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi
from fastvi import densities
from fastvi.transforms import positive

schools = {
    "y": np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
    "sigma": np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
}


@fastvi.target(data=schools, names={"mu": (), "tau": positive(), "theta": 8})
def centred(z, data):
    mu, tau, theta = z[0], z[1], z[2:]
    prior = densities.normal(mu, 0.0, 5.0) + densities.half_cauchy(tau, 5.0)
    return prior + densities.normal(theta, mu, tau) + densities.normal(data.y, theta, data.sigma)


@fastvi.target(data=schools, names={"mu": (), "tau": positive(), "eta": 8})
def noncentred(z, data):
    mu, tau, eta = z[0], z[1], z[2:]
    prior = densities.normal(mu, 0.0, 5.0) + densities.half_cauchy(tau, 5.0)
    prior += densities.normal(eta, 0.0, 1.0)
    return prior + densities.normal(data.y, mu + tau * eta, data.sigma)


figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
for axis, model, form in zip(axes, (centred, noncentred), ("centred", "non-centred")):
    posterior = fastvi.fit(model, random_state=0)
    draws = posterior.sample_parameters(2000, random_state=0)
    theta = draws.get("theta")
    if theta is None:
        theta = draws["mu"][:, None] + draws["tau"][:, None] * draws["eta"]
    axis.scatter(theta[:, 0], np.log(draws["tau"]), s=2, color="#0072b2", alpha=0.5)
    axis.set(xlabel="effect of the first school", xlim=(-25, 45))
    axis.set_title(f"{form}: {posterior.verdict.word}")
axes[0].set_ylabel("log tau")
