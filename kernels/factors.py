"""Probabilistic PCA and factor analysis: operations on rows other than matrix products.

Shapes: n rows, D features, K factors. Rows are homogeneous, (x, 1), and so are factors, (z, 1), so
the mean is one more column of the loadings.
"""

import numpy as np

from ._jit import kernel


@kernel
def standardize(x, centre, factor, rows):
    """Out: rows (n, D + 1) = (x - centre) * factor of x (n, D), and 1."""
    n_features = x.shape[1]
    one = rows.dtype.type(1)
    for i in range(x.shape[0]):
        row = rows[i]
        for j in range(n_features):
            row[j] = (x[i, j] - centre[j]) * factor[j]
        row[n_features] = one


@kernel
def weigh(rows, latent, weights, weighted, squares):
    """Out: weighted (n, K + 1) = weight * latent; in and out: squares (D + 1,) += weight x^2."""
    for i in range(rows.shape[0]):
        z = latent[i]
        out = weighted[i]
        weight = weighted.dtype.type(weights[i])
        for k in range(latent.shape[1]):
            out[k] = weight * z[k]
        x = rows[i]
        share = np.float64(weights[i])
        for j in range(rows.shape[1]):
            value = np.float64(x[j])
            squares[j] += share * value * value


@kernel
def statistics_norms(rows, latent, covariance, norms):
    """Out (n,) = Euclidean norm of a row's own statistics.

    They are E[zz'] = z z' + covariance (K + 1, K + 1), x z', x^2 and the count x_D^2, for rows
    (n, D + 1) and means latent (n, K + 1).
    """
    n_features = rows.shape[1] - 1
    n_latent = latent.shape[1]
    for i in range(rows.shape[0]):
        x = rows[i]
        z = latent[i]
        one = np.float64(x[n_features])
        result = one * one * one * one
        x_square = 0.0
        x_fourth = 0.0
        for j in range(n_features):
            square = np.float64(x[j]) * np.float64(x[j])
            x_square += square
            x_fourth += square * square
        z_square = 0.0
        for k in range(n_latent):
            z_square += np.float64(z[k]) * np.float64(z[k])
            for m in range(n_latent):
                second = np.float64(z[k]) * np.float64(z[m]) + one * one * covariance[k, m]
                result += second * second
        norms[i] = np.sqrt(result + x_square * z_square + x_fourth)


@kernel
def column_squares(x, centre, squares):
    """In and out: squares (D,) += (x - centre)^2 of rows of x (n, D)."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            distance = np.float64(x[i, j]) - centre[j]
            squares[j] += distance * distance
