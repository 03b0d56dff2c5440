"""Targets: the table that binds data to them, and adapters that wrap them.

A target is the address of a function of the signature `TARGET` (`_jit.py`) and an int64 table. The
table begins with the words below, followed by the address and shape of each array of the data. If a
target wraps another, both get the same table. Code here is compiled on first use, once for all
targets: `adapter(from_value)` is an address.
"""

import numpy as np

from ._jit import UNORDERED, kernel
from ._pointers import array_at, call_status, call_target, call_value
from .transforms import constrain, pull_back

ROWS, N_ROWS, WEIGHTS = 0, 1, 2  # the batch: int64 (n_rows,) and float64 (n_rows,)
N_TERMS = 3
FUNCTION, CONTEXT = 4, 5  # a foreign function, and its argument instead of the table, or 0
CONSTRAINED, N_CONSTRAINED = 6, 7  # the target of constrained parameters, and how many they are
BLOCKS, BOUNDS, N_BLOCKS = 8, 9, 10  # of `transforms.py`
DIFFERENTIATED = 11  # the target whose gradient is taken numerically
STANDARDISED = 12  # the target of z = centre + units x
CENTRE, UNITS, IS_MATRIX = 13, 14, 15  # (n,); (n,), or lower triangular (n, n); which of them
HEADER = 16

SUCCESS = 1
# Balances truncation of the fourth-order difference, h^4, with rounding, 2e-16 / h.
STEP = 7e-4
TRUE, FALSE = np.int64(1), np.int64(0)
REAL = np.dtype(np.float64)
INTEGER = np.dtype(np.int64)


@kernel(inline="always")
def address_of(array):
    """As a signed integer."""
    return np.int64(array.ctypes.data)


@kernel
def evaluate(address, table, Z, values, grads):
    """Status of a target at Z (k, n). Out: values (k, n_terms) and grads (k, n), or (0, n)."""
    k, n = Z.shape
    wanted = address_of(grads) if grads.shape[0] > 0 else np.int64(0)
    return call_target(address, k, n, address_of(Z), address_of(table), address_of(values), wanted)


@kernel
def first_not_finite(values, grads):
    """(vector, component) of the first number that is not finite, or (-1, -1).

    Component -1 is the value; values (k, n_terms), grads (k, n) or (0, n).
    """
    for s in range(values.shape[0]):
        for t in range(values.shape[1]):
            if not np.isfinite(values[s, t]):
                return s, -1
        if s < grads.shape[0]:
            for j in range(grads.shape[1]):
                if not np.isfinite(grads[s, j]):
                    return s, j
    return -1, -1


@kernel(fastmath=UNORDERED)
def differences(address, data, Z, n_terms, step, grads):
    """Out grads (k, n): central differences of fourth order; the target's status.

    Four values a component, asked for at once, at z_j +- h and z_j +- 2 h with
    h = step max(1, |z_j|).
    """
    n = Z.shape[1]
    points = np.empty((4, n))
    values = np.empty((4, n_terms))
    for s in range(Z.shape[0]):
        for i in range(4):
            for j in range(n):
                points[i, j] = Z[s, j]
        for j in range(n):
            z = Z[s, j]
            h = (z + step * max(1.0, abs(z))) - z  # a difference that float64 holds exactly
            points[0, j], points[1, j] = z + h, z - h
            points[2, j], points[3, j] = z + 2.0 * h, z - 2.0 * h
            status = call_target(
                address, 4, n, address_of(points), data, address_of(values), np.int64(0)
            )
            if status != SUCCESS:
                return status
            near, far = 0.0, 0.0
            for t in range(n_terms):
                near += values[0, t] - values[1, t]
                far += values[2, t] - values[3, t]
            grads[s, j] = (8.0 * near - far) / (12.0 * h)
            for i in range(4):
                points[i, j] = z
    return np.int64(SUCCESS)


def numerical(k, n, Z, data, values, grads):
    """A target with a numerical gradient, of the target table[DIFFERENTIATED] without."""
    table = array_at(data, (HEADER,), INTEGER)
    inner = table[DIFFERENTIATED]
    status = call_target(inner, k, n, Z, data, values, np.int64(0))
    if status != SUCCESS or grads == 0:
        return status
    points = array_at(Z, (k, n), REAL)
    return differences(inner, data, points, table[N_TERMS], STEP, array_at(grads, (k, n), REAL))


def constrained(k, n, Z, data, values, grads):
    """A target of n free numbers, of the target table[CONSTRAINED] of constrained parameters.

    The logarithm of the Jacobian is added to the first term.
    """
    table = array_at(data, (HEADER,), INTEGER)
    n_full, n_blocks = table[N_CONSTRAINED], table[N_BLOCKS]
    blocks = array_at(table[BLOCKS], (n_blocks, 5), INTEGER)
    bounds = array_at(table[BOUNDS], (n_blocks, 2), REAL)
    points = array_at(Z, (k, n), REAL)
    n_wanted = k * n_full if grads != 0 else 0
    work = np.empty(k * n_full + n_wanted + k)  # in one piece, because an allocation takes 40 ns
    X = work[: k * n_full].reshape((k, n_full))
    GX = work[k * n_full : k * n_full + n_wanted].reshape((n_wanted // max(n_full, 1), n_full))
    log_jacobian = work[k * n_full + n_wanted :]
    constrain(blocks, bounds, points, X, log_jacobian)
    wanted = address_of(GX) if grads != 0 else np.int64(0)
    status = call_target(table[CONSTRAINED], k, n_full, address_of(X), data, values, wanted)
    if status != SUCCESS:
        return status
    terms = array_at(values, (k, table[N_TERMS]), REAL)
    for s in range(k):
        terms[s, 0] += log_jacobian[s]
    if grads != 0:
        pull_back(blocks, bounds, points, X, GX, array_at(grads, (k, n), REAL))
    return status


@kernel
def call_at(address, Z, data, values, grads):
    """Call a target at Z (k, n), which is kept until it returns: an address alone keeps nothing."""
    k, n = Z.shape
    return call_target(address, k, n, address_of(Z), data, values, grads)


@kernel
def placed(centre, units, X, Z):
    """Out Z = centre + units X, rows (n,); units (n, n) lower triangular, or (1, n) diagonal."""
    n = centre.size
    for s in range(X.shape[0]):
        if units.shape[0] == 1:
            for j in range(n):
                Z[s, j] = centre[j] + units[0, j] * X[s, j]
        else:
            for i in range(n):
                total = 0.0
                for j in range(i + 1):
                    total += units[i, j] * X[s, j]
                Z[s, i] = centre[i] + total


@kernel
def pulled(units, grads):
    """Gradients with respect to X from those with respect to Z, in place; units as in `placed`."""
    n = units.shape[1]
    for s in range(grads.shape[0]):
        if units.shape[0] == 1:
            for j in range(n):
                grads[s, j] *= units[0, j]
        else:
            for j in range(n):  # not needed by the following ones
                total = 0.0
                for i in range(j, n):
                    total += units[i, j] * grads[s, i]
                grads[s, j] = total


def standardised(k, n, X, data, values, grads):
    """A target of x, of the target table[STANDARDISED] of z = centre + units x.

    The logarithm of the units' determinant is added to the first term.
    """
    table = array_at(data, (HEADER,), INTEGER)
    n_rows = n if table[IS_MATRIX] != 0 else np.int64(1)
    centre = array_at(table[CENTRE], (n,), REAL)
    units = array_at(table[UNITS], (n_rows, n), REAL)
    Z = np.empty((k, n))
    placed(centre, units, array_at(X, (k, n), REAL), Z)
    status = call_at(table[STANDARDISED], Z, data, values, grads)
    if status != SUCCESS:
        return status
    log_det = 0.0
    for j in range(n):
        log_det += np.log(units[min(j, n_rows - 1), j])
    terms = array_at(values, (k, table[N_TERMS]), REAL)
    for s in range(k):
        terms[s, 0] += log_det
    if grads != 0:
        pulled(units, array_at(grads, (k, n), REAL))
    return status


def from_value(k, n, Z, data, values, grads):
    """A target of ``double f(int64_t n, const double *z, void *data, double *grad)``."""
    table = array_at(data, (HEADER,), INTEGER)
    context = table[CONTEXT] if table[CONTEXT] != 0 else data
    out = array_at(values, (k, 1), REAL)
    slopes = array_at(grads, (k, n), REAL) if grads != 0 else np.empty((k, n))
    for s in range(k):
        for j in range(n):
            slopes[s, j] = 0.0
        slope = address_of(slopes[s])
        out[s, 0] = call_value(table[FUNCTION], n, Z + 8 * n * s, context, slope)
    return np.int64(SUCCESS)


def from_status(k, n, Z, data, values, grads):
    """A target of a function of the same arguments that returns 0 on success, as C does.

    One minus its status, so that no failure looks like success.
    """
    table = array_at(data, (HEADER,), INTEGER)
    context = table[CONTEXT] if table[CONTEXT] != 0 else data
    return np.int64(SUCCESS) - call_target(table[FUNCTION], k, n, Z, context, values, grads)


def from_stan(k, n, Z, data, values, grads):
    """A target of BridgeStan's bs_log_density_gradient: constants kept, Jacobians added."""
    table = array_at(data, (HEADER,), INTEGER)
    slopes = array_at(grads, (k, n), REAL) if grads != 0 else np.empty((k, n))
    for s in range(k):
        slope = address_of(slopes[s])
        model, function = table[CONTEXT], table[FUNCTION]
        status = call_status(function, model, FALSE, TRUE, Z + 8 * n * s, values + 8 * s, slope, 0)
        if status != 0:
            return np.int64(SUCCESS) - np.int64(status)
    return np.int64(SUCCESS)
