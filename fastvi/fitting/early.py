"""Early stopping as variational inference: gradient descent without draws of a family.

Maclaurin, Duvenaud and Adams (2016), "Early stopping as nonparametric variational inference".
Points drawn from an initial normal distribution climb the log density by steps ``z + rate grad``. A
step changes volumes by the determinant of 1 + rate H, with the Hessian H there, so the entropy of
what the points are drawn from is known after each step, and with it a lower bound on the evidence.
Points move towards modes, the entropy falls, and the bound has a peak: the time to stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, RandomState
from fastvi.targets.base import Target, check_target

__all__ = ["EarlyStopping", "early_stopping"]

SHIFT = 1e-5  # of differences of gradients, relative to the size of a point
ENTROPIES = ("probe", "exact")
KEPT = 100  # points of the path


class EarlyStopping(NamedTuple):
    """Points that have climbed until the bound was highest; made by `fastvi.early_stopping`.

    Attributes
    ----------
    points : (n_draws, D) array
        Where they were then: draws from an approximation that has no other form.
    elbo : (n_iter + 1,) array
        The bound before the first step and after each, in nats.
    entropy, log_prob : (n_iter + 1,) array
        Its parts: means over the points.
    best : int
        Steps at the highest bound.
    steepest : float
        Largest rate times curvature that a probe has met. Above 0.68, entropies by probes may be
        too high; above 2, steps overshoot.
    settled : bool
        Whether the bound fell for as long as `patience` says.
    path : (m, n_draws, D) array
        Points at the steps `path_steps`, about a hundred of all.
    path_steps : (m,) array
    seconds : float
    """

    points: Array
    elbo: Array
    entropy: Array
    log_prob: Array
    best: int
    steepest: float
    settled: bool
    path: Array
    path_steps: Array
    seconds: float

    @property
    def mean(self) -> Array:
        """Means of the points, (D,)."""
        return np.asarray(self.points.mean(axis=0))

    @property
    def sd(self) -> Array:
        """Standard deviations of the points, (D,)."""
        return np.asarray(self.points.std(axis=0))

    @property
    def n_iter(self) -> int:
        """Steps taken."""
        return len(self.elbo) - 1


def early_stopping(
    target: Target,
    learning_rate: float,
    *,
    mean: ArrayLike = 0.0,
    sd: ArrayLike = 1.0,
    n_draws: int = 10,
    entropy: str = "probe",
    max_iter: int = 1000,
    patience: int | None = 100,
    random_state: RandomState = None,
) -> EarlyStopping:
    """Gradient ascent from random points, stopped at the peak of its bound on the evidence.

    Parameters
    ----------
    target : Target
        With a gradient.
    learning_rate : float
        A step is this times the gradient of the log density, so it must be below 2 over the largest
        curvature, and below 0.68 over it for entropies by probes to be bounds.
    mean, sd : float or (D,) array
        Of the normal distribution of the first points, such as the prior's.
    n_draws : int
        Points.
    entropy : {"probe", "exact"}
        The change of the entropy in a step: an unbiased estimate of a lower bound, from one random
        vector and two products with the Hessian (the paper's Algorithm 2), or the log determinant,
        from 2 D gradients.
    max_iter : int
        Largest number of steps.
    patience : int or None
        Stop after so many steps without a higher bound; None to take all steps.
    random_state : int, RandomState, Generator or None

    Returns
    -------
    EarlyStopping

    Raises
    ------
    ValueError
        If an argument is out of its range, or the target has no gradient.
    TargetError
        If a point has no density or gradient.

    Examples
    --------
    >>> import fastvi
    >>> @fastvi.target(dim=2)
    ... def ridge(z):
    ...     return -50.0 * (z[0] - z[1]) ** 2 - 0.005 * z[0] ** 2
    >>> found = fastvi.early_stopping(ridge, 0.005, random_state=0)
    >>> bool(0 < found.best < found.n_iter), bool(found.sd[0] > 0.5)
    (True, True)
    """
    check_target(target)
    target.require_gradient("early_stopping needs")
    rate = checks.number(learning_rate, "learning_rate", 0.0, open_low=True)
    n, max_iter = checks.integer(n_draws, "n_draws", 1), checks.integer(max_iter, "max_iter", 1)
    checks.choice(entropy, "entropy", ENTROPIES)
    wait = max_iter if patience is None else checks.integer(patience, "patience", 1)
    D, began = target.dim, time.perf_counter()
    centre, width = _vector(mean, "mean", D), _vector(sd, "sd", D)
    if not np.all(width > 0):
        raise ValueError(f"sd is {sd!r}; wanted numbers > 0")
    rng = checks.generator(random_state, "random_state")
    points = centre + width * rng.standard_normal((n, D))
    change = _by_probe if entropy == "probe" else _exactly
    start = 0.5 * D * np.log(2.0 * np.pi * np.e) + float(np.log(width).sum())
    entropies, log_probs, path, steps = [start], [], [], []
    steepest, best, kept, settled = 0.0, 0, points, False
    every = max(1, max_iter // KEPT)
    values, grads = _at(target, points)
    for t in range(max_iter + 1):
        log_probs.append(float(values.mean()))
        bound = log_probs[t] + entropies[t]
        if t == 0 or bound > log_probs[best] + entropies[best]:
            best, kept = t, points
        if t % every == 0:
            path.append(points)
            steps.append(t)
        settled = t - best >= wait
        if settled or t == max_iter:
            break
        change_of, steep = change(target, points, grads, rate, rng)
        steepest = max(steepest, steep)
        entropies.append(entropies[t] + change_of)
        points = points + rate * grads
        values, grads = _at(target, points)
    return EarlyStopping(
        kept, np.add(log_probs, entropies), np.array(entropies), np.array(log_probs), best,
        steepest, settled, np.array(path), np.array(steps), time.perf_counter() - began,
    )  # fmt: skip


def _vector(value: ArrayLike, name: str, D: int) -> Array:
    found = np.asarray(value, np.float64)
    if found.shape not in ((), (D,)) or not np.all(np.isfinite(found)):
        raise ValueError(f"{name} has shape {found.shape}; wanted a finite number or {D} of them")
    return np.broadcast_to(found, D)


def _at(target: Target, points: Array) -> tuple[Array, Array]:
    """Densities (n,) and gradients (n, D), which must be finite."""
    values, grads = target.attempt(points)
    bad = ~(np.isfinite(values) & np.isfinite(grads).all(axis=1))
    if bad.any():
        target.refuse(points[bad])
    return values, grads


def _products(target: Target, points: Array, along: Array) -> Array:
    """The Hessian at each point times a vector, (n, D), by central differences of gradients."""
    length = np.sqrt(np.square(along).sum(axis=1, keepdims=True))
    size = np.maximum(1.0, np.sqrt(np.square(points).sum(axis=1, keepdims=True)))
    step = SHIFT * size / np.maximum(length, np.finfo(float).tiny)
    shifted = np.concatenate((points + step * along, points - step * along))
    up, down = np.split(_at(target, shifted)[1], 2)
    return np.asarray((up - down) / (2.0 * step))


Change = Callable[[Target, Array, Array, float, np.random.Generator], tuple[float, float]]


def _by_probe(
    target: Target, points: Array, grads: Array, rate: float, rng: np.random.Generator
) -> tuple[float, float]:
    """The mean change of the entropy, r0'(-2 r0 + 3 r1 - r2) with r_{i+1} = (1 + rate H) r_i, and
    the largest rate times curvature along r0.
    """
    r0 = rng.standard_normal(points.shape)
    r1 = r0 + rate * _products(target, points, r0)
    r2 = r1 + rate * _products(target, points, r1)
    change = np.sum(r0 * (-2.0 * r0 + 3.0 * r1 - r2), axis=1)
    steep = np.abs(np.sum(r0 * (r1 - r0), axis=1)) / np.square(r0).sum(axis=1)
    return float(change.mean()), float(steep.max())


def _exactly(
    target: Target, points: Array, grads: Array, rate: float, rng: np.random.Generator
) -> tuple[float, float]:
    """The mean log determinant of 1 + rate H, and the largest rate times curvature."""
    (n, D), axes = points.shape, np.eye(points.shape[1])
    columns = [_products(target, points, np.broadcast_to(axis, (n, D))) for axis in axes]
    hessians = np.stack(columns, axis=2)
    eigenvalues = rate * np.linalg.eigvalsh(0.5 * (hessians + hessians.transpose(0, 2, 1)))
    factors = np.maximum(np.abs(1.0 + eigenvalues), np.finfo(float).tiny)
    return float(np.log(factors).sum(axis=1).mean()), float(np.abs(eigenvalues).max())
