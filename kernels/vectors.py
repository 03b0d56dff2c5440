"""Loops over flat arrays, where an expression of arrays would take much longer to compile."""

from ._jit import kernel


@kernel
def fill(x, value):
    """Set every number of x (n,)."""
    for i in range(x.shape[0]):
        x[i] = value


@kernel
def sum_of(a):
    """Sum of a (n,), in float64."""
    result = 0.0
    for i in range(a.size):
        result += a[i]
    return result


@kernel
def dot(a, b):
    """Sum of a b (n,), in float64."""
    result = 0.0
    for i in range(a.size):
        result += a[i] * b[i]
    return result
