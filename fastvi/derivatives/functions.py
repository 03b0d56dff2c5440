"""The table of functions: what they are called by, and their derivatives.

A derivative is the source of what each argument receives, with ``{s}`` for the seed (the adjoint
of the result), ``{v}`` for the result, and ``{0}``, ``{1}`` for the arguments. All names in it are
arguments or in `SCOPE`, the globals of generated code.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import numpy as np

__all__ = ["ARRAY", "ELEMENTWISE", "FLAT", "RESULT_KINDS", "SMOOTH", "UNKNOWN", "known", "scope"]

# Factors of pi and logarithms of 2 and 10, as they enter derivatives.
_ERF, _ERFINV = 2.0 / math.sqrt(math.pi), 0.5 * math.sqrt(math.pi)
_LN2, _LN10 = math.log(2.0), math.log(10.0)

SMOOTH: dict[str, tuple[str, ...]] = {
    "exp": ("{s} * {v}",),
    "exp2": (f"{{s}} * {{v}} * {_LN2!r}",),
    "expm1": ("{s} * ({v} + 1.0)",),
    "log": ("{s} / {0}",),
    "log2": (f"{{s}} / ({{0}} * {_LN2!r})",),
    "log10": (f"{{s}} / ({{0}} * {_LN10!r})",),
    "log1p": ("{s} / (1.0 + {0})",),
    "sqrt": ("{s} * 0.5 / {v}",),
    "cbrt": ("{s} / (3.0 * {v} * {v})",),
    "sin": ("{s} * cos({0})",),
    "cos": ("-{s} * sin({0})",),
    "tan": ("{s} * (1.0 + {v} * {v})",),
    "asin": ("{s} / sqrt((1.0 - {0}) * (1.0 + {0}))",),
    "acos": ("-{s} / sqrt((1.0 - {0}) * (1.0 + {0}))",),
    "atan": ("{s} / (1.0 + {0} * {0})",),
    "sinh": ("{s} * cosh({0})",),
    "cosh": ("{s} * sinh({0})",),
    "tanh": ("{s} * (1.0 - {v} * {v})",),
    "asinh": ("{s} / sqrt(1.0 + {0} * {0})",),
    "acosh": ("{s} / sqrt(({0} - 1.0) * ({0} + 1.0))",),
    "atanh": ("{s} / ((1.0 - {0}) * (1.0 + {0}))",),
    "lgamma": ("{s} * digamma({0})",),
    "digamma": ("{s} * trigamma({0})",),
    "erf": (f"{{s}} * {_ERF!r} * exp(-{{0}} * {{0}})",),
    "erfc": (f"-{{s}} * {_ERF!r} * exp(-{{0}} * {{0}})",),
    "erfinv": (f"{{s}} * {_ERFINV!r} * exp({{v}} * {{v}})",),
    "abs": ("{s} * sign({0})",),
    "float": ("{s}",),
    "pow": (
        "{s} * {1} * pow({0}, {1} - 1.0)",
        "({s} * {v} * log({0}) if {0} > 0.0 else 0.0)",
    ),
    "atan2": (
        "{s} * {1} / ({0} * {0} + {1} * {1})",
        "-{s} * {0} / ({0} * {0} + {1} * {1})",
    ),
    "hypot": ("{s} * {0} / {v}", "{s} * {1} / {v}"),
    "logaddexp": ("{s} * share({0}, {v})", "{s} * share({1}, {v})"),
    "max": ("({s} if {0} >= {1} else 0.0)", "(0.0 if {0} >= {1} else {s})"),
    "min": ("({s} if {0} <= {1} else 0.0)", "(0.0 if {0} <= {1} else {s})"),
    "maximum": ("({s} if {0} >= {1} else 0.0)", "(0.0 if {0} >= {1} else {s})"),
    "minimum": ("({s} if {0} <= {1} else 0.0)", "(0.0 if {0} <= {1} else {s})"),
}

# Piecewise constant, or of integers: no derivative flows through.
FLAT = frozenset(
    [
        "floor",
        "ceil",
        "trunc",
        "rint",
        "sign",
        "int",
        "bool",
        "isnan",
        "isinf",
        "isfinite",
        "edge",
        "whole_floor",
        "whole_ceil",
        "whole_trunc",
    ]
)  # fmt: skip
UNKNOWN = frozenset(["trigamma"])  # refused where it depends on a parameter
_WHOLE = {f"whole_{n}": getattr(math, n) for n in ("floor", "ceil", "trunc")}
RESULT_KINDS = dict.fromkeys(("int", "edge", *_WHOLE), "i") | {
    "bool": "b", "isnan": "b", "isinf": "b", "isfinite": "b",
}  # fmt: skip
SAME_KIND = frozenset(("abs", "max", "min", "maximum", "minimum", "sign"))
ELEMENTWISE = frozenset(SMOOTH) | FLAT | UNKNOWN


class Rule(NamedTuple):
    """A function of whole arrays: its source, and that of its adjoint.

    In them {v} is the result, {0} and {1} the arguments, and {v_bar}, {b0} and {b1} their adjoints.
    `first` comes first, and `each` has a line for each argument that is active.
    """

    value: str
    first: str
    each: tuple[str, ...]


def _triangular(lower: bool, transposed: bool, unit: bool) -> Rule:
    flags = f"{lower}, {transposed}, {unit}"
    return Rule(
        f"triangular_into({{0}}, {{1}}, {{v}}, {flags})",
        f"triangular({{0}}, {{v_bar}}, {lower}, {not transposed}, {unit})",
        (f"triangular_minus({{b0}}, {{v_bar}}, {{v}}, {flags})", "plus({b1}, {v_bar})"),
    )


ARRAY: dict[str, Rule] = {
    "cholesky": Rule("cholesky_into({0}, {v})", "", ("cholesky_back({v}, {v_bar}, {b0})",)),
    "inv": Rule("inverse_into({0}, {v})", "", ("inverse_back({v}, {v_bar}, {b0})",)),
    "slogdet": Rule("slogdet_into({0}, {v})", "", ("slogdet_back({0}, {v_bar}, {b0})",)),
    "normal": Rule(
        "normal_into({0}, {1}, {v})", "",
        ("normal_back_matrix({v}, {v_bar}, {b0})", "normal_back_vector({v}, {v_bar}, {b1})"),
    ),
    "solve": Rule(
        "solve_into({0}, {1}, {v})", "solve_transposed({0}, {v_bar})",
        ("minus_outer({b0}, {v_bar}, {v})", "plus({b1}, {v_bar})"),
    ),
} | {
    "triangular" + "".join(str(int(flag)) for flag in flags): _triangular(*flags)
    for flags in itertools.product((False, True), repeat=3)
}  # fmt: skip

_MATH = [
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos",
    "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "lgamma", "erf", "erfc", "pow", "atan2", "hypot", "isnan", "isinf", "isfinite",
]  # fmt: skip
_NUMPY = {
    "exp exp2 expm1 log log2 log10 log1p sqrt cbrt sin cos tan sinh cosh tanh hypot floor ceil "
    "trunc rint sign isnan isinf isfinite maximum minimum logaddexp": "",
    "arcsin arccos arctan arcsinh arccosh arctanh arctan2": "arc",
}
_LOWERED = [
    "sum", "mean", "var", "std", "dot", "vdot", "outer", "where", "zeros", "ones", "empty",
    "full", "zeros_like", "ones_like", "empty_like", "full_like", "arange", "linspace", "eye",
    "identity", "copy", "square", "clip", "cumsum", "prod", "diag", "diff", "trace", "ravel",
    "transpose", "array", "asarray", "ascontiguousarray", "reciprocal", "shape", "size",
    "any", "all", "argmax", "argmin",
]  # fmt: skip


@functools.cache
def _table() -> dict[Any, str]:
    """Canonical names of Python's, NumPy's and SciPy's functions, by the functions."""
    import scipy.linalg
    import scipy.special

    found: dict[Any, str] = {getattr(math, n): n for n in _MATH if hasattr(math, n)}
    found[math.fabs] = "abs"
    found |= {function: n for n, function in _WHOLE.items()}
    for names, prefix in _NUMPY.items():
        for n in names.split():
            found[getattr(np, n)] = ("a" if prefix else "") + n.removeprefix(prefix)
    found |= {getattr(np, n): n for n in _LOWERED}
    found |= {
        abs: "abs", np.abs: "abs", np.fabs: "abs", np.power: "pow", float: "float",
        np.float64: "float", int: "int", np.int64: "int", np.intp: "int", bool: "bool",
        np.bool_: "bool", max: "max", min: "min", np.max: "amax", np.min: "amin",
        len: "len", range: "range", enumerate: "enumerate", zip: "zip", sum: "total",
        reversed: "reversed", np.linalg.cholesky: "cholesky",
        np.linalg.solve: "solve", np.linalg.inv: "inv", np.linalg.slogdet: "slogdet",
        np.linalg.det: "det", scipy.linalg.solve_triangular: "solve_triangular",
        np.logical_not: "negation", scipy.special.digamma: "digamma",
        scipy.special.erfinv: "erfinv", scipy.special.gammaln: "lgamma",
        np.negative: "negative", np.add: "add", np.subtract: "subtract", np.multiply: "multiply",
        np.divide: "divide", np.matmul: "dot", pow: "pow", divmod: "divmod", round: "round",
    }  # fmt: skip
    return found | _ours()


def _ours() -> dict[Any, str]:
    from fastvi.kernels import special
    from fastvi.kernels.derived_matrices import normal_of_matrix

    return {
        normal_of_matrix: "normal_of_matrix",
        special.exp: "exp",
        special.log: "log",
        special.gammaln: "lgamma",
        special.digamma: "digamma",
        special.trigamma: "trigamma",
    }


def known(function: Any) -> str | None:
    """Canonical name of a function, or None if it is not in the table."""
    try:
        return _table().get(function)
    except TypeError:
        return None


@functools.cache
def scope() -> dict[str, Any]:
    """The globals of generated code."""
    from fastvi.kernels import derived, derived_matrices, lanes_functions

    names = {n: getattr(math, n) for n in _MATH if hasattr(math, n)}
    names |= _WHOLE | {n: getattr(np, n) for n in ("floor", "ceil", "trunc", "rint")}
    for module in (derived, derived_matrices):
        names |= {n: getattr(module, n) for n in module.__all__}
    names |= lanes_functions.SCOPE
    return names | {"np": np, "math": math, "inf": math.inf, "nan": math.nan}
