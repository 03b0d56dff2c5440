"""Single passes over rows of covariance matrices in cache, for which NumPy would need several.

Shapes: n rows, M inducing inputs.
"""

from ._jit import kernel

TILE = 32


@kernel
def mirror(a):
    """In and out a (M, M): its lower triangle is copied to the upper one, tile by tile."""
    m = a.shape[0]
    for i0 in range(0, m, TILE):
        for j0 in range(0, i0 + 1, TILE):
            for i in range(i0, min(i0 + TILE, m)):
                row = a[i]
                for j in range(j0, min(j0 + TILE, i)):
                    a[j, i] = row[j]


@kernel
def moments(k, product, weights, diagonal, mean, variance):
    """Out mean (n,) = k weights, variance (n,) = diagonal less the rows of k times product's.

    k, product (n, M), weights (M,), diagonal (n,).
    """
    for i in range(k.shape[0]):
        a, b = k[i], product[i]
        first, second = 0.0, 0.0
        for j in range(a.size):
            first += a[j] * weights[j]
            second += a[j] * b[j]
        mean[i] = first
        variance[i] = diagonal[i] - second


@kernel
def scale_rows(k, factors, out):
    """Out (n, M) = k (n, M), each row times its factor (n,)."""
    for i in range(k.shape[0]):
        row, factor, target = k[i], factors[i], out[i]
        for j in range(row.size):
            target[j] = factor * row[j]


@kernel
def add_adjoints(first, second, weights, product, out):
    """Out (n, M) += first weights' + second product, the derivative of rows' terms by k.

    first, second (n,), weights (M,), product (n, M).
    """
    for i in range(out.shape[0]):
        a, b, row, target = first[i], second[i], product[i], out[i]
        for j in range(row.size):
            target[j] += a * weights[j] + b * row[j]
