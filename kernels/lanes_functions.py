"""Functions of numbers of several draws, see `lanes.py`, and all names that generated code uses.

Interpreted, they are NumPy's or call Python's for each draw.
"""

import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import intrinsic, overload

from . import derived
from . import lanes as numbers
from ._special_constants import DOUBLE
from .lanes import LANES, WIDE, both, choose, either, lane, lanes, lowered, spread, with_lane
from .special import ORDERED

__all__ = ["FUNCTIONS", "SCOPE"]

WORDS = ir.VectorType(ir.IntType(64), LANES)


def _unary(name, instruction, interpreted):
    """A function of one number that is an instruction."""

    def function(x):
        return interpreted(x)

    function.__name__ = f"{name}_of_lanes"
    globals()[function.__name__] = function  # where Numba looks it up

    @lowered(function, lambda x: signature(lanes, lanes), lanes)
    def _write(context, builder, sig, args):
        called = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(WIDE, [WIDE]), f"llvm.{instruction}.v{LANES}f64"
        )
        return builder.call(called, args)

    return function


_INSTRUCTIONS = {
    name: _unary(name, "fabs" if name == "abs" else name, getattr(np, name))
    for name in ("abs", "sqrt", "floor", "ceil", "trunc", "rint")
}


@intrinsic
def _power_of_two(typing, rounded):
    """2**(k - 1) of k + `DOUBLE.rounder`."""

    def generate(context, builder, sig, args):
        bias, places = (
            ir.Constant(WORDS, [int(c)] * LANES) for c in (DOUBLE.exponent_bias, DOUBLE.mantissa)
        )
        bits = builder.add(builder.bitcast(args[0], WORDS), bias)
        return builder.bitcast(builder.shl(bits, places), WIDE)

    return lanes(lanes), generate


@intrinsic
def _exponent(typing, x):
    """K of x = 2**k (1 + m), with m from sqrt(1/2) - 1 to sqrt(2) - 1."""

    def generate(context, builder, sig, args):
        shift, places, mark = (
            ir.Constant(WORDS, [int(c)] * LANES)
            for c in (DOUBLE.one_minus_sqrt_half_bits, DOUBLE.mantissa, DOUBLE.integer_bits)
        )
        bits = builder.add(builder.bitcast(args[0], WORDS), shift)
        k = builder.bitcast(builder.or_(builder.lshr(bits, places), mark), WIDE)
        return builder.fsub(k, ir.Constant(WIDE, [float(DOUBLE.integer_offset)] * LANES))

    return lanes(lanes), generate


@intrinsic
def _mantissa(typing, x):
    """1 + m of x = 2**k (1 + m)."""

    def generate(context, builder, sig, args):
        shift, keep, back = (
            ir.Constant(WORDS, [int(c)] * LANES)
            for c in (DOUBLE.one_minus_sqrt_half_bits, DOUBLE.mantissa_mask, DOUBLE.sqrt_half_bits)
        )
        bits = builder.add(builder.bitcast(args[0], WORDS), shift)
        return builder.bitcast(builder.add(builder.and_(bits, keep), back), WIDE)

    return lanes(lanes), generate


_OPTIONS = {"error_model": "numpy", "fastmath": ORDERED, "forceinline": True}

_SHARING = _OPTIONS | {"fastmath": ORDERED | {"arcp"}}  # a reciprocal, with other divisions


def _function(name, n, compiled, interpreted, options=_OPTIONS):
    """A function of n numbers, of which one may be the same for all draws."""
    given = ", ".join(["x", "y"][:n])
    scope = {"f": interpreted, "compiled": compiled}
    exec(
        f"def {name}({given}):\n    return f({given})\ndef typed({given}):\n    return compiled",
        scope,
    )
    overload(scope[name], jit_options=options)(scope["typed"])
    return scope[name]


def _polynomial(coefficients):
    """Source of a polynomial in x, with the lowest coefficient first."""
    text = repr(float(coefficients[-1]))
    for c in coefficients[-2::-1]:
        text = f"({text} * x + {float(c)!r})"
    return text


def _horner(coefficients):
    scope = {}
    exec(f"def polynomial(x):\n    return {_polynomial(coefficients)}", scope)
    return numba.njit(scope["polynomial"], **_OPTIONS)


_exp_tail, _log_tail = _horner(DOUBLE.exp), _horner(DOUBLE.log)
LOWEST, HIGHEST = map(float, DOUBLE.exp_range)
LOG2E, ROUNDER = float(DOUBLE.log2e), float(DOUBLE.rounder)
LN2_HIGH, LN2_LOW = float(DOUBLE.ln2_high), float(DOUBLE.ln2_low)
TINY = float(DOUBLE.tiny)


def _exp(x):  # as `special.exp`
    y = choose(x < LOWEST, LOWEST, x)
    y = choose(y > HIGHEST, HIGHEST, y)
    rounded = y * LOG2E + ROUNDER
    k = rounded - ROUNDER
    r = (y - k * LN2_HIGH) - k * LN2_LOW
    product = (1.0 + (r + r * r * _exp_tail(r))) * _power_of_two(rounded)
    return product + product


def _log(x):  # as `special.log`
    k = _exponent(x)
    m = _mantissa(x) - 1.0
    z = m / (m + 2.0)
    square = z * z
    result = k * LN2_HIGH + (k * LN2_LOW + (z + z + z * square * _log_tail(square)))
    result = choose(x < TINY, -math.inf, result)
    result = choose(x < 0.0, math.nan, result)
    return choose(x < math.inf, result, x)


exp = _function("exp", 1, _exp, np.exp)
log = _function("log", 1, _log, np.log)


def _log1p(x):
    u = 1.0 + x
    usual = both(u > 0.0, u < math.inf)
    return log(u) + choose(usual, (x - (u - 1.0)) / u, 0.0)


def sign(x):
    """-1, 0 or 1."""
    return choose(x > 0.0, 1.0, choose(x < 0.0, -1.0, 0.0 * x))


def larger(x, y):
    """As Python's max."""
    return choose(y > x, y, x)


def smaller(x, y):
    """As Python's min."""
    return choose(y < x, y, x)


def maximum(x, y):
    """As np.maximum: NaN if either is."""
    return choose(either(x >= y, x != x), x, y)


def minimum(x, y):
    """As np.minimum: NaN if either is."""
    return choose(either(x <= y, x != x), x, y)


def share(x, y):
    """As `derived.share`."""
    return choose(x == -math.inf, 0.0, exp(x - y))


def _same_number(x):
    return x


def _by_lane(function, n):
    """A function of lanes that calls one of numbers for each lane."""
    names = ["x", "y"][:n]
    numbers = ", ".join(f"lane({p}, k)" for p in names)
    lines = [
        f"def by_lane({', '.join(names)}):",
        *(f"    {p} = spread({p})" for p in names if n > 1),
        "    result = x",
        f"    for k in range({LANES}):",
        f"        result = with_lane(result, k, f({numbers}))",
    ]
    scope = {"f": function, "lane": lane, "with_lane": with_lane, "spread": spread}
    exec("\n".join([*lines, "    return result"]), scope)
    return scope["by_lane"]


def _interpreted(function):
    function = getattr(function, "py_func", function)

    def each(*args):
        return np.array([function(*numbers) for numbers in zip(*map(spread, args))])

    return each


_EACH = {
    name: getattr(math, name)
    for name in (
        "exp2", "expm1", "log2", "log10", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "lgamma", "erf", "erfc",
    )
    if hasattr(math, name)
} | {name: getattr(derived, name) for name in ("digamma", "trigamma", "erfinv")}  # fmt: skip
_EACH_PAIR = {"pow": math.pow, "atan2": math.atan2, "hypot": math.hypot,
              "logaddexp": derived.logaddexp}  # fmt: skip
_WHOLE = {"sign": (sign, 1), "max": (larger, 2), "min": (smaller, 2), "maximum": (maximum, 2),
          "minimum": (minimum, 2), "share": (share, 2), "float": (_same_number, 1)}  # fmt: skip
FUNCTIONS = {
    **_INSTRUCTIONS, "exp": exp, "log": log,
    "log1p": _function("log1p", 1, _log1p, np.log1p, _SHARING),
    **{name: _function(name, n, f, f) for name, (f, n) in _WHOLE.items()},
    **{
        name: _function(name, n, _by_lane(f, n), _interpreted(f), {"error_model": "numpy"})
        for n, table in ((1, _EACH), (2, _EACH_PAIR)) for name, f in table.items()
    },
}  # fmt: skip
_pow = FUNCTIONS["pow"]


def power(x, n):
    """X to a power that is the same for all draws."""
    return x ** np.float64(n)


def _whole_power(x, n):
    result, square, left = spread(1.0), x, abs(n)
    while left > 0:
        if left % 2 == 1:
            result = result * square
        square = square * square
        left //= 2
    return result if n >= 0 else 1.0 / result


@overload(power, jit_options=_OPTIONS)
def _compile_power(x, n):
    if isinstance(n, types.Integer):
        return _whole_power
    return lambda x, n: _pow(x, n)


# Names end in __v in generated code, apart from those of a user's.
PLAIN = ("at", "put", "choose", "both", "either", "negation", "spread", "ahead")
SCOPE = {"LANES__v": LANES, "power__v": power} | {
    f"{name}__v": f for name, f in FUNCTIONS.items()
} | {f"{name}__v": getattr(numbers, name) for name in PLAIN} | {
    f"{name}__v": numba.njit(getattr(numbers, name), nogil=True, error_model="numpy")
    for name in ("grown", "loaded", "stored", "single")
}  # fmt: skip
