"""Expectations of products of RBF covariances over Gaussian inputs.

Shapes: n rows, M inducing inputs z. Row i's expectation of k(z_j, x) k(x, z_k) is
exp(logs_i - near_ij - near_ik - pairs_ijk) times a factor of z alone. Titsias and Lawrence (2010),
"Bayesian Gaussian process latent variable model", appendix.
"""

from ._jit import kernel
from .special import exp


@kernel
def add_pairs(pairs, near, logs, total):
    """Add the rows' expectations to the lower triangle of total (M, M).

    Shapes: pairs (n, M, M), of which the lower triangles count, near (n, M), logs (n,).
    """
    for i in range(pairs.shape[0]):
        for j in range(pairs.shape[1]):
            size, row, others = logs[i] - near[i, j], pairs[i, j], near[i]
            target = total[j]
            for k in range(j + 1):
                target[k] += exp(size - others[k] - row[k])


@kernel
def weigh_pairs(pairs, near, logs, slopes):
    """Pairs (n, M, M) become the rows' expectations times symmetric slopes (M, M)."""
    for i in range(pairs.shape[0]):
        block = pairs[i]
        for j in range(block.shape[0]):
            size, row, others = logs[i] - near[i, j], block[j], near[i]
            factors = slopes[j]
            for k in range(j + 1):
                row[k] = factors[k] * exp(size - others[k] - row[k])
        for j in range(block.shape[0]):
            for k in range(j):
                block[k, j] = block[j, k]
