"""Plain twins of `fastvi.kernels.poisson`: float64, one number at a time, bounds by definition.

Components are not padded here; rows are lists of (column, count). A prior is (shape, mean_rate,
rate_shape), as `GammaPrior`: the rate is mean_rate, or Gamma(rate_shape, rate_shape / mean_rate).
"""

import math

import numpy as np
from scipy.integrate import dblquad, quad
from scipy.special import gammaln, logsumexp, psi


def expected_rate(prior, means):
    """E[rate] of the best q(rate)."""
    shape, mean_rate, rate_shape = prior
    if rate_shape == 0:
        return mean_rate
    return (rate_shape + len(means) * shape) / (rate_shape / mean_rate + sum(means))


def log_gamma(shape, rate, log_rate, mean, mean_log):
    """E[log Gamma(x | shape, rate)], given the expectations of rate, log rate, x and log x."""
    return shape * log_rate - gammaln(shape) + (shape - 1) * mean_log - rate * mean


def gamma_entropy(shape, rate):
    return shape - math.log(rate) + gammaln(shape) + (1 - shape) * psi(shape)


def prior_bound(shapes, rates, prior):
    """E[log p(factors, their rate) - log q] for factors ~ Gamma(shapes, rates), best q(rate)."""
    shape, mean_rate, rate_shape = prior
    means = shapes / rates
    total, rate, log_rate = 0.0, mean_rate, math.log(mean_rate)
    if rate_shape > 0:
        a, b = rate_shape + len(means) * shape, rate_shape / mean_rate + sum(means)
        rate, log_rate = a / b, psi(a) - math.log(b)
        b0 = rate_shape / mean_rate
        total = log_gamma(rate_shape, b0, math.log(b0), rate, log_rate) + gamma_entropy(a, b)
    for s, r in zip(shapes, rates):
        total += log_gamma(shape, rate, log_rate, s / r, psi(s) - math.log(r))
        total += gamma_entropy(s, r)
    return total


def column_logs(table, own, shared):
    """E[log beta] (U, K) of q(beta_ik) = Gamma(table_ik, own_i + shared_k)."""
    return psi(table) - np.log(own[:, None] + shared)


def row_step(row, logs, loads, prior, n_iter, gamma, xi, rates):
    """(gamma, xi, rates) after exactly `n_iter` updates of phi and xi, then theta."""
    for _ in range(n_iter):
        log_theta = psi(gamma) - np.log(rates)
        new = np.full(len(gamma), prior[0])
        for column, count in row:
            log_phi = log_theta + logs[column]
            new += count * np.exp(log_phi - logsumexp(log_phi))
        xi = expected_rate(prior, gamma / rates)
        gamma, rates = new, xi + loads
    return gamma, xi, rates


def row_bound(row, logs, loads, prior, gamma, rates):
    """The row's part of the ELBO with phi written out."""
    total = prior_bound(gamma, rates, prior) - (gamma / rates) @ loads
    log_theta = psi(gamma) - np.log(rates)
    for column, count in row:
        log_phi = log_theta + logs[column]
        log_phi -= logsumexp(log_phi)
        total += count * (np.exp(log_phi) * (log_theta + logs[column] - log_phi)).sum()
        total -= gammaln(count + 1)
    return total


def row_shares(row, logs, gamma, rates):
    """count * phi of each entry, (n, K)."""
    log_theta = psi(gamma) - np.log(rates)
    shares = [np.exp(log_theta + logs[i] - logsumexp(log_theta + logs[i])) * y for i, y in row]
    return np.array(shares).reshape(len(row), len(gamma))


def elbo(rows, table, own, shared, gamma, rates, row_prior, column_prior):
    """The whole bound for q(beta) = Gamma(table, own + shared), q(theta) = Gamma(gamma, rates)."""
    column_rates = own[:, None] + shared
    loads, logs = (table / column_rates).sum(axis=0), column_logs(table, own, shared)
    columns = sum(prior_bound(s, r, column_prior) for s, r in zip(table, column_rates))
    return columns + sum(
        row_bound(row, logs, loads, row_prior, g, r) for row, g, r in zip(rows, gamma, rates)
    )


def fit(rows, table, popularity, shared, row_prior, column_prior, n_iter, n_local):
    """Coordinate ascent with fresh local steps; (table, popularity, shared, bounds)."""
    n = table.shape[1]
    bounds = []
    for _ in range(n_iter):
        own = np.zeros(len(table))
        if column_prior[2] > 0:
            own = (column_prior[2] + n * column_prior[0]) / popularity
        column_rates = own[:, None] + shared
        loads, logs = (table / column_rates).sum(axis=0), column_logs(table, own, shared)
        new, thetas, gammas, rates = np.full(table.shape, column_prior[0]), [], [], []
        for row in rows:
            gamma = np.full(n, row_prior[0] + sum(y for _, y in row) / n)
            xi = row_prior[1]
            gamma, xi, rate = row_step(row, logs, loads, row_prior, n_local, gamma, xi, xi + loads)
            for (i, _), share in zip(row, row_shares(row, logs, gamma, rate)):
                new[i] += share
            thetas.append(gamma / rate)
            gammas.append(gamma)
            rates.append(rate)
        bounds.append(elbo(rows, table, own, shared, gammas, rates, row_prior, column_prior))
        if column_prior[2] > 0:
            popularity = column_prior[2] / column_prior[1] + (table / column_rates).sum(axis=1)
            shared = np.zeros(n)
        else:
            shared = np.full(n, float(column_prior[1]))
        table, shared = new, shared + np.sum(thetas, axis=0)
    return table, popularity, shared, bounds


def log_factor_density(x, prior):
    """log p(x) of one factor, its rate integrated out."""
    shape, mean_rate, rate_shape = prior
    if rate_shape == 0:
        return (
            shape * math.log(mean_rate) - gammaln(shape) + (shape - 1) * np.log(x) - mean_rate * x
        )
    b = rate_shape / mean_rate
    constant = gammaln(shape + rate_shape) - gammaln(shape) - gammaln(rate_shape)
    return (
        constant + rate_shape * math.log(b) + (shape - 1) * np.log(x)
        - (shape + rate_shape) * np.log(b + x)
    )  # fmt: skip


def _over_logs(f):
    """The integral of f(x) over x > 0, with x = exp(t)."""
    return quad(lambda t: f(math.exp(t)) * math.exp(t), -60, 25, limit=500, epsrel=1e-8)[0]


def log_evidence_of_one_component(counts, row_prior, column_prior):
    """log p(counts) of one row (I,) with K = 1, by integration over beta_i within theta."""

    def column(y, theta):
        def joint(beta):
            mean = theta * beta
            log_p = y * math.log(mean) - mean - gammaln(y + 1)
            return math.exp(log_p + log_factor_density(beta, column_prior))

        return _over_logs(joint)

    return math.log(
        _over_logs(
            lambda theta: (
                math.exp(log_factor_density(theta, row_prior))
                * math.prod(column(y, theta) for y in counts)
            )
        )
    )


def log_evidence_of_two_components(counts, row_prior, column_prior):
    """log p(counts) of one row with K = 2 and known rates: beta_ik leave negative binomials,
    which are summed over every split of a count; theta_k are integrated.
    """
    c, d, _ = column_prior

    def negative_binomial(y, theta):
        log_p = gammaln(c + y) - gammaln(c) - gammaln(y + 1)
        return math.exp(log_p + c * math.log(d / (d + theta)) + y * math.log(theta / (d + theta)))

    def joint(s, t):
        x, z = math.exp(s), math.exp(t)
        p = math.exp(log_factor_density(x, row_prior) + log_factor_density(z, row_prior) + s + t)
        for y in counts:
            p *= sum(negative_binomial(j, x) * negative_binomial(y - j, z) for j in range(y + 1))
        return p

    return math.log(dblquad(joint, -40, 8, -40, 8, epsabs=0, epsrel=1e-6)[0])
