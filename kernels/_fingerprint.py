"""A hash of all that the compiled code of a user's function depends on, equal in all processes."""

import builtins
import dis
import enum
import hashlib
import inspect
import types
from dataclasses import dataclass, field

import numba
import numpy as np

# Their contents are part of a version, or cannot change the compiled code.
VERSIONED = {"numpy", "math", "cmath", "numba", "builtins", "scipy", "fastvi", "operator"}
SCALARS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.generic)


class FrozenArrayError(TypeError):
    """A function uses an array that is not an argument: Numba would freeze its contents."""


@dataclass
class _Walk:
    """Collects descriptions; `known` turns False at what they cannot describe."""

    seen: set[int] = field(default_factory=set)
    parts: list[str] = field(default_factory=list)
    known: bool = True

    def function(self, function):
        if id(function) in self.seen:
            return
        self.seen.add(id(function))
        code = function.__code__
        self.code(code)
        for name in sorted(_names(code, globals_only=True)):
            if name in function.__globals__:
                self.value(name, function.__globals__[name], code)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            self.value(name, cell.cell_contents, code)
        for i, default in enumerate(function.__defaults__ or ()):
            self.value(f"default {i}", default, code)

    def code(self, code):
        self.parts.append(f"{code.co_code.hex()} {code.co_names} {code.co_varnames}")
        for constant in code.co_consts:
            if inspect.iscode(constant):
                self.code(constant)
            else:
                self.parts.append(f"{type(constant).__name__} {constant!r}")

    def class_(self, name, value, code):
        """A class of the user's: an enumeration, a named tuple or an error; others are unknown."""
        self.parts.append(f"{value.__module__}.{value.__qualname__} {value.__mro__[1:]}")
        if issubclass(value, enum.Enum):
            for member, item in value.__members__.items():
                self.value(f"{name}.{member}", item.value, code)
        elif issubclass(value, tuple) and hasattr(value, "_fields"):
            self.parts.append(str(value._fields))
            for field_name, default in value._field_defaults.items():
                self.value(f"{name}.{field_name}", default, code)
        elif not issubclass(value, BaseException):
            self.known = False

    def value(self, name, value, code):
        self.parts.append(name)
        if isinstance(value, np.ndarray):
            raise FrozenArrayError(
                f"{code.co_name} uses the array {name!r}, which is no argument, so that its "
                "contents would be frozen when it is compiled; pass it in data"
            )
        if isinstance(value, SCALARS):
            self.parts.append(f"{type(value).__name__} {value!r}")
        elif isinstance(value, tuple):
            self.parts.append(str(getattr(value, "_fields", "")))
            for i, item in enumerate(value):
                self.value(f"{name}[{i}]", item, code)
        elif _is_versioned(value):
            self.parts.append(f"{value.__module__ if hasattr(value, '__module__') else ''} {value}")
        elif isinstance(value, type):
            self.class_(name, value, code)
        elif isinstance(value, types.ModuleType):
            for attribute in sorted(_names(code) & set(vars(value))):
                self.value(f"{value.__name__}.{attribute}", vars(value)[attribute], code)
        elif inspect.isfunction(inner := getattr(value, "py_func", value)):
            self.parts.append(repr(sorted(getattr(value, "targetoptions", {}).items(), key=str)))
            self.function(inner)
        else:
            self.known = False


def _names(code, globals_only=False):
    """Names of globals, and unless `globals_only` of attributes, in nested functions as well."""
    names = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") or (
            not globals_only and step.opname in ("LOAD_ATTR", "LOAD_METHOD")
        ):
            names.add(step.argval)
    for constant in code.co_consts:
        if inspect.iscode(constant):
            names |= _names(constant, globals_only)
    return names


def _is_versioned(value):
    """Whether a module, class or function belongs to a package whose version says all of it."""
    if isinstance(value, types.ModuleType):
        return value.__name__.split(".")[0] in VERSIONED
    if hasattr(value, "py_func") or inspect.isfunction(value):
        return (value.__module__ or "").split(".")[0] in VERSIONED - {"builtins"}
    if isinstance(value, type):
        return (value.__module__ or "").split(".")[0] in VERSIONED
    if isinstance(value, types.BuiltinFunctionType | np.ufunc | np.dtype):
        return True
    return getattr(builtins, getattr(value, "__name__", ""), None) is value


def fingerprint(function, *details):
    """Hash of a function's code, constants, scalar globals and helpers, and of `details`.

    Returns
    -------
    str, or None if something it uses cannot be told from another of its kind in another process.

    Raises
    ------
    FrozenArrayError
        If it or a helper uses an array that is not an argument.
    """
    walk = _Walk()
    walk.function(function)
    if not walk.known:
        return None
    text = "\0".join([numba.__version__, np.__version__, *map(repr, details), *walk.parts])
    return hashlib.sha256(text.encode()).hexdigest()
