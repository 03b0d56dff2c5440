"""Posteriors of posteriordb as targets: (log density, data, names) by the name of its folder.

Models: the MODEL.md beside each data set. Constants are kept, so that values equal Stan's.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numba
import numpy as np

import fastvi
from fastvi.transforms import bounded, ordered, positive, positive_ordered, simplex

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def regression(z, data, rows, weights, grad):
    """y ~ N(X beta, sigma); beta ~ N(0, sd); sigma ~ Half-Cauchy(0, scale) or N+(0, sigma_sd).

    An infinite scale is a flat prior.
    """
    X, y = data.X, data.y
    d = z.size - 1
    sigma = z[d]
    value = 0.0
    if data.beta_sd < np.inf:
        for j in range(d):
            value -= 0.5 * (z[j] / data.beta_sd) ** 2 + HALF_LOG_2PI + math.log(data.beta_sd)
            grad[j] -= z[j] / data.beta_sd**2
    if data.sigma_scale < np.inf:
        ratio = sigma / data.sigma_scale
        value += math.log(2.0 / (math.pi * data.sigma_scale)) - math.log1p(ratio * ratio)
        grad[d] -= 2.0 * ratio / (data.sigma_scale * (1.0 + ratio * ratio))
    if data.sigma_sd < np.inf:
        ratio = sigma / data.sigma_sd
        value += math.log(2.0) - HALF_LOG_2PI - math.log(data.sigma_sd) - 0.5 * ratio * ratio
        grad[d] -= ratio / data.sigma_sd
    for m in range(rows.size):
        i, weight = rows[m], weights[m]
        mean = 0.0
        for j in range(d):
            mean += X[i, j] * z[j]
        e = (y[i] - mean) / sigma
        value += weight * (-0.5 * e * e - math.log(sigma) - HALF_LOG_2PI)
        for j in range(d):
            grad[j] += weight * e / sigma * X[i, j]
        grad[d] += weight * (e * e - 1.0) / sigma
    return value


def logistic(z, data, grad):
    """beta ~ N(0, 1), y in {0, 1} by logits X beta."""
    value = 0.0
    for j in range(z.size):
        value -= 0.5 * z[j] * z[j] + HALF_LOG_2PI
        grad[j] = -z[j]
    for i in range(data.y.size):
        logit = 0.0
        for j in range(z.size):
            logit += data.X[i, j] * z[j]
        decay = math.exp(-abs(logit))
        value += data.y[i] * logit - max(logit, 0.0) - math.log1p(decay)
        probability = (1.0 if logit >= 0 else decay) / (1.0 + decay)
        for j in range(z.size):
            grad[j] += (data.y[i] - probability) * data.X[i, j]
    return value


def autoregression(z, data, grad):
    """AR(K): z = alpha, beta (K), sigma."""
    y, K = data.y, data.K
    sigma = z[K + 1]
    value = math.log(2.0 / (math.pi * 2.5)) - math.log1p((sigma / 2.5) ** 2)
    grad[K + 1] = -2.0 * sigma / (2.5**2 + sigma**2)
    for j in range(K + 1):
        value -= 0.5 * (z[j] / 10.0) ** 2 + math.log(10.0) + HALF_LOG_2PI
        grad[j] -= z[j] / 100.0
    for t in range(K, y.size):
        mean = z[0]
        for j in range(K):
            mean += z[j + 1] * y[t - 1 - j]
        e = (y[t] - mean) / sigma
        value -= 0.5 * e * e + math.log(sigma) + HALF_LOG_2PI
        grad[0] += e / sigma
        for j in range(K):
            grad[j + 1] += e / sigma * y[t - 1 - j]
        grad[K + 1] += (e * e - 1.0) / sigma
    return value


@numba.njit
def of_all_schools(mu, tau, grad):
    """mu ~ N(0, 5), tau ~ Half-Cauchy(0, 5)."""
    grad[0] = -mu / 25.0
    grad[1] = -2.0 * tau / (25.0 + tau**2)
    value = math.log(2.0 / (math.pi * 5.0)) - math.log1p((tau / 5.0) ** 2)
    return value - (0.5 * (mu / 5.0) ** 2 + math.log(5.0) + HALF_LOG_2PI)


def schools(z, data, grad):
    """Non-centred: z = standardized effects (J), mu, tau."""
    J = data.y.size
    mu, tau = z[J], z[J + 1]
    value = of_all_schools(mu, tau, grad[J:])
    for j in range(J):
        e = (data.y[j] - mu - tau * z[j]) / data.sigma[j]
        value -= 0.5 * (e * e + z[j] * z[j]) + math.log(data.sigma[j]) + 2.0 * HALF_LOG_2PI
        grad[j] = e / data.sigma[j] * tau - z[j]
        grad[J] += e / data.sigma[j]
        grad[J + 1] += e / data.sigma[j] * z[j]
    return value


def mixture(z, data, grad):
    """Two normals: z = mu (2, ordered), sigma (2), theta."""
    theta = z[4]
    value = math.lgamma(10.0) - 2.0 * math.lgamma(5.0)
    value += 4.0 * math.log(theta) + 4.0 * math.log(1.0 - theta)
    grad[4] = 4.0 / theta - 4.0 / (1.0 - theta)
    for k in range(2):
        value -= 0.5 * (z[k] / 2.0) ** 2 + 0.5 * (z[2 + k] / 2.0) ** 2
        value -= 2.0 * (HALF_LOG_2PI + math.log(2.0)) - math.log(2.0)
        grad[k] = -z[k] / 4.0
        grad[2 + k] = -z[2 + k] / 4.0
    for i in range(data.y.size):
        e = (data.y[i] - z[0]) / z[2]
        f = (data.y[i] - z[1]) / z[3]
        first = math.log(theta) - 0.5 * e * e - math.log(z[2]) - HALF_LOG_2PI
        second = math.log(1.0 - theta) - 0.5 * f * f - math.log(z[3]) - HALF_LOG_2PI
        largest = max(first, second)
        total = largest + math.log(math.exp(first - largest) + math.exp(second - largest))
        value += total
        share, rest = math.exp(first - total), math.exp(second - total)
        grad[0] += share * e / z[2]
        grad[1] += rest * f / z[3]
        grad[2] += share * (e * e - 1.0) / z[2]
        grad[3] += rest * (f * f - 1.0) / z[3]
        grad[4] += share / theta - rest / (1.0 - theta)
    return value


def hidden_markov(z, data):
    """Two states of unit sd: z = rows of the transition matrix (2 x 2), mu (2). No gradient."""
    y = data.y
    value = -0.5 * (z[4] - 3.0) ** 2 - 0.5 * (z[5] - 10.0) ** 2 - 2.0 * HALF_LOG_2PI
    first = -0.5 * (y[0] - z[4]) ** 2 - HALF_LOG_2PI
    second = -0.5 * (y[0] - z[5]) ** 2 - HALF_LOG_2PI
    for t in range(1, y.size):
        largest = max(first, second)
        a, b = math.exp(first - largest), math.exp(second - largest)
        first = largest + math.log(a * z[0] + b * z[2]) - 0.5 * (y[t] - z[4]) ** 2 - HALF_LOG_2PI
        second = largest + math.log(a * z[1] + b * z[3]) - 0.5 * (y[t] - z[5]) ** 2 - HALF_LOG_2PI
    largest = max(first, second)
    return value + largest + math.log(math.exp(first - largest) + math.exp(second - largest))


def schools_centred(z, data, grad):
    """Centred: z = theta (J), mu, tau. A funnel."""
    J = data.y.size
    mu, tau = z[J], z[J + 1]
    value = of_all_schools(mu, tau, grad[J:])
    for j in range(J):
        e = (data.y[j] - z[j]) / data.sigma[j]
        f = (z[j] - mu) / tau
        value -= 0.5 * (e * e + f * f) + math.log(data.sigma[j] * tau) + 2.0 * HALF_LOG_2PI
        grad[j] = e / data.sigma[j] - f / tau
        grad[J] += f / tau
        grad[J + 1] += (f * f - 1.0) / tau
    return value


def garch(z, data):
    """GARCH(1, 1): z = mu, alpha0, alpha1, the share of beta1 in 1 - alpha1. No gradient."""
    beta = z[3] * (1.0 - z[2])
    value = math.log(1.0 - z[2])  # beta1 is flat, its share is not
    variance = data.sigma1**2
    for t in range(data.y.size):
        if t > 0:
            variance = z[1] + z[2] * (data.y[t - 1] - z[0]) ** 2 + beta * variance
        value -= 0.5 * ((data.y[t] - z[0]) ** 2 / variance + math.log(variance)) + HALF_LOG_2PI
    return value


def gaussian_process(z, data):
    """z = rho, alpha, sigma, which is the noise's variance. No gradient."""
    rho, alpha, sigma = z[0], z[1], z[2]
    value = 25.0 * math.log(4.0) - math.lgamma(25.0) + 24.0 * math.log(rho) - 4.0 * rho
    value -= 0.5 * (alpha / 2.0) ** 2 + 0.5 * sigma**2 + 2.0 * HALF_LOG_2PI - math.log(2.0)
    n = data.y.size
    K = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            K[i, j] = alpha**2 * math.exp(-0.5 * ((data.x[i] - data.x[j]) / rho) ** 2)
        K[i, i] += sigma
    L = np.linalg.cholesky(K)
    w = np.linalg.solve(L, data.y)
    for i in range(n):
        value -= 0.5 * w[i] * w[i] + math.log(L[i, i]) + HALF_LOG_2PI
    return value


def _linear(columns, y, **priors):
    X = np.column_stack([np.ones(len(y)), *columns]).astype(float)
    flat = {"beta_sd": np.inf, "sigma_scale": np.inf, "sigma_sd": np.inf}
    names = {"beta": X.shape[1], "sigma": positive()}
    return regression, {"X": X, "y": np.asarray(y, float), **flat, **priors}, names


def _earnings(d):
    return _linear([d["height"], d["male"], d["height"] * d["male"]], np.log(d["earn"]))


def _kidiq(d):
    hs, iq = d["mom_hs"], d["mom_iq"]
    return _linear([hs, iq, hs * iq], d["kid_score"], sigma_scale=2.5)


def _nes(d):
    ages = [d["age_discrete"] == age for age in (2, 3, 4)]
    rest = [d[key] for key in ("educ1", "gender", "income")]
    return _linear([d["real_ideo"], d["race_adj"], *ages, *rest], d["partyid7"])


def _sblrc(d):
    function, data, names = _linear([], d["y"], beta_sd=10.0, sigma_sd=10.0)
    return function, data | {"X": d["X"]}, names | {"beta": d["X"].shape[1]}


def _ark(d):
    names = {"alpha": (), "beta": int(d["K"]), "sigma": positive()}
    return autoregression, {"y": d["y"], "K": int(d["K"])}, names


def _schools(d):
    names = {"z": int(d["J"]), "mu": (), "tau": positive()}
    return schools, {"y": d["y"].astype(float), "sigma": d["sigma"].astype(float)}, names


def _centred(d):
    names = {"theta": int(d["J"]), "mu": (), "tau": positive()}
    return schools_centred, {"y": d["y"].astype(float), "sigma": d["sigma"].astype(float)}, names


def _garch(d):
    share = bounded(0.0, 1.0)
    names = {"mu": (), "alpha0": positive(), "alpha1": share, "share": share}
    return garch, {"y": d["y"], "sigma1": float(d["sigma1"])}, names


def _gaussian_process(d):
    names = {"rho": positive(), "alpha": positive(), "sigma": positive()}
    return gaussian_process, {"x": d["x"].astype(float), "y": d["y"].astype(float)}, names


def _mixture(d):
    names = {"mu": ordered(2), "sigma": positive(2), "theta": bounded(0.0, 1.0)}
    return mixture, {"y": d["y"]}, names


def _hidden_markov(d):
    names = {"theta1": simplex(2), "theta2": simplex(2), "mu": positive_ordered(2)}
    return hidden_markov, {"y": d["y"]}, names


POSTERIORS = {
    "arK-arK": _ark,
    "earnings-logearn_interaction": _earnings,
    "eight_schools-eight_schools_centered": _centred,
    "eight_schools-eight_schools_noncentered": _schools,
    "garch-garch11": _garch,
    "gp_pois_regr-gp_regr": _gaussian_process,
    "hmm_example-hmm_example": _hidden_markov,
    "kidiq-kidscore_interaction": _kidiq,
    "low_dim_gauss_mix-low_dim_gauss_mix": _mixture,
    "nes1996-nes": _nes,
    "sblrc-blr": _sblrc,
}


def load(folder: Path, name: str):
    """(function, data, names) of a posterior."""
    values = json.loads((folder / name / "data.json").read_text())
    return POSTERIORS[name]({key: np.asarray(value) for key, value in values.items()})


def target(folder: Path, name: str) -> fastvi.targets.Target:
    """A posterior as a target."""
    function, data, names = load(folder, name)
    rows = ("X", "y") if function is regression else None
    return fastvi.target(function, data=data, names=names, rows=rows)


def gold(folder: Path, name: str):
    """Draws (10000, dim) of the free numbers, and (10000, n) of the constrained ones."""
    with np.load(folder / name / "draws.npz") as draws:
        return draws["unconstrained"].astype(float), draws["constrained"].astype(float)
