"""Plain twins of the log densities in `posteriors.py`: free numbers in, by SciPy's densities."""

import numpy as np
from scipy.special import expit, logsumexp
from scipy.stats import beta, cauchy, gamma, multivariate_normal, norm


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


def centred(z, data):
    theta, mu, tau = z[:-2], z[-2], np.exp(z[-1])
    likelihood = norm.logpdf(data["y"], theta, data["sigma"]).sum()
    prior = norm.logpdf(theta, mu, tau).sum() + norm.logpdf(mu, 0, 5)
    return likelihood + prior + half_cauchy(tau, 5) + z[-1]


def garch(z, data):
    """The Jacobian of beta1 = share (1 - alpha1) is that of both logits, and 1 - alpha1."""
    y, mu, alpha0, alpha1, share = data["y"], z[0], np.exp(z[1]), expit(z[2]), expit(z[3])
    variances = [data["sigma1"] ** 2]
    for before in y[:-1]:
        shock = (before - mu) ** 2
        variances.append(alpha0 + alpha1 * shock + share * (1 - alpha1) * variances[-1])
    jacobian = (
        z[1] + np.log(alpha1 * (1 - alpha1)) + np.log(share * (1 - share)) + np.log1p(-alpha1)
    )
    return norm.logpdf(y, mu, np.sqrt(variances)).sum() + jacobian


def gaussian_process(z, data):
    rho, alpha, sigma = np.exp(z)
    x, y = data["x"], data["y"]
    K = alpha**2 * np.exp(-0.5 * ((x[:, None] - x) / rho) ** 2) + sigma * np.eye(len(x))
    prior = gamma.logpdf(rho, 25, scale=1 / 4) + 2 * np.log(2)
    prior += norm.logpdf(alpha, 0, 2) + norm.logpdf(sigma, 0, 1)
    return multivariate_normal(np.zeros(len(x)), K).logpdf(y) + prior + z.sum()


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
    "eight_schools-eight_schools_centered": centred,
    "garch-garch11": garch,
    "gp_pois_regr-gp_regr": gaussian_process,
    "eight_schools-eight_schools_noncentered": schools,
    "hmm_example-hmm_example": hidden_markov,
    "kidiq-kidscore_interaction": kidiq,
    "low_dim_gauss_mix-low_dim_gauss_mix": mixture,
    "nes1996-nes": nes,
    "sblrc-blr": sblrc,
}
