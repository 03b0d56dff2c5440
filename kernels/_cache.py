"""Numba's on-disk cache, extended to notice an edit in any file of this package.

It is built on private classes of Numba; `_jit` imports it only on versions it was tested with.
"""

import functools
import logging
import sys
import warnings

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult

from . import _shipped
from ._linkage import KernelCompiler
from ._stamp import folder_stamp

LOG = logging.getLogger(__package__)


def package_stamp():
    """Hash of every source file of this package, since kernels inline code of one another."""
    return numba.__version__, folder_stamp(__package__)


class _CheckedFile(IndexDataCacheFile):
    """Trusts no file: index and data are written apart, and other processes write too."""

    def _load_index(self):
        try:
            return super()._load_index()
        except Exception:  # a damaged pickle can raise anything
            return {}

    def save(self, key, data):
        super().save(key, (self._source_stamp, key, data))

    def load(self, key):
        try:
            stamp, saved_key, data = super().load(key)
        except Exception:
            return None
        return data if (stamp, saved_key) == (self._source_stamp, key) else None


@functools.cache
def announce(folder):
    """Log, once per process, that kernels are not in the cache and are compiled now."""
    _, fault = _shipped.archive()
    LOG.info(
        "%scompiling kernels for this machine, which takes 2 to 15 seconds the first time; they "
        "are kept in %s",
        fault,
        folder,
    )


@functools.cache
def _warn_no_cache():
    warnings.warn(
        "no folder for compiled kernels is writable, so each process compiles them again; "
        "set NUMBA_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )


def _name(function):
    return f"{function.__module__}.{function.__qualname__}".translate({60: None, 62: None})


def _index_key(cache, sig, codegen):
    """Numba's key, and what it ignores: a kernel without bounds checks would pass for one with."""
    line = cache._py_func.__code__.co_firstlineno
    return FunctionCache._index_key(cache, sig, codegen), line, bool(numba.config.BOUNDSCHECK)


def _shipped_overload(cache, sig, target_context):
    """A kernel that came compiled, or None."""
    target_context.refresh()
    key = _shipped.portable(_index_key(cache, sig, target_context.codegen()))
    data = _shipped.load(_name(cache._py_func), key)
    return None if data is None else CompileResult._rebuild(target_context, *data)


class KernelCache(FunctionCache):
    """Cache of one kernel; raises RuntimeError where no place is writable."""

    def __init__(self, function):
        super().__init__(function)
        name = _name(function)
        python = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
        stamp = (package_stamp(), self._impl.locator.get_source_stamp())
        # No line number in the name, so that files are replaced when the line moves.
        self._cache_file = _CheckedFile(self._cache_path, f"{name}.{python}", stamp)

    _index_key = _index_key

    def load_overload(self, sig, target_context):
        """A kernel compiled before, or None, after which Numba compiles it."""
        found = _shipped_overload(self, sig, target_context)
        if found is None:
            found = super().load_overload(sig, target_context)
        if found is None:
            announce(self.cache_path)
        return found

    def save_overload(self, sig, data):
        """Save a compiled kernel; a full disk costs the next process time, not this one its run."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            warnings.warn(
                f"compiled kernels are not kept: {error.strerror}", RuntimeWarning, stacklevel=2
            )


class UnkeptCache(NullCache):
    """Where no place is writable: only kernels that came compiled are found."""

    def __init__(self, function):
        self._py_func = function

    def load_overload(self, sig, target_context):
        """A kernel that came compiled, or None, after which Numba compiles it."""
        found = _shipped_overload(self, sig, target_context)
        if found is None:
            _warn_no_cache()
        return found


def cache_of(function):
    """The cache of one kernel."""
    try:
        return KernelCache(function)
    except RuntimeError:
        return UnkeptCache(function)


class TargetCache(KernelCache):
    """Cache of the C function around a user's function, beside the file of the latter.

    Numba's own key of a closure over a compiled function is another one in each process, and knows
    nothing of what globals stand for; this one is `fingerprint`, of all that the code depends on.
    """

    load_overload = FunctionCache.load_overload  # a user's function takes a second: not announced

    def __init__(self, function, fingerprint):
        super().__init__(function)
        self.fingerprint = fingerprint

    def _index_key(self, sig, codegen):
        checked = bool(numba.config.BOUNDSCHECK)
        return sig, codegen.magic_tuple(), self.fingerprint, checked


def compile_c_function(function, signature, options, cache):
    """A `numba.cfunc` whose cache may be one of the above; None keeps nothing."""
    types = signature.args, signature.return_type
    compiled = CFunc(function, types, {}, options, pipeline_class=KernelCompiler)
    if cache is not None:
        compiled._cache = cache
    compiled.compile()
    return compiled
