"""Digamma, exp(digamma), trigamma, log-gamma, exp, exp2, log and log-sum-exp, in two widths.

Scalar functions take and return one float32 or float64 and can be called from any kernel; they
hold no branch and no library call, so a loop around them vectorises. Each is written once: the
constants of its width come from `_constants`. Every gamma-family function shifts its argument up
by the recurrence, psi(x) = psi(x + N) - sum 1 / (x + i), and finishes with a polynomial in
w = 1 / t**2, t = x + N - 1/2, about the leading term of Stirling's series: around x - 1/2 that
series has no odd powers, psi(t + 1/2) = log t + w (1/24 - 7 w / 960 + ...).

Accuracies are bounds tested against mpmath over all normal numbers, float32 / float64, relative
unless they say "or absolute", which means error / max(1, |value|).
"""

import numpy as np

from ._jit import SAFE, kernel
from ._special_compiled import compile_bits, compile_constants, compile_polynomial
from ._special_constants import DOUBLE, SINGLE

# Reordering sums would undo the split constants below.
ORDERED = SAFE - {"reassoc", "arcp", "afn"}


def _constants(x):
    return SINGLE if isinstance(x, np.float32) else DOUBLE


def _to_bits(x):
    return x.view(np.uint32) if isinstance(x, np.float32) else np.float64(x).view(np.uint64)


def _from_bits(bits, like):
    if isinstance(like, np.float32):
        return np.uint32(bits & 0xFFFFFFFF).view(np.float32)
    return np.uint64(bits).view(np.float64)


def _polynomial(x, coefficients):
    total = coefficients[len(coefficients) - 1]
    for i in range(len(coefficients) - 2, -1, -1):
        total = total * x + coefficients[i]
    return total


compile_constants(_constants, SINGLE, DOUBLE)
compile_bits(_to_bits, _from_bits)
compile_polynomial(_polynomial, ORDERED)


@kernel(fastmath=ORDERED, inline="always")
def _scaled_exp(r, rounded):
    """2**k exp(r), with |r| < 0.35 and k + c.rounder."""
    c = _constants(r)
    half_scale = _from_bits((_to_bits(rounded) + c.exponent_bias) << c.mantissa, r)
    product = (c.one + (r + r * r * _polynomial(r, c.exp))) * half_scale
    return product + product


@kernel(fastmath=ORDERED, inline="always")
def _exp_of_sum(high, low):
    """exp(high + low) for a sum within `exp_range`, as 2**k exp(r) with |r| < 0.35."""
    c = _constants(high)
    rounded = (high + low) * c.log2e + c.rounder
    k = rounded - c.rounder
    return _scaled_exp(((high - k * c.ln2_high) + low) - k * c.ln2_low, rounded)


@kernel(fastmath=ORDERED, inline="always")
def _log_of_normal(x):
    """log(x) of a positive normal number, as k log 2 + 2 artanh(z)."""
    c = _constants(x)
    bits = _to_bits(_from_bits(_to_bits(x) + c.one_minus_sqrt_half_bits, x))
    k = _from_bits((bits >> c.mantissa) | c.integer_bits, x) - c.integer_offset
    m = _from_bits((bits & c.mantissa_mask) + c.sqrt_half_bits, x) - c.one
    z = m / (m + c.one + c.one)
    square = z * z
    return k * c.ln2_high + (k * c.ln2_low + (z + z + z * square * _polynomial(square, c.log)))


@kernel(fastmath=ORDERED, inline="always")
def exp(x):
    """exp(x), inf when too large and 0 below 1.7e-38 / 3.2e-308; accuracy 2e-7 / 4e-16.

    Subnormal results would slow down whoever reads them, hence the 0.
    """
    c = _constants(x)
    y = c.exp_range[0] if x < c.exp_range[0] else x
    y = c.exp_range[1] if y > c.exp_range[1] else y
    return _exp_of_sum(y, c.zero)


@kernel(fastmath=ORDERED, inline="always")
def exp2(x):
    """2**x in fewer steps than `exp`, with its limits; accuracy 2e-7 / 4e-16."""
    c = _constants(x)
    y = c.exp2_range[0] if x < c.exp2_range[0] else x
    y = c.exp2_range[1] if y > c.exp2_range[1] else y
    rounded = y + c.rounder
    return _scaled_exp((y - (rounded - c.rounder)) * c.ln2, rounded)


@kernel(fastmath=ORDERED, inline="always")
def log(x):
    """log(x): -inf at 0 and for subnormal x, NaN for x < 0; accuracy 3e-7 / 6e-16."""
    c = _constants(x)
    result = _log_of_normal(x)
    result = -c.inf if x < c.tiny else result
    result = c.nan if x < c.zero else result
    return result if x < c.inf else x


@kernel(fastmath=ORDERED, inline="always")
def digamma(x):
    """d/dx log Gamma(x): -inf at 0, inf at inf, NaN for x < 0.

    Accuracy 5e-7 / 2e-15 or absolute; -inf also where -1/x overflows (subnormal x).
    """
    c = _constants(x)
    y = c.large if x > c.large else x
    s = y * (y + c.shift)
    total = c.one / y + (y + y + c.shift) * _polynomial(s, c.pair_sum) / _polynomial(s, c.pairs)
    t = x + c.shift_minus_half
    w = c.one / (t * t)
    result = (_log_of_normal(t) + w * _polynomial(w, c.digamma)) - total
    result = c.nan if x < c.zero else result
    return result if x < c.inf else x


@kernel(fastmath=ORDERED, inline="always")
def exp_digamma(x):
    """exp(digamma(x)) without a logarithm: 0 at 0, inf at inf, NaN for x < 0.

    Accuracy 6e-7 / 2e-15; 0 below x = 0.0118 / 0.00142, where it is under 6e-38 / 8e-307.
    """
    c = _constants(x)
    y = c.reciprocal_range[0] if x < c.reciprocal_range[0] else x
    y = c.reciprocal_range[1] if y > c.reciprocal_range[1] else y
    # 1 / y is up to 706: carry its rounding error along, or exp would magnify it.
    inverse = c.one / y
    high = _from_bits(_to_bits(inverse) & c.upper_mask, x)
    y_high = _from_bits(_to_bits(y) & c.upper_mask, x)
    low = ((c.one - y_high * high) - (y - y_high) * high) * inverse
    s = y * (y + c.shift)
    pairs = (y + y + c.shift) * _polynomial(s, c.pair_sum) / _polynomial(s, c.pairs)
    t = x + c.shift_minus_half
    w = c.one / (t * t)
    result = _exp_of_sum(-high, -(low + pairs)) * (t + t * (w * _polynomial(w, c.exp_digamma)))
    result = c.nan if x < c.zero else result
    return result if x < c.inf else x


@kernel(fastmath=ORDERED, inline="always")
def trigamma(x):
    """d2/dx2 log Gamma(x): inf at 0, 0 at inf, NaN for x < 0; accuracy 4e-7 / 1e-15.

    inf also where 1/x**2 overflows.
    """
    c = _constants(x)
    y = c.large if x > c.large else x
    inverse = c.one / x
    s = y * (y + c.shift)
    pairs = _polynomial(s, c.pairs)
    total = inverse * inverse + _polynomial(s, c.pair_squares) / (pairs * pairs)
    t_inverse = c.one / (y + c.shift_minus_half)
    w = t_inverse * t_inverse
    result = total + t_inverse * (c.one + w * _polynomial(w, c.trigamma))
    result = inverse if x > c.large else result
    return c.nan if x < c.zero else result


@kernel(fastmath=ORDERED, inline="always")
def gammaln(x):
    """Log of Gamma(x): inf at 0 and inf, NaN for x < 0; accuracy 6e-7 / 5e-15 or absolute.

    A subnormal x may give inf.
    """
    c = _constants(x)
    small = x < c.gammaln_shift
    product = _polynomial(x, c.gammaln_product) if small else c.one
    t = x + (c.gammaln_shift - c.half if small else -c.half)
    inverse = c.one / t
    correction = inverse * _polynomial(inverse * inverse, c.gammaln)
    result = t * (log(t) - c.one) + (c.half_log_2pi + correction) - log(product)
    return c.nan if x < c.zero else result


@kernel
def logsumexp(x):
    """log(sum(exp(x))) of x (n,); -inf when it is empty or all -inf, NaN when it holds a NaN."""
    c = _constants(x.dtype.type(0))
    largest = -c.inf
    for i in range(x.size):
        largest = x[i] if x[i] > largest else largest
    if not -c.inf < largest < c.inf:
        largest = c.zero
    total = c.zero
    for i in range(x.size):
        total += exp(x[i] - largest)
    return largest + log(total)


@kernel
def digamma_into(x, out):
    """Write digamma(x) into out; x, out (n,), of one float type; slow in place."""
    for i in range(x.size):
        out[i] = digamma(x[i])


@kernel
def exp_digamma_into(x, out):
    """Write exp(digamma(x)) into out; x, out (n,), of one float type; slow in place."""
    for i in range(x.size):
        out[i] = exp_digamma(x[i])


@kernel
def trigamma_into(x, out):
    """Write trigamma(x) into out; x, out (n,), of one float type; slow in place."""
    for i in range(x.size):
        out[i] = trigamma(x[i])


@kernel
def gammaln_into(x, out):
    """Write gammaln(x) into out; x, out (n,), of one float type; slow in place."""
    for i in range(x.size):
        out[i] = gammaln(x[i])
