"""Log densities on which fits go wrong without saying so; `hard_targets` knows their moments."""

import math

import numba
import numpy as np

from fastvi import densities

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@numba.njit
def log_sum(a, b):
    top = max(a, b)
    return top + math.log(math.exp(a - top) + math.exp(b - top))


def two_modes(z):
    """Half N(3, 0.5^2), half N(-3, 0.5^2)."""
    return log_sum(-2.0 * (z[0] - 3.0) ** 2, -2.0 * (z[0] + 3.0) ** 2)


def unordered(z, data):
    """y ~ share N(mu1, 1) + (1 - share) N(mu2, 1), mu ~ N(0, 5^2)."""
    value = -0.02 * (z[0] ** 2 + z[1] ** 2)
    for i in range(data.y.size):
        first = math.log(data.share) - 0.5 * (data.y[i] - z[0]) ** 2
        second = math.log(1.0 - data.share) - 0.5 * (data.y[i] - z[1]) ** 2
        value += log_sum(first, second)
    return value


def cauchy_location(z, data):
    """y ~ Cauchy(z, 0.5), z ~ N(0, 10^2)."""
    value = -0.005 * z[0] ** 2
    for i in range(data.y.size):
        value -= math.log1p(4.0 * (data.y[i] - z[0]) ** 2)
    return value


def spike(z, data):
    """5 % N(0, width^2), 95 % N(centre, 1)."""
    near, away = 0.0, 0.0
    for j in range(z.size):
        near -= 0.5 * (z[j] / data.width) ** 2 + math.log(data.width)
        away -= 0.5 * (z[j] - data.centre) ** 2
    return log_sum(math.log(0.05) + near, math.log(0.95) + away)


def ridge(z):
    """1 ~ N(a b, 0.1^2), a and b ~ N(0, 1)."""
    return -0.5 * (z[0] ** 2 + z[1] ** 2) - 50.0 * (z[0] * z[1] - 1.0) ** 2


def ring(z):
    """exp(-(r - 3)^2 / (2 0.3^2)) of the radius r in the plane."""
    r = math.sqrt(z[0] ** 2 + z[1] ** 2 + 1e-12)
    return -0.5 * ((r - 3.0) / 0.3) ** 2


def funnel(z, data):
    """v ~ N(0, sd^2), the others N(0, exp(v))."""
    value = -0.5 * (z[0] / data.sd) ** 2
    for j in range(1, z.size):
        value -= 0.5 * z[j] ** 2 * math.exp(-z[0]) + 0.5 * z[0]
    return value


def rosenbrock(z, data):
    """x ~ N(1, spread^2), y ~ N(x^2, width^2)."""
    bend = (z[1] - z[0] ** 2) / data.width
    return -0.5 * ((z[0] - 1.0) / data.spread) ** 2 - 0.5 * bend * bend


def forgetful(z, data, rows, weights):
    """y ~ N(z, 1), but the weights of rows are not used."""
    value = 0.0
    for m in range(rows.size):
        value -= 0.5 * (data.y[rows[m]] - z[0]) ** 2
    return value


def remembering(z, data, rows, weights):
    """y ~ N(z, 1)."""
    value = 0.0
    for m in range(rows.size):
        value -= 0.5 * weights[m] * (data.y[rows[m]] - z[0]) ** 2
    return value


def log_gamma(z):
    """The logarithm of a Gamma(0.05, 1)."""
    return 0.05 * z[0] - math.exp(z[0])


def log_cauchy(z):
    """Independent Cauchy numbers, which have no mean."""
    value = 0.0
    for j in range(z.size):
        value -= math.log1p(z[j] * z[j])
    return value


def bits(z):
    """A table over two bits: (0, 0) and (1, 1) are impossible, (0, 1) and (1, 0) alike."""
    return 0.0 if z[0] + z[1] == 1.0 else -60.0


def chain(z, data):
    """x_t ~ N(phi x_{t-1}, 1), stationary, and y_t ~ N(x_t, 1)."""
    value = -0.5 * (1.0 - data.phi**2) * z[0] ** 2
    for t in range(z.size):
        value -= 0.5 * (data.y[t] - z[t]) ** 2
        if t > 0:
            value -= 0.5 * (z[t] - data.phi * z[t - 1]) ** 2
    return value


def separable(z, data):
    """y ~ Bernoulli(logit^-1(z0 + z1 x)), z ~ N(0, 10^2), all y = (x > 0)."""
    value = -0.005 * (z[0] ** 2 + z[1] ** 2)
    for i in range(data.x.size):
        logit = z[0] + z[1] * data.x[i]
        value += data.y[i] * logit - max(logit, 0.0) - math.log1p(math.exp(-abs(logit)))
    return value


def dirichlet(z):
    """Dirichlet(0.5)."""
    value = 0.0
    for j in range(z.size):
        value -= 0.5 * math.log(z[j])
    return value


def hierarchy(z, data):
    """y_j ~ N(theta_j, 1), theta_j ~ N(mu, tau^2), mu ~ N(0, 5^2), tau ~ N+(0, 2^2)."""
    J = data.y.size
    mu, tau = z[J], z[J + 1]
    value = -0.02 * mu**2 - 0.125 * tau**2
    for j in range(J):
        value -= 0.5 * (data.y[j] - z[j]) ** 2 + 0.5 * ((z[j] - mu) / tau) ** 2 + math.log(tau)
    return value


def hierarchy_of_noise(z, data):
    """The same with z_j = (theta_j - mu) / tau, which is not centred."""
    J = data.y.size
    mu, tau = z[J], z[J + 1]
    value = -0.02 * mu**2 - 0.125 * tau**2
    for j in range(J):
        value -= 0.5 * (data.y[j] - mu - tau * z[j]) ** 2 + 0.5 * z[j] ** 2
    return value


def improper_schools(z, data):
    """Eight schools, centred, with p(tau) = 1 / tau: improper."""
    J = data.y.size
    mu, tau = z[J], z[J + 1]
    value = -0.02 * mu**2 - math.log(tau)
    for j in range(J):
        value -= 0.5 * ((data.y[j] - z[j]) / data.sigma[j]) ** 2
        value -= 0.5 * ((z[j] - mu) / tau) ** 2 + math.log(tau)
    return value


@numba.njit
def hunting(t, y, p):
    return np.array([(p[0] - p[1] * y[1]) * y[0], (p[3] * y[0] - p[2]) * y[1]])


def lotka_volterra(z, data):
    """posteriordb's hudson_lynx_hare, by fixed steps."""
    value = -2.0 * (z[0] - 1.0) ** 2 - 2.0 * (z[2] - 1.0) ** 2
    value -= 200.0 * (z[1] - 0.05) ** 2 + 200.0 * (z[3] - 0.05) ** 2
    value += densities.lognormal(z[4:6], math.log(10.0), 1.0)
    value += densities.lognormal(z[6:], -1.0, 1.0)
    path = densities.ode_rk4(hunting, z[4:6], 0.0, data.ts, z[:4], 10)
    for k in range(2):
        value += densities.lognormal(data.y_init[k], np.log(z[4 + k]), z[6 + k])
        value += densities.lognormal(data.y[:, k], np.log(path[:, k]), z[6 + k])
    return value
