"""Plain twins of the log densities in `posteriors.py`: free numbers in, by SciPy's densities."""

import numpy as np
from scipy.special import expit, logsumexp
from scipy.stats import beta, cauchy, norm


def half_cauchy(x, scale):
    return np.log(2) + cauchy.logpdf(x, 0, scale)


def linear(X, y, b, log_sigma):
    """Flat priors; with the Jacobian of sigma = exp(log_sigma)."""
    return norm.logpdf(y, X @ b, np.exp(log_sigma)).sum() + log_sigma


def earnings(z, data):
    return linear(data["X"], data["y"], z[:-1], z[-1])


nes = earnings


def kidiq(z, data):
    return earnings(z, data) + half_cauchy(np.exp(z[-1]), 2.5)


def sblrc(z, data):
    prior = norm.logpdf(z[:-1], 0, 10).sum() + np.log(2) + norm.logpdf(np.exp(z[-1]), 0, 10)
    return earnings(z, data) + prior


def ark(z, data):
    y, K = data["y"], data["K"]
    X = np.array([[1, *(y[t - k] for k in range(1, K + 1))] for t in range(K, len(y))])
    prior = norm.logpdf(z[:-1], 0, 10).sum() + half_cauchy(np.exp(z[-1]), 2.5)
    return linear(X, y[K:], z[:-1], z[-1]) + prior


def schools(z, data):
    effects, mu, tau = z[:-2], z[-2], np.exp(z[-1])
    likelihood = norm.logpdf(data["y"], mu + tau * effects, data["sigma"]).sum()
    return (
        likelihood
        + norm.logpdf(effects).sum()
        + norm.logpdf(mu, 0, 5)
        + (half_cauchy(tau, 5) + z[-1])
    )


def mixture(z, data):
    mu = np.array([z[0], z[0] + np.exp(z[1])])
    sigma, theta = np.exp(z[2:4]), expit(z[4])
    jacobian = z[1] + z[2] + z[3] + np.log(theta * (1 - theta))
    prior = norm.logpdf(mu, 0, 2).sum() + (np.log(2) + norm.logpdf(sigma, 0, 2)).sum()
    parts = np.log([theta, 1 - theta])[:, None] + norm.logpdf(
        data["y"], mu[:, None], sigma[:, None]
    )
    return jacobian + prior + beta.logpdf(theta, 5, 5) + logsumexp(parts, axis=0).sum()


def hidden_markov(z, data):
    stay = expit(z[:2])
    transition = np.array([[stay[0], 1 - stay[0]], [stay[1], 1 - stay[1]]])
    mu = np.cumsum(np.exp(z[2:]))
    jacobian = np.log(stay * (1 - stay)).sum() + z[2:].sum()
    total = norm.logpdf(mu, [3, 10], 1).sum() + jacobian
    alpha = norm.logpdf(data["y"][0], mu)
    for y in data["y"][1:]:
        alpha = logsumexp(alpha[:, None] + np.log(transition), axis=0) + norm.logpdf(y, mu)
    return total + logsumexp(alpha)


TWINS = {
    "arK-arK": ark,
    "earnings-logearn_interaction": earnings,
    "eight_schools-eight_schools_noncentered": schools,
    "hmm_example-hmm_example": hidden_markov,
    "kidiq-kidscore_interaction": kidiq,
    "low_dim_gauss_mix-low_dim_gauss_mix": mixture,
    "nes1996-nes": nes,
    "sblrc-blr": sblrc,
}
