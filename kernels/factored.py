"""Upper triangles of small matrices, four rows at a time: factors, solutions and inverses.

Shapes: K rows and columns, a multiple of 8 (padding: the identity). Matrices (K, K) are upper
triangles unless said otherwise; below them is scratch.
"""

import numpy as np

from ._jit import kernel


@kernel
def cholesky(a):
    """In and out a (K, K), which becomes U with a = U'U; whether it is positive definite.

    Four rows are finished at a time and taken from all rows below at once.
    """
    n = a.shape[0] // 8 * 8
    one = a.dtype.type(1)
    tiny = a.dtype.type(1e-6)
    for top in range(0, n, 4):
        left = top // 8 * 8
        for k in range(top, top + 4):
            row = a[k]
            if not row[k] > tiny:
                return False
            scale = one / np.sqrt(row[k])
            for j in range(left, n):
                row[j] *= scale
            for i in range(k + 1, top + 4):
                below = a[i]
                x = row[i]
                for j in range(left, n):
                    below[j] -= x * row[j]
        r0, r1, r2, r3 = a[top], a[top + 1], a[top + 2], a[top + 3]
        for i in range(top + 4, n):
            row = a[i]
            x0, x1, x2, x3 = r0[i], r1[i], r2[i], r3[i]
            for j in range(i // 8 * 8, n):
                row[j] -= x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j]
    return True


@kernel
def solve_factored(u, b):
    """In and out b (K,): the solution x of U'U x = b."""
    n = b.shape[0]
    zero = b.dtype.type(0)
    for i in range(n):
        row = u[i]
        b[i] /= row[i]
        x = b[i]
        for j in range(i + 1, n):
            b[j] -= x * row[j]
    for i in range(n - 1, -1, -1):
        row = u[i]
        x = zero
        for j in range(i + 1, n):
            x += row[j] * b[j]
        b[i] = (b[i] - x) / row[i]


@kernel
def invert(u, inverse, diagonal):
    """Out: the lower triangle (K, K) of U'^-1, and the diagonal (K,) of (U'U)^-1."""
    n = u.shape[0] // 8 * 8
    zero, one = u.dtype.type(0), u.dtype.type(1)
    for i in range(n):
        row = inverse[i]
        for j in range(n):
            row[j] = zero
        row[i] = one
    for top in range(0, n, 4):
        right = top // 8 * 8 + 8
        for k in range(top, top + 4):
            row = inverse[k]
            scale = one / u[k, k]
            for j in range(right):
                row[j] *= scale
            for i in range(k + 1, top + 4):
                below = inverse[i]
                x = u[k, i]
                for j in range(right):
                    below[j] -= x * row[j]
        r0, r1, r2, r3 = inverse[top], inverse[top + 1], inverse[top + 2], inverse[top + 3]
        u0, u1, u2, u3 = u[top], u[top + 1], u[top + 2], u[top + 3]
        for i in range(top + 4, n):
            row = inverse[i]
            x0, x1, x2, x3 = u0[i], u1[i], u2[i], u3[i]
            for j in range(right):
                row[j] -= x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j]
    for j in range(n):
        diagonal[j] = zero
    for i in range(n):
        row = inverse[i]
        for j in range(i // 8 * 8 + 8):
            diagonal[j] += row[j] * row[j]


@kernel
def add_square(inverse, total):
    """In and out total (K, K) += X'X, the inverse of U'U, of the lower triangle X."""
    n = inverse.shape[0] // 8 * 8
    for top in range(0, n, 4):
        right = top // 8 * 8 + 8
        r0, r1, r2, r3 = inverse[top], inverse[top + 1], inverse[top + 2], inverse[top + 3]
        for i in range(top + 4):
            row = total[i]
            x0, x1, x2, x3 = r0[i], r1[i], r2[i], r3[i]
            for j in range(i // 8 * 8, right):
                row[j] += x0 * r0[j] + x1 * r1[j] + x2 * r2[j] + x3 * r3[j]
