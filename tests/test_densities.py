"""Log densities against SciPy and mpmath, and their derived gradients against mpmath."""

from __future__ import annotations

import doctest
import importlib
import math

import mpmath as mp
import numpy as np
import pytest
from scipy import stats
from test_derivatives_models import as_tuple, derived, slopes

import fastvi
from fastvi import densities
from fastvi.densities import (
    counts,
    cumulative,
    interval,
    positive,
    real,
    survival,
    truncated,
    zeros,
)

mp.mp.dps = 60


def gamma_of(a):
    return mp.loggamma(a)


def poisson_of(k, rate):
    return k * mp.log(rate) - rate - gamma_of(k + 1)


def neg_binomial_of(k, mean, shape):
    n = k + shape
    coefficient = gamma_of(n) - gamma_of(shape) - gamma_of(k + 1)
    return coefficient + shape * mp.log(shape / (shape + mean)) + (
        k * mp.log(mean / (shape + mean)) if k else 0
    )  # fmt: skip


def t_of(x, df, loc, scale):
    u = (x - loc) / scale
    return gamma_of((df + 1) / 2) - gamma_of(df / 2) - mp.log(mp.pi * df) / 2 - mp.log(scale) - (
        (df + 1) / 2 * mp.log1p(u * u / df)
    )  # fmt: skip


def normal_of(x, mean, sd):
    return -(((x - mean) / sd) ** 2) / 2 - mp.log(sd) - mp.log(2 * mp.pi) / 2


def binomial_of(k, n, p):
    return mp.log(mp.binomial(n, k)) + k * mp.log(p) + (n - k) * mp.log(1 - p)


def beta_of(x, a, b):
    return (a - 1) * mp.log(x) + (b - 1) * mp.log1p(-x) - (
        gamma_of(a) + gamma_of(b) - gamma_of(a + b)
    )  # fmt: skip


def gamma_density_of(x, shape, rate):
    return shape * mp.log(rate) - gamma_of(shape) + (shape - 1) * mp.log(x) - rate * x


def logit(t):
    return 1 / (1 + mp.exp(-t))


def ndtr_of(u):
    return mp.log(mp.erfc(-u / mp.sqrt(2)) / 2)


def between(low, high, mean, sd):
    return mp.log(mp.ncdf((high - mean) / sd) - mp.ncdf((low - mean) / sd))


def laplace_of(u):
    return mp.log(mp.exp(u) / 2 if u < 0 else 1 - mp.exp(-u) / 2)


def hazard(x, k, s):
    return (x / s) ** k


# Each density's definition, and arguments: ordinary, then extreme.
CASES = {
    "normal": (normal_of, [(0.3, -1.0, 2.0), (1e8, 0.0, 1e-3), (1.0 + 3e-9, 1.0, 1e-9)]),
    "student_t": (
        t_of,
        [
            (0.3, 3.0, -1.0, 2.0),
            (2.0, 1e12, 0.5, 1.0),
            (1e200, 2.5, 0.0, 1.0),
            (0.1, 0.01, 0.0, 3.0),
            (0.5, 30.0, 0.5, 1.0),
            (3.0, 29.9, 0.5, 1.0),
        ],
    ),
    "cauchy": (
        lambda x, m, s: -mp.log(mp.pi * s) - mp.log1p(((x - m) / s) ** 2),
        [(0.3, -1.0, 2.0), (1e250, 0.0, 1e-50), (1e-9, 0.0, 1.0)],
    ),
    "laplace": (
        lambda x, m, s: -abs(x - m) / s - mp.log(2 * s),
        [(0.3, -1.0, 2.0), (-9e9, 0.0, 1e-3)],
    ),
    "logistic": (
        lambda x, m, s: -(x - m) / s - 2 * mp.log1p(mp.exp(-(x - m) / s)) - mp.log(s),
        [(0.3, -1.0, 2.0), (0.0, 0.0, 1.0), (-900.0, 0.0, 1.0), (900.0, 0.0, 0.5)],
    ),
    "gumbel": (
        lambda x, m, s: -(x - m) / s - mp.exp(-(x - m) / s) - mp.log(s),
        [(0.3, -1.0, 2.0), (-9.0, 0.0, 1.0), (900.0, 0.0, 0.5)],
    ),
    "exponential": (lambda x, r: mp.log(r) - r * x, [(0.3, 2.0), (1e-25, 1e10)]),
    "gamma": (
        gamma_density_of,
        [
            (0.3, 2.0, 1.5),
            (1e7 + 3.0, 1e10, 1e3),
            (1e-200, 1e-3, 1.0),
            (4.0, 10.0, 2.0),
            (100.0, 0.5, 3.0),
            (1e-3, 50.0, 1.0),
        ],
    ),
    "inverse_gamma": (
        lambda x, a, b: a * mp.log(b) - gamma_of(a) - (a + 1) * mp.log(x) - b / x,
        [(0.3, 2.0, 1.5), (1e-3, 1e8, 1e5 + 7.0), (1e100, 0.5, 1.0)],
    ),
    "weibull": (
        lambda x, k, s: mp.log(k / s) + (k - 1) * mp.log(x / s) - (x / s) ** k,
        [(0.3, 2.0, 1.5), (1e-200, 0.5, 1.0), (1.01, 400.0, 1.0)],
    ),
    "lognormal": (
        lambda x, m, s: normal_of(mp.log(x), m, s) - mp.log(x),
        [(0.3, -1.0, 2.0), (1e-300, -690.0, 0.1)],
    ),
    "half_normal": (lambda x, s: normal_of(x, 0, s) + mp.log(2), [(0.3, 2.0), (0.0, 1e-5)]),
    "half_cauchy": (
        lambda x, s: mp.log(2 / mp.pi / s) - mp.log1p((x / s) ** 2),
        [(0.3, 2.0), (1e250, 1.0)],
    ),
    "half_student_t": (
        lambda x, df, s: t_of(x, df, 0, s) + mp.log(2),
        [(0.3, 3.0, 2.0), (9.0, 1e9, 2.0)],
    ),
    "uniform": (lambda x, a, b: -mp.log(b - a), [(0.3, -1.0, 2.0)]),
    "beta": (
        beta_of,
        [
            (0.3, 2.0, 1.5),
            (1e-20, 2.0, 3.0),
            (0.5 + 1e-6, 1e10, 1e10),
            (0.9, 0.01, 20.0),
            (0.2, 11.0, 300.0),
        ],
    ),
    "beta_proportion": (
        lambda x, m, n: beta_of(x, m * n, (1 - m) * n),
        [(0.3, 0.25, 8.0), (0.3, 0.3, 1e8)],
    ),
    "von_mises": (
        lambda x, m, k: k * mp.cos(x - m) - mp.log(2 * mp.pi * mp.besseli(0, k)),
        [(0.3, -1.0, 2.0), (1e-4, 0.0, 1e8), (2.0, 0.5, 29.9), (2.0, 1.9, 30.1), (1.0, 0.0, 1e-9)],
    ),
    "bernoulli": (lambda k, p: mp.log(p) if k else mp.log1p(-p), [(1, 0.3), (0, 0.3), (0, 1e-18)]),
    "bernoulli_logit": (
        lambda k, t: mp.log(logit(t if k else -t)),
        [(1, 0.3), (0, 0.3), (1, 0.0), (1, -800.0), (0, 800.0), (1, 50.0)],
    ),
    "binomial": (
        binomial_of,
        [(3, 7, 0.3), (0, 7, 0.3), (7, 7, 0.3), (500100, 1000000, 0.5), (1, 10**6, 1e-6)],
    ),
    "binomial_logit": (
        lambda k, n, t: binomial_of(k, n, logit(t)),
        [(3, 7, -0.3), (7, 7, 0.0), (3, 7, 60.0)],
    ),
    "geometric": (lambda k, p: mp.log(p) + k * mp.log1p(-p), [(3, 0.3), (0, 0.5), (10**6, 1e-6)]),
    "poisson": (poisson_of, [(3, 2.5), (0, 2.5), (10**9, 1e9 + 1e4), (10, 1e-5), (2, 900.0)]),
    "poisson_log": (lambda k, t: poisson_of(k, mp.exp(t)), [(3, 0.5), (0, -300.0), (20, 6.0)]),
    "neg_binomial": (
        neg_binomial_of,
        [
            (3, 2.5, 1.5),
            (0, 2.5, 1e10),
            (12, 10.0, 1e10),
            (10**6, 1e6 + 50.0, 0.3),
            (4, 1e-6, 2.0),
            (0, 1e9, 1e-3),
        ],
    ),
    "zero_inflated_poisson": (
        lambda k, w, r: (
            mp.log(w + (1 - w) * mp.exp(-r)) if not k else mp.log(1 - w) + poisson_of(k, r)
        ),
        [(0, 0.3, 2.5), (3, 0.3, 2.5), (0, 1e-9, 20.0)],
    ),
    "zero_inflated_neg_binomial": (
        lambda k, w, m, s: mp.log((0 if k else w) + (1 - w) * mp.exp(neg_binomial_of(k, m, s))),
        [(0, 0.3, 2.5, 1.5), (3, 0.3, 2.5, 1.5)],
    ),
    "hurdle_poisson": (
        lambda k, w, r: (
            mp.log(w) if not k else mp.log(1 - w) + poisson_of(k, r) - mp.log(-mp.expm1(-r))
        ),
        [(0, 0.3, 2.5), (3, 0.3, 2.5), (1, 0.3, 1e-12)],
    ),
    "zero_inflated_binomial": (
        lambda k, n, w, p: mp.log((0 if k else w) + (1 - w) * mp.exp(binomial_of(k, n, p))),
        [(0, 5, 0.3, 0.4), (2, 5, 0.3, 0.4), (5, 5, 0.3, 0.4), (0, 900, 1e-9, 0.9)],
    ),
    "hurdle_neg_binomial": (
        lambda k, w, m, s: (
            mp.log(w)
            if not k
            else mp.log(1 - w) + neg_binomial_of(k, m, s)
            - mp.log1p(-mp.exp(neg_binomial_of(0, m, s)))
        ),
        [(0, 0.3, 2.5, 1.5), (3, 0.3, 2.5, 1.5), (1, 0.3, 1e-12, 2.0), (40, 0.3, 30.0, 1e6)],
    ),
    "hurdle_gamma": (
        lambda x, w, a, r: mp.log(w) if not x else mp.log(1 - w) + gamma_density_of(x, a, r),
        [(0.3, 0.3, 2.0, 1.5), (100.0, 1e-18, 0.5, 3.0)],
    ),
    "hurdle_lognormal": (
        lambda x, w, m, s: (
            mp.log(w) if not x else mp.log(1 - w) + normal_of(mp.log(x), m, s) - mp.log(x)
        ),
        [(0.3, 0.3, -1.0, 2.0), (1e-300, 0.9, -690.0, 0.1)],
    ),
    "log_diff_exp": (
        lambda a, b: a + mp.log1p(-mp.exp(b - a)),
        [(0.3, -1.0), (900.0, 899.0), (1e-9, -1e-9), (-800.0, -900.0)],
    ),
    "normal_log_cdf": (
        lambda x, m, s: ndtr_of((x - m) / s),
        [(0.3, -1.0, 2.0), (-29.9, 0.0, 1.0), (-30.1, 0.0, 1.0), (-1e5, 0.0, 0.1), (9.0, 0.5, 1.0)],
    ),
    "normal_log_survival": (
        lambda x, m, s: ndtr_of((m - x) / s),
        [(0.3, -1.0, 2.0), (0.5, 0.5, 1.0), (1e4, 0.0, 1.0), (-9.0, 0.5, 1.0)],
    ),
    "normal_log_interval": (
        between,
        [
            (0.3, 0.9, -1.0, 2.0), (-0.2, 0.9, 0.1, 2.0), (9.0, 9.5, 0.0, 1.0),
            (1.0, 1.0 + 1e-6, 0.2, 3.0), (-20.0, -19.999, 0.0, 1.0), (5.0, 5.02, 0.0, 1.0),
        ],
    ),
    "logistic_log_interval": (
        lambda a, b, m, s: mp.log(logit((b - m) / s) - logit((a - m) / s)),
        [(0.3, 0.9, -1.0, 2.0), (-701.0, -700.0, 0.0, 1.0), (30.0, 31.0, 0.0, 1.0),
         (-0.2, -0.2 + 1e-6, 0.5, 1.0)],
    ),
    "truncated_normal": (
        lambda x, a, b, m, s: normal_of(x, m, s) - between(a, b, m, s),
        [(0.3, -0.5, 0.9, -1.0, 2.0), (9.1, 9.0, 9.5, 0.0, 1.0), (0.3, 0.2, 0.4, 0.0, 50.0)],
    ),
    "logistic_log_cdf": (
        lambda x, m, s: mp.log(logit((x - m) / s)),
        [(0.3, -1.0, 2.0), (-900.0, 0.0, 1.0), (50.0, 0.5, 1.0)],
    ),
    "logistic_log_survival": (
        lambda x, m, s: mp.log(logit((m - x) / s)), [(0.3, -1.0, 2.0), (900.0, 0.0, 1.0)],
    ),
    "cauchy_log_cdf": (
        lambda x, m, s: mp.log(mp.acot((m - x) / s) / mp.pi + (1 if x > m else 0)),
        [(0.3, -1.0, 2.0), (-1e30, 0.0, 1.0), (1e9, 0.5, 1.0)],
    ),
    "cauchy_log_survival": (
        lambda x, m, s: mp.log(mp.acot((x - m) / s) / mp.pi + (1 if x < m else 0)),
        [(0.3, -1.0, 2.0), (1e30, 0.0, 1.0)],
    ),
    "laplace_log_cdf": (
        lambda x, m, s: laplace_of((x - m) / s), [(0.3, -1.0, 2.0), (-9e3, 0.0, 1.0)],
    ),
    "laplace_log_survival": (
        lambda x, m, s: laplace_of((m - x) / s), [(0.3, -1.0, 2.0), (9e3, 0.0, 1.0)],
    ),
    "gumbel_log_cdf": (
        lambda x, m, s: -mp.exp((m - x) / s), [(0.3, -1.0, 2.0), (-9.0, 0.0, 2.0)],
    ),
    "gumbel_log_survival": (
        lambda x, m, s: mp.log(-mp.expm1(-mp.exp((m - x) / s))),
        [(0.3, -1.0, 2.0), (900.0, 0.0, 1.0), (39.9, 0.0, 1.0), (40.1, 0.0, 1.0),
         (-900.0, 0.0, 1.0)],
    ),
    "exponential_log_cdf": (
        lambda x, r: mp.log(-mp.expm1(-r * x)), [(0.3, 2.0), (1e-25, 1e10), (90.0, 1.0)],
    ),
    "exponential_log_survival": (lambda x, r: -r * x, [(0.3, 2.0), (1e9, 1e10)]),
    "weibull_log_cdf": (
        lambda x, k, s: mp.log(-mp.expm1(-hazard(x, k, s))),
        [(0.3, 2.0, 1.5), (1e-200, 0.5, 1.0), (1.01, 400.0, 1.0), (9.0, 400.0, 1.0)],
    ),
    "weibull_log_survival": (
        lambda x, k, s: -hazard(x, k, s), [(0.3, 2.0, 1.5), (1.01, 400.0, 1.0)],
    ),
    "lognormal_log_cdf": (
        lambda x, m, s: ndtr_of((mp.log(x) - m) / s), [(0.3, -1.0, 2.0), (1e-300, 0.0, 1.0)],
    ),
    "lognormal_log_survival": (
        lambda x, m, s: ndtr_of((m - mp.log(x)) / s), [(0.3, -1.0, 2.0), (1e300, 0.0, 1.0)],
    ),
}  # fmt: skip
SCIPY = {
    "normal": lambda x, m, s: stats.norm.logpdf(x, m, s),
    "student_t": lambda x, df, m, s: stats.t.logpdf(x, df, m, s),
    "cauchy": lambda x, m, s: stats.cauchy.logpdf(x, m, s),
    "laplace": lambda x, m, s: stats.laplace.logpdf(x, m, s),
    "logistic": lambda x, m, s: stats.logistic.logpdf(x, m, s),
    "gumbel": lambda x, m, s: stats.gumbel_r.logpdf(x, m, s),
    "exponential": lambda x, r: stats.expon.logpdf(x, scale=1 / r),
    "gamma": lambda x, a, r: stats.gamma.logpdf(x, a, scale=1 / r),
    "inverse_gamma": lambda x, a, b: stats.invgamma.logpdf(x, a, scale=b),
    "weibull": lambda x, k, s: stats.weibull_min.logpdf(x, k, scale=s),
    "lognormal": lambda x, m, s: stats.lognorm.logpdf(x, s, scale=np.exp(m)),
    "half_normal": lambda x, s: stats.halfnorm.logpdf(x, scale=s),
    "half_cauchy": lambda x, s: stats.halfcauchy.logpdf(x, scale=s),
    "uniform": lambda x, a, b: stats.uniform.logpdf(x, a, b - a),
    "beta": lambda x, a, b: stats.beta.logpdf(x, a, b),
    "von_mises": lambda x, m, k: stats.vonmises.logpdf(x, k, m),
    "bernoulli": lambda k, p: stats.bernoulli.logpmf(k, p),
    "binomial": lambda k, n, p: stats.binom.logpmf(k, n, p),
    "geometric": lambda k, p: stats.geom.logpmf(k + 1, p),
    "poisson": lambda k, r: stats.poisson.logpmf(k, r),
    "neg_binomial": lambda k, m, s: stats.nbinom.logpmf(k, s, s / (s + m)),
    "normal_log_cdf": lambda x, m, s: stats.norm.logcdf(x, m, s),
    "normal_log_survival": lambda x, m, s: stats.norm.logsf(x, m, s),
    "truncated_normal": lambda x, a, b, m, s: stats.truncnorm.logpdf(
        x, (a - m) / s, (b - m) / s, m, s
    ),
    "weibull_log_cdf": lambda x, k, s: stats.weibull_min.logcdf(x, k, scale=s),
    "weibull_log_survival": lambda x, k, s: stats.weibull_min.logsf(x, k, scale=s),
    "lognormal_log_cdf": lambda x, m, s: stats.lognorm.logcdf(x, s, scale=np.exp(m)),
    "lognormal_log_survival": lambda x, m, s: stats.lognorm.logsf(x, s, scale=np.exp(m)),
    "exponential_log_cdf": lambda x, r: stats.expon.logcdf(x, scale=1 / r),
    "exponential_log_survival": lambda x, r: stats.expon.logsf(x, scale=1 / r),
    "cauchy_log_cdf": lambda x, m, s: stats.cauchy.logcdf(x, m, s),
    "cauchy_log_survival": lambda x, m, s: stats.cauchy.logsf(x, m, s),
    "laplace_log_cdf": lambda x, m, s: stats.laplace.logcdf(x, m, s),
    "laplace_log_survival": lambda x, m, s: stats.laplace.logsf(x, m, s),
    "gumbel_log_cdf": lambda x, m, s: stats.gumbel_r.logcdf(x, m, s),
    "gumbel_log_survival": lambda x, m, s: stats.gumbel_r.logsf(x, m, s),
    "logistic_log_cdf": lambda x, m, s: stats.logistic.logcdf(x, m, s),
    "logistic_log_survival": lambda x, m, s: stats.logistic.logsf(x, m, s),
}
OF_NUMBERS = [real, positive, interval, counts, zeros, cumulative, survival, truncated]
NAMES = sorted(name for module in OF_NUMBERS for name in module.__all__)
EACH = [(name, k) for name in NAMES for k in range(len(CASES[name][1]))]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """For each density one function of its real arguments, and one over data."""
    lines = ["from fastvi import densities"]
    for name in NAMES:
        arguments = CASES[name][1][0]
        at = [f"z[{i}]" if isinstance(a, float) else f"data.k{i}" for i, a in enumerate(arguments)]
        lines += [f"def {name}(z, data):", f"    return densities.{name}({', '.join(at)})"]
    path = tmp_path_factory.mktemp("densities") / "models_of_densities.py"
    path.write_text("\n".join(lines) + "\n")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "k"), EACH)
def test_values_and_slopes_are_those_of_mpmath(models, name, k):
    exact, arguments = CASES[name][0], CASES[name][1][k]
    numbers = [mp.mpf(a) if isinstance(a, float) else a for a in arguments]
    z = np.array([float(a) for a in arguments])
    data = {f"k{i}": a for i, a in enumerate(arguments) if isinstance(a, int)}
    value, grad = derived(getattr(models, name), z, data)
    wanted = exact(*numbers)
    small = 4e-16
    rounding = small * max(
        1.0, abs(float(wanted)), *(abs(a) ** 0.5 for a in arguments if abs(a) < 1e20)
    )
    assert abs(value - float(wanted)) < 1e-13 * abs(float(wanted)) + 50 * rounding
    for i, a in enumerate(arguments):
        if isinstance(a, int):
            continue

        def along(t, i=i):
            return exact(*numbers[:i], t, *numbers[i + 1 :])

        if name in ("uniform", "laplace") and not i:
            continue
        if a == 0.0 and name == "half_normal":
            continue
        step = mp.mpf(10) ** -25 * (abs(numbers[i]) or 1)
        slope = float((along(numbers[i] + step) - along(numbers[i] - step)) / (2 * step))
        assert grad[i] == pytest.approx(slope, rel=1e-10, abs=1e-15 * max(1.0, 1.0 / abs(a or 1.0)))


@pytest.mark.parametrize("name", sorted(SCIPY))
def test_values_are_those_of_scipy(name):
    arguments = CASES[name][1][0]
    found = getattr(densities, name)(*arguments)
    assert found == pytest.approx(float(SCIPY[name](*arguments)), rel=1e-12)


OUTSIDE = {
    "exponential": (-1.0, 2.0), "gamma": (0.0, 2.0, 1.0), "inverse_gamma": (-1.0, 2.0, 1.0),
    "weibull": (0.0, 2.0, 1.0), "lognormal": (-1.0, 0.0, 1.0), "half_normal": (-0.1, 1.0),
    "half_cauchy": (-0.1, 1.0), "half_student_t": (-0.1, 3.0, 1.0), "uniform": (3.0, 0.0, 1.0),
    "beta": (1.0, 2.0, 2.0), "beta_proportion": (0.0, 0.5, 2.0), "bernoulli": (2, 0.5),
    "bernoulli_logit": (-1, 0.5), "binomial": (8, 7, 0.5), "binomial_logit": (-1, 7, 0.5),
    "geometric": (-1, 0.5), "poisson": (-1, 2.0), "poisson_log": (-1, 2.0),
    "neg_binomial": (-1, 2.0, 1.0), "zero_inflated_poisson": (-1, 0.5, 1.0),
    "zero_inflated_neg_binomial": (-1, 0.5, 1.0, 1.0), "hurdle_poisson": (-1, 0.5, 1.0),
    "zero_inflated_binomial": (8, 7, 0.5, 0.5), "hurdle_neg_binomial": (-1, 0.5, 1.0, 1.0),
    "hurdle_gamma": (-1.0, 0.5, 1.0, 1.0), "hurdle_lognormal": (-1.0, 0.5, 1.0, 1.0),
    "log_diff_exp": (1.0, 2.0), "normal_log_interval": (1.0, 1.0, 0.0, 1.0),
    "logistic_log_interval": (1.0, 0.0, 0.0, 1.0),
    "truncated_normal": (2.0, 0.0, 1.0, 0.0, 1.0), "weibull_log_cdf": (-1.0, 2.0, 1.0),
    "exponential_log_cdf": (0.0, 2.0), "lognormal_log_cdf": (0.0, 0.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OUTSIDE))
def test_outside_of_the_support_is_minus_infinity(name):
    assert getattr(densities, name)(*OUTSIDE[name]) == -math.inf


def vectors(z, data):
    x, L = z[:3], np.zeros((3, 3))
    for i in range(3):
        L[i, i] = np.exp(z[3 + i])
        for j in range(i):
            L[i, j] = z[6 + i + j]
    P = L @ L.T
    simplex = np.exp(x) / np.sum(np.exp(x))
    R = np.array([[1.0, 0.0, 0.0], [np.tanh(z[0]), 1.0 / np.cosh(z[0]), 0.0], [0.6, 0.48, 0.64]])
    total = densities.multivariate_normal(x, data.m, L) + densities.multivariate_t(
        x, 3.5, data.m, L
    )
    total += densities.multivariate_normal_precision(x, data.m, P)
    total += densities.dirichlet(simplex, np.exp(x)) + densities.multinomial(data.k, simplex)
    total += densities.lkj_cholesky(R, np.exp(z[1])) + densities.categorical(2, simplex)
    cuts = np.array([z[0], z[0] + np.exp(z[1]), z[0] + np.exp(z[1]) + np.exp(z[2])])
    for k in range(4):
        total += densities.ordered_logistic(k, z[4], cuts)
    return total + densities.categorical_logit(1, x) + densities.log_sum_exp(z)


def series(z, data):
    T = data.x.shape[0]
    emission = np.empty((T, 2))
    for t in range(T):
        for i in range(2):
            emission[t, i] = densities.normal(data.x[t], z[i], np.exp(z[2]))
    p, q = 1.0 / (1.0 + np.exp(-z[3])), 1.0 / (1.0 + np.exp(-z[4]))
    P = np.array([[p, 1.0 - p], [1.0 - q, q]])
    total = densities.hidden_markov(emission, P, np.array([0.3, 0.7]))
    total += densities.gaussian_random_walk(z[:5], np.exp(z[5]))
    return total + densities.autoregressive(data.x, z[0], z[1:3], np.exp(z[6]))


def arrays(z, data):
    total = densities.normal(data.x, z[0], np.exp(z[1])) + densities.normal(z, 0.0, 1.0)
    total += densities.student_t(data.X, 4.0, z[:3], np.exp(z[1])) + densities.laplace(
        data.x, z[1], 2.0
    )
    total += densities.poisson_log(data.k, z[:3] * data.m + z[0])
    L = np.array([[1.0, 0.0, 0.0], [z[3], np.exp(z[4]), 0.0], [z[5], z[6], np.exp(z[7])]])
    total += densities.multivariate_normal(data.X, z[:3], L)
    return total + densities.bernoulli_logit(data.y, data.X @ z[:3])


def compiled_arrays(z, data):
    """Forms of `arrays`, once each: its densities would take 10 s to compile."""
    total = densities.normal(data.x, z[0], np.exp(z[1]))
    total += densities.poisson_log(data.k, z[:3] * data.m + z[0])
    L = np.array([[1.0, 0.0, 0.0], [z[3], np.exp(z[4]), 0.0], [z[5], z[6], np.exp(z[7])]])
    return total + densities.multivariate_normal(data.X, z[:3], L)


def rows(z, data):
    L = np.array([[1.0, 0.0, 0.0], [z[3], np.exp(z[4]), 0.0], [z[5], z[6], np.exp(z[7])]])
    total = densities.multivariate_t(data.X, 2.5, z[:3], L)
    total += densities.multivariate_normal_precision(data.X, z[:3], L @ L.T)
    counts = np.array([[2, 0, 3], [1, 4, 0]])
    total += densities.multinomial(counts, np.exp(z[:3]) / np.sum(np.exp(z[:3])))
    return total + densities.dirichlet(data.P, np.exp(z[:3]))


def infinite_bounds(z, data):
    total = densities.normal_log_interval(data.low, data.high, z[0], np.exp(z[1]))
    total += densities.logistic_log_interval(data.low, data.high, z[2], np.exp(z[3]))
    return total + densities.truncated_normal(data.y, -1.0, np.inf, z[4], np.exp(z[5]))


DATA = {
    "low": np.array([-np.inf, -1.0, 0.0, -np.inf]), "high": np.array([0.5, np.inf, 2.0, np.inf]),
    "m": np.array([0.3, -0.2, 0.5]), "k": np.array([2, 0, 3]), "y": np.array([1, 0, 1, 1]),
    "x": np.array([0.4, -0.3, 1.2, 0.9, 0.1]),
    "P": np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]),
    "X": np.array([[0.5, -1.0, 0.3], [0.2, 0.1, -0.9], [1.5, 0.7, 0.0], [-0.2, 0.4, 0.8]]),
}  # fmt: skip


@pytest.mark.parametrize("function", [vectors, series, arrays, rows, infinite_bounds])
def test_slopes_of_vectors_and_arrays(function, rng):
    z = rng.normal(size=10) * 0.5
    data = as_tuple(DATA)
    value, grad = derived(function, z, DATA)
    assert value == pytest.approx(function(z, data), rel=1e-12)
    wanted = slopes(lambda x: function(x, data), z)
    np.testing.assert_allclose(grad, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.thorough
@pytest.mark.jit
def test_densities_in_a_compiled_target(rng):
    target = fastvi.target(compiled_arrays, data=DATA, dim=10)
    z = rng.normal(size=10)
    value, grad = target.log_prob_and_grad(z)
    assert value == pytest.approx(compiled_arrays(z, as_tuple(DATA)), rel=1e-12)
    assert target.log_prob(z) == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(grad, derived(compiled_arrays, z, DATA)[1], rtol=1e-12, atol=1e-14)


def test_vectors_are_those_of_scipy(rng):
    A = rng.normal(size=(3, 3))
    S, x, m = A @ A.T + np.eye(3), rng.normal(size=3), rng.normal(size=3)
    L, p, a = np.linalg.cholesky(S), np.array([0.2, 0.3, 0.5]), np.array([0.5, 2.0, 30.0])
    k = np.array([3, 0, 2])
    wanted = stats.multivariate_normal.logpdf(x, m, S)
    assert densities.multivariate_normal(x, m, L) == pytest.approx(wanted)
    found = densities.multivariate_normal_precision(x, m, np.linalg.inv(S))
    assert found == pytest.approx(wanted)
    found = densities.multivariate_t(x, 3.5, m, L)
    assert found == pytest.approx(stats.multivariate_t.logpdf(x, m, S, df=3.5))
    several = np.array([x, m, 2.0 * x])
    for name, arguments in {
        "multivariate_normal": (m, L), "multivariate_normal_precision": (m, S),
        "multivariate_t": (3.5, m, L),
    }.items():  # fmt: skip
        density = getattr(densities, name)
        each = sum(density(row, *arguments) for row in several)
        assert density(several, *arguments) == pytest.approx(each, rel=1e-13)
    twice = densities.dirichlet(np.array([p, p[::-1]]), a)
    assert twice == pytest.approx(stats.dirichlet.logpdf(p, a) + stats.dirichlet.logpdf(p[::-1], a))
    assert densities.dirichlet(p, a) == pytest.approx(stats.dirichlet.logpdf(p, a))
    assert densities.multinomial(k, p) == pytest.approx(stats.multinomial.logpmf(k, 5, p))
    both = densities.multinomial(np.array([k, k[::-1]]), p)
    assert both == pytest.approx(densities.multinomial(k, p) + densities.multinomial(k[::-1], p))
    assert densities.categorical(3, p) == densities.categorical_logit(-1, p) == -math.inf
    assert densities.log_sum_exp(np.array([-math.inf, 800.0, 800.0])) == 800.0 + math.log(2.0)
    assert densities.log_sum_exp(np.full(2, -math.inf)) == -math.inf
    classes = [densities.ordered_logistic(i, 700.0, np.array([-900.0, 1.0])) for i in range(3)]
    assert classes == pytest.approx([-1600.0, -699.0, 0.0])
    rows = np.full(3, 700.0), np.array([[-900.0, 1.0]] * 3)
    assert densities.ordered_logistic(np.arange(3), *rows) == pytest.approx(sum(classes))
    probabilities = [math.exp(densities.ordered_logistic(i, 0.4, m[:1])) for i in range(2)]
    assert sum(probabilities) == pytest.approx(1.0)


def test_lkj_is_a_density():
    r = np.linspace(-1.0, 1.0, 20001)[1:-1]
    for eta in (1.0, 2.5):
        value = [
            densities.lkj_cholesky(np.array([[1.0, 0.0], [x, math.sqrt(1 - x * x)]]), eta)
            for x in r
        ]
        assert np.sum(np.exp(value)) * (r[1] - r[0]) == pytest.approx(1.0, rel=1e-3)
    volume = math.log(math.pi**2 / 2.0)  # of correlation matrices of three variables
    assert densities.lkj_cholesky(np.eye(3), 1.0) == pytest.approx(-volume)


@pytest.mark.parametrize(
    "module",
    [
        "counts",
        "cumulative",
        "interval",
        "multivariate",
        "positive",
        "real",
        "series",
        "survival",
        "truncated",
        "vectors",
        "zeros",
    ],
)
def test_examples(module):
    found = doctest.testmod(importlib.import_module(f"fastvi.densities.{module}"))
    assert found.attempted > 2
    assert not found.failed
