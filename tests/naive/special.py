"""Plain twins of `fastvi.kernels.special` in mpmath, and the derivation of its constants."""

import math
from fractions import Fraction

import mpmath as mp

REFERENCE = {
    "exp": mp.exp,
    "exp2": lambda x: mp.mpf(2) ** x,
    "log": mp.log,
    "digamma": mp.digamma,
    "exp_digamma": lambda x: mp.exp(mp.digamma(x)),
    "trigamma": lambda x: mp.polygamma(1, x),
    "gammaln": mp.loggamma,
}


def logsumexp(values):
    """log(sum(exp(values))) by its definition, with the limits written out."""
    values = [float(v) for v in values]
    if any(math.isnan(v) for v in values):
        return math.nan
    if math.inf in values:
        return math.inf
    total = mp.fsum(mp.exp(mp.mpf(v)) for v in values if v != -math.inf)
    return float(mp.log(total)) if total else -math.inf


def interpolate(function, low, high, count):
    """Coefficients, lowest power first, of the interpolant of a function at Chebyshev nodes."""
    middle, radius = (low + high) / mp.mpf(2), (high - low) / mp.mpf(2)
    nodes = [middle + radius * mp.cos(mp.pi * (2 * k + 1) / (2 * count)) for k in range(count)]
    powers = mp.matrix([[x**j for j in range(count)] for x in nodes])
    return list(mp.lu_solve(powers, mp.matrix([function(x) for x in nodes])))


def _exp_tail(r):
    return (mp.exp(r) - 1 - r) / r**2


def _log_tail(square):
    z = mp.sqrt(square)
    return (2 * mp.atanh(z) / z - 2) / square


def _exp_digamma_tail(w):
    t = 1 / mp.sqrt(w)
    return (mp.exp(mp.digamma(t + 0.5)) / t - 1) / w


def _digamma_tail(w):
    t = 1 / mp.sqrt(w)
    return (mp.digamma(t + 0.5) - mp.log(t)) / w


def _trigamma_tail(w):
    t = 1 / mp.sqrt(w)
    return (mp.polygamma(1, t + 0.5) * t - 1) / w


def _gammaln_tail(w):
    t = 1 / mp.sqrt(w)
    return (mp.loggamma(t + 0.5) - t * mp.log(t) + t - mp.log(2 * mp.pi) / 2) * t


def coefficients(name, constants):
    """The polynomial `name` of a `Constants`, computed anew with as many coefficients."""
    root = mp.sqrt(2)
    largest_w = 1 / (mp.mpf(float(constants.shift)) - 0.5) ** 2
    largest_w_gammaln = 1 / (mp.mpf(float(constants.gammaln_shift)) - 0.5) ** 2
    function, low, high = {
        "exp": (_exp_tail, -mp.log(2) / 2, mp.log(2) / 2),
        "log": (_log_tail, 0, ((root - 1) / (root + 1)) ** 2),
        "exp_digamma": (_exp_digamma_tail, 0, largest_w),
        "digamma": (_digamma_tail, 0, largest_w),
        "trigamma": (_trigamma_tail, 0, largest_w),
        "gammaln": (_gammaln_tail, 0, largest_w_gammaln),
    }[name]
    with mp.workdps(50):
        return interpolate(function, low, high, len(getattr(constants, name)))


def recurrence_sums(x, shift):
    """Sums over i = 1 ... shift - 1 of 1 / (x + i) and of 1 / (x + i)**2, exact."""
    terms = [1 / (Fraction(x) + i) for i in range(1, shift)]
    return sum(terms), sum(term**2 for term in terms)
