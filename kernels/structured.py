"""Structured priors of autoencoders: mean field of rows with a mixture of Gaussians; its reverse.

Johnson, Wiltschko, Duvenaud, Adams and Datta (2016), "Composing graphical models with neural
networks for structured representations and fast inference", section 4. The encoder makes of a row
an observation a of its latent variables z, with independent noise of standard deviation exp(s).
Then q(z) q(k), of z and of the row's part k of the mixture, is that of mean field for

    p(k) p(z | k) N(a | z, exp(2 s)),

with expectations of the parts' log densities under the posterior of their parameters. Gradients go
through the fixed point by the implicit function theorem: the equations of its reverse are solved by
iteration too. Since q maximises the local bound L, of which the bound without the observation is
V = L - E log N(a | z, .), dV needs no derivative of L.

Shapes: n rows, J latent variables, C parts, K draws of each row; everything is float64 unless it
comes from networks. P is q(z)'s precision; roots are L^-1, lower, of its Cholesky factor L.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .special import exp, log
from .vectors import dot, fill

FLOOR = 1e-300  # of shares, in logarithms


class Parts(NamedTuple):
    """Expectations of the parameters of the parts, of weight pi, mean mu and precision Lambda."""

    constants: np.ndarray  # (C,) E log pi + E log|Lambda| / 2 - E mu' Lambda mu / 2
    slopes: np.ndarray  # (C, J) E Lambda mu
    precisions: np.ndarray  # (C, J, J) E Lambda


class Local(NamedTuple):
    """What mean field finds for n rows, and scratch."""

    shares: np.ndarray  # (n, C) q(k)
    means: np.ndarray  # (n, J) of q(z)
    roots: np.ndarray  # (n, J, J)
    covariances: np.ndarray  # (n, J, J)
    values: np.ndarray  # (n,) minus the divergence from the prior
    logits: np.ndarray  # (C,)
    vectors: np.ndarray  # (4, J)
    matrices: np.ndarray  # (4, J, J)


class Sums(NamedTuple):
    """Statistics of rows for the natural gradient: of parts' counts, of z and of z z'."""

    counts: np.ndarray  # (C,)
    linear: np.ndarray  # (C, J)
    squares: np.ndarray  # (C, J, J)


@kernel
def inverse_root(P, root):
    """Out root (J, J) = L^-1 of P = L L'; minus half log|P|, NaN if P is not positive definite."""
    n, log_det = P.shape[0], 0.0
    for i in range(n):  # L first
        for j in range(i + 1):
            root[i, j] = (P[i, j] - dot(root[i, :j], root[j, :j])) / (root[j, j] if j < i else 1.0)
        root[i, i] = np.sqrt(root[i, i])
        log_det -= log(root[i, i])
    for j in range(n):
        root[j, j] = 1.0 / root[j, j]
        for i in range(j + 1, n):
            total = 0.0
            for k in range(j, i):
                total += root[i, k] * root[k, j]
            root[i, j] = -total / root[i, i]
        fill(root[j, j + 1 :], 0.0)
    return log_det


@kernel
def square(root, out):
    """Out (J, J) = root' root for a lower root."""
    for i in range(out.shape[0]):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, out.shape[0]):
                total += root[k, i] * root[k, j]
            out[i, j] = total
            out[j, i] = total


@kernel
def multiply(A, x, out):
    """Out (J,) = A x."""
    for i in range(out.size):
        out[i] = dot(A[i], x)


@kernel
def turn(A, x, out):
    """Out (J,) = A' x."""
    fill(out, 0.0)
    for i in range(x.size):
        row, factor = A[i], x[i]
        for j in range(out.size):
            out[j] += factor * row[j]


@kernel
def enclose(A, B, spare, out):
    """Out (J, J) = A' B A."""
    for i in range(out.shape[0]):
        turn(A, B[i], spare[i])  # B A
    for i in range(out.shape[0]):
        fill(out[i], 0.0)
    for k in range(out.shape[0]):
        row, source = A[k], spare[k]
        for i in range(out.shape[0]):
            target, factor = out[i], row[i]
            for j in range(target.size):
                target[j] += factor * source[j]


@kernel
def add_matrices(weights, matrices, out):
    """Out (J, J) += sum over k of weights (C,) times matrices (C, J, J)."""
    for k in range(weights.size):
        for i in range(out.shape[0]):
            row, target, weight = matrices[k, i], out[i], weights[k]
            for j in range(target.size):
                target[j] += weight * row[j]


@kernel
def pairing(A, B):
    """Sum of A B, entry by entry."""
    total = 0.0
    for i in range(A.shape[0]):
        total += dot(A[i], B[i])
    return total


@kernel
def combine(parts, shares, observed, P, slope):
    """Out: P (J, J) and slope (J,) of q(z), in natural parameters; observed (2 J) is a and s."""
    n = slope.size
    turn(parts.slopes, shares, slope)
    for i in range(n):
        fill(P[i], 0.0)
    add_matrices(shares, parts.precisions, P)
    for j in range(n):
        p = np.exp(-2.0 * np.float64(observed[n + j]))
        P[j, j] += p
        slope[j] += p * observed[j]


@kernel
def normalize(logits, shares):
    """Out shares (C,); the log of the sum of exp(logits), and how far a share moved."""
    most, total, moved = logits[0], 0.0, 0.0
    for k in range(1, logits.size):
        most = max(most, logits[k])
    for k in range(logits.size):
        total += exp(logits[k] - most)
    for k in range(logits.size):
        share = exp(logits[k] - most) / total
        moved = max(moved, abs(share - shares[k]))
        shares[k] = share
    return most + log(total), moved


@kernel
def expect_parts(parts, mean, covariance, out):
    """Out (C,): expectations of log pi_k N(z | k) under q(z), without J log(2 pi) / 2."""
    for k in range(out.size):
        A = parts.precisions[k]
        total = parts.constants[k] + dot(parts.slopes[k], mean)
        for i in range(mean.size):
            total -= 0.5 * (mean[i] * dot(A[i], mean) + dot(A[i], covariance[i]))
        out[k] = total


@kernel
def infer_row(parts, observed, tolerance, most, shares, mean, root, covariance, local):
    """Minus the divergence of a row's q from the prior; in and out: shares (C,), out: q(z)."""
    P, slope, value = local.matrices[0], local.vectors[0], 0.0
    for _ in range(most):
        combine(parts, shares, observed, P, slope)
        value = inverse_root(P, root) + 0.5 * mean.size
        square(root, covariance)
        multiply(covariance, slope, mean)
        expect_parts(parts, mean, covariance, local.logits)
        total, moved = normalize(local.logits, shares)
        value += total
        if not moved > tolerance:
            break
    return value


@kernel
def start_row(parts, observed, shares, root, local):
    """Out shares (C,): exact chances of the parts given the observation."""
    P, slope, white = local.matrices[0], local.vectors[0], local.vectors[1]
    fill(shares, 0.0)
    for k in range(shares.size):
        shares[k] = 1.0
        combine(parts, shares, observed, P, slope)
        local.logits[k] = parts.constants[k] + inverse_root(P, root)
        multiply(root, slope, white)
        local.logits[k] += 0.5 * dot(white, white)
        shares[k] = 0.0
    normalize(local.logits, shares)


@kernel
def infer(parts, observed, tolerance, most, local):
    """Mean field of rows until no share moves by more than the tolerance, or for so many rounds.

    observed (n 2 J) float32 holds a and s of each row; out: `local`, except its scratch.
    """
    width = 2 * local.means.shape[1]
    for i in range(observed.size // width):
        row = observed[i * width : (i + 1) * width]
        start_row(parts, row, local.shares[i], local.roots[i], local)
        local.values[i] = infer_row(
            parts, row, tolerance, most, local.shares[i], local.means[i], local.roots[i],
            local.covariances[i], local,
        )  # fmt: skip


@kernel
def draw(local, n_draws, eps, z):
    """Out z (n K J) float32 = mean + root' eps."""
    n_latent = local.means.shape[1]
    noise, away = local.vectors[0], local.vectors[1]
    for r in range(z.size // n_latent):
        i, first = r // n_draws, r * n_latent
        for j in range(n_latent):
            noise[j] = eps[first + j]
        turn(local.roots[i], noise, away)
        for j in range(n_latent):
            z[first + j] = np.float32(local.means[i, j] + away[j])


@kernel
def pull_draws(root, eps, back, vectors, half, of_mean):
    """Adjoints of a row's draws (K J) become those of its mean (J,), and half (J, J) of which
    -root' half root is that of P.
    """
    n_latent = of_mean.size
    noise, slope, white = vectors[0], vectors[1], vectors[2]
    fill(of_mean, 0.0)
    for i in range(n_latent):
        fill(half[i], 0.0)
    for first in range(0, eps.size, n_latent):
        for j in range(n_latent):
            noise[j] = eps[first + j]
            slope[j] = back[first + j]
            of_mean[j] += slope[j]
        multiply(root, slope, white)
        for i in range(n_latent):
            for j in range(n_latent):  # the lower triangle of eps white', made symmetric
                half[i, j] += 0.5 * (noise[max(i, j)] * white[min(i, j)])


@kernel
def add_symmetric(x, y, factor, out):
    """Out (J, J) += factor (x y' + y x') / 2."""
    for i in range(x.size):
        row, a, b = out[i], 0.5 * factor * x[i], 0.5 * factor * y[i]
        for j in range(x.size):
            row[j] += a * y[j] + b * x[j]


@kernel
def pull_direct(observed, weight, mean, root, covariance, eps, back, local, of_P, of_slope):
    """Out: adjoints of P (J, J) and of the slope (J,) of q(z), with shares held fixed."""
    n = mean.size
    half, spare, of_mean = local.matrices[0], local.matrices[1], local.vectors[3]
    pull_draws(root, eps, back, local.vectors, half, of_mean)
    enclose(root, half, spare, of_P)
    fill(of_slope, 0.0)
    for j in range(n):  # of -weight E log N(a | z)
        p = np.exp(-2.0 * np.float64(observed[n + j]))
        of_mean[j] -= weight * p * (observed[j] - mean[j])
        for i in range(n):
            half[j, i] = 0.0
        half[j, j] = 0.5 * weight * p
    multiply(covariance, of_mean, of_slope)
    for i in range(n):
        for j in range(n):
            of_P[i, j] *= -1.0
    enclose(covariance, half, spare, local.matrices[2])
    for i in range(n):
        for j in range(n):
            of_P[i, j] -= local.matrices[2, i, j]
    add_symmetric(of_slope, mean, -1.0, of_P)


@kernel
def _answer(parts, pulls, mean, covariance, of_P, of_slope, local):
    """Out: adjoints of P and of the slope, matrices[3] and vectors[3] of local, if those of logits
    are `pulls` (C,): direct ones, and what goes through expectations of the logits.
    """
    n = mean.size
    whole, spare, through = local.matrices[0], local.matrices[1], local.matrices[3]
    slope, force, answer = local.vectors[0], local.vectors[1], local.vectors[3]
    for i in range(n):
        fill(whole[i], 0.0)
    add_matrices(pulls, parts.precisions, whole)
    turn(parts.slopes, pulls, slope)
    multiply(whole, mean, force)
    for j in range(n):
        slope[j] -= force[j]
    multiply(covariance, slope, answer)
    enclose(covariance, whole, spare, through)
    for i in range(n):
        for j in range(n):
            through[i, j] = of_P[i, j] + 0.5 * through[i, j]
    add_symmetric(answer, mean, -1.0, through)
    for j in range(n):
        answer[j] += of_slope[j]


@kernel
def solve_reverse(parts, shares, mean, covariance, of_P, of_slope, tolerance, most, pulls, local):
    """Out: adjoints of logits in pulls (C,), those of P and slope as of `_answer`."""
    through, answer, forces = local.matrices[3], local.vectors[3], local.logits
    fill(pulls, 0.0)
    for _ in range(most):
        _answer(parts, pulls, mean, covariance, of_P, of_slope, local)
        size, moved = 0.0, 0.0
        for k in range(pulls.size):
            force = dot(parts.slopes[k], answer) + pairing(parts.precisions[k], through)
            forces[k] = force
        centre = dot(shares, forces)
        for k in range(pulls.size):
            pull = shares[k] * (forces[k] - centre)
            size = max(size, abs(pull))
            moved = max(moved, abs(pull - pulls[k]))
            pulls[k] = pull
        if not moved > tolerance * size:
            break
    _answer(parts, pulls, mean, covariance, of_P, of_slope, local)


@kernel
def gather_sums(share, shares, pulls, mean, covariance, local, sums, extra):
    """Add a row's statistics, times its share of the batch, and what the path of q adds to them."""
    n = mean.size
    through, answer = local.matrices[3], local.vectors[3]
    for k in range(shares.size):
        own, more = share * shares[k], pulls[k]
        sums.counts[k] += own
        extra.counts[k] += more
        for i in range(n):
            sums.linear[k, i] += own * mean[i]
            extra.linear[k, i] += shares[k] * answer[i] + more * mean[i]
            for j in range(n):
                second = covariance[i, j] + mean[i] * mean[j]
                sums.squares[k, i, j] += own * second
                extra.squares[k, i, j] += more * second - 2.0 * shares[k] * through[i, j]


@kernel
def pull_back(parts, weight, n_draws, eps, back, tolerance, most, observed, local, sums, extra):
    """Out: observed (n 2 J) becomes the gradient by it of sum back z + weight sum of values.

    weight is that of a row, by 1 / n of which statistics are multiplied; in and out: sums, extra,
    the gradients by the natural parameters' expectations, of the bound with q held fixed and
    through q.
    """
    n_latent, n_parts = local.means.shape[1], local.shares.shape[1]
    n, size = local.means.shape[0], n_draws * n_latent
    of_P, of_slope, pulls = np.empty((n_latent, n_latent)), np.empty(n_latent), np.empty(n_parts)
    n = observed.size // (2 * n_latent)
    for i in range(n):
        row = observed[2 * i * n_latent : 2 * (i + 1) * n_latent]
        shares, mean, covariance = local.shares[i], local.means[i], local.covariances[i]
        a, b = i * size, (i + 1) * size
        pull_direct(
            row, weight, mean, local.roots[i], covariance, eps[a:b], back[a:b], local, of_P,
            of_slope,
        )  # fmt: skip
        solve_reverse(
            parts, shares, mean, covariance, of_P, of_slope, tolerance, most, pulls, local
        )
        gather_sums(1.0 / n, shares, pulls, mean, covariance, local, sums, extra)
        through, answer = local.matrices[3], local.vectors[3]
        for j in range(n_latent):
            p, at = np.exp(-2.0 * np.float64(row[n_latent + j])), np.float64(row[j])
            row[j] = np.float32(answer[j] * p)
            row[n_latent + j] = np.float32(-2.0 * p * (through[j, j] + answer[j] * at))
