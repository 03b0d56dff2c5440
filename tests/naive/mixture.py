"""Plain twins of the Gaussian mixture: rows one by one, and the bound factor by factor."""

import itertools
import math

import numpy as np
from scipy.special import betaln, digamma, gammaln, multigammaln


def coordinates(X, centre, factor):
    return (X.astype(np.float64) - centre) * factor


def linear(x):
    return [*x, 1.0]


def products(x):
    return [x[i] * x[j] for i in range(len(x)) for j in range(i, len(x))] + linear(x)


def squares(x):
    return [a * a for a in x] + linear(x)


def mean_square(x):
    return [sum(a * a for a in x) / len(x), *linear(x)]


def responsibilities(logits):
    """Of one row's logits (K,): responsibilities, and the log of the sum."""
    top = max(logits)
    parts = [math.exp(a - top) for a in logits]
    total = sum(parts)
    return [p / total for p in parts], top + math.log(total)


# The model, with full matrices whatever the covariance type: one component is (weight parameters,
# kappa, m, nu, A) with q(mu, Lambda) = N(mu | m, (kappa Lambda)^-1) Wishart(Lambda | nu, A^-1).


def expected_log_det(nu, A):
    D = len(A)
    total = sum(digamma((nu - d) / 2) for d in range(D))
    return total + D * math.log(2) - np.linalg.slogdet(A)[1]


def expected_log_weights(counts, concentration, process):
    """E[log pi_k] under the Dirichlet, or under K independent sticks."""
    counts = np.asarray(counts, float)
    if not process:
        alpha = concentration + counts
        return digamma(alpha) - digamma(alpha.sum())
    out, rest = [], 0.0
    for k in range(len(counts)):
        a, b = 1 + counts[k], concentration + counts[k + 1 :].sum()
        out.append(digamma(a) - digamma(a + b) + rest)
        rest += digamma(b) - digamma(a + b)
    return np.array(out)


def log_wishart_norm(nu, A):
    """Log of the constant that makes |L|^((nu-D-1)/2) exp(-tr(A L)/2) integrate to 1."""
    D = len(A)
    log_det = np.linalg.slogdet(A)[1]
    return 0.5 * nu * log_det - 0.5 * nu * D * math.log(2) - multigammaln(nu / 2, D)


def elbo(X, r, components, counts, prior, process):
    """E_q[log p(X, z, pi, mu, Lambda)] - E_q[log q], term by term (Bishop 2006, 10.70 - 10.77).

    `components` are (kappa, m, nu, A), `prior` is (concentration, kappa, m, nu, A).
    """
    concentration, kappa0, m0, nu0, A0 = prior
    D = X.shape[1]
    log_pi = expected_log_weights(counts, concentration, process)
    total = weights_bound(counts, concentration, process, log_pi)
    for k, (kappa, m, nu, A) in enumerate(components):
        W, log_lambda = np.linalg.inv(A), expected_log_det(nu, A)
        for n, x in enumerate(X):
            if r[n, k] > 0:
                away = D / kappa + nu * (x - m) @ W @ (x - m)
                fit = 0.5 * (log_lambda - D * math.log(2 * math.pi) - away)
                total += r[n, k] * (fit + log_pi[k] - math.log(r[n, k]))
        away = D * kappa0 / kappa + kappa0 * nu * (m - m0) @ W @ (m - m0)
        total += 0.5 * (D * math.log(kappa0 / (2 * math.pi)) + log_lambda - away)  # p(mu | Lambda)
        total += log_wishart_norm(nu0, A0) + 0.5 * (nu0 - D - 1) * log_lambda
        total -= 0.5 * nu * np.trace(A0 @ W)
        total -= 0.5 * (log_lambda + D * math.log(kappa / (2 * math.pi)) - D)  # q(mu | Lambda)
        total -= log_wishart_norm(nu, A) + 0.5 * (nu - D - 1) * log_lambda - 0.5 * nu * D
    return total


def weights_bound(counts, concentration, process, log_pi):
    """E_q[log p(pi) - log q(pi)]."""
    K, counts, total = len(counts), np.asarray(counts, float), 0.0
    if not process:
        alpha = counts + concentration
        total += gammaln(K * concentration) - K * gammaln(concentration)
        total -= gammaln(alpha.sum()) - gammaln(alpha).sum()
        return total + (concentration - 1) * log_pi.sum() - ((alpha - 1) * log_pi).sum()
    for k in range(K):
        a, b = 1 + counts[k], concentration + counts[k + 1 :].sum()
        log_v, log_rest = digamma(a) - digamma(a + b), digamma(b) - digamma(a + b)
        total += (concentration - 1) * log_rest - betaln(1, concentration)
        total -= (a - 1) * log_v + (b - 1) * log_rest - betaln(a, b)
    return total


def full_posterior(X, r, prior, reg=0.0):
    """The unrestricted optimum of q(mu, Lambda) for responsibilities: list of (kappa, m, nu, A)."""
    _, kappa0, m0, nu0, A0 = prior
    out = []
    for k in range(r.shape[1]):
        n = r[:, k].sum()
        kappa, nu = kappa0 + n, nu0 + n
        m = (kappa0 * m0 + r[:, k] @ X) / kappa
        A = A0 + kappa0 * np.outer(m0, m0) - kappa * np.outer(m, m) + reg * n * np.eye(len(m0))
        for weight, x in zip(r[:, k], X):
            A = A + weight * np.outer(x, x)
        out.append((kappa, m, nu, A))
    return out


def restrict(components, covariance_type):
    """The optimum where the q(Lambda) are diagonal, spherical or all the same."""
    if covariance_type == "full":
        return components
    D, K = len(components[0][1]), len(components)
    if covariance_type == "tied":
        nu = sum(c[2] for c in components) / K
        A = sum(c[3] for c in components) / K
        return [(kappa, m, nu, A) for kappa, m, _, _ in components]
    if covariance_type == "diag":
        return [(kappa, m, nu, np.diag(np.diag(A))) for kappa, m, nu, A in components]
    return [(kappa, m, nu, np.trace(A) / D * np.eye(D)) for kappa, m, nu, A in components]


def expectation(X, components, counts, prior, process):
    """Responsibilities (n, K) and log-normalisers (n,)."""
    D = X.shape[1]
    log_pi = expected_log_weights(counts, prior[0], process)
    r, norm = [], []
    for x in X:
        logits = []
        for k, (kappa, m, nu, A) in enumerate(components):
            away = D / kappa + nu * (x - m) @ np.linalg.solve(A, x - m)
            fit = expected_log_det(nu, A) - D * math.log(2 * math.pi) - away
            logits.append(log_pi[k] + 0.5 * fit)
        row, total = responsibilities(logits)
        r.append(row)
        norm.append(total)
    return np.array(r), np.array(norm)


def fit(X, r, prior, process, covariance_type, n_iter, reg=0.0):
    """Coordinate ascent from responsibilities; components, counts, and bounds after each E step."""
    bounds = []
    for _ in range(n_iter + 1):
        counts = r.sum(axis=0)
        components = restrict(full_posterior(X, r, prior, reg), covariance_type)
        r, _ = expectation(X, components, counts, prior, process)
        bounds.append(elbo(X, r, components, counts, prior, process))
    return components, counts, r, bounds


def log_marginal(X, prior):
    """Log density of rows that share one component, (mu, Lambda) integrated out."""
    _, kappa0, _, nu0, A0 = prior
    n, D = X.shape
    kappa, _, nu, A = full_posterior(X, np.ones((n, 1)), prior)[0]
    total = log_wishart_norm(nu0, A0) - log_wishart_norm(nu, A)
    return total + 0.5 * D * (math.log(kappa0 / kappa) - n * math.log(2 * math.pi))


def log_evidence(X, K, prior, process):
    """Sum over all assignments; those of the process are partitions, as there is no last stick."""
    n, concentration, terms = len(X), prior[0], []
    for z in itertools.product(range(n if process else K), repeat=n):
        z = np.array(z)
        sizes = np.bincount(z)
        if process:
            first = [np.flatnonzero(z == k)[0] if np.any(z == k) else None for k in range(n)]
            used = [f for f in first if f is not None]
            if None in first[: len(used)] or used != sorted(used):
                continue  # another name for a partition seen elsewhere
            log_p = gammaln(concentration) - gammaln(concentration + n)
            log_p += sum(math.log(concentration) + gammaln(c) for c in sizes if c)
        else:
            alpha = concentration + np.bincount(z, minlength=K)
            log_p = gammaln(K * concentration) - gammaln(K * concentration + n)
            log_p += gammaln(alpha).sum() - K * gammaln(concentration)
        log_p += sum(log_marginal(X[z == k], prior) for k in range(len(sizes)) if sizes[k])
        terms.append(log_p)
    return np.logaddexp.reduce(terms)
