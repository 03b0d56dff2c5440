"""Wrappers that give a user's Python function the C signature of targets, and their cache.

The source of a wrapper is generated for the layout of the data, about one line per field, because
Numba needs the type and position of each array as constants.
"""

import sys
import types
from typing import NamedTuple

import numba
import numpy as np

from . import targets
from ._fingerprint import fingerprint
from ._jit import SAFE, UNORDERED, KernelCache, target_function
from ._pointers import array_at, read_only
from .lanes import LANES

ZEROED = ("for s in range(k):", "    for j in range(n):", "        grads[s, j] = 0.0")
ALONE = 2  # vectors left over from full lanes that are evaluated one by one
SLOPES = tuple(line.replace("grads", "slopes") for line in ZEROED)


class Form(NamedTuple):
    """How a user's function is called: its arguments' names, in order, and its data.

    fields is None without data, else (name, dtype, ndim) of each array, or with ndim 0 number;
    named says whether data is a NamedTuple or a plain tuple.
    """

    arguments: tuple[str, ...]
    fields: tuple[tuple, ...] | None
    named: bool
    n_terms: int
    fastmath: bool

    @property
    def batched(self):
        """Whether it takes all vectors at once."""
        return "Z" in self.arguments


def offsets(fields):
    """Words of the table at which the fields begin, and its length."""
    at = np.cumsum([targets.HEADER, *(1 + field.ndim for field in fields)])
    return [int(start) for start in at]


def _read(field, start):
    """Source of one field's value."""
    sizes = "".join(f"table[{start + 1 + axis}], " for axis in range(field.ndim))
    array = f"array_at(table[{start}], ({sizes or '1,'}), {field.dtype})"
    return f"read_only({array})" if field.ndim else f"{array}[0]"


def wrapper_source(form, derived=(), lanes=()):
    """Source of the function `target` of the signature `TARGET` that calls the user's `logp`.

    derived: names of the arguments of `logp_and_grad`, which is called for gradients instead;
    lanes: of `lanes_and_grad`, which is called for several vectors at once, if it is there.
    """
    fields = form.fields or ()
    lines = [
        "def target(k, n, Z, data, values, grads):",
        f"table = array_at(data, ({offsets(fields)[-1]},), int64)",
        "Z = read_only(array_at(Z, (k, n), float64))",
        f"values = array_at(values, (k, {form.n_terms}), float64)",
    ]
    if form.fields is not None:
        parts = "".join(f"{_read(*pair)}, " for pair in zip(fields, offsets(fields)))
        lines.append(f"data = Data({parts})" if form.named else f"data = ({parts})")
    if "rows" in form.arguments or "weights" in form.arguments:
        for name, word, kind in (("rows", 0, "int64"), ("weights", 2, "float64")):
            lines.append(f"{name} = read_only(array_at(table[{word}], (table[1],), {kind}))")
    if {"grad", "grads"} & set(form.arguments):
        lines += [
            "grads = array_at(grads, (k, n), float64) if grads != 0 else np.empty((k, n))",
            *ZEROED,
        ]
    if derived:
        calls = _lanes_calls(lanes) if lanes else []
        calls += _calls(form, "logp_and_grad", derived, "done" if lanes else "0")
        lines += [
            "if grads != 0:",
            *(f"    {line}" for line in ("slopes = array_at(grads, (k, n), float64)", *SLOPES)),
            *(f"    {line}" for line in calls),
            f"    return {targets.SUCCESS}",
        ]
    lines += _calls(form, "logp", form.arguments)
    lines.append(f"return {targets.SUCCESS}")
    return "\n    ".join(lines)


def _lanes_calls(arguments):
    """Lines that call a derived gradient for several vectors at once; the first `done` of them.

    Few that are left over are faster by themselves.
    """
    several = {"Z": "Z[:done]", "values": "values[:done]", "grads": "slopes[:done]"}
    call = f"lanes_and_grad({', '.join(several.get(name, name) for name in arguments)})"
    return [
        f"done = k if k % {LANES} > {ALONE} else k - k % {LANES}",
        "if done > 0:",
        f"    {call}",
    ]


def _calls(form, function, arguments, first="0"):
    """Lines that call a user's function, or its derived gradient, for vectors from the first."""
    if form.batched:
        named = {"grads": "slopes"} if function == "logp_and_grad" else {}
        return [f"{function}({', '.join(named.get(name, name) for name in arguments)})"]
    slope = "slopes[s]" if function == "logp_and_grad" else "grads[s]"
    rows = {"z": "Z[s]", "terms": "values[s]", "grad": slope}
    call = f"{function}({', '.join(rows.get(name, name) for name in arguments)})"
    keeps = "" if "terms" in form.arguments else "values[s, 0] = "
    return [f"for s in range({first}, k):", f"    {keeps}{call}"]


def compile_user_function(function, form, derived=None):
    """The C function around a user's, as (address, what keeps it alive, whether cached).

    derived: of `fastvi.derivatives.derive`, the value and gradient of a function without grad.

    Raises
    ------
    FrozenArrayError
        If it uses a global array.
    numba.core.errors.NumbaError
        If Numba cannot compile it.
    """
    if {"scipy.linalg", "scipy.special"} & set(sys.modules):
        from . import _scipy  # noqa: F401
    plain = getattr(function, "py_func", function)
    options = getattr(function, "targetoptions", None)
    sources = [] if derived is None else [derived.source, derived.lanes_source]
    key = fingerprint(plain, form, options, *sources)
    njit = numba.njit(
        nogil=True, error_model="numpy", fastmath=SAFE if form.fastmath else UNORDERED,
        no_cpython_wrapper=True, no_cfunc_wrapper=True,  # only the C function calls it
    )  # fmt: skip
    compiled = njit(function) if plain is function else function
    both = derived and derived._replace(
        function=njit(derived.function), lanes=derived.lanes and njit(derived.lanes)
    )
    return target_function(_wrapped(compiled, form, both), _cache_for(plain, key))


def checked_user_function(function, form):
    """The function of the signature `TARGET` around a user's, that checks indices; from Python.

    Raises IndexError when called, if one is out of bounds. Not cached.
    """
    check = numba.njit(error_model="numpy", boundscheck=True)
    return numba.njit(_wrapped(check(rebuilt(function, check, {})), form))


def rebuilt(function, compiler, known):
    """A user's function, interpreted, whose compiled helper functions are compiled by another.

    known: what has been rebuilt, by the functions; filled here.
    """
    plain = getattr(function, "py_func", function)
    scope = dict(plain.__globals__)
    made = types.FunctionType(
        plain.__code__, scope, plain.__name__, plain.__defaults__, plain.__closure__
    )
    known[plain] = made
    for name in plain.__code__.co_names:
        helper = getattr(scope.get(name), "py_func", None)
        if helper is not None and not helper.__module__.startswith("fastvi."):
            scope[name] = compiler(known.get(helper) or rebuilt(helper, compiler, known))
    return made


def compile_pair(function, fields):
    """The C function around ``function(z, *data) -> (value, gradient)`` of 0- and 1-d arrays.

    As (address, what keeps it alive). Not cached: such functions come from compilers that hold
    arrays in them.
    """
    data = "".join(
        f", data.{field.name}" if field.ndim else f", np.array(data.{field.name})"
        for field in fields
    )
    source = "\n    ".join(
        [
            "def logp(z, data, grad):" if fields else "def logp(z, grad):",
            f"value, slopes = function(z.copy(){data})",
            "grad[:] = slopes",
            "return value[()]",
        ]
    )
    scope = {"__name__": __name__, "np": np, "function": function}
    exec(source, scope)
    arguments = ("z", "data", "grad") if fields else ("z", "grad")
    form = Form(arguments, tuple(fields) or None, bool(fields), 1, False)
    compiled = numba.njit(nogil=True, error_model="numpy")(scope["logp"])
    address, owner, _ = target_function(_wrapped(compiled, form))
    return address, owner


def _wrapped(function, form, derived=None):
    """The wrapper around a compiled function, made from its source."""
    scope = {
        "__name__": __name__,
        "np": np,
        "array_at": array_at,
        "read_only": read_only,
        "logp": function,
    }
    kinds = {"float64", "int64", *(field.dtype for field in form.fields or ())}
    scope |= {kind: np.dtype(kind) for kind in kinds}
    if form.named:
        scope["Data"] = NamedTuple("Data", [(field.name, object) for field in form.fields])
    if derived is not None:
        scope |= {"logp_and_grad": derived.function, "lanes_and_grad": derived.lanes}
    names = () if derived is None else (derived.arguments, derived.lanes_arguments)
    exec(wrapper_source(form, *names), scope)
    return scope["target"]


def _cache_for(function, key):
    """The cache beside a user's function; None where there is no place, as in a console."""
    if key is None or KernelCache is None or numba.config.DISABLE_JIT:
        return None
    from ._cache import TargetCache

    try:
        return TargetCache(function, key)
    except RuntimeError:
        return None
