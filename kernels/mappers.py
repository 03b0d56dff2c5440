"""Maps from auxiliary numbers to parameters of a distribution: networks and Gaussian processes.

Draws lie side by side, in arrays (..., S). `network` has one hidden layer. `process` is a Gaussian
process of u (L,) given M variational data, whose parameters are one flat vector: inputs (M, L),
outputs (M, D), logarithms of L length scales, of the amplitude, and of D standard deviations.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .special import exp, log
from .vectors import dot, fill, sum_of

__all__ = [
    "Process", "network", "network_pull", "network_size", "prepare", "process", "process_of",
    "process_pull", "process_size",
]  # fmt: skip

JITTER = 1e-6  # of variances, relative


def network_size(n_in, n_hidden, n_out):
    """Number of parameters of a network."""
    return n_hidden * (n_in + 1) + n_out * (n_hidden + n_in + 1)


@kernel(inline="always")
def tanh(x):
    """Hyperbolic tangent, with the absolute error of rounding."""
    return 1.0 - 2.0 / (exp(2.0 * x) + 1.0)


@kernel
def network(theta, x, hidden, out):
    """Out (n_out, S) = b + W x + B h of x (n_in, S), with h = tanh(a + A x); h goes to hidden.

    theta is A (H, n_in), a (H,), and for each output B, W and b in a row.
    """
    n, H, width = x.shape[0], hidden.shape[0], hidden.shape[0] + x.shape[0] + 1
    fill(hidden.reshape(hidden.size), 0.0)
    fill(out.reshape(out.size), 0.0)
    for h in range(H):
        for j in range(n):
            factor = theta[h * n + j]
            for s in range(x.shape[1]):
                hidden[h, s] += factor * x[j, s]
        shift = theta[H * n + h]
        for s in range(x.shape[1]):
            hidden[h, s] = tanh(hidden[h, s] + shift)
    for o in range(out.shape[0]):
        row = H * (n + 1) + o * width
        for h in range(H):
            factor = theta[row + h]
            for s in range(x.shape[1]):
                out[o, s] += factor * hidden[h, s]
        for j in range(n):
            factor = theta[row + H + j]
            for s in range(x.shape[1]):
                out[o, s] += factor * x[j, s]
        shift = theta[row + H + n]
        for s in range(x.shape[1]):
            out[o, s] += shift


@kernel
def network_pull(theta, x, hidden, of_out, of_hidden, of_theta, of_x):
    """Add to of_theta and of_x (n_in, S) the gradients that outputs' gradients bring."""
    n, H, width = x.shape[0], hidden.shape[0], hidden.shape[0] + x.shape[0] + 1
    fill(of_hidden.reshape(of_hidden.size), 0.0)
    for o in range(of_out.shape[0]):
        row = H * (n + 1) + o * width
        for h in range(H):
            of_theta[row + h] += dot(of_out[o], hidden[h])
            factor = theta[row + h]
            for s in range(x.shape[1]):
                of_hidden[h, s] += factor * of_out[o, s]
        for j in range(n):
            of_theta[row + H + j] += dot(of_out[o], x[j])
            factor = theta[row + H + j]
            for s in range(x.shape[1]):
                of_x[j, s] += factor * of_out[o, s]
        of_theta[row + H + n] += sum_of(of_out[o])
    for h in range(H):
        for s in range(x.shape[1]):
            of_hidden[h, s] *= 1.0 - hidden[h, s] * hidden[h, s]
        of_theta[H * n + h] += sum_of(of_hidden[h])
        for j in range(n):
            of_theta[h * n + j] += dot(of_hidden[h], x[j])
            factor = theta[h * n + j]
            for s in range(x.shape[1]):
                of_x[j, s] += factor * of_hidden[h, s]


class Process(NamedTuple):
    """Of a Gaussian process with M variational data, what all its evaluations use."""

    covariance: np.ndarray  # (M, M), of the data
    inverse: np.ndarray  # (M, M)
    weights: np.ndarray  # (M, D), inverse times outputs
    turned: np.ndarray  # (M, S), inverse times covariances with draws
    variance: np.ndarray  # (S,)
    of_covariance: np.ndarray  # (M, M)
    of_weights: np.ndarray  # (M, D)


def process_of(M, D, S):
    """Scratch for M data, D outputs and S draws."""
    return Process(
        np.empty((M, M)), np.empty((M, M)), np.empty((M, D)), np.empty((M, S)), np.empty(S),
        np.empty((M, M)), np.empty((M, D)),
    )  # fmt: skip


def process_size(M, L, D):
    """Number of parameters of a process."""
    return M * (L + D) + L + 1 + D


@kernel
def invert(A, out):
    """Out (M, M): the inverse of a positive definite A, by Gauss and Jordan's steps."""
    M = A.shape[0]
    for i in range(M):
        for j in range(M):
            out[i, j] = A[i, j]
    for p in range(M):
        pivot = 1.0 / out[p, p]
        out[p, p] = 1.0
        for j in range(M):
            out[p, j] *= pivot
        for i in range(M):
            if i == p:
                continue
            factor = out[i, p]
            out[i, p] = 0.0
            for j in range(M):
                out[i, j] -= factor * out[p, j]


@kernel
def prepare(theta, L, q):
    """Fill in covariance, inverse and weights of a process q."""
    M, D = q.weights.shape
    amplitude = exp(2.0 * theta[M * (L + D) + L])
    for n in range(M):
        for m in range(M):
            square = 0.0
            for j in range(L):
                away = (theta[n * L + j] - theta[m * L + j]) * exp(-theta[M * (L + D) + j])
                square += away * away
            q.covariance[n, m] = amplitude * exp(-0.5 * square)
        q.covariance[n, n] = amplitude * (1.0 + JITTER)
    invert(q.covariance, q.inverse)
    fill(q.weights.reshape(M * D), 0.0)
    for n in range(M):
        for m in range(M):
            for d in range(D):
                q.weights[n, d] += q.inverse[n, m] * theta[M * L + m * D + d]


@kernel
def turn(near, q):
    """Fill in inverse times near (M, S)."""
    fill(q.turned.reshape(q.turned.size), 0.0)
    for n in range(near.shape[0]):
        for m in range(near.shape[0]):
            factor = q.inverse[n, m]
            for s in range(near.shape[1]):
                q.turned[n, s] += factor * near[m, s]


@kernel
def process(theta, u, q, near, out):
    """Out (2 D, S): means and log standard deviations at u (L, S); near (M, S): covariances."""
    (M, D), L = q.weights.shape, u.shape[0]
    at = M * (L + D)
    amplitude = exp(2.0 * theta[at + L])
    fill(near.reshape(near.size), 0.0)
    fill(out.reshape(out.size), 0.0)
    fill(q.variance, amplitude)
    for n in range(M):
        for j in range(L):
            place, narrow = theta[n * L + j], exp(-theta[at + j])
            for s in range(u.shape[1]):
                away = (u[j, s] - place) * narrow
                near[n, s] += away * away
        for s in range(u.shape[1]):
            near[n, s] = amplitude * exp(-0.5 * near[n, s])
    turn(near, q)
    for n in range(M):
        for s in range(u.shape[1]):
            q.variance[s] -= near[n, s] * q.turned[n, s]
        for d in range(D):
            factor = q.weights[n, d]
            for s in range(u.shape[1]):
                out[d, s] += factor * near[n, s]
    for d in range(D):
        own = exp(2.0 * theta[at + L + 1 + d])
        for s in range(u.shape[1]):
            out[D + d, s] = 0.5 * log(max(q.variance[s], 0.0) + own)


@kernel
def pull_outputs(theta, L, q, near, out, of_out, of_near, of_theta):
    """Gradients of weights, of log standard deviations and, in of_near, of covariances (M, S)."""
    M, D = q.weights.shape
    at = M * (L + D)
    of_variance = of_near[M]
    turn(near, q)
    fill(of_near.reshape(of_near.size), 0.0)
    for d in range(D):
        own = exp(2.0 * theta[at + L + 1 + d])
        for s in range(near.shape[1]):
            of_near[0, s] = of_out[D + d, s] * exp(-2.0 * out[D + d, s])
        of_theta[at + L + 1 + d] += own * sum_of(of_near[0])
        for s in range(near.shape[1]):
            of_variance[s] += 0.5 * of_near[0, s]
            of_near[0, s] = 0.0
    of_theta[at + L] += 2.0 * exp(2.0 * theta[at + L]) * sum_of(of_variance)
    for n in range(M):
        for d in range(D):
            q.of_weights[n, d] = dot(near[n], of_out[d])
            factor = q.weights[n, d]
            for s in range(near.shape[1]):
                of_near[n, s] += factor * of_out[d, s]
        for s in range(near.shape[1]):
            of_near[n, s] -= 2.0 * q.turned[n, s] * of_variance[s]


@kernel
def pull_data(theta, L, q, of_theta):
    """Gradients of outputs, and those that the data's covariance brings."""
    M, D = q.weights.shape
    at = M * (L + D)
    for n in range(M):
        for d in range(D):
            total = 0.0
            for m in range(M):
                total += q.inverse[n, m] * q.of_weights[m, d]
            of_theta[M * L + n * D + d] += total
            for m in range(M):
                q.of_covariance[n, m] -= total * q.weights[m, d]
    for n in range(M):
        for m in range(M):
            bent = q.of_covariance[n, m] * q.covariance[n, m]
            of_theta[at + L] += 2.0 * bent
            for j in range(L):
                away = theta[n * L + j] - theta[m * L + j]
                along = bent * away * exp(-2.0 * theta[at + j])
                of_theta[n * L + j] -= along
                of_theta[m * L + j] += along
                of_theta[at + j] += along * away


@kernel
def process_pull(theta, u, q, near, out, of_out, of_near, of_theta, of_u):
    """As `network_pull`, of a process; of_near (M + 1, S) is scratch."""
    (M, D), L, S = q.weights.shape, u.shape[0], u.shape[1]
    at = M * (L + D)
    pull_outputs(theta, L, q, near, out, of_out, of_near, of_theta)
    for n in range(M):
        for m in range(M):  # of_near[M] is the variances' gradient
            total = 0.0
            for s in range(S):
                total += of_near[M, s] * q.turned[n, s] * q.turned[m, s]
            q.of_covariance[n, m] = total
    pull_data(theta, L, q, of_theta)
    for n in range(M):
        for s in range(S):
            of_near[n, s] *= near[n, s]
        of_theta[at + L] += 2.0 * sum_of(of_near[n])
        for j in range(L):
            place, narrow = theta[n * L + j], exp(-2.0 * theta[at + j])
            total, spread = 0.0, 0.0
            for s in range(S):
                along = of_near[n, s] * (u[j, s] - place) * narrow
                total += along
                spread += along * (u[j, s] - place)
            of_theta[n * L + j] += total
            of_theta[at + j] += spread
            for s in range(S):
                of_u[j, s] -= of_near[n, s] * (u[j, s] - place) * narrow
