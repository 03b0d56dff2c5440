"""A user's Python function behind the one C signature: the wrapper around it, and its cache.

The wrapper is source made for the layout of the data, about a line a field, since Numba needs
each array's type and place to be constants.
"""

from typing import NamedTuple

import numba
import numpy as np

from . import targets
from ._fingerprint import fingerprint
from ._jit import SAFE, UNORDERED, KernelCache, target_function
from ._pointers import array_at, read_only


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


def wrapper_source(form):
    """Source of the function `target` of the signature `TARGET` that calls the user's `logp`."""
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
            "for s in range(k):",
            "    for j in range(n):",
            "        grads[s, j] = 0.0",
        ]
    arguments = ", ".join(form.arguments)
    if form.batched:
        lines.append(f"logp({arguments})")
    else:
        rows = {"z": "Z[s]", "terms": "values[s]", "grad": "grads[s]"}
        arguments = ", ".join(rows.get(name, name) for name in form.arguments)
        call = f"logp({arguments})"
        lines += [
            "for s in range(k):",
            f"    {call}" if "terms" in form.arguments else f"    values[s, 0] = {call}",
        ]
    lines.append(f"return {targets.SUCCESS}")
    return "\n    ".join(lines)


def compile_user_function(function, form):
    """The C function around a user's, as (address, what keeps it alive, whether cached).

    Raises
    ------
    FrozenArrayError
        If it uses a global array.
    numba.core.errors.NumbaError
        If Numba cannot compile it.
    """
    plain = getattr(function, "py_func", function)
    key = fingerprint(plain, form, getattr(function, "targetoptions", None))
    compiled = function
    if plain is function:
        flags = SAFE if form.fastmath else UNORDERED
        compiled = numba.njit(
            nogil=True, error_model="numpy", fastmath=flags,
            no_cpython_wrapper=True, no_cfunc_wrapper=True,  # only the C function calls it
        )(function)  # fmt: skip
    return target_function(_wrapped(compiled, form), _cache_for(plain, key))


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


def _wrapped(function, form):
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
    exec(wrapper_source(form), scope)
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
