"""Stein variational gradient descent: particles that represent a target."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastvi import loop, optimizers
from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.base.typing import (
    AnyArray,
    Array,
    ArrayLike,
    DTypeLike,
    Info,
    Path,
    PointLike,
    RandomState,
)
from fastvi.batches import Batches
from fastvi.checkpoints import Watching
from fastvi.core import Batch, Gradient, Optimizer, ascend, scale
from fastvi.fitting.arguments import batches_of, begin_near, family_of
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
DELAY, EXPONENT = 50.0, 0.6  # of rates that fall
FAR = 0.5  # residual above which particles are still on their way
ENDLESS = 2**62  # passes
WINDOW = 100  # steps on batches whose mean direction says whether particles are at rest


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
    """
    tol = checks.number(tol, "tol", 0.0, open_low=True)
    max_iter = checks.integer(max_iter, "max_iter", 1)
    kind = np.dtype(checks.choice(dtype if isinstance(dtype, str) else np.dtype(dtype).name,
                                   "dtype", ("float64", "float32")))  # fmt: skip
    checks.flag(verdict, "verdict")
    check_target(target)
    stein.needs_gradient(target)
    watching = Watching(callback, checkpoint, checkpoint_interval, resume)
    n_threads, seed = resolve_n_jobs(n_jobs), watching.seed(random_state)
    make = METHODS[checks.choice(method, "method", tuple(METHODS))]
    given = {"curvature": curvature, "slices": slices}
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if method not in OPTIONS[name]:
            raise ValueError(f"{name} is given, which method={method!r} does not take")
    if slices is not None:
        checks.choice(slices, "slices", stein_sliced.SLICES)
    checks.choice(kernel, "kernel", stein.KERNELS)
    interaction = stein.Interaction(kernel, _bandwidth(bandwidth, target.dim), n_threads, seed)
    gradient = make(target, interaction, **options)
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
        descent = _Descent(gradient, rule, tol, batch_size is not None)
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


class _Rest(NamedTuple):
    """State of the gradient, and what says whether particles are at rest.

    Attributes
    ----------
    inner : tree
        State of the method's own gradient.
    sum : (n, D) array
        Of the directions in the window so far.
    squares, residuals : float
        Sums of their squared lengths, and of their squared residuals.
    n_steps : int
    settled : bool
    """

    inner: object
    sum: AnyArray
    squares: float = 0.0
    residuals: float = 0.0
    n_steps: int = 0
    settled: bool = False


class _Descent:
    """Steps until particles are at rest.

    Without batches that is when the direction's norm falls below `tol` of the scores' that make
    it; with batches, when that of the mean direction of a window does.
    """

    def __init__(
        self, gradient: Gradient, optimizer: Optimizer | None, tol: float, is_noisy: bool
    ) -> None:
        self.gradient, self.tol = gradient, tol
        self.optimizer: Optimizer = self._falling_adam() if optimizer is None else optimizer
        self.window = WINDOW if is_noisy else 1
        self.settled, self.history = False, loop.History()
        self._kept: AnyArray | None = None  # particles of the last step that could be taken
        self._units: AnyArray | float = 1.0  # of the step under way, as its residual
        self._residual = 0.0

    def _falling_adam(self) -> Optimizer:
        """Steps of up to a fifth of a standard deviation on the way, which fall near the goal."""

        def fall(gradient: AnyArray, t: int, params: object) -> tuple[AnyArray, int, float]:
            far = self.window == 1 and self._residual > FAR
            rate = (1.0 + far) * (DELAY + t) ** -EXPONENT
            return scale(gradient, rate), t + (not far), rate

        falling = Optimizer(lambda params: 1, fall, takes_rows=False)
        both = optimizers.chain(optimizers.adam(1.0), falling)
        return optimizers.scaled(both, lambda params: self._units)

    def read(self, state: Any) -> AnyArray:
        """The particles of a state."""
        return np.asarray(self.optimizer.read(state.optimizer, state.params))

    def run(
        self,
        begin: AnyArray,
        batches: Batches,
        max_iter: int,
        rng: np.random.Generator,
        look: Callable[[AnyArray], tuple[AnyArray, AnyArray, AnyArray]],
        watch: loop.Watch,
    ) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Particles (n, D) after at most so many steps, and what `look` says: scores, weights."""

        def init(params: AnyArray) -> _Rest:
            return _Rest(self.gradient.init(params), np.zeros_like(params))

        algorithm = ascend(Gradient(init, self._estimate), self.optimizer)
        try:
            with watch:
                state, position, self.history = watch.begin(
                    algorithm.init(begin.copy()), batches, rng, ENDLESS
                )
                if not state.gradient.settled:
                    state, _ = loop.run(
                        algorithm, state, batches, n_epochs=ENDLESS, rng=rng, position=position,
                        history=self.history, watch=watch, max_steps=max_iter,
                        after_step=lambda state, position, history: state.gradient.settled,
                    )  # fmt: skip
            self.settled = state.gradient.settled
            found = self.read(state)
            return found, *look(found)[1:]
        except ArithmeticError as error:
            if self._kept is None:
                raise
            warnings.warn(
                f"svgd stopped after {len(self.history)} steps, before one that no particle can "
                f"take (are steps too long?): {error}",
                RuntimeWarning,
                stacklevel=3,
            )
            return self._kept, *look(self._kept)[1:]

    def _estimate(
        self, state: _Rest, params: AnyArray, batch: Batch, rng: np.random.Generator
    ) -> tuple[AnyArray, _Rest, Info]:
        phi, inner, info = self.gradient.estimate(state.inner, params, batch, rng)
        self._kept, self._units, self._residual = params.copy(), info["units"], info["residual"]
        state = state._replace(inner=inner, n_steps=state.n_steps + 1)
        if self.window == 1:
            return phi, state._replace(settled=bool(info["residual"] < self.tol)), info
        return phi, self._watched(state, phi, info["residual"]), info

    def _watched(self, state: _Rest, phi: AnyArray, residual: float) -> _Rest:
        """With the part of the residual that the steps of a window agree about."""
        total = state.sum + phi
        squares = state.squares + float(np.vdot(phi, phi))
        residuals = state.residuals + residual * residual
        if state.n_steps % self.window:
            return state._replace(sum=total, squares=squares, residuals=residuals)
        share = float(np.vdot(total, total)) / self.window / max(squares, 1e-300)
        settled = bool(np.sqrt(residuals / self.window * share) < self.tol)
        return _Rest(state.inner, np.zeros_like(phi), n_steps=state.n_steps, settled=settled)


# Arguments


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
