"""Plain twins of blocks and their gradients: one draw and one block at a time, by scipy.stats."""

import math

import numpy as np
from scipy import stats
from scipy.special import digamma, expit, logsumexp

NAMES = (
    "gaussian", "lognormal", "gamma", "beta", "bernoulli", "categorical", "poisson", "one_hot",
)  # fmt: skip


def parts(layout, values):
    """(kind, numbers as a slice, parameters) of each block."""
    for kind, j, width, p, size in layout:
        yield NAMES[kind], slice(j, j + width), values[p : p + size]


def distribution(kind, v, tau=1.0):
    """The scipy.stats distribution of a block, or its chances for categories."""
    if kind == "gaussian":
        return stats.norm(v[0], math.exp(v[1]) * math.sqrt(tau))
    if kind == "lognormal":
        return stats.lognorm(math.exp(v[1]) * math.sqrt(tau), scale=math.exp(v[0]))
    if kind == "gamma":
        shape = math.exp(v[0]) / tau
        return stats.gamma(shape, scale=math.exp(v[1]) / shape)
    if kind == "beta":
        total = math.exp(v[1]) / tau
        return stats.beta(total * expit(v[0]), total * expit(-v[0]))
    if kind == "bernoulli":
        return stats.bernoulli(expit(v[0] / tau))
    if kind == "poisson":
        rate = math.exp(v[0])
        return stats.poisson(rate) if tau == 1.0 else stats.nbinom(rate / (tau - 1.0), 1.0 / tau)
    return np.exp(v / tau - logsumexp(v / tau))


def log_density(kind, v, z, tau=1.0):
    found = distribution(kind, v, tau)
    if kind in ("categorical", "one_hot"):
        if kind == "one_hot" and sorted(z) != [0.0] * (len(z) - 1) + [1.0]:
            return -math.inf
        c = int(np.argmax(z)) if kind == "one_hot" else z[0]
        return math.log(found[int(c)]) if c in range(len(found)) else -math.inf
    return found.logpmf(z[0]) if kind in ("bernoulli", "poisson") else found.logpdf(z[0])


def log_densities(layout, values, Z, log_tau=None):
    """(n, B)."""
    taus = np.ones(len(layout)) if log_tau is None else np.exp(log_tau)
    return np.array(
        [
            [log_density(k, v, z[at], t) for (k, at, v), t in zip(parts(layout, values), taus)]
            for z in Z
        ]
    ).reshape(len(Z), len(layout))


def draw(layout, values, n, rng):
    """(n, D), in the order in which the kernel asks for random numbers."""
    Z = np.empty((n, layout[:, 2].sum()))
    for z in Z:
        for kind, at, v in parts(layout, values):
            if kind in ("gaussian", "lognormal"):
                x = v[0] + math.exp(v[1]) * rng.standard_normal()
                z[at] = x if kind == "gaussian" else math.exp(x)
            elif kind == "gamma":
                z[at] = math.exp(v[1] - v[0]) * rng.standard_gamma(math.exp(v[0]))
            elif kind == "beta":
                total = math.exp(v[1])
                z[at] = rng.beta(total * expit(v[0]), total * expit(-v[0]))
            elif kind == "poisson":
                z[at] = rng.poisson(math.exp(v[0]))
            elif kind == "bernoulli":
                z[at] = rng.random() < expit(v[0])
            else:
                c = int(
                    np.searchsorted(np.cumsum(distribution(kind, v))[:-1], rng.random(), "right")
                )
                z[at] = c if kind == "categorical" else np.eye(len(v))[c]
    return Z


def moments(layout, values):
    """Mean (D,) and covariance (D, D)."""
    D = layout[:, 2].sum()
    mean, cov = np.empty(D), np.zeros((D, D))
    for kind, at, v in parts(layout, values):
        found = distribution(kind, v)
        if kind == "categorical":
            c = np.arange(len(v))
            mean[at] = found @ c
            cov[at, at] = found @ c**2 - (found @ c) ** 2
        elif kind == "one_hot":
            mean[at], cov[at, at] = found, np.diag(found) - np.outer(found, found)
        else:
            mean[at], cov[at, at] = found.mean(), found.var()
    return mean, cov


def score(kind, v, z):
    """Gradient of the log density by the parameters, as formulas have it."""
    if kind in ("gaussian", "lognormal"):
        x = ((math.log(z[0]) if kind == "lognormal" else z[0]) - v[0]) / math.exp(v[1])
        return np.array([x / math.exp(v[1]), x * x - 1])
    if kind == "gamma":
        a, m = np.exp(v)
        return np.array(
            [a * (math.log(a / m) + 1 - digamma(a) + math.log(z[0]) - z[0] / m), a * (z[0] / m - 1)]
        )
    if kind == "beta":
        c, m = math.exp(v[1]), expit(v[0])
        of_a = math.log(z[0]) - digamma(c * m) + digamma(c)
        of_b = math.log1p(-z[0]) - digamma(c * (1 - m)) + digamma(c)
        return np.array([c * m * (1 - m) * (of_a - of_b), c * (m * of_a + (1 - m) * of_b)])
    if kind in ("bernoulli", "poisson"):
        return np.array([z[0] - (expit(v[0]) if kind == "bernoulli" else math.exp(v[0]))])
    hot = np.eye(len(v))[int(z[0])] if kind == "categorical" else z
    return hot - distribution(kind, v)


def terms(layout, values, Z, weights):
    """weight x score of each draw, (n, P), and the block that each parameter is of, (P,)."""
    rows = [
        np.concatenate([w * score(k, v, z[a]) for (k, a, v), w in zip(parts(layout, values), row)])
        for z, row in zip(Z, weights)
    ]
    block = np.repeat(np.arange(len(layout)), layout[:, 4])
    return np.array(rows).reshape(len(Z), len(values)), block


def gather(layout, values, Z, weights, signals, controlled):
    """The gradient (P,); weights and signals (n, B)."""
    h, block = terms(layout, values, Z, weights)
    n, out = len(Z), np.zeros(len(values))
    for p in range(len(values)):
        f = signals[:, block[p]]
        for s in range(n):
            others = np.arange(n) != s
            squares = h[others, p] ** 2
            a = 0.0
            if controlled and squares.sum() > 1e-10 * (h[:, p] ** 2).sum():
                a = squares @ f[others] / squares.sum()
            elif controlled and n > 1:
                a = f[others].mean()
            out[p] += h[s, p] * (f[s] - a) / n
    return out


def lengths(layout, values, Z, weights, signals, controlled, units):
    h, block = terms(layout, values, Z, weights)
    f = signals[:, block]
    square = (h**2).sum(axis=0)
    a = controlled * np.where(
        square > 0, (h**2 * f).sum(axis=0) / np.where(square > 0, square, 1.0), 0.0
    )
    return np.square(units * h * (f - a)).sum(axis=1)


# Relaxed


def move(layout, values, temperature, eps):
    """(soft, hard), (n, D) each."""
    soft, hard = np.empty_like(eps), np.empty_like(eps)
    for e, x, y in zip(eps, soft, hard):
        for kind, at, v in parts(layout, values):
            if kind == "bernoulli":
                x[at] = expit((v[0] + e[at]) / temperature)
                y[at] = v[0] + e[at] > 0
            elif kind == "one_hot":
                x[at] = np.exp((v + e[at]) / temperature - logsumexp((v + e[at]) / temperature))
                y[at] = np.eye(len(v))[np.argmax(v + e[at])]
            else:
                z = v[0] + math.exp(v[1]) * e[at]
                x[at] = y[at] = np.exp(z) if kind == "lognormal" else z
    return soft, hard


def entropy(layout, values):
    """Nats."""
    total = 0.0
    for kind, _, v in parts(layout, values):
        found = distribution(kind, v)
        total += stats.entropy(found) if kind == "one_hot" else found.entropy()
    return float(total)
