"""SciPy's functions in users' densities, which Numba does not support.

Imported only if SciPy's modules are, which a density that uses them has imported.
"""

import math

import numpy as np
import scipy.special
from numba import types
from numba.extending import overload
from scipy.linalg import solve_triangular

from . import derived
from .derived_matrices import triangular


@overload(solve_triangular)
def _solve_triangular(a, b, trans=0, lower=False, unit_diagonal=False):
    is_text = isinstance(trans, types.UnicodeType | types.StringLiteral) or trans in ("N", "T")
    yes = "T" if is_text else 1
    is_vector = b.ndim == 1

    def solve(a, b, trans=0, lower=False, unit_diagonal=False):
        T = np.empty(a.shape)
        T[:] = a
        X = np.empty((b.shape[0], 1 if is_vector else b.shape[-1]))
        if is_vector:
            X[:, 0] = b
        else:
            X[:] = b
        triangular(T, X, lower == True, trans == yes, unit_diagonal == True)  # noqa: E712
        return X[:, 0] if is_vector else X

    return solve


def _of_a_number(theirs, ours):
    """Let a function of SciPy stand for one of ours."""

    @overload(theirs)
    def typed(x):
        return (lambda x: ours(x)) if isinstance(x, types.Number) else None


for _name in ("digamma", "erfinv"):
    _of_a_number(getattr(scipy.special, _name), getattr(derived, _name))
_of_a_number(scipy.special.gammaln, math.lgamma)
