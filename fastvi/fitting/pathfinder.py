"""Pathfinder: Gaussians along the paths of L-BFGS to modes, and their mixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.base.typing import Array, PointLike, RandomState
from fastvi.fitting.arguments import point_of
from fastvi.fitting.paths import End, ascents
from fastvi.posteriors.modes import Mode
from fastvi.posteriors.psis import psis
from fastvi.posteriors.weighted import WeightedPosterior, tempered
from fastvi.targets.base import Target, check_target
from fastvi.targets.checking import screen
from fastvi.targets.failures import quiet

__all__ = ["pathfinder"]

WIDTH = 2.0  # of starts, which are uniform
TRIES = 100  # at a start with a density
TOL = 1e-8
FIRST = 250  # draws from each path, by which paths are weighted
ROUNDS = 200  # of the weights' iteration
LEAST_WEIGHT = 1e-3  # below which a path is left out
NEAR = 0.5  # squared distance, in a mode's standard deviations, below which paths met there
DENSE = 1000  # largest dimension in which modes and their covariances are kept
BENT = 1e-12  # least curvature of an update, relative to the square of the gradient's change
NUMBERS = 2**20  # of the draws that are evaluated at once


class Gaussian(NamedTuple):
    """N(mean, A + B C B') in the paper's factors, with A = diag(scale^2).

    Its root is diag(scale) (Q L Q' + 1 - Q Q'), for Q (D, r) with orthonormal columns and L (r, r)
    lower triangular.
    """

    mean: Array
    scale: Array
    Q: Array
    L: Array

    @property
    def log_det(self) -> float:
        """Log determinant of the root."""
        return float(np.log(self.scale).sum() + np.log(np.diag(self.L)).sum())

    def draw(self, eps: Array) -> Array:
        """Draws (n, D) from standard normal numbers: algorithm 4."""
        inner = eps @ self.Q
        return self.mean + self.scale * (eps + (inner @ self.L.T - inner) @ self.Q.T)

    def log_prob(self, Z: Array) -> Array:
        """Log density (n,) at Z (n, D), nats."""
        away = (np.atleast_2d(Z) - self.mean) / self.scale
        inner = (away @ self.Q).T
        white = solve_triangular(self.L, inner, lower=True, check_finite=False)
        square = np.square(away).sum(axis=1) + (np.square(white) - np.square(inner)).sum(axis=0)
        return np.asarray(-0.5 * (square + len(self.mean) * np.log(2.0 * np.pi)) - self.log_det)


class _Best(NamedTuple):
    """A path's Gaussian of highest ELBO (None if no ELBO is finite), the ELBO, and its place."""

    gaussian: Gaussian | None
    elbo: float
    step: int


def pathfinder(
    target: Target,
    n_paths: int = 4,
    n_draws: int = 1000,
    *,
    start: PointLike | None = None,
    memory: int = 30,
    n_elbo_draws: int = 10,
    max_iter: int = 1000,
    verdict: bool = True,
    n_jobs: int | None = None,
    random_state: RandomState = None,
) -> WeightedPosterior:
    """Approximate a log density by draws around the paths that lead to its modes.

    Pathfinder (Zhang, Carpenter, Gelman and Vehtari 2022): L-BFGS climbs from each start, and its
    estimate of the curvature gives a Gaussian at each step (algorithms 1 and 3), of which the one
    of highest ELBO is kept. Here the Gaussians of several paths become one mixture, with weights by
    stacking (Yao, Vehtari and Gelman 2022): those of highest expected log density under the target,
    from importance-weighted draws. Draws from the mixture then get smoothed importance weights. A
    path that has led astray thus has no weight, where pooling would give its draws their share.

    Parameters
    ----------
    target : Target
        A target from `fastvi.target`, with a gradient.
    n_paths : int
        Number of paths; modes that none of them reaches are missed.
    n_draws : int
        Number of weighted draws.
    start : (D,) or (n_paths, D) array, or dict of str to array, optional
        Where paths begin: one point, about which all but the first are spread, or one for each;
        unconstrained, or parameters by name. By default unconstrained numbers between -2 and 2.
    memory : int
        Updates that L-BFGS remembers.
    n_elbo_draws : int
        Draws for the ELBO at each step.
    max_iter : int
        Largest number of steps of a path.
    verdict : bool
        Judge the result at the end, see `WeightedPosterior.verdict`; otherwise only when the
        verdict is asked for.
    n_jobs : int, optional
        Threads; results have the same bits for any number.
    random_state : int, RandomState, Generator or None

    Returns
    -------
    WeightedPosterior

    Raises
    ------
    ValueError
        If an argument is out of its range, the target has no gradient, or there is no Gaussian on
        any path whose draws have a density.

    Examples
    --------
    >>> import fastvi
    >>> @fastvi.target(dim=2)
    ... def model(z, grad):
    ...     grad[0], grad[1] = -z[0], -4.0 * (z[1] - 1.0)
    ...     return -0.5 * z[0] ** 2 - 2.0 * (z[1] - 1.0) ** 2
    >>> posterior = fastvi.pathfinder(model, random_state=0)
    >>> posterior.converged
    True
    >>> print(posterior.sd.round(1))
    [1.  0.5]
    """
    check_target(target)
    target.require_gradient("pathfinder needs")
    n_paths, n_draws = checks.integer(n_paths, "n_paths", 1), checks.integer(n_draws, "n_draws", 25)
    memory, max_iter = checks.integer(memory, "memory", 1), checks.integer(max_iter, "max_iter", 1)
    n_elbo_draws = checks.integer(n_elbo_draws, "n_elbo_draws", 2)
    n_threads = resolve_n_jobs(n_jobs)
    checks.flag(verdict, "verdict")
    seed = checks.seed_of(random_state)
    rng = np.random.default_rng([seed, 4])
    with single_threaded_blas(), quiet():
        starts = _starts(target, start, n_paths, rng)
        screen(target, starts[0])
        ends = ascents(
            target, starts, [np.ones((1, target.dim))] * n_paths, tol=TOL, max_iter=max_iter,
            n_threads=n_threads, memory=memory, traced=True,
        )  # fmt: skip
        best = [_best(target, end, memory, n_elbo_draws, rng) for end in ends]
        kept = [i for i, one in enumerate(best) if one.gaussian is not None]
        if not kept:
            raise ValueError(
                f"no Gaussian on {n_paths} paths has draws that all have a density (is the density "
                "unbounded, or does each path begin at its mode?); wanted a target with a mode, or "
                "other starts"
            )
        gaussians = [one.gaussian for one in best if one.gaussian is not None]
        shares = _stacked(target, gaussians, rng)
        draws, log_ratios = _weighted(target, gaussians, shares, n_draws, rng)
    weights = np.zeros(n_paths)
    weights[kept] = shares
    steps = np.array([len(end.points) - 1.0 for end in ends])
    posterior = WeightedPosterior(
        draws,
        log_ratios,
        target,
        settled=all(end.arrived for end in ends),
        n_iter=int(steps.sum()),
        history={
            "elbo": np.array([one.elbo for one in best]), "weight": weights, "steps": steps,
            "best_step": np.array([float(one.step) for one in best]),
        },
        names=target.names,
        seed=seed,
        modes=_modes(ends, best) if target.dim <= DENSE else (),
    )  # fmt: skip
    if verdict:
        _ = posterior.verdict
    return posterior


def _starts(
    target: Target, start: PointLike | None, n_paths: int, rng: np.random.Generator
) -> Array:
    """Starts (n_paths, D), each with a density if that can be found."""
    if start is not None and not isinstance(start, Mapping) and np.ndim(start) == 2:
        given = np.array(start, np.float64)
        if given.shape != (n_paths, target.dim) or not np.isfinite(given).all():
            raise ValueError(
                f"start has shape {given.shape}; wanted ({n_paths}, {target.dim}) finite numbers, "
                "a row for each path"
            )
        return given
    centre = np.zeros(target.dim) if start is None else point_of(target, start)
    starts = centre + rng.uniform(-WIDTH, WIDTH, (n_paths, target.dim))
    if start is not None:
        starts[0] = centre
    for _ in range(TRIES):
        values, slopes = target.attempt(starts)
        failed = ~(np.isfinite(values) & np.isfinite(slopes).all(axis=1))
        failed[0] &= start is None
        if not failed.any():
            break
        starts[failed] = centre + rng.uniform(-WIDTH, WIDTH, (int(failed.sum()), target.dim))
    return starts


# One path


def _gaussians(end: End, memory: int) -> list[Gaussian | None]:
    """At each iterate but the first: algorithm 3 for the diagonal, then theorem 2.2 of Byrd et al.
    (1994) for the updates that are remembered.
    """
    found: list[Gaussian | None] = []
    diagonal = np.ones(end.points.shape[1])
    kept: list[tuple[Array, Array]] = []
    for i in range(1, len(end.points)):
        s, y = end.points[i] - end.points[i - 1], end.grads[i - 1] - end.grads[i]
        if s @ y > BENT * (y @ y):
            diagonal = _diagonal(diagonal, s, y)
            kept = [*kept, (s, y)][-memory:]
        found.append(_gaussian(end.points[i], end.grads[i], diagonal, kept) if kept else None)
    return found


def _diagonal(a: Array, s: Array, y: Array) -> Array:
    """The diagonal of the inverse after one more update, from the one before: algorithm 3."""
    b, c = y @ s, s @ (s / a)
    return np.asarray(
        1.0 / ((y @ (a * y)) / (b * a) + y * y / b - (y @ (a * y)) * s * s / (b * c * a * a))
    )


def _gaussian(
    point: Array, grad: Array, diagonal: Array, kept: list[tuple[Array, Array]]
) -> Gaussian | None:
    """Where Newton's method leads from a point, with the estimated inverse as covariance.

    None where rounding has spoilt that.
    """
    S, Y = (np.array(columns).T for columns in zip(*kept))
    n = S.shape[1]
    E = np.triu(S.T @ Y)
    inverse = np.linalg.inv(E)
    C = np.zeros((2 * n, 2 * n))
    C[:n, n:] = -inverse
    C[n:, :n] = -inverse.T
    C[n:, n:] = inverse.T @ (np.diag(np.diag(E)) + Y.T @ (diagonal[:, None] * Y)) @ inverse
    B = np.concatenate((diagonal[:, None] * Y, S), axis=1)
    mean = point + diagonal * grad + B @ (C @ (B.T @ grad))
    scale = np.sqrt(diagonal)
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and np.all(scale > 0)):
        return None
    Q, R = np.linalg.qr(B / scale[:, None])
    try:
        L = np.linalg.cholesky(np.eye(len(R)) + R @ C @ R.T)
    except np.linalg.LinAlgError:
        return None
    return Gaussian(mean, scale, Q, L)


def _best(target: Target, end: End, memory: int, n_draws: int, rng: np.random.Generator) -> _Best:
    """The Gaussian of a path with the highest ELBO, from so many draws each."""
    best, D = _Best(None, -np.inf, 0), target.dim
    if not np.isfinite(end.log_prob):
        return best
    found = [(i, g) for i, g in enumerate(_gaussians(end, memory), 1) if g is not None]
    size = max(1, NUMBERS // (n_draws * D))
    for first in range(0, len(found), size):
        part = found[first : first + size]
        eps = rng.standard_normal((len(part), n_draws, D))
        Z = np.array([g.draw(e) for (_, g), e in zip(part, eps)])
        values = target.attempt(Z.reshape(-1, D), with_gradient=False)[0].reshape(Z.shape[:2])
        noise = 0.5 * (np.square(eps).sum(axis=2) + D * np.log(2.0 * np.pi))
        elbos = np.where(np.isfinite(values), values, -np.inf).mean(axis=1) + noise.mean(axis=1)
        for (i, g), elbo in zip(part, elbos + np.array([g.log_det for _, g in part])):
            if elbo > best.elbo:
                best = _Best(g, float(elbo), i)
    return best


# Several paths


def _modes(ends: list[End], best: list[_Best]) -> tuple[Mode, ...]:
    """Where paths have arrived, each mode once, with the Gaussians of their best steps.

    If none has, the end of the highest path, without a covariance.
    """
    found: list[tuple[Gaussian, Mode]] = []
    for end, one in zip(ends, best):
        if one.gaussian is None or not end.arrived:
            continue
        place, D = end.place, len(end.place)
        if any(float(g.log_prob(g.mean)[0] - g.log_prob(place)[0]) < 0.5 * NEAR for g, _ in found):
            continue
        here = one.gaussian._replace(mean=place)
        root = (here.draw(np.eye(D)) - place).T
        height = end.log_prob - float(here.log_prob(place)[0])
        found.append((here, Mode(place, end.log_prob, root @ root.T, height, np.nan)))
    if not found:
        highest = max(ends, key=lambda end: -np.inf if np.isnan(end.log_prob) else end.log_prob)
        return (Mode(highest.place, highest.log_prob, None, np.nan, np.nan),)
    heights = np.array([mode.log_evidence for _, mode in found])
    shares = np.exp(heights - logsumexp(heights))
    order = np.argsort(-heights, kind="stable")
    return tuple(found[i][1]._replace(share=float(shares[i])) for i in order)


def _mixture(gaussians: list[Gaussian], Z: Array) -> Array:
    """Log densities (n, n_paths)."""
    return np.column_stack([g.log_prob(Z) for g in gaussians])


def _ratios(target: Target, Z: Array, log_q: Array) -> Array:
    values = target.attempt(Z, with_gradient=False)[0]
    return np.where(np.isfinite(values), values, -np.inf) - log_q


def _stacked(target: Target, gaussians: list[Gaussian], rng: np.random.Generator) -> Array:
    """Weights of the mixture of highest expected log density under the target.

    The expectation is over draws from all, weighted by the target over their equal mixture; it is
    concave in the weights, and each round (of EM) raises it.
    """
    n = len(gaussians)
    weights = np.full(n, 1.0 / n)
    if n == 1:
        return weights
    Z = np.concatenate([g.draw(rng.standard_normal((FIRST, len(g.mean)))) for g in gaussians])
    log_q = _mixture(gaussians, Z)
    smoothed = psis(_ratios(target, Z, logsumexp(log_q, axis=1) - np.log(n)))
    importance = tempered(smoothed.log_weights)[0]
    relative = np.exp(log_q - log_q.max(axis=1, keepdims=True))
    for _ in range(ROUNDS):
        shares = relative * weights
        weights = importance @ (shares / shares.sum(axis=1, keepdims=True))
        weights = np.maximum(weights, np.finfo(float).tiny)  # a path far from all others is alone
    weights[weights < LEAST_WEIGHT] = 0.0
    return np.asarray(weights / weights.sum())


def _weighted(
    target: Target, gaussians: list[Gaussian], weights: Array, n: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draws (n, D) from the mixture, as many from each as its weight says, and log ratios (n,)."""
    edges = np.floor(n * np.cumsum(weights) + 0.5).astype(int)
    edges[-1] = n
    sizes = np.diff(edges, prepend=0)
    Z = np.concatenate(
        [g.draw(rng.standard_normal((size, len(g.mean)))) for g, size in zip(gaussians, sizes)]
    )
    used = weights > 0
    log_q = _mixture([g for g, is_used in zip(gaussians, used) if is_used], Z)
    return Z, _ratios(target, Z, logsumexp(log_q + np.log(weights[used]), axis=1))
