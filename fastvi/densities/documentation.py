"""Documentation shared by densities, inserted for lines such as ``{scale}`` in docstrings.

The text of the first argument begins the list of parameters; texts named ``..._as_in`` hold what is
returned and begin the examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastvi.base.documentation import fill_in

__all__ = ["documented"]

F = TypeVar("F", bound=Callable[..., object])

FIRST = {  # arguments
    "x": """
x : float or array
    Values.
""",
    "bound": """
x : float or array
    The bound.
""",
    "bounds": """
low, high : float or array
    The bounds, low < high, which may be infinite.
""",
    "count": """
k : int or array
    Counts.
""",
    "binary": """
k : int or array
    0 or 1.
""",
    "category": """
k : int or (N,) array
    From 0.
""",
    "vector": """
x : (n,) or (N, n) array
    A vector, or one in each row.
""",
    "matrix": """
x : (n, n) array
    Symmetric and positive definite.
df : float
    Degrees of freedom, > n - 1.
""",
    "factor": """
cholesky : (n, n) array
    Lower factor, of which the lower triangle is read.
df : float
    Degrees of freedom, > n - 1.
""",
    "inputs": """
x, y : (n,) or (n, d) array and (m,) or (m, d) array
    Two sets of inputs, which may be the same.
""",
    "equation": """
rhs : function
    ``rhs(t, y, parameters)`` gives the slopes at y as an array; compiled by ``numba.njit``.
initial : (n,) array
    Solution at the start; may depend on parameters.
start : float
    Time of `initial`.
times : (m,) array
    Times at which the solution is wanted, rising, none before the start.
parameters : array, float or tuple of these
    What rhs takes besides t and y, such as ``(z[:4], data.doses)``.
""",
}

OTHERS = {
    "mean_sd": """
mean : float or array
    Its mean.
sd : float or array
    Its standard deviation, > 0.
""",
    "mu_sigma": """
mu : float or array
    Mean of its logarithm.
sigma : float or array
    Standard deviation of its logarithm, > 0.
""",
    "rate": """
rate : float or array
    One over its mean, > 0.
""",
    "scale": """
scale : float or array
    Its scale, > 0.
""",
    "shape": """
shape : float or array
    Its shape, > 0.
""",
    "success": """
p : float or array
    Probability of success.
""",
    "zero": """
zero : float or array
    Probability of zero.
""",
    "extra_zero": """
zero : float or array
    Probability of an extra zero, from 0 to 1.
""",
    "scales": """
amplitude : float
    Standard deviation of the functions.
lengthscale : float
    Distance over which they change, > 0.
""",
}

EXAMPLES = """
Examples
--------
>>> import numpy as np
>>> from fastvi import densities
"""
RETURNED = {
    "total_as_in": """
float
    In nats, the sum over arrays.

Examples
--------
>>> from fastvi import densities
""",
    "rows_as_in": """
float
    In nats, the sum over rows.
"""
    + EXAMPLES,
    "nats_as_in": """
float
    In nats.
"""
    + EXAMPLES,
    "class_as_in": """
float
    In nats, the sum over rows; minus infinity if k is not a class.
"""
    + EXAMPLES,
    "covariance_as_in": """
(n, m) array

Examples
--------
>>> import numpy as np
>>> from fastvi.densities import covariances
""",
    "path_as_in": """
(m, n) array
    The solution at each time.

Examples
--------
>>> import numba
>>> import numpy as np
>>> from fastvi import densities
>>> @numba.njit
... def decay(t, y, rate):
...     return np.array([-rate * y[0]])
""",
}

TEXTS = (
    {name: f"Parameters\n----------{text}" for name, text in FIRST.items()}
    | OTHERS
    | {name: f"Returns\n-------{text}" for name, text in RETURNED.items()}
)


def documented(function: F) -> F:
    """Fill in lines such as ``{scale}`` in a docstring from `TEXTS`."""
    fill_in(function, TEXTS)
    return function
