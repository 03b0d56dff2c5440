"""The one place with compile options."""

from numba import njit

SAFE = {"reassoc", "contract", "arcp", "nsz", "afn"}


def kernel(function=None, *, fastmath=SAFE, inline="never"):
    """Compile a function as a cached, GIL-free kernel."""
    if function is None:
        return lambda f: kernel(f, fastmath=fastmath, inline=inline)
    return njit(
        cache=True,
        nogil=True,
        error_model="numpy",
        fastmath=fastmath,
        forceinline=inline == "always",
    )(function)
