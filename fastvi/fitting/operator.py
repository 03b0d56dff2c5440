"""Operator variational inference: programs without a density, fitted by test functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi import loop
from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, Path, PointLike, RandomState
from fastvi.batches import Passes
from fastvi.checkpoints import Watching
from fastvi.cluster.active import refuse_shards
from fastvi.core import Algorithm, Batch
from fastvi.fitting.arguments import point_of
from fastvi.fitting.watching import watch_of
from fastvi.posteriors.programs import ProgramPosterior
from fastvi.targets.base import Target, check_target

__all__ = ["operator_vi"]

STEPS = 100  # of a call of compiled code
FLAT = 0.1  # power of the target in the first step
AVERAGED = 200  # steps over which the result is averaged, about


def operator_vi(
    target: Target,
    *,
    n_hidden: int = 32,
    n_test: int = 32,
    n_noise: int | None = None,
    n_draws: int = 200,
    max_iter: int = 5000,
    n_inner: int = 5,
    warm_up: float = 0.5,
    learning_rate: float = 0.005,
    test_learning_rate: float = 0.01,
    start: PointLike | None = None,
    scale: ArrayLike = 1.0,
    random_state: RandomState = None,
    verbose: bool = False,
    callback: Callable[[loop.FitState], bool | None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_interval: float = 60.0,
    resume: bool = False,
) -> ProgramPosterior:
    """Fit a generator network, which has draws but no density, to a target of few dimensions.

    Two networks play a game. The test function f maximises the Langevin-Stein operator E_q[s'f +
    div f], where s is the target's score; it is 0 for every f only if q is the target. The program
    q minimises it. Neither needs the density of q or the target's normalising constant. The size of
    f is penalised by E_q|f|^2 / 2, so that the objective is at most half of the Fisher divergence
    E_q|s - grad log q|^2, which a flexible f attains.

    It is for targets of few dimensions whose shape fits no family. Like all methods that use only
    scores, it cannot see how mass is divided between modes that are far apart, and it may miss a
    mode that the start does not reach. Start wide, and check `ksd` of the result.

    Parameters
    ----------
    target : Target
        A target with a gradient.
    n_hidden, n_test : int
        Hidden units of the program and of the test function, tanh in one layer, with a linear part.
    n_noise : int, optional
        Number of normal variables per draw; by default one more than the target's dimension.
    n_draws : int
        New draws per step.
    max_iter : int
        Number of steps of the program.
    n_inner : int
        Number of steps of the test function before each of them.
    warm_up : float
        In [0, 1], share of the steps in which the target is p^t with t increasing from 0.1 to 1.
        Modes are connected at first, so that the program finds them all.
    learning_rate, test_learning_rate : float
        Learning rates of Adam for program and test function, in the units of `scale`; they fall
        linearly to 0 in the second half.
    start : (d,) array or dict of str to array, optional
        Initial mean of the program: unconstrained, or parameters by name; 0 by default.
    scale : float or (d,) array
        Initial standard deviations of the program; better too large than too small.
    random_state : int, RandomState, Generator or None
    verbose : bool
        Show a bar.
    callback : callable, optional
        ``callback(state)`` with a `fastvi.loop.FitState` after each 100 steps, whose `params` are
        the network of the program; True stops the fit.
    checkpoint : path, optional
        A file for the state of the fit.
    checkpoint_interval : float
        Seconds between saves.
    resume : bool
        Continue from `checkpoint` if the file exists, with the same bits.

    Returns
    -------
    ProgramPosterior

    Raises
    ------
    ValueError
        If an argument is out of its range, or the target has no gradient.
    TargetError
        If the target fails, or has no finite gradient at any draw of a step.

    References
    ----------
    Ranganath, Altosaar, Tran and Blei (2016), "Operator variational inference", sections 3 and 4.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (-0.5 * z @ z, -z), dim=1)
    >>> posterior = fastvi.operator_vi(target, max_iter=50, random_state=0)
    >>> posterior.sample(4, random_state=0).shape
    (4, 1)
    """
    check_target(target)
    if target.n_rows is not None:
        refuse_shards("fastvi.operator_vi of a target with rows")
    target.require_gradient("operator_vi needs")
    d = target.dim
    settings = Settings(
        n_hidden=checks.integer(n_hidden, "n_hidden", 0),
        n_test=checks.integer(n_test, "n_test", 0),
        n_noise=d + 1 if n_noise is None else checks.integer(n_noise, "n_noise", 1),
        n_draws=checks.integer(n_draws, "n_draws", 2),
        max_iter=checks.integer(max_iter, "max_iter", 1),
        n_inner=checks.integer(n_inner, "n_inner", 1),
        warm_up=checks.number(warm_up, "warm_up", 0.0, 1.0),
        rate=checks.number(learning_rate, "learning_rate", 0.0, open_low=True),
        test_rate=checks.number(test_learning_rate, "test_learning_rate", 0.0, open_low=True),
    )
    centre = np.zeros(d) if start is None else point_of(target, start)
    units = _scale(scale, d)
    watching = Watching(callback, checkpoint, checkpoint_interval, resume)
    seed = watching.seed(random_state)
    rng = np.random.default_rng(seed)
    game = _Game(target, centre, units, settings)
    algorithm = Algorithm(game.begin, game.step)
    identity = {**settings._asdict(), "centre": centre, "units": units}
    look = watch_of(watching, target, seed, identity, read=game.result, verbose=verbose)
    with look as watch:
        state, position, history = watch.begin(game.begin(rng), Passes(), rng, settings.n_calls)
        state, history = loop.run(
            algorithm, state, Passes(), n_epochs=settings.n_calls, rng=rng, position=position,
            history=history, watch=watch,
        )  # fmt: skip
    return ProgramPosterior(
        game.result(state), centre, units, target,
        n_iter=state.done, history=history.arrays(), names=target.names, seed=seed,
    )  # fmt: skip


class Settings(NamedTuple):
    """Arguments of `operator_vi`, checked."""

    n_hidden: int
    n_test: int
    n_noise: int
    n_draws: int
    max_iter: int
    n_inner: int
    warm_up: float
    rate: float
    test_rate: float

    @property
    def n_calls(self) -> int:
        """Calls of compiled code."""
        return -(-self.max_iter // STEPS)

    def schedule(self, begin: int, n: int) -> Array:
        """(3, n): rates of program and test function, and the target's power, from step `begin`."""
        gone = (begin + np.arange(n)) / self.max_iter
        slow = np.minimum(1.0, 2.0 * (1.0 - gone))
        warm = np.minimum(1.0, gone / self.warm_up) if self.warm_up > 0 else np.ones(n)
        return np.array([self.rate * slow, self.test_rate * slow, FLAT + (1.0 - FLAT) * warm])


class _Memory(NamedTuple):
    """Flat arrays (P,) of a network: parameters, Adam's running means, and the mean of the last."""

    params: Array
    first: Array
    second: Array
    average: Array


class _State(NamedTuple):
    """Of the two networks, and the number of steps taken."""

    program: _Memory
    test: _Memory
    done: int


class _Game:
    """The two networks' game on a target; `STEPS` steps of the program at a time."""

    def __init__(self, target: Target, centre: Array, units: Array, settings: Settings) -> None:
        from fastvi.kernels import operator as kernels

        self.target, self.settings = target, settings
        self.density = kernels.Density(target.address, target.data_table, centre, units)
        self.work = _scratch(target, settings)
        d = target.dim
        self.shapes = (d, settings.n_noise, settings.n_hidden), (d, d, settings.n_test)

    def begin(self, rng: np.random.Generator) -> _State:
        """Return the initial networks; the program is scaled noise."""
        program, test = (_fresh(*shape, rng) for shape in self.shapes)
        d, noise, hidden = self.shapes[0]
        linear = _network(program.params, d, noise, hidden).linear
        for j in range(d):
            linear[j, j % noise] = 1.0
        return _State(program, test, 0)

    def step(
        self, state: _State, batch: Batch, rng: np.random.Generator
    ) -> tuple[_State, dict[str, float]]:
        """Up to 100 steps of the program."""
        from fastvi.kernels import operator as kernels

        n = min(STEPS, self.settings.max_iter - state.done)
        history = np.full(n, np.nan)
        players = (_player(m, *shape) for m, shape in zip(state[:2], self.shapes))
        good = kernels.train(
            self.density, *players, self.work, rng, state.done,
            self.settings.schedule(state.done, n), self.settings.n_inner, 1.0 / AVERAGED, history,
        )  # fmt: skip
        if good == 0:
            self.target.refuse(self.work.Z)
            raise ValueError(
                "no draw of a step has a finite score; wanted a smaller scale or learning_rate"
            )
        rejected = self.settings.n_draws - good
        info = {"objective": float(history.mean()), "rejected": rejected}
        return state._replace(done=state.done + n), info

    def result(self, state: _State) -> Any:
        """The program, averaged over its last steps."""
        return _network(state.program.average, *self.shapes[0])


def _network(flat: Array, d: int, inputs: int, hidden: int) -> Any:
    """A network whose memory is flat."""
    from fastvi.kernels.shallow import Network

    shapes = [(d,), (d, inputs), (d, hidden), (hidden, inputs), (hidden,)]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = zip(np.split(flat, ends[:-1]), shapes)
    return Network(*(part.reshape(shape) for part, shape in parts))


def _fresh(d: int, inputs: int, hidden: int, rng: np.random.Generator) -> _Memory:
    size = d + d * inputs + d * hidden + hidden * inputs + hidden
    params, first, second = np.zeros((3, size))
    net = _network(params, d, inputs, hidden)
    net.outer[:] = 0.1 * rng.standard_normal(net.outer.shape) / np.sqrt(max(hidden, 1))
    net.inner[:] = rng.standard_normal(net.inner.shape)
    net.bias[:] = rng.standard_normal(net.bias.shape)
    return _Memory(params, first, second, params.copy())


def _player(memory: _Memory, d: int, inputs: int, hidden: int) -> Any:
    from fastvi.kernels import operator as kernels

    flat, m, v, average = memory
    gradient, step = np.zeros((2, len(flat)))
    net, slopes = (_network(x, d, inputs, hidden) for x in (flat, gradient))
    return kernels.Player(net, slopes, flat, gradient, m, v, step, average)


def _scratch(target: Target, settings: Settings) -> Any:
    from fastvi.kernels import operator as kernels

    d, n = target.dim, settings.n_draws
    rows = dict.fromkeys(("x", "scores", "f", "adjoint", "moved", "other"), d)
    rows |= {"noise": settings.n_noise, "hidden": settings.n_hidden, "units": settings.n_test}
    arrays = {name: np.zeros((k, n)) for name, k in {**rows, "row": 2}.items()}
    arrays |= {"Z": np.zeros((n, d)), "grads": np.zeros((n, d))}
    values = np.zeros((n, target.n_terms))
    return kernels.Scratch(weights=np.zeros(n), values=values, **arrays)


def _scale(scale: ArrayLike, d: int) -> Array:
    """Standard deviations (d,)."""
    units = np.array(scale)
    real = units.dtype.kind in "iuf" and units.shape in ((), (d,))
    if not real or not np.all((units > 0) & np.isfinite(units)):
        raise ValueError(f"scale is {scale!r}; wanted a number > 0, or {d} of them")
    return np.array(np.broadcast_to(units, (d,)), np.float64)
