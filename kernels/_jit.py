"""The one place with compile options."""

import functools
import warnings

import numba

SAFE = {"reassoc", "contract", "arcp", "nsz", "afn"}
# Versions whose private cache classes `_cache` was tested with.
TESTED = {(0, minor) for minor in range(61, 69)}

if numba.version_info.short in TESTED:
    from ._cache import KernelCache
else:
    KernelCache = None
    warnings.warn(
        f"fastvi was not tested with Numba {numba.__version__}: compiled kernels may be stale "
        "after an upgrade of fastvi; empty Numba's cache then",
        RuntimeWarning,
        stacklevel=2,
    )


@functools.cache
def _warn_no_cache():
    warnings.warn(
        "no folder for compiled kernels is writable, so each process compiles them anew; "
        "set NUMBA_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=3,
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
    compiled = numba.njit(
        nogil=True, error_model="numpy", fastmath=set(fastmath), forceinline=inline == "always"
    )(function)
    if compiled is not function:
        try:
            if KernelCache is None:
                compiled.enable_caching()
            else:
                compiled._cache = KernelCache(function)
        except RuntimeError:
            _warn_no_cache()
    return compiled
