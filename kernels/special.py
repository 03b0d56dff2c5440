"""Digamma, exp(digamma), trigamma, log-gamma, exp, log and log-sum-exp for float32 and float64.

Scalar functions take and return one float32 or float64 and can be called from any kernel; they
hold no branch and no library call, so a loop around them vectorises. Each is written once: the
constants of its width come from `_constants`. Every gamma-family function shifts its argument up
by the recurrence, psi(x) = psi(x + N) - sum 1 / (x + i), and finishes with a polynomial in
w = 1 / t**2, t = x + N - 1/2, about the leading term of Stirling's series, in which
psi(t + 1/2) = log t + w (1/24 - 7 w / 960 + ...) has no odd powers.

The polynomials are Chebyshev interpolants; `tests/naive/special.py` computes them again.
Accuracies are the largest errors seen against mpmath over the whole range, rounded up.
Results below the normal numbers are 0: subnormal numbers would slow down whoever reads them.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SAFE, kernel

# Reordering sums would undo the split constants below.
ORDERED = SAFE - {"reassoc", "arcp", "afn"}


class _Constants(NamedTuple):
    zero: object
    half: object
    one: object
    nan: object
    inf: object
    log2e: object
    ln2_high: object  # few enough bits that k * ln2_high is exact
    ln2_low: object
    half_log_2pi: object
    rounder: object  # 1.5 * 2**mantissa: adding it leaves the nearest integer in the low bits
    mantissa: object  # number of stored mantissa bits
    exponent_bias: object
    mantissa_mask: object
    upper_mask: object  # keeps the upper half of the mantissa: products of two such are exact
    sqrt_half_bits: object
    one_minus_sqrt_half_bits: object
    integer_bits: object  # OR-ed onto an integer it makes the float integer_offset + integer
    integer_offset: object
    tiny: object  # smallest normal number
    exp_range: tuple  # arguments are clamped to this
    reciprocal_range: tuple  # arguments of exp(-1/x - ...) are clamped to this
    large: object  # above it 1/x is all that is left of a correction
    shift: object
    shift_minus_half: object
    pair_sum: tuple  # sum over i of 1/(x+i) = (2x+N) pair_sum(s) / pairs(s), s = x (x+N)
    pairs: tuple  # (x+1) ... (x+N-1) in powers of s
    pair_squares: tuple  # sum over i of 1/(x+i)**2 = pair_squares(s) / pairs(s)**2
    exp: tuple
    log: tuple
    exp_digamma: tuple
    digamma: tuple
    trigamma: tuple
    gammaln: tuple


def _constants_of(floating, unsigned, mantissa, bias, **given):
    width = 8 * np.dtype(floating).itemsize
    one_bits = bias << mantissa
    sqrt_half_bits = int(np.sqrt(floating(0.5)).view(unsigned))
    bits = {
        "mantissa": mantissa,
        "exponent_bias": bias - 1,
        "mantissa_mask": (1 << mantissa) - 1,
        "upper_mask": (1 << width) - (1 << (mantissa + 2) // 2),
        "sqrt_half_bits": sqrt_half_bits,
        "one_minus_sqrt_half_bits": one_bits - sqrt_half_bits,
        "integer_bits": (mantissa + bias) << mantissa,
    }
    floats = {
        "zero": 0.0,
        "half": 0.5,
        "one": 1.0,
        "nan": np.nan,
        "inf": np.inf,
        "log2e": np.log2(np.e),
        "half_log_2pi": 0.9189385332046728,
        "rounder": 1.5 * 2.0**mantissa,
        "integer_offset": 2.0**mantissa + bias,
        "tiny": np.finfo(floating).tiny,
        "shift_minus_half": given["shift"] - 0.5,
    }
    typed = {name: unsigned(value) for name, value in bits.items()}
    for name, value in (floats | given).items():
        typed[name] = (
            tuple(floating(v) for v in value) if isinstance(value, tuple) else floating(value)
        )
    return _Constants(**typed)


_SINGLE = _constants_of(
    np.float32,
    np.uint32,
    mantissa=23,
    bias=127,
    ln2_high=0.693359375,
    ln2_low=-0.00021219444005469057,
    exp_range=(-87.4, 89.0),
    reciprocal_range=(1 / 85.9, 1e9),
    large=1e9,
    shift=3.0,
    pair_sum=(1.0,),
    pairs=(2.0, 1.0),
    pair_squares=(5.0, 2.0),
    exp=(
        0.5000000013457727,
        0.16666666681614256,
        0.04166646500604005,
        0.008333310934448869,
        0.0013933641031986701,
        0.00019890980869750327,
    ),
    log=(0.6666666655449709, 0.40000121839806124, 0.28550820815960665, 0.23330467216303835),
    exp_digamma=(
        0.04166664752638136,
        -0.006419740155065854,
        0.003424143072507072,
        -0.0024619699525663817,
    ),
    digamma=(
        0.04166664688955681,
        -0.007287667419718934,
        0.0037117388461652186,
        -0.002596533729004902,
    ),
    trigamma=(
        -0.0833333184759181,
        0.029161973476455157,
        -0.022817405598407465,
        0.028154929769881182,
        -0.029006557861413176,
    ),
    gammaln=(
        -0.04166666422098533,
        0.002430061938094437,
        -0.0007526556626015458,
        0.0004073237541125025,
    ),
)

_DOUBLE = _constants_of(
    np.float64,
    np.uint64,
    mantissa=52,
    bias=1023,
    ln2_high=0.6931471803691238,
    ln2_low=1.9082149292705877e-10,
    exp_range=(-708.4, 710.0),
    reciprocal_range=(1 / 706.0, 1e17),
    large=1e17,
    shift=7.0,
    pair_sum=(252.0, 56.0, 3.0),
    pairs=(720.0, 252.0, 28.0, 1.0),
    pair_squares=(773136.0, 364896.0, 69344.0, 6608.0, 315.0, 6.0),
    exp=(
        0.5000000000000001,
        0.16666666666666669,
        0.041666666666624164,
        0.008333333333330065,
        0.0013888888917196719,
        0.00019841269863040545,
        2.4801521322368692e-05,
        2.7557268480310024e-06,
        2.7620075879983367e-07,
        2.5100375832561234e-08,
    ),
    log=(
        0.666666666666667,
        0.39999999999899505,
        0.28571428625975487,
        0.2222221113479508,
        0.18182889125261723,
        0.15331721600556042,
        0.14616449685043406,
    ),
    exp_digamma=(
        0.04166666666666653,
        -0.006423611110551806,
        0.0035524825334977816,
        -0.003953459401930075,
        0.007352875188591731,
        -0.01994323667860869,
        0.05540629197649573,
    ),
    digamma=(
        0.04166666666666653,
        -0.0072916666661021695,
        0.003844245647251697,
        -0.004134015630975292,
        0.0075486915349281015,
        -0.020283879238034472,
        0.05610879426771068,
    ),
    trigamma=(
        -0.08333333333333326,
        0.029166666666254348,
        -0.02306547582178515,
        0.03307279014183808,
        -0.07558806481549799,
        0.2509623796258209,
        -1.0571565005527679,
        3.754357661696513,
    ),
    gammaln=(
        -0.041666666666666255,
        0.002430555554311788,
        -0.0007688485888738406,
        0.0005904748214062633,
        -0.0008306339484959887,
        0.0015382481937408756,
    ),
)


def _constants(x):
    return _SINGLE if isinstance(x, np.float32) else _DOUBLE


def _to_bits(x):
    return x.view(np.uint32) if isinstance(x, np.float32) else np.float64(x).view(np.uint64)


def _from_bits(bits, like):
    if isinstance(like, np.float32):
        return np.uint32(bits & 0xFFFFFFFF).view(np.float32)
    return np.uint64(bits).view(np.float64)


@overload(_constants)
def _compile_constants(x):
    if x == types.float32:
        return lambda x: _SINGLE
    return (lambda x: _DOUBLE) if x == types.float64 else None


@overload(_to_bits)
def _compile_to_bits(x):
    if x == types.float32:
        return lambda x: np.float32(x).view(np.uint32)
    return (lambda x: np.float64(x).view(np.uint64)) if x == types.float64 else None


@overload(_from_bits)
def _compile_from_bits(bits, like):
    if like == types.float32:
        return lambda bits, like: np.uint32(bits).view(np.float32)
    return (lambda bits, like: np.uint64(bits).view(np.float64)) if like == types.float64 else None


@kernel(fastmath=ORDERED, inline="always")
def _polynomial(x, coefficients):
    total = coefficients[len(coefficients) - 1]
    for i in range(len(coefficients) - 2, -1, -1):
        total = total * x + coefficients[i]
    return total


@kernel(fastmath=ORDERED, inline="always")
def _exp_of_sum(high, low):
    """exp(high + low) for a sum within `exp_range`, as 2**k exp(r) with |r| < 0.35."""
    c = _constants(high)
    rounded = (high + low) * c.log2e + c.rounder
    k = rounded - c.rounder
    r = ((high - k * c.ln2_high) + low) - k * c.ln2_low
    half_scale = _from_bits((_to_bits(rounded) + c.exponent_bias) << c.mantissa, high)
    product = (c.one + (r + r * r * _polynomial(r, c.exp))) * half_scale
    return product + product


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
    """exp(x), inf when too large and 0 below 1.7e-38 (float32) or 3.2e-308 (float64)."""
    c = _constants(x)
    y = c.exp_range[0] if x < c.exp_range[0] else x
    y = c.exp_range[1] if y > c.exp_range[1] else y
    return _exp_of_sum(y, c.zero)


@kernel(fastmath=ORDERED, inline="always")
def log(x):
    """log(x); -inf at 0 and below the normal numbers, NaN for x < 0."""
    c = _constants(x)
    result = _log_of_normal(x)
    result = -c.inf if x < c.tiny else result
    result = c.nan if x < c.zero else result
    return result if x < c.inf else x


@kernel(fastmath=ORDERED, inline="always")
def digamma(x):
    """d/dx log Gamma(x) for x >= 0: -inf at 0, inf at inf, NaN for x < 0."""
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
    """exp(digamma(x)) for x >= 0, without a logarithm: 0 at 0, inf at inf, NaN for x < 0."""
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
    """Second derivative of log Gamma(x) for x >= 0: inf at 0, 0 at inf, NaN for x < 0."""
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
    """log Gamma(x) for x >= 0: inf at 0 and inf, NaN for x < 0."""
    c = _constants(x)
    small = x < c.shift
    s = x * (x + c.shift)
    product = x * _polynomial(s, c.pairs) if small else c.one
    t = x + c.shift_minus_half if small else x - c.half
    inverse = c.one / t
    correction = inverse * _polynomial(inverse * inverse, c.gammaln)
    stirling = t * (log(t) - c.one) + c.half_log_2pi + correction
    result = stirling - log(product)
    return c.nan if x < c.zero else result


@kernel
def digamma_into(x, out):
    """Write digamma(x) into out; x, out (n,), both of one float type, may be the same array."""
    for i in range(x.size):
        out[i] = digamma(x[i])


@kernel
def exp_digamma_into(x, out):
    """Write exp(digamma(x)) into out; x, out (n,) of one float type, may be the same array."""
    for i in range(x.size):
        out[i] = exp_digamma(x[i])


@kernel
def trigamma_into(x, out):
    """Write trigamma(x) into out; x, out (n,) of one float type, may be the same array."""
    for i in range(x.size):
        out[i] = trigamma(x[i])


@kernel
def gammaln_into(x, out):
    """Write gammaln(x) into out; x, out (n,) of one float type, may be the same array."""
    for i in range(x.size):
        out[i] = gammaln(x[i])
