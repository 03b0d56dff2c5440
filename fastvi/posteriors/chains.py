"""Many short chains of Hamiltonian Monte Carlo, side by side on threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.typing import Array
from fastvi.targets.base import Target

__all__ = ["Course", "Window"]

CHUNK = 16  # chains that go through the target together
ACCEPTED = 0.9  # share of moves that the step size is for
STEP, LEAST_STEP = 0.5, 1e-4  # in units of the scale: the first, and the smallest
GAIN = 1.5  # of the step size's logarithm, for each move of the warm-up
SIZES, LENGTHS = (0.5, 1.0), (0.5, 1.5)  # factors drawn at random for each move
LENGTH = 0.5 * np.pi  # of moves, in units of the scale: a quarter of a Gaussian's orbit
MOST_STEPS = 128  # of a move


class Window(NamedTuple):
    """What n moves of C chains came to.

    Attributes
    ----------
    points : (n, C, D) array
    log_probs : (n, C) array
        Log densities there, nats.
    errors : (n, C) array
        By how much the energy grew on each move, inf without a density; moves of more than a
        random number of nats were not made.
    """

    points: Array
    log_probs: Array
    errors: Array


class Course:
    """Chains under way.

    Parameters
    ----------
    target : Target
        With a gradient.
    starts : (C, D) array
    scale : (D,) array
        Of coordinates, for the metric.
    seed : int
    n_threads : int
        Results have the same bits for any number.
    """

    def __init__(
        self, target: Target, starts: Array, scale: Array, seed: int, n_threads: int = 1
    ) -> None:
        from fastvi.kernels import hmc

        self.target, self.scale = target, np.array(scale)
        self.size, self.length, self.n_gradients = STEP, LENGTH, len(starts)
        self._n_threads = n_threads if target.concurrent else 1
        n_chunks = -(-len(starts) // CHUNK)
        streams = np.random.SeedSequence([seed, 6]).spawn(n_chunks + 1)
        *self._rngs, self._rng = [np.random.default_rng(stream) for stream in streams]
        parts = np.array_split(starts, n_chunks)
        self._chunks = [hmc.chains_at(np.ascontiguousarray(p), target.n_terms) for p in parts]
        target.attempt(starts[:1])  # which derives a gradient, if that has been left for later
        for chains in self._chunks:
            hmc.look(target.address, target.data_table, chains)
            for c in range(len(chains.Z)):
                hmc.settle(chains, c)

    @property
    def points(self) -> Array:
        """Where chains are, (C, D)."""
        return np.concatenate([chains.Z for chains in self._chunks])

    def warm_up(self, n: int) -> None:
        """Make n moves, and find the step size that lets nine tenths of moves be made."""
        for i in range(n):
            errors = self._move()[2]
            accepted = float(np.exp(-np.maximum(errors, 0.0)).mean())
            gain = GAIN / np.sqrt(1.0 + 0.3 * i)
            self.size = max(self.size * float(np.exp(gain * (accepted - ACCEPTED))), LEAST_STEP)

    def go_on(self, n: int) -> Window:
        """Make n moves with the same step size, and keep them."""
        moves = [self._move() for _ in range(n)]
        return Window(*(np.stack(parts) for parts in zip(*moves)))

    def _move(self) -> tuple[Array, Array, Array]:
        """One move: places (C, D), log densities (C,), and errors (C,)."""
        from fastvi.kernels import hmc

        size = self.size * self._rng.uniform(*SIZES)
        length = self.length * self._rng.uniform(*LENGTHS)
        n_steps = int(np.clip(np.ceil(length / size), 1, MOST_STEPS))
        errors = [np.empty(len(chains.Z)) for chains in self._chunks]

        def go(i: int) -> None:
            chains, rng = self._chunks[i], self._rngs[i]
            momenta, uniforms = rng.standard_normal(chains.Z.shape), 1.0 - rng.random(len(chains.Z))
            hmc.move(
                self.target.address, self.target.data_table, size, n_steps, self.scale, momenta,
                uniforms, chains, errors[i],
            )  # fmt: skip

        parallel.run(go, len(self._chunks), self._n_threads)
        together = np.concatenate(errors)
        self.n_gradients += n_steps * len(together)
        return self.points, np.concatenate([c.values for c in self._chunks]), together
