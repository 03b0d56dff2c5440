"""Constants of `special`, in float32 and in float64.

The polynomials, lowest power first, interpolate at Chebyshev nodes;
`tests/naive/special.py` computes them again.
"""

from typing import NamedTuple

import numpy as np


class Constants(NamedTuple):
    """What one float width needs: scalars and tuples of it, and unsigned integers as wide."""

    zero: object
    half: object
    one: object
    nan: object
    inf: object
    log2e: object
    ln2: object
    ln2_high: object  # few enough bits that k * ln2_high is exact
    ln2_low: object
    half_log_2pi: object
    rounder: object  # 1.5 * 2**mantissa: adding it leaves the nearest integer in the low bits
    mantissa: object  # number of stored mantissa bits
    exponent_bias: object
    mantissa_mask: object
    upper_mask: object  # keeps the upper half of the mantissa, so that products of two are exact
    sqrt_half_bits: object
    one_minus_sqrt_half_bits: object
    integer_bits: object  # OR-ed onto an integer it makes the float integer_offset + integer
    integer_offset: object
    tiny: object  # smallest normal number
    exp_range: tuple  # arguments are clamped to this
    exp2_range: tuple
    reciprocal_range: tuple  # arguments of exp(-1/x - ...) are clamped to this
    large: object  # above it, 1/x is all that remains of a correction
    shift: object
    shift_minus_half: object
    pair_sum: tuple  # sum over i of 1/(x+i) = (2x+N) pair_sum(s) / pairs(s), s = x (x+N)
    pairs: tuple  # (x+1) ... (x+N-1) in powers of s
    pair_squares: tuple  # sum over i of 1/(x+i)**2 = pair_squares(s) / pairs(s)**2
    gammaln_shift: object
    gammaln_product: tuple  # x (x+1) ... (x+gammaln_shift-1)
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
        "ln2": np.log(2.0),
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
    return Constants(**typed)


SINGLE = _constants_of(
    np.float32,
    np.uint32,
    mantissa=23,
    bias=127,
    ln2_high=0.693359375,
    ln2_low=-0.00021219444005469057,
    exp_range=(-87.4, 89.0),
    exp2_range=(-126.0, 128.0),
    reciprocal_range=(1 / 85.9, 1e9),
    large=1e9,
    shift=3.0,
    pair_sum=(1.0,),
    pairs=(2.0, 1.0),
    pair_squares=(5.0, 2.0),
    gammaln_shift=2.0,
    gammaln_product=(0.0, 1.0, 1.0),
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
        -0.04166665757784838,
        0.0024295150734496454,
        -0.0007483719752239458,
        0.0004325801373450476,
        -0.0001941492654426621,
    ),
)

DOUBLE = _constants_of(
    np.float64,
    np.uint64,
    mantissa=52,
    bias=1023,
    ln2_high=0.6931471803691238,
    ln2_low=1.9082149292705877e-10,
    exp_range=(-708.4, 710.0),
    exp2_range=(-1022.0, 1024.0),
    reciprocal_range=(1 / 706.0, 1e17),
    large=1e17,
    shift=7.0,
    pair_sum=(252.0, 56.0, 3.0),
    pairs=(720.0, 252.0, 28.0, 1.0),
    pair_squares=(773136.0, 364896.0, 69344.0, 6608.0, 315.0, 6.0),
    gammaln_shift=4.0,
    gammaln_product=(0.0, 6.0, 11.0, 6.0, 1.0),
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
        -0.0416666666666665,
        0.0024305555552183674,
        -0.0007688490943623008,
        0.0005905732571525662,
        -0.0008391411561283705,
        0.0018793786405411905,
        -0.005517413795276602,
        0.01556700783005483,
        -0.025860674023112925,
    ),
)
