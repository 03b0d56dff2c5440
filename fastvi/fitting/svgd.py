"""Stein variational gradient descent: particles that represent a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from fastvi import loop, optimizers
from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.base.typing import (
    AnyArray,
    Array,
    ArrayLike,
    DTypeLike,
    Path,
    PointLike,
    RandomState,
)
from fastvi.checkpoints import Watching
from fastvi.cluster.active import refuse_shards
from fastvi.core import Gradient, Optimizer
from fastvi.fitting.arguments import batches_of, begin_near, family_of
from fastvi.fitting.descent import Descent
from fastvi.fitting.modes import search
from fastvi.fitting.watching import watch_of
from fastvi.gradients import stein, stein_metric, stein_sliced
from fastvi.posteriors.modes import Mode
from fastvi.posteriors.particles import ParticlePosterior
from fastvi.targets.base import Target, check_target

__all__ = ["svgd"]

METHODS: dict[str, Callable[..., Gradient]] = {
    "plain": stein.stein,
    "matrix": stein_metric.matrix,
    "newton": stein_metric.newton,
    "sliced": stein_sliced.sliced,
}
# Arguments that only some methods take, and those.
OPTIONS = {"curvature": ("matrix", "newton"), "slices": ("sliced",)}
N_PARTICLES = 100


def svgd(
    target: Target,
    n_particles: int | None = None,
    max_iter: int = 1000,
    *,
    kernel: str = "rbf",
    bandwidth: str | ArrayLike = "median",
    method: str = "plain",
    curvature: Callable[[AnyArray], AnyArray] | None = None,
    slices: str | None = None,
    optimizer: Optimizer | str | float | None = None,
    batch_size: int | None = None,
    sampling: str = "uniform",
    start: PointLike | None = None,
    dtype: DTypeLike = "float64",
    tol: float = 0.01,
    verdict: bool = True,
    n_jobs: int | None = None,
    random_state: RandomState = None,
    verbose: bool = False,
    callback: Callable[[loop.FitState], bool | None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_interval: float = 60.0,
    resume: bool = False,
) -> ParticlePosterior:
    """Move particles until they represent a target: Stein variational gradient descent.

    Each particle follows the scores of its neighbours, weighted by a kernel, and is repelled by
    them (Liu and Wang 2016, algorithm 1). Time grows with the square of the number of particles,
    memory linearly.

    Parameters
    ----------
    target : Target
        A target from `fastvi.target`, with a gradient.
    n_particles : int, optional
        100 by default, or as many as `start` has.
    max_iter : int
        Largest number of steps.
    kernel : {"rbf", "imq"}
        k(z, z') = exp(-s / 2) or (1 + s)^(-1/2), s = |(z - z') / bandwidth|^2.
    bandwidth : "median", float or (D,) array
        The length of the kernel for unconstrained parameters, or one per parameter (ARD). "median"
        is the median distance, from at most 128 particles, divided by the root of 2 log n,
        recomputed at each step.
    method : {"plain", "matrix", "newton", "sliced"}
        "matrix" is the matrix-valued kernel of Wang et al. (2019), for parameters that are
        correlated or of very different scales: particles are whitened by the target's mean
        curvature. "newton" is Stein variational Newton (Detommaso et al. 2018). "sliced" is sliced
        SVGD (Gong et al. 2021), for many parameters, for which the other methods give particles
        that are too narrow. See `fastvi.gradients`.
    curvature : callable, optional
        For "matrix" and "newton": ``curvature(Z)`` returns positive definite (k, D, D) for Z (k,
        D); by default negated Hessians from differences of gradients.
    slices : {"learned", "axes"}, optional
        For "sliced": directions of the projections that a coordinate's kernel uses, learned by
        default.
    optimizer : Optimizer, str or float, optional
        An optimizer of `fastvi.optimizers`; "adaptive", "adagrad", "rmsprop", "adam" or "amsgrad";
        or a constant rate. By default Adam, in the units of each parameter
        (`fastvi.gradients.stein.units_of`), with rates that fall once particles are close; for
        "matrix" and "newton" only falling rates.
    batch_size : int, optional
        Rows per step, for targets that take rows; all by default.
    sampling : {"uniform", "replacement"}
        Shuffled epochs of rows, or independent draws of them.
    start : (n, D) or (D,) array, or dict of str to array, optional
        Initial particles, unconstrained or parameters by name; or where to start the search for a
        mode. By default particles are drawn from Laplace's approximation, with a search from 0, or
        around the mode with unit scale if there is none.
    dtype : {"float64", "float32"}
        Type of the particles; the target always gets float64.
    tol : float
        The fit ends when the norm of the direction falls below this share of that of the scores in
        it; near a Gaussian, when this is the error of the means in standard deviations.
    verdict : bool
        Judge the particles at the end, see `ParticlePosterior.verdict`; otherwise only when the
        verdict is asked for.
    n_jobs : int, optional
        Threads; results have the same bits for any number.
    random_state : int, RandomState, Generator or None
    verbose : bool
        Show a bar.
    callback : callable, optional
        ``callback(state)`` with a `fastvi.loop.FitState` after each step, whose `params` are the
        particles (n, D); True stops the fit.
    checkpoint : path, optional
        A file for the state of the fit.
    checkpoint_interval : float
        Seconds between saves.
    resume : bool
        Continue from `checkpoint` if the file exists, with the same bits as an uninterrupted fit.
        `max_iter` and `n_jobs` may differ.

    Returns
    -------
    ParticlePosterior

    Raises
    ------
    ValueError
        If an argument is out of its range, options are incompatible, or the target has no gradient.
    TargetError
        If no particle of the first step has a finite density and gradient.

    Warns
    -----
    RuntimeWarning
        If that happens in a later step; the particles before it are then kept.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (-0.5 * z @ z, -z), dim=2)
    >>> particles = fastvi.svgd(target, 50, max_iter=200, verdict=False, random_state=0)
    >>> bool(abs(particles.mean).max() < 0.3)
    True
    """
    tol = checks.number(tol, "tol", 0.0, open_low=True)
    max_iter = checks.integer(max_iter, "max_iter", 1)
    kind = np.dtype(checks.choice(dtype if isinstance(dtype, str) else np.dtype(dtype).name,
                                   "dtype", ("float64", "float32")))  # fmt: skip
    checks.flag(verdict, "verdict")
    check_target(target)
    if target.n_rows is not None:
        refuse_shards("fastvi.svgd of a target with rows")
    stein.needs_gradient(target)
    watching = Watching(callback, checkpoint, checkpoint_interval, resume)
    n_threads, seed = resolve_n_jobs(n_jobs), watching.seed(random_state)
    options = _options(method, curvature=curvature, slices=slices)
    checks.choice(kernel, "kernel", stein.KERNELS)
    interaction = stein.Interaction(kernel, _bandwidth(bandwidth, target.dim), n_threads, seed)
    gradient = METHODS[method](target, interaction, **options)
    batches = batches_of(target, batch_size, sampling, seed)
    rule = optimizers.chosen(optimizer)
    if rule is None and method in stein_metric.METHODS:
        rule = optimizers.robbins_monro(20.0, 0.6)
    identity = {
        "method": method, "options": options, "kernel": kernel, "bandwidth": bandwidth,
        "optimizer": optimizer, "batch_size": batch_size, "sampling": sampling, "start": start,
        "n_particles": n_particles, "dtype": kind.name, "tol": tol,
    }  # fmt: skip
    with single_threaded_blas():
        rng = np.random.default_rng(seed)
        first, modes = _start(target, start, n_particles, rng, seed, n_threads)
        begin = first.astype(kind)
        descent = Descent(gradient, rule, tol, batch_size is not None)
        look = partial(stein.scores_of, target, batch=None, n_threads=n_threads)
        watch = watch_of(
            watching, target, seed, identity, read=descent.read, verbose=verbose, total=max_iter
        )
        found, scores, weights = descent.run(begin, batches, max_iter, rng, look, watch)
    kept = weights > 0
    posterior = ParticlePosterior(
        found[kept],
        scores[kept],
        target,
        settled=descent.settled,
        n_iter=len(descent.history),
        history=descent.history.arrays(),
        names=target.names,
        seed=seed,
        n_lost=int(np.count_nonzero(~kept)),
        modes=modes,
    )
    if verdict:
        _ = posterior.verdict
    return posterior


def _options(method: str, **given: object) -> dict[str, object]:
    """Return the arguments of this method that are given, and refuse those of others."""
    checks.choice(method, "method", tuple(METHODS))
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if method not in OPTIONS[name]:
            raise ValueError(f"{name} is given, which method={method!r} does not take")
    if "slices" in options:
        checks.choice(options["slices"], "slices", stein_sliced.SLICES)
    return options


def _bandwidth(chosen: str | ArrayLike, dim: int) -> str | Array:
    if isinstance(chosen, str):
        return checks.choice(chosen, "bandwidth", ("median",))
    try:
        lengths = np.asarray(chosen, np.float64)
    except (TypeError, ValueError):
        lengths = np.empty((0, 0))
    if lengths.shape not in ((), (dim,)) or not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise ValueError(
            f"bandwidth is {chosen!r}; wanted 'median', a number above 0 or {dim} of them"
        )
    return lengths


def _start(
    target: Target,
    start: PointLike | None,
    n_particles: int | None,
    rng: np.random.Generator,
    seed: int,
    n_threads: int,
) -> tuple[AnyArray, tuple[Mode, ...]]:
    """Particles (n, D) to begin with, and the modes that a search for them has found."""
    begin = target.parameters.unconstrain(start) if isinstance(start, Mapping) else start
    n = None if n_particles is None else checks.integer(n_particles, "n_particles", 1)
    if begin is None or np.ndim(begin) == 1:
        near = family_of(target, "fullrank").near
        assert near is not None
        member, found = begin_near(target, near, begin, seed, n_threads=n_threads)
        return member.draw(n or N_PARTICLES, rng).points, found.modes if found else ()
    try:
        particles = np.array(begin, np.float64)
    except (TypeError, ValueError):
        particles = np.empty(0)
    if particles.ndim != 2 or particles.shape[1] != target.dim or not len(particles):
        raise ValueError(
            f"start has shape {np.shape(begin)}; wanted particles (n, {target.dim}) or a point "
            f"({target.dim},)"
        )
    if n is not None and n != len(particles):
        raise ValueError(f"n_particles is {n}, but start has {len(particles)} of them")
    if not np.isfinite(particles).all():
        i, j = np.argwhere(~np.isfinite(particles))[0]
        raise ValueError(
            f"start holds {particles[i, j]} for {target.names[j]} in particle {i}; wanted finite "
            "numbers"
        )
    return particles, search(target, particles[0], seed=seed, n_threads=n_threads).modes
