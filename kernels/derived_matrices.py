"""Matrix functions in derived gradients, and their adjoints, by LAPACK.

Each writes its result into given arrays, or adds to them. Matrices that are not positive definite
or singular raise numpy.linalg.LinAlgError.
"""

import math

import numpy as np

from ._jit import UNORDERED, kernel

__all__ = [
    "cholesky_back",
    "cholesky_into",
    "inverse_back",
    "inverse_into",
    "minus_outer",
    "normal_back_matrix",
    "normal_back_vector",
    "normal_into",
    "plus",
    "slogdet_back",
    "slogdet_into",
    "solve_into",
    "solve_transposed",
    "triangular",
    "triangular_into",
    "triangular_minus",
]

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
PANEL = 128  # rows per matrix product of an inverse
BLOCK = 32  # rows per block of a triangular solve by loops, between matrix products
SMALL = 24  # size below which loops are faster than LAPACK


@kernel(fastmath=UNORDERED)
def plus(target, change):
    """Add an array to another."""
    target += change


@kernel(fastmath=UNORDERED)
def minus_outer(target, x, y):
    """Take x y' from a matrix."""
    target -= np.dot(x, y.T)


@kernel(fastmath=UNORDERED)
def _ordered(T, X, lower, unit):
    """Solve T X = B within X, which holds B; T is lower or upper triangular."""
    n = T.shape[0]
    for done in range(0, n, BLOCK):
        a = done if lower else max(n - done - BLOCK, 0)
        b = min(done + BLOCK, n) if lower else n - done
        if done:
            known = X[:a] if lower else X[b:]
            factor = T[a:b, :a].copy() if lower else T[a:b, b:].copy()
            X[a:b] -= np.dot(factor, known)
        for step in range(b - a):
            i = a + step if lower else b - 1 - step
            for k in range(a if lower else i + 1, i if lower else b):
                for j in range(X.shape[1]):
                    X[i, j] -= T[i, k] * X[k, j]
            if not unit:
                for j in range(X.shape[1]):
                    X[i, j] /= T[i, i]


@kernel(fastmath=UNORDERED)
def triangular(T, X, lower, transposed, unit):
    """Solve T X = B, or T' X = B, within X, which holds B; only a triangle of T is read.

    With `unit` its diagonal is taken to be of ones.
    """
    if not unit:
        for i in range(T.shape[0]):
            if T[i, i] == 0.0:
                raise np.linalg.LinAlgError("Matrix is singular to machine precision.")
    _ordered(T.T.copy() if transposed else T, X, lower != transposed, unit)


@kernel(fastmath=UNORDERED)
def triangular_into(T, B, out, lower, transposed, unit):
    """The solution of T out = B, or of T' out = B."""
    out[:] = B
    triangular(T, out, lower, transposed, unit)


@kernel(fastmath=UNORDERED)
def triangular_minus(T_bar, w, x, lower, transposed, unit):
    """Take from T_bar the triangle of w x', or of x w' where the transposed was solved."""
    outer = np.dot(x, w.T) if transposed else np.dot(w, x.T)
    n = T_bar.shape[0]
    for i in range(n):
        first, last = (0, i + 1) if lower else (i, n)
        for j in range(first, last):
            if not (unit and i == j):
                T_bar[i, j] -= outer[i, j]


@kernel(fastmath=UNORDERED)
def solve_into(A, B, out):
    """The solution of A out = B."""
    out[:] = np.linalg.solve(A, B)


@kernel(fastmath=UNORDERED)
def solve_transposed(A, X):
    """Solve A' X = B within X, which holds B."""
    X[:] = np.linalg.solve(A.T.copy(), X)


@kernel(fastmath=UNORDERED)
def inverse_into(A, out):
    """The inverse of A."""
    out[:] = np.linalg.inv(A)


@kernel(fastmath=UNORDERED)
def inverse_back(inverse, inverse_bar, A_bar):
    """Add to A_bar what the adjoint of its inverse gives: -inverse' inverse_bar inverse'."""
    A_bar -= np.dot(np.dot(inverse.T, inverse_bar), inverse.T)


@kernel(fastmath=UNORDERED)
def slogdet_into(A, out):
    """The sign of the determinant of A, and the logarithm of its size."""
    out[0], out[1] = np.linalg.slogdet(A)


@kernel(fastmath=UNORDERED)
def slogdet_back(A, out_bar, A_bar):
    """Add to A_bar the inverse of A', times the adjoint of the logarithm."""
    if out_bar[1] != 0.0:
        A_bar += out_bar[1] * np.linalg.inv(A).T


@kernel(fastmath=UNORDERED)
def cholesky_into(K, out):
    """Lower Cholesky factor of K, of which the lower triangle is read."""
    n = K.shape[0]
    if n >= SMALL:
        out[:] = np.linalg.cholesky(K)
        return
    out[:] = 0.0
    for j in range(n):
        for i in range(j, n):
            left = K[i, j]
            for k in range(j):
                left -= out[i, k] * out[j, k]
            if i > j:
                out[i, j] = left / out[j, j]
            elif left > 0.0:
                out[j, j] = np.sqrt(left)
            else:
                raise np.linalg.LinAlgError("Matrix is not positive definite.")


@kernel(fastmath=UNORDERED)
def _between_inverses(L, S):
    """S becomes L^-T S L^-1, by loops."""
    n = L.shape[0]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            for j in range(n):
                S[i, j] -= L[k, i] * S[k, j]
        for j in range(n):
            S[i, j] /= L[i, i]
    for i in range(n):
        for j in range(n - 1, -1, -1):
            S[i, j] /= L[j, j]
            for k in range(j):
                S[i, k] -= S[i, j] * L[j, k]


@kernel(fastmath=UNORDERED)
def cholesky_back(L, L_bar, K_bar):
    """Add to K_bar what L_bar, the adjoint of the factor L of K, gives the lower triangle of K.

    K_bar += lower triangle of S + S', with S = L^-T phi(L' L_bar) L^-1, where phi keeps the lower
    triangle and halves the diagonal. Of L_bar the lower triangle is read.
    """
    n = L.shape[0]
    S = np.zeros((n, n))  # phi(L' L_bar)
    if n < SMALL:
        for k in range(n):
            for i in range(k + 1):
                for j in range(i + 1):
                    S[i, j] += L[k, i] * L_bar[k, j]
    else:
        for i in range(n):
            for j in range(i + 1):
                S[i, j] = L_bar[i, j]
        S = np.dot(L.T, S)
    for i in range(n):
        S[i, i] *= 0.5
        for j in range(i + 1, n):
            S[i, j] = 0.0
    if n < SMALL:
        _between_inverses(L, S)
    else:
        transposed = L.T.copy()
        _ordered(transposed, S, False, False)
        S = S.T.copy()
        _ordered(transposed, S, False, False)
    for i in range(n):
        for j in range(i):
            K_bar[i, j] += S[i, j] + S[j, i]
        K_bar[i, i] += S[i, i]


@kernel(fastmath=UNORDERED)
def normal_into(K, y, out):
    """The log density of y (n,), normal with mean 0 and covariance K, for `normal_back_matrix`.

    Out (n + 2, max(n, 1)) gets the factor L of K, then a row with alpha = K^-1 y, then the value in
    [n + 1, 0].
    """
    n = K.shape[0]
    L = out[:n]
    cholesky_into(K, L)
    alpha = out[n]
    value = -HALF_LOG_2PI * n
    for i in range(n):
        left = y[i]
        for k in range(i):
            left -= L[i, k] * alpha[k]
        alpha[i] = left / L[i, i]
        value -= 0.5 * alpha[i] * alpha[i] + math.log(L[i, i])
    for i in range(n - 1, -1, -1):
        alpha[i] /= L[i, i]
        for k in range(i):
            alpha[k] -= L[i, k] * alpha[i]
    out[n + 1, 0] = value


@kernel(fastmath=UNORDERED)
def _inverse_of_factor(L):
    """The inverse of a lower triangular matrix: by loops in blocks, which are joined in pairs."""
    n = L.shape[0]
    W = np.zeros((n, n))
    for a in range(0, n, BLOCK):
        for i in range(a, min(a + BLOCK, n)):
            W[i, i] = 1.0
            for k in range(a, i):
                for j in range(a, k + 1):
                    W[i, j] -= L[i, k] * W[k, j]
            for j in range(a, i + 1):
                W[i, j] /= L[i, i]
    size = BLOCK
    while size < n:
        for a in range(0, n - size, 2 * size):
            m, b = a + size, min(a + 2 * size, n)
            lower = np.dot(L[m:b, a:m].copy(), W[a:m, a:m].copy())
            W[m:b, a:m] -= np.dot(W[m:b, m:b].copy(), lower)
        size *= 2
    return W


@kernel(fastmath=UNORDERED)
def normal_back_matrix(out, out_bar, K_bar):
    """Add (alpha alpha' - K^-1) / 2, times out_bar, to K_bar; both triangles to the lower one.

    K^-1 = W' W with W = L^-1, which takes n^3 operations in all instead of 4 n^3 by way of L.
    """
    n = K_bar.shape[0]
    seed, alpha = out_bar[n + 1, 0], out[n]
    W = _inverse_of_factor(out[:n])
    for a in range(0, n, PANEL):
        b = min(a + PANEL, n)
        rows = np.dot(W[a:, a:b].T.copy(), W[a:, :b].copy())
        for i in range(a, b):
            for j in range(i):
                K_bar[i, j] += seed * (alpha[i] * alpha[j] - rows[i - a, j])
            K_bar[i, i] += 0.5 * seed * (alpha[i] * alpha[i] - rows[i - a, i])


@kernel(fastmath=UNORDERED)
def normal_back_vector(out, out_bar, y_bar):
    """Take from y_bar alpha times out_bar."""
    n = y_bar.shape[0]
    for i in range(n):
        y_bar[i] -= out_bar[n + 1, 0] * out[n, i]


@kernel(fastmath=UNORDERED)
def normal_of_matrix(K, y):
    """The log density of y (n,), normal with mean 0 and covariance K, whose lower half is read."""
    n = K.shape[0]
    out = np.empty((n + 2, max(n, 1)))
    normal_into(K, y, out)
    return out[n + 1, 0]
