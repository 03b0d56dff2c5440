"""A hash of all that the compiled code of a user's function depends on, equal in all processes."""

import dis
import enum
import hashlib
import inspect
import sys
import types
from dataclasses import dataclass, field

import numba
import numpy as np
from numba.core.typing.templates import builtin_registry

from ._stamp import folder_stamp

# Whatever can be found in these packages by its name is described by name and version. Those of
# fastvi itself may be edited in a checkout, so that the version stands for nothing there.
VERSIONED = {"numpy", "math", "cmath", "numba", "builtins", "scipy", "operator"}
MISSING = object()
NUMBERS = (bool, int, float, complex, str, bytes)


class FrozenArrayError(TypeError):
    """A function uses an array that is not an argument: Numba would freeze its contents."""


@dataclass
class _Walk:
    """Collects descriptions; `known` turns False at what they cannot describe."""

    seen: set[int] = field(default_factory=set)
    modules: list[tuple] = field(default_factory=list)
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
        for name, default in (function.__kwdefaults__ or {}).items():
            self.value(f"default {name}", default, code)
        self.overloads(function)

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
        if (number := _exact(value)) is not None:
            self.parts.append(number)
        elif isinstance(value, enum.Enum):
            self.class_(name, type(value), code)
            self.value(f"{name}.value", value.value, code)
        elif isinstance(value, tuple):
            self.parts.append(str(getattr(value, "_fields", "")))
            for i, item in enumerate(value):
                self.value(f"{name}[{i}]", item, code)
        elif isinstance(value, types.ModuleType):
            self.module(value, code)
        elif (version := _version(value)) is not None:
            self.parts.append(version)
            if not version.startswith("fastvi."):
                self.overloads(value)
        elif isinstance(value, type):
            self.class_(name, value, code)
        elif inspect.isfunction(inner := getattr(value, "py_func", value)):
            self.parts.append(repr(sorted(getattr(value, "targetoptions", {}).items(), key=str)))
            self.function(inner)
        else:
            self.known = False

    def module(self, module, code):
        """What may be read from a module, some of which it may make when asked (PEP 562)."""
        if (module, code) in self.modules:
            return
        self.modules.append((module, code))
        versioned = module.__name__.split(".")[0] in VERSIONED
        for name in sorted(_names(code)):
            # Asking may import, which is a versioned package's own affair.
            value = vars(module).get(name, MISSING)
            if value is MISSING and not versioned:
                value = _made(module, name)
            if versioned and not isinstance(value, types.ModuleType):
                self.overloads(value)
            elif value is not MISSING:
                self.value(f"{module.__name__}.{name}", value, code)

    def overloads(self, function):
        """What Numba compiles instead of a function that is not compiled itself."""
        for known, kind in builtin_registry.globals if callable(function) else ():
            if known is function:
                for template in getattr(kind, "templates", ()):
                    body = getattr(template, "_overload_func", None)
                    if body and (body.__module__ or "").split(".")[0] not in VERSIONED:
                        self.value("overload", body, body.__code__)


def _made(module, name):
    """What a module makes when asked; MISSING also where its `__getattr__` fails."""
    try:
        return getattr(module, name, MISSING)
    except Exception:
        return MISSING


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


def _exact(value):
    """All of a number or a string, whatever its class prints; None of anything else."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, enum.Enum):
        return None
    for plain in NUMBERS:
        if isinstance(value, plain):
            return f"{kind} {plain.__repr__(value)}"
    if isinstance(value, np.generic):
        return f"{value.dtype} {value.tobytes().hex()}"
    return repr(value) if value is None or value is ... or isinstance(value, np.dtype) else None


def _version(value):
    """Name and version of what a versioned package, or this one, has under its name; or None."""
    name = getattr(value, "__name__", "")
    for module in (getattr(value, "__module__", None), "numpy", "scipy.special"):
        package = (module or "").split(".")[0]
        if getattr(sys.modules.get(module), name, None) is not value:
            continue
        if package in VERSIONED:
            return f"{module}.{name} {getattr(sys.modules[package], '__version__', '')}"
        if package == "fastvi":
            return f"{module}.{name} {folder_stamp(sys.modules[module].__package__)}"
    return None


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
    versions = sys.version, numba.__version__, np.__version__
    text = "\0".join([*versions, *map(repr, details), *walk.parts])
    return hashlib.sha256(text.encode()).hexdigest()
