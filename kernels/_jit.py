"""Compile options of all kernels."""

import contextlib
import ctypes
import functools
import traceback
import warnings

import numba
from numba import int64

SAFE = {"reassoc", "contract", "arcp", "nsz", "afn"}
# Versions whose private cache classes `_cache` was tested with.
TESTED = {(0, minor) for minor in range(61, 69)}

# With reordered sums, a user's loop that sums and stores would have bits that depend on addresses.
UNORDERED = SAFE - {"reassoc"}
# The one C signature of targets, whose pointers Numba sees as integers (NULL is 0), in C:
#   int64_t f(int64_t k, int64_t n, const double *Z, const int64_t *data, double *values,
#             double *grads)
# for k vectors of n numbers; Z (k, n), values (k, n_terms), grads (k, n) or NULL. 1 means success,
# because compiled functions return 0 after an error. `targets.py` lays out `data`.
TARGET = int64(*(int64,) * 6)
C_TARGET = ctypes.CFUNCTYPE(ctypes.c_int64, *(ctypes.c_int64,) * 6)

if numba.version_info.short in TESTED:
    from ._cache import KernelCache, cache_of, compile_c_function
    from ._linkage import BareCompiler, KernelCompiler, share_bare_twin
else:
    KernelCache = KernelCompiler = None
    warnings.warn(
        f"fastvi was not tested with Numba {numba.__version__}: compiled kernels may be stale "
        "after an upgrade of fastvi; empty Numba's cache then",
        RuntimeWarning,
        stacklevel=2,
    )


def kernel(function=None, *, fastmath=SAFE, inline="never"):
    """Compile a function as a cached kernel that releases the GIL.

    A loop that sums must not store as well. LLVM lets such a loop choose between its vector and
    its scalar form by how near its arrays lie to each other, and the two sum in another order: the
    bits would depend on where the allocator put them. (It compares whole ranges, which is
    harmless, where the loop has elements of several widths.) `tests/test_addresses.py` watches.

    Parameters
    ----------
    function : callable
        Takes and returns numbers, arrays and named tuples of them; raises nothing.
    fastmath : set of str
        LLVM's fast-math flags, a subset of `SAFE`, which leaves NaN and infinity intact.
    inline : {"never", "always"}
        With "always", LLVM inlines it into every caller, and its instructions keep its own flags.

    Returns
    -------
    The compiled function, or under NUMBA_DISABLE_JIT=1 the function itself.
    """
    if function is None:
        return lambda f: kernel(f, fastmath=fastmath, inline=inline)
    compiler = functools.partial(
        numba.njit, nogil=True, error_model="numpy", fastmath=set(fastmath), no_cfunc_wrapper=True,
        forceinline=inline == "always", pipeline_class=KernelCompiler,
    )  # fmt: skip
    compiled = compiler()(function)
    if compiled is not function and KernelCompiler is not None:
        bare = compiler(no_cpython_wrapper=True, pipeline_class=BareCompiler)
        share_bare_twin(compiled, bare(function))
        compiled._cache = cache_of(function)
    elif compiled is not function:
        with contextlib.suppress(RuntimeError):  # no folder is writable
            compiled.enable_caching()
    return compiled


def _reported(function):
    """An interpreted function that prints what it raises and returns 0, as a compiled one does."""

    def report(*arguments):
        try:
            return function(*arguments)
        except Exception:
            traceback.print_exc()
            return 0

    return report


def target_function(function, cache=None):
    """Compile a function of the signature `TARGET`, or with JIT off wrap it for C.

    Parameters
    ----------
    function : callable
        Takes and returns integers, as `TARGET` says.
    cache : KernelCache, optional
        By default compiled code is not kept.

    Returns
    -------
    address : int
    owner : object
        The address is valid as long as it lives.
    hit : bool
        Whether the compiled code was found in the cache.
    """
    if numba.config.DISABLE_JIT:
        owner = C_TARGET(_reported(function))
        return ctypes.cast(owner, ctypes.c_void_p).value, owner, False
    options = {"nogil": True, "error_model": "numpy", "fastmath": UNORDERED}
    if KernelCache is None:
        owner = numba.cfunc(TARGET, **options)(function)
        return owner.address, owner, False
    owner = compile_c_function(function, TARGET, options, cache)
    return owner.address, owner, owner.cache_hits > 0


@functools.cache
def adapter(function):
    """The address of a function of this package that has the signature `TARGET`."""
    cache = None
    if KernelCache is not None and not numba.config.DISABLE_JIT:
        cache = cache_of(function)
    return target_function(function, cache)
