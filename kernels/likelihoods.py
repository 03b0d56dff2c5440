"""Expected log-likelihoods under latent Gaussians, with derivatives by means and variances.

For one latent f ~ N(m, v) per row and g(f) = log p(y | f): E[g], d/dm E[g] = E[g'] and d/dv E[g] =
E[g' (f - m)] / (2 v), by Gauss-Hermite quadrature or in closed form.
Shapes: n rows, T latents, S draws, Q nodes.
"""

import math

import numpy as np

from ._jit import kernel
from .special import exp, gammaln, log

LOGIT, PROBIT, STUDENT = 0, 1, 2
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
ROOT_HALF = math.sqrt(0.5)
TAIL = -3.0  # below it the normal distribution function is a continued fraction of 40 terms


@kernel
def _log_normal_cdf(x):
    """(log Phi(x), phi(x) / Phi(x))."""
    if x > TAIL:
        cdf = 0.5 * math.erfc(-x * ROOT_HALF)
        return math.log(cdf), math.exp(-0.5 * x * x - HALF_LOG_2PI) / cdf
    ratio = -x
    for k in range(40, 0, -1):
        ratio = -x + k / ratio
    return -0.5 * x * x - HALF_LOG_2PI - math.log(ratio), ratio


@kernel
def _derivatives(kind, y, f, noise, df):
    """(g, g', derivative of g with respect to log noise), without the constants of g."""
    if kind == LOGIT:
        sign = 1.0 if y > 0 else -1.0
        a = sign * f
        small = exp(-abs(a))
        other = (small if a > 0 else 1.0) / (1.0 + small)  # 1 - sigma(a)
        return min(a, 0.0) - log(1.0 + small), sign * other, 0.0
    if kind == PROBIT:
        sign = 1.0 if y > 0 else -1.0
        value, hazard = _log_normal_cdf(sign * f)
        return value, sign * hazard, 0.0
    r = y - f
    scale = df * noise
    total = scale + r * r
    by_noise = 0.5 * ((df + 1.0) * (r * r) / total - 1.0)
    value = -0.5 * (df + 1.0) * log(total / scale) - 0.5 * log(noise)
    return value, (df + 1.0) * r / total, by_noise


@kernel
def quadrature(kind, y, mean, variance, noise, df, nodes, weights, out):
    """Expectations by nodes (Q,) and weights (Q,) of the standard normal.

    y, mean, variance (n,); out (4, n): E[g], its derivatives by mean, variance and log noise, which
    are those of the quadrature itself. Where g is concave, the one by the variance is never > 0.
    """
    constant = 0.0
    if kind == STUDENT:
        constant = gammaln(0.5 * (df + 1.0)) - gammaln(0.5 * df) - 0.5 * log(df * math.pi)
    for i in range(mean.size):
        root = np.sqrt(variance[i])
        e0, e1, e2, e3 = constant, 0.0, 0.0, 0.0
        for q in range(nodes.size):
            g, slope, by_noise = _derivatives(kind, y[i], mean[i] + root * nodes[q], noise, df)
            e0 += weights[q] * g
            e1 += weights[q] * slope
            e2 += weights[q] * nodes[q] * slope
            e3 += weights[q] * by_noise
        out[0, i], out[1, i], out[2, i], out[3, i] = e0, e1, 0.5 * e2 / root, e3


@kernel
def gaussian(y, mean, variance, noise, out):
    """As `quadrature`, for y ~ N(f, noise)."""
    constant = -HALF_LOG_2PI - 0.5 * log(noise)
    for i in range(mean.size):
        r = y[i] - mean[i]
        square = (r * r + variance[i]) / noise
        out[0, i], out[1, i] = constant - 0.5 * square, r / noise
        out[2, i], out[3, i] = -0.5 / noise, 0.5 * (square - 1.0)


@kernel
def poisson(y, mean, variance, out):
    """As `quadrature`, for y ~ Poisson(exp(f))."""
    for i in range(mean.size):
        rate = exp(mean[i] + 0.5 * variance[i])
        out[0, i] = y[i] * mean[i] - rate - gammaln(y[i] + 1.0)
        out[1, i], out[2, i], out[3, i] = y[i] - rate, -0.5 * rate, 0.0


@kernel
def _softmax(f, p):
    """Out p (T,); returns the log-sum-exp of f (T,)."""
    largest = f[0]
    for t in range(f.size):
        largest = f[t] if f[t] > largest else largest
    total = 0.0
    for t in range(f.size):
        total += exp(f[t] - largest)
    for t in range(f.size):
        p[t] = exp(f[t] - largest) / total
    return largest + log(total)


@kernel
def softmax(labels, mean, variance, draws, value, by_mean, by_variance):
    """E[f_y - log sum exp f] over draws (n, S, T) of standard normals.

    labels (n,) int64; mean, variance (n, T); out value (n,), by_mean, by_variance (n, T).
    """
    n, n_draws, n_latents = draws.shape
    f, p = np.empty(n_latents), np.empty(n_latents)
    for i in range(n):
        value[i] = 0.0
        by_mean[i] = 0.0
        by_variance[i] = 0.0
        for s in range(n_draws):
            for t in range(n_latents):
                f[t] = mean[i, t] + np.sqrt(variance[i, t]) * draws[i, s, t]
            value[i] += (f[labels[i]] - _softmax(f, p)) / n_draws
            for t in range(n_latents):
                by_mean[i, t] -= p[t] / n_draws
                by_variance[i, t] -= 0.5 * p[t] * (1.0 - p[t]) / n_draws
        by_mean[i, labels[i]] += 1.0


@kernel
def softmax_probabilities(mean, variance, draws, out):
    """Out (n, T) = E[softmax(f)] over draws (S, T), the same for every row."""
    n_draws, n_latents = draws.shape
    f, p = np.empty(n_latents), np.empty(n_latents)
    for i in range(mean.shape[0]):
        out[i] = 0.0
        for s in range(n_draws):
            for t in range(n_latents):
                f[t] = mean[i, t] + np.sqrt(variance[i, t]) * draws[s, t]
            _softmax(f, p)
            for t in range(n_latents):
                out[i, t] += p[t] / n_draws
