"""Operator variational inference: programs without a density, fitted by test functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi import _checks, loop
from fastvi.batches import Passes
from fastvi.core import Algorithm
from fastvi.programs import ProgramPosterior

__all__ = ["operator_vi"]

Array = NDArray[np.float64]
BLOCK = 100  # steps of a call of compiled code
AVERAGED = 200  # steps that the result is an average of, about


def operator_vi(
    target: Any,
    *,
    n_hidden: int = 32,
    n_test: int = 32,
    n_noise: int | None = None,
    n_draws: int = 200,
    n_iter: int = 3000,
    n_inner: int = 5,
    rate: float = 0.005,
    test_rate: float = 0.01,
    start: Any = None,
    scale: Any = 1.0,
    random_state: Any = None,
) -> ProgramPosterior:
    """Fit a network of noise, which has draws but no density, to a target of few dimensions.

    Two networks play: test functions f look for where the Langevin-Stein operator E_q[s'f + div f],
    with s the target's score, is not 0, as it is for every f only if q is the target; the program q
    learns to leave them nothing. Neither needs the density of q nor the target's constant. The
    size of f is penalised by E_q|f|^2 / 2, so that the objective is at most half of the Fisher
    divergence E_q|s - grad log q|^2, which a rich f reaches.

    It is for targets of one, two or few numbers whose shape is in no family. Like everything that
    sees the target through its scores alone it cannot tell how much mass modes have that are far
    apart, and it may lose one that the start does not reach: start wide, and look at `ksd` of the
    result.

    Parameters
    ----------
    target : Target
        With gradient.
    n_hidden, n_test : int
        Hidden units of the program and of the test function, tanh in one layer, with a linear part.
    n_noise : int, optional
        Normal numbers that a draw is made of; one more than the target's by default.
    n_draws : int
        Fresh draws a step.
    n_iter : int
        Steps of the program.
    n_inner : int
        Steps of the test function before each.
    rate, test_rate : float
        Of Adam, for program and test function, in the units of `scale`; they fall linearly to 0 in
        the second half.
    start : (d,) array or dict of str to array, optional
        Where the program begins: free numbers, or parameters by name; 0 by default.
    scale : float or (d,) array
        Its standard deviations there; choose them rather too large.
    random_state : int, Generator or None

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
    """
    if not target.has_gradient:
        raise ValueError(
            "operator_vi needs the target's gradient, which it has not; wanted a target with one, "
            "or gradient='numerical' in fastvi.target"
        )
    from fastvi.inference import _point, _seed
    from fastvi.kernels import operator as kernels

    d, n_iter = target.dim, _checks.integer(n_iter, "n_iter", 1)
    n_noise = d + 1 if n_noise is None else _checks.integer(n_noise, "n_noise", 1)
    sizes = {"hidden": _checks.integer(n_hidden, "n_hidden", 0),
             "test": _checks.integer(n_test, "n_test", 1),
             "noise": n_noise,
             "draws": _checks.integer(n_draws, "n_draws", 2)}  # fmt: skip
    n_inner = _checks.integer(n_inner, "n_inner", 1)
    rates = [
        _checks.number(value, name, 0.0, open_low=True)
        for value, name in ((rate, "rate"), (test_rate, "test_rate"))
    ]
    centre = np.zeros(d) if start is None else _point(target, start)
    units = _scale(scale, d)
    seed = _seed(random_state)
    density = kernels.Density(target.address, target.data_table, centre, units)
    game = _Game(target, density, sizes, n_iter, n_inner, rates, np.random.default_rng(seed))
    algorithm = Algorithm(lambda start: game, lambda state, batch, rng: state.step())
    blocks = -(-n_iter // BLOCK)
    _, history = loop.run(algorithm, game, Passes(), n_epochs=blocks, rng=game.rng)
    program = kernels.Network(*_views(game.program.average, d, n_noise, sizes["hidden"]))
    return ProgramPosterior(
        program, centre, units, target, n_iter=n_iter, history=history.arrays(), seed=seed
    )


class _Game:
    """The two networks, their optimisers and scratch; steps come in blocks."""

    def __init__(
        self,
        target: Any,
        density: Any,
        sizes: dict[str, int],
        n_iter: int,
        n_inner: int,
        rates: list[float],
        rng: np.random.Generator,
    ) -> None:
        self.target, self.density, self.n_iter, self.n_inner = target, density, n_iter, n_inner
        self.rates, self.rng, self.done = np.array(rates), rng, 0
        d, noise, hidden = target.dim, sizes["noise"], sizes["hidden"]
        self.program = _player(d, noise, hidden, rng)
        for j in range(d):
            self.program.network.linear[j, j % noise] = 1.0
        self.test = _player(d, d, sizes["test"], rng)
        self.work = _scratch(target, sizes)

    def step(self) -> tuple[_Game, dict[str, float]]:
        """Up to 100 steps of the program."""
        from fastvi.kernels import operator as kernels
        from fastvi.kernels.targets import SUCCESS

        n = min(BLOCK, self.n_iter - self.done)
        left = 1.0 - (self.done + np.arange(n)) / self.n_iter
        rates = np.minimum(1.0, 2.0 * left) * self.rates[:, None]
        history = np.full(n, np.nan)
        status, good = kernels.train(
            self.density, self.program, self.test, self.work, self.rng, self.done, rates,
            self.n_inner, 1.0 / AVERAGED, history,
        )  # fmt: skip
        if status != SUCCESS or good == 0:
            Z = self.work.Z
            self.target.log_prob_and_grad(Z)  # which raises what is wrong
            raise ValueError("no draw of a step has a finite score; wanted a smaller scale or rate")
        self.done += n
        rejected = len(self.work.weights) - good
        return self, {"objective": float(history.mean()), "rejected": rejected}


def _views(flat: Array, d: int, inputs: int, hidden: int) -> list[Array]:
    """The parts of a network whose memory is flat."""
    shapes = [(d,), (d, inputs), (d, hidden), (hidden, inputs), (hidden,)]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes)]


def _player(d: int, inputs: int, hidden: int, rng: np.random.Generator) -> Any:
    from fastvi.kernels import operator as kernels

    size = d + d * inputs + d * hidden + hidden * inputs + hidden
    flat, gradient, m, v, step = np.zeros((5, size))
    net, slopes = (kernels.Network(*_views(x, d, inputs, hidden)) for x in (flat, gradient))
    net.outer[:] = 0.1 * rng.standard_normal(net.outer.shape) / np.sqrt(max(hidden, 1))
    net.inner[:] = rng.standard_normal(net.inner.shape)
    net.bias[:] = rng.standard_normal(net.bias.shape)
    return kernels.Player(net, slopes, flat, gradient, m, v, step, flat.copy())


def _scratch(target: Any, sizes: dict[str, int]) -> Any:
    from fastvi.kernels import operator as kernels

    d, n = target.dim, sizes["draws"]
    rows = {"noise": sizes["noise"], "hidden": sizes["hidden"], "x": d, "scores": d,
            "units": sizes["test"], "f": d, "adjoint": d, "moved": d, "other": d, "row": 2}  # fmt: skip
    arrays = {name: np.zeros((k, n)) for name, k in rows.items()}
    return kernels.Scratch(
        weights=np.zeros(n), Z=np.zeros((n, d)), values=np.zeros((n, target.n_terms)),
        grads=np.zeros((n, d)), **arrays,
    )  # fmt: skip


def _scale(scale: Any, d: int) -> Array:
    units = np.array(scale, np.float64)
    if units.shape not in ((), (d,)) or not np.all((units > 0) & np.isfinite(units)):
        raise ValueError(f"scale is {scale!r}; wanted a number > 0, or {d} of them")
    return np.ascontiguousarray(np.broadcast_to(units, (d,)))
