"""Plain twin of `kernels/annealed.py`: one path at a time, as in Geffner and Domke (2021)."""

import numpy as np


def leapfrog(z, r, length, slope):
    """One step: the new place and momentum."""
    middle = r + 0.5 * length * slope(z)
    z = z + length * middle
    return z, middle + 0.5 * length * slope(z)


def path(params, keeps, noise, log_p, grad, dim):
    """The end of the path of noise ((M + 1) D,), and its log weight."""
    M = len(noise) // dim - 1
    shift, log_scale, rest = params[:dim], params[dim : 2 * dim], params[2 * dim :]
    lengths, shares = np.exp(rest[:M]), np.exp(rest[M : 2 * M])
    bridges = np.cumsum(shares / shares.sum())
    kept = 1.0 / (1.0 + np.exp(-rest[2 * M])) if keeps else 0.0
    eps = noise.reshape(M + 1, dim)
    z = shift + np.exp(log_scale) * eps[0]
    log_w = 0.5 * eps[0] @ eps[0] + log_scale.sum() + 0.5 * dim * np.log(2.0 * np.pi)
    r = eps[1]
    for m in range(M):
        if m > 0:
            r = kept * r + np.sqrt(1.0 - kept * kept) * eps[m + 1]

        def slope(z, b=bridges[m]):
            return b * grad(z) - (1.0 - b) * (z - shift) / np.exp(2.0 * log_scale)

        log_w = log_w + 0.5 * r @ r
        z, r = leapfrog(z, r, lengths[m], slope)
        log_w = log_w - 0.5 * r @ r
    return z, log_w + log_p(z)


def derivatives(f, at, step=1e-30):
    """Derivatives of a number by (n,) numbers, by complex steps."""
    return np.array([np.imag(f(at + row)) / step for row in 1j * step * np.eye(len(at))])
