"""Log densities as a user would write them, and by hand with their gradients."""

import math

import numba
import numpy as np
import posteriors

H = 0.5 * math.log(2.0 * math.pi)


# Logistic regression
def logistic(z, data):
    value = 0.0
    for j in range(z.size):
        value -= 0.5 * z[j] * z[j] + H
    for i in range(data.y.size):
        logit = 0.0
        for j in range(z.size):
            logit += data.X[i, j] * z[j]
        value += data.y[i] * logit - max(logit, 0.0) - math.log1p(math.exp(-abs(logit)))
    return value


def logistic_vector(z, data):
    eta = data.X @ z
    return (
        -0.5 * np.dot(z, z)
        - H * z.size
        + np.sum(data.y * eta - np.maximum(eta, 0.0) - np.log1p(np.exp(-np.abs(eta))))
    )


# Eight schools, noncentred
def schools(z, data):
    J = data.y.size
    mu, tau = z[J], z[J + 1]
    value = math.log(2.0 / (math.pi * 5.0)) - math.log1p((tau / 5.0) ** 2)
    value -= 0.5 * (mu / 5.0) ** 2 + math.log(5.0) + H
    for j in range(J):
        e = (data.y[j] - mu - tau * z[j]) / data.sigma[j]
        value -= 0.5 * (e * e + z[j] * z[j]) + math.log(data.sigma[j]) + 2.0 * H
    return value


# GARCH(1, 1): mu, alpha0, alpha1, beta1
def garch(z, data):
    mu, alpha0, alpha1, beta1 = z
    value = 0.0
    variance = data.sigma1**2
    for t in range(data.y.size):
        if t > 0:
            variance = alpha0 + alpha1 * (data.y[t - 1] - mu) ** 2 + beta1 * variance
        value -= 0.5 * ((data.y[t] - mu) ** 2 / variance + math.log(variance)) + H
    return value


def garch_hand(z, data, grad):  # sensitivities of the variance, as one writes by hand
    mu, alpha0, alpha1, beta1 = z[0], z[1], z[2], z[3]
    value = 0.0
    variance = data.sigma1**2
    v0 = v1 = v2 = v3 = 0.0
    for t in range(data.y.size):
        if t > 0:
            r = data.y[t - 1] - mu
            v0 = -2.0 * alpha1 * r + beta1 * v0
            v1 = 1.0 + beta1 * v1
            v2 = r * r + beta1 * v2
            v3 = variance + beta1 * v3
            variance = alpha0 + alpha1 * r * r + beta1 * variance
        e = data.y[t] - mu
        value -= 0.5 * (e * e / variance + math.log(variance)) + H
        d = -0.5 * (1.0 - e * e / variance) / variance
        grad[0] += d * v0 + e / variance
        grad[1] += d * v1
        grad[2] += d * v2
        grad[3] += d * v3
    return value


# Two normals: mu (2), sigma (2), theta
@numba.njit
def log_mix(theta, a, b):
    first = math.log(theta) + a
    second = math.log(1.0 - theta) + b
    largest = max(first, second)
    return largest + math.log(math.exp(first - largest) + math.exp(second - largest))


@numba.njit
def normal(y, mu, sigma):
    e = (y - mu) / sigma
    return -0.5 * e * e - math.log(sigma) - H


def mixture(z, data):
    theta = z[4]
    value = math.lgamma(10.0) - 2.0 * math.lgamma(5.0)
    value += 4.0 * math.log(theta) + 4.0 * math.log(1.0 - theta)
    for k in range(2):
        value -= 0.5 * (z[k] / 2.0) ** 2 + 0.5 * (z[2 + k] / 2.0) ** 2
        value -= 2.0 * (H + math.log(2.0)) - math.log(2.0)
    for i in range(data.y.size):
        value += log_mix(theta, normal(data.y[i], z[0], z[2]), normal(data.y[i], z[1], z[3]))
    return value


# Hidden Markov, S states of unit sd, forward algorithm with local arrays: p (S: stay), mu (S)
def hmm(z, data):
    S = 2
    y = data.y
    logA = np.empty((S, S))
    for i in range(S):
        for j in range(S):
            logA[i, j] = math.log(z[i]) if i == j else math.log(1.0 - z[i])
    alpha = np.empty(S)
    new = np.empty(S)
    for j in range(S):
        alpha[j] = -0.5 * (y[0] - z[S + j]) ** 2 - H
    for t in range(1, y.size):
        for j in range(S):
            largest = alpha[0] + logA[0, j]
            for i in range(1, S):
                largest = max(largest, alpha[i] + logA[i, j])
            total = 0.0
            for i in range(S):
                total += math.exp(alpha[i] + logA[i, j] - largest)
            new[j] = largest + math.log(total) - 0.5 * (y[t] - z[S + j]) ** 2 - H
        for j in range(S):
            alpha[j] = new[j]
    largest = max(alpha[0], alpha[1])
    return (
        largest
        + math.log(math.exp(alpha[0] - largest) + math.exp(alpha[1] - largest))
        - 0.5 * (z[2] - 3.0) ** 2
        - 0.5 * (z[3] - 10.0) ** 2
    )


def hmm_scaled(z, data):  # the same, scaled probabilities in scalars
    p, q, m0, m1 = z
    y = data.y
    a = math.exp(-0.5 * (y[0] - m0) ** 2)
    b = math.exp(-0.5 * (y[0] - m1) ** 2)
    value = -0.5 * (m0 - 3.0) ** 2 - 0.5 * (m1 - 10.0) ** 2 - H
    for t in range(1, y.size):
        f = -0.5 * (y[t] - m0) ** 2
        g = -0.5 * (y[t] - m1) ** 2
        top = max(f, g)
        total = a + b
        u = (a * p + b * (1.0 - q)) / total * math.exp(f - top)
        v = (a * (1.0 - p) + b * q) / total * math.exp(g - top)
        value += math.log(total) + top - H
        a, b = u, v
    return value + math.log(a + b)


def hmm_hand(z, data, grad):  # forward-backward
    S = 2
    y = data.y
    n = y.size
    A = np.empty((S, S))
    for i in range(S):
        for j in range(S):
            A[i, j] = z[i] if i == j else 1.0 - z[i]
    alpha = np.empty((n, S))
    e = np.empty((n, S))
    scale = np.empty(n)
    value = -0.5 * (z[2] - 3.0) ** 2 - 0.5 * (z[3] - 10.0) ** 2
    for t in range(n):
        top = max(-0.5 * (y[t] - z[S]) ** 2, -0.5 * (y[t] - z[S + 1]) ** 2)
        total = 0.0
        for j in range(S):
            e[t, j] = math.exp(-0.5 * (y[t] - z[S + j]) ** 2 - top)
            s = 1.0
            if t > 0:
                s = 0.0
                for i in range(S):
                    s += alpha[t - 1, i] * A[i, j]
            alpha[t, j] = s * e[t, j]
            total += alpha[t, j]
        for j in range(S):
            alpha[t, j] /= total
        scale[t] = total
        value += math.log(total) + top - H
    beta = np.ones(S)
    old = np.ones(S)
    GA = np.zeros((S, S))
    for t in range(n - 1, -1, -1):
        for j in range(S):
            grad[S + j] += alpha[t, j] * beta[j] * (y[t] - z[S + j])
        if t > 0:
            for i in range(S):
                s = 0.0
                for j in range(S):
                    w = e[t, j] * beta[j] / scale[t]
                    s += A[i, j] * w
                    GA[i, j] += alpha[t - 1, i] * w
                old[i] = s
            for i in range(S):
                beta[i] = old[i]
    for i in range(S):
        for j in range(S):
            grad[i] += GA[i, j] if i == j else -GA[i, j]
    grad[2] -= z[2] - 3.0
    grad[3] -= z[3] - 10.0
    return value


# Hierarchical regression: a (J, noncentred), mu_a, log tau, beta, log sigma
def hierarchical(z, data):
    J = data.J
    mu, tau, beta, sigma = z[J], math.exp(z[J + 1]), z[J + 2], math.exp(z[J + 3])
    value = -0.5 * mu * mu - 0.5 * z[J + 1] ** 2 - 0.5 * beta * beta - 0.5 * z[J + 3] ** 2
    alpha = np.empty(J)
    for j in range(J):
        value -= 0.5 * z[j] * z[j]
        alpha[j] = mu + tau * z[j]
    for i in range(data.y.size):
        e = (data.y[i] - alpha[data.group[i]] - beta * data.x[i]) / sigma
        value -= 0.5 * e * e + math.log(sigma)
    return value


def hierarchical_vector(z, data):
    J = data.J
    mu, tau, beta, sigma = z[J], np.exp(z[J + 1]), z[J + 2], np.exp(z[J + 3])
    alpha = mu + tau * z[:J]
    e = (data.y - alpha[data.group] - beta * data.x) / sigma
    return (
        -0.5 * mu**2
        - 0.5 * z[J + 1] ** 2
        - 0.5 * beta**2
        - 0.5 * z[J + 3] ** 2
        - 0.5 * np.sum(z[:J] ** 2)
        - 0.5 * np.sum(e**2)
        - data.y.size * np.log(sigma)
    )


def hierarchical_hand(z, data, grad):
    J = data.J
    mu, tau, beta, sigma = z[J], math.exp(z[J + 1]), z[J + 2], math.exp(z[J + 3])
    value = -0.5 * mu * mu - 0.5 * z[J + 1] ** 2 - 0.5 * beta * beta - 0.5 * z[J + 3] ** 2
    ga = np.zeros(J)
    gb = gs = 0.0
    for j in range(J):
        value -= 0.5 * z[j] * z[j]
    ls = math.log(sigma)
    for i in range(data.y.size):
        g = data.group[i]
        e = (data.y[i] - mu - tau * z[g] - beta * data.x[i]) / sigma
        value -= 0.5 * e * e + ls
        d = e / sigma
        ga[g] += d
        gb += d * data.x[i]
        gs += e * e - 1.0
    gm = gt = 0.0
    for j in range(J):
        grad[j] = ga[j] * tau - z[j]
        gm += ga[j]
        gt += ga[j] * z[j]
    grad[J] = gm - mu
    grad[J + 1] = gt * tau - z[J + 1]
    grad[J + 2] = gb - beta
    grad[J + 3] = gs - z[J + 3]
    return value


# AR(5)
def ar(z, data):
    y, K = data.y, data.K
    sigma = z[K + 1]
    value = math.log(2.0 / (math.pi * 2.5)) - math.log1p((sigma / 2.5) ** 2)
    for j in range(K + 1):
        value -= 0.5 * (z[j] / 10.0) ** 2 + math.log(10.0) + H
    for t in range(K, y.size):
        mean = z[0]
        for j in range(K):
            mean += z[j + 1] * y[t - 1 - j]
        e = (y[t] - mean) / sigma
        value -= 0.5 * e * e + math.log(sigma) + H
    return value


# GP regression with a Cholesky by hand: rho, alpha, sigma
def gp(z, data):
    rho, alpha, sigma = z
    value = 24.0 * math.log(rho) - 4.0 * rho - 0.5 * (alpha / 2.0) ** 2 - 0.5 * sigma**2
    n = data.y.size
    L = np.zeros((n, n))
    w = np.zeros(n)
    for i in range(n):
        for j in range(i + 1):
            s = alpha**2 * math.exp(-0.5 * ((data.x[i] - data.x[j]) / rho) ** 2)
            if i == j:
                s += sigma
            for k in range(j):
                s -= L[i, k] * L[j, k]
            if i == j:
                L[i, i] = math.sqrt(s)
            else:
                L[i, j] = s / L[j, j]
    for i in range(n):
        s = data.y[i]
        for k in range(i):
            s -= L[i, k] * w[k]
        w[i] = s / L[i, i]
        value -= 0.5 * w[i] * w[i] + math.log(L[i, i]) + H
    return value


def gp_hand(z, data, grad):
    rho, alpha, sigma = z[0], z[1], z[2]
    value = 24.0 * math.log(rho) - 4.0 * rho - 0.5 * (alpha / 2.0) ** 2 - 0.5 * sigma**2
    n = data.y.size
    K = np.empty((n, n))
    L = np.zeros((n, n))
    w = np.zeros(n)
    V = np.zeros((n, n))  # inverse of L
    for i in range(n):
        for j in range(i + 1):
            K[i, j] = alpha**2 * math.exp(-0.5 * ((data.x[i] - data.x[j]) / rho) ** 2)
            s = K[i, j]
            if i == j:
                s += sigma
            for k in range(j):
                s -= L[i, k] * L[j, k]
            if i == j:
                L[i, i] = math.sqrt(s)
            else:
                L[i, j] = s / L[j, j]
    for i in range(n):
        s = data.y[i]
        for k in range(i):
            s -= L[i, k] * w[k]
        w[i] = s / L[i, i]
        value -= 0.5 * w[i] * w[i] + math.log(L[i, i]) + H
    for j in range(n):
        for i in range(j, n):
            s = 1.0 if i == j else 0.0
            for k in range(j, i):
                s -= L[i, k] * V[k, j]
            V[i, j] = s / L[i, i]
    a = np.zeros(n)
    for i in range(n):
        for k in range(i, n):
            a[i] += V[k, i] * w[k]
    g0 = g1 = g2 = 0.0
    for i in range(n):
        for j in range(i + 1):
            s = a[i] * a[j]
            for k in range(i, n):
                s -= V[k, i] * V[k, j]
            s *= 0.5 if i == j else 1.0
            d = data.x[i] - data.x[j]
            g0 += s * K[i, j] * d * d / rho**3
            g1 += s * 2.0 * K[i, j] / alpha
            if i == j:
                g2 += s
    grad[0] = g0 + 24.0 / rho - 4.0
    grad[1] = g1 - alpha / 4.0
    grad[2] = g2 - sigma
    return value


def gp_linalg(z, data):
    rho, alpha, sigma = z
    n = data.y.size
    K = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            K[i, j] = alpha**2 * math.exp(-0.5 * ((data.x[i] - data.x[j]) / rho) ** 2)
        K[i, i] += sigma
    L = np.linalg.cholesky(K)
    w = np.zeros(n)
    value = 24.0 * math.log(rho) - 4.0 * rho - 0.5 * (alpha / 2.0) ** 2 - 0.5 * sigma**2
    for i in range(n):
        w[i] = (data.y[i] - np.dot(L[i, :i], w[:i])) / L[i, i]
        value -= 0.5 * w[i] * w[i] + math.log(L[i, i]) + H
    return value


def cases(n_rows=10000):
    """Function, the same by hand with gradient, data and a point, by name."""
    r = np.random.default_rng(0)
    X = r.normal(size=(n_rows, 50))
    b = r.normal(size=50) * 0.3
    y = (r.random(n_rows) < 1 / (1 + np.exp(-X @ b))).astype(float)
    lg = {"X": X, "y": y}
    zb = b + 0.1 * r.normal(size=50)
    sch = {
        "y": np.array([28.0, 8, -3, 7, -1, 1, 18, 12]),
        "sigma": np.array([15.0, 10, 16, 11, 9, 11, 10, 18]),
    }
    g = {"y": r.normal(size=200) * 1.5 + 0.3, "sigma1": 1.1}
    mix = {"y": np.where(r.random(1000) < 0.4, r.normal(-1, 0.7, 1000), r.normal(2, 1.2, 1000))}
    st = np.zeros(400, int)
    for t in range(1, 400):
        st[t] = st[t - 1] if r.random() < 0.85 else 1 - st[t - 1]
    h = {"y": np.where(st == 0, 3.0, 10.0) + r.normal(size=400)}
    J = 50
    grp = r.integers(0, J, 2000)
    al = 1 + 0.5 * r.normal(size=J)
    x = r.normal(size=2000)
    hi = {"y": al[grp] + 0.7 * x + 0.8 * r.normal(size=2000), "x": x, "group": grp, "J": J}
    ya = np.zeros(200)
    for t in range(5, 200):
        ya[t] = 0.1 + 0.4 * ya[t - 1] - 0.2 * ya[t - 3] + r.normal()
    a = {"y": ya, "K": 5}
    xs = np.linspace(-10, 10, 11)
    gpd = {"x": xs, "y": np.sin(xs) * 2 + 0.3 * r.normal(size=11)}
    zs = np.r_[0.3 * r.normal(size=8), 4.0, 2.0]
    zg = np.array([0.3, 0.5, 0.2, 0.4])
    zm = np.array([-0.8, 1.8, 0.8, 1.1, 0.45])
    zh = np.array([0.8, 0.75, 2.9, 9.8])
    zj = np.r_[0.5 * r.normal(size=J), 0.9, -0.6, 0.6, -0.1]
    za = np.array([0.05, 0.3, 0.1, -0.2, 0.02, 0.05, 1.1])
    zp = np.array([2.0, 1.5, 0.4])
    return {
        "logistic": (logistic, posteriors.logistic, lg, zb),
        "logistic, vectorised": (logistic_vector, posteriors.logistic, lg, zb),
        "eight schools": (schools, posteriors.schools, sch, zs),
        "GARCH T=200": (garch, garch_hand, g, zg),
        "mixture N=1000, helpers": (mixture, posteriors.mixture, mix, zm),
        "HMM T=400, log space, arrays": (hmm, hmm_hand, h, zh),
        "HMM T=400, scaled scalars": (hmm_scaled, hmm_hand, h, zh),
        "hierarchical N=2000 J=50": (hierarchical, hierarchical_hand, hi, zj),
        "hierarchical, vectorised": (hierarchical_vector, hierarchical_hand, hi, zj),
        "AR(5) T=200": (ar, posteriors.autoregression, a, za),
        "GP n=11, Cholesky loop": (gp, gp_hand, gpd, zp),
        "GP n=11, np.linalg.cholesky": (gp_linalg, gp_hand, gpd, zp),
    }
