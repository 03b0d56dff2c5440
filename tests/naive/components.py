"""Plain twin of `kernels/components.py`: mixtures of Gaussians, step by step."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal


def log_prob(Z, log_weights, means, roots):
    """Log densities (n,)."""
    parts = [
        w + multivariate_normal(m, r @ r.T).logpdf(Z).reshape(len(Z))
        for w, m, r in zip(log_weights, means, roots)
    ]
    return logsumexp(parts, axis=0)


def slopes(Z, log_weights, means, roots):
    """Gradients (n, D) of the log densities."""
    out = np.zeros_like(Z)
    for n, z in enumerate(Z):
        parts = np.array(
            [
                w + multivariate_normal(m, r @ r.T).logpdf(z)
                for w, m, r in zip(log_weights, means, roots)
            ]
        )
        shares = np.exp(parts - logsumexp(parts))
        for share, m, r in zip(shares, means, roots):
            out[n] -= share * np.linalg.solve(r @ r.T, z - m)
    return out


def step(log_p, noise, rate, log_weights, means, roots, n_kept=0):
    """One step from noise (h, D): the new parameters, the bound, and the squared natural gradient.

    `log_p(Z)` returns log densities and gradients.
    """
    K, D = means.shape
    eps = np.concatenate((noise, -noise))
    which = np.tile(np.arange(len(noise)) % K, 2)
    Z = means[which] + np.einsum("nij,nj->ni", roots[which], eps)
    values, grads = log_p(Z)
    away = values - log_prob(Z, log_weights, means, roots)
    grads = grads - slopes(Z, log_weights, means, roots)
    heights = np.array([away[which == k].mean() for k in range(K)])
    weights = np.exp(log_weights)
    bound, square = weights @ heights, weights @ (heights - weights @ heights) ** 2
    means, roots = means.copy(), roots.copy()
    for k in range(n_kept, K):
        mine = which == k
        pulled = grads[mine] @ roots[k]
        along, bent = pulled.mean(axis=0), eps[mine].T @ pulled / mine.sum()
        bent = 0.5 * (bent + bent.T)
        square += weights[k] * (along @ along + 0.5 * np.sum(bent**2))
        along = rate * along / max(rate * np.sqrt(along @ along / D) / 2.0, 1.0)
        bent = rate * bent / max(rate * np.linalg.norm(bent, 2), 1.0)
        cov = np.linalg.inv(np.eye(D) - bent + 0.5 * bent @ bent)
        means[k] += roots[k] @ cov @ along
        roots[k] = np.linalg.cholesky(roots[k] @ cov @ roots[k].T)
    log_weights = log_weights + np.clip(rate * (heights - bound), -1.0, 1.0)
    return log_weights - logsumexp(log_weights), means, roots, bound, square
