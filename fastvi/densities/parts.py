"""What several densities are made of, exact where the plain formulas lose digits.

With c(a) = log Gamma(a) - (a - 1/2) log a + a - log(2 pi) / 2, the rest of Stirling's formula, and
the deviance d(k, m) = k log(k / m) + m - k, differences of large numbers that densities of counts
and of Gamma variables hold cancel by hand (Loader 2000, "Fast and accurate computation of binomial
probabilities").
"""

from __future__ import annotations

import math

from fastvi.densities.vectorised import compiled

__all__ = [
    "HALF_LOG_2PI",
    "LOG_2",
    "deviance",
    "log1m_exp",
    "log1m_exp_exp",
    "log1p_square",
    "log_i0e",
    "log_ndtr",
    "log_ratio",
    "outside",
    "rest",
    "softplus",
]

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
LOG_2 = math.log(2.0)
ROOT_HALF = math.sqrt(0.5)


@compiled
def outside(x: float) -> float:
    """The log density outside the support: minus infinity, but NaN at NaN."""
    return -math.inf if x == x else math.nan


@compiled
def rest(a: float) -> float:
    """What Stirling's formula leaves of log Gamma(a), a > 0."""
    r = 1.0 / a
    s = r * r
    return (
        r * (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0
             - s * (1.0 / 1188.0 - s * (691.0 / 360360.0 - s * (1.0 / 156.0)))))))
        if a > 10.0
        else math.lgamma(a) - (a - 0.5) * math.log(a) + a - HALF_LOG_2PI
    )  # fmt: skip


@compiled
def deviance(k: float, m: float) -> float:
    """K log(k / m) + m - k, for k and m > 0."""
    e = (m - k) / k
    return k * (e - math.log1p(e)) if abs(m - k) < 0.5 * k else m - k - k * math.log(m / k)


@compiled
def softplus(t: float) -> float:
    """log(1 + exp(t))."""
    return t + math.log1p(math.exp(-t)) if t > 0.0 else math.log1p(math.exp(t))


@compiled
def log1p_square(t: float) -> float:
    """log(1 + t^2), also where the square overflows."""
    return math.log1p(t * t) if -1e8 < t < 1e8 else 2.0 * math.log(abs(t))


@compiled
def log_ratio(a: float) -> float:
    """Log Gamma(a + 1/2) - log Gamma(a), a > 0."""
    r = 1.0 / a
    s = r * r
    return (
        0.5 * math.log(a) - r * (0.125 - s * (1.0 / 192.0 - s * (1.0 / 640.0
        - s * (17.0 / 14336.0 - s * (31.0 / 18432.0 - s * (691.0 / 180224.0))))))
        if a > 15.0
        else math.lgamma(a + 0.5) - math.lgamma(a)
    )  # fmt: skip


@compiled
def log_i0e(x: float) -> float:
    """log(exp(-x) I0(x)), x >= 0, of the modified Bessel function of order 0."""
    if x < 30.0:
        s = 0.25 * x * x
        term, total = 1.0, 1.0
        for i in range(1, 80):
            term *= s / (i * i)
            total += term
        return math.log(total) - x
    r = 0.125 / x
    term, total = 1.0, 1.0
    for i in range(1, 25):
        term *= (2.0 * i - 1.0) ** 2 * r / i
        total += term
    return math.log(total) - 0.5 * math.log(x) - HALF_LOG_2PI


@compiled
def log1m_exp(t: float) -> float:
    """log(1 - exp(-t)), t > 0."""
    return math.log1p(-math.exp(-t)) if t > LOG_2 else math.log(-math.expm1(-t))


@compiled
def log1m_exp_exp(u: float) -> float:
    """log(1 - exp(-exp(u))), with no derivative where exp(u) overflows."""
    return u if u < -40.0 else (0.0 if u >= 7.0 else log1m_exp(math.exp(u)))


@compiled
def lower_tail(u: float) -> float:
    """`log_ndtr` far below 0."""
    s = 1.0 / (u * u)
    return -0.5 * u * u - math.log(-u) - HALF_LOG_2PI + math.log1p(
        -s * (1.0 - s * (3.0 - s * (15.0 - s * (105.0 - s * (945.0 - s * 10395.0)))))
    )  # fmt: skip


@compiled
def log_ndtr(u: float) -> float:
    """Logarithm of the standard normal's distribution function."""
    return (
        math.log1p(-0.5 * math.erfc(ROOT_HALF * u))
        if u > 0.0
        else (math.log(0.5 * math.erfc(-ROOT_HALF * u)) if u > -30.0 else lower_tail(u))
    )
