"""Posteriors of hidden chains, exact across the borders of blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import chains as kernels
from fastvi.kernels._chain_steps import LANES
from fastvi.models.sequences.borders import (
    betas,
    borders,
    by_block,
    by_group,
    reached,
    shares,
    stationary,
)
from fastvi.models.sequences.exact import exact_posteriors
from fastvi.models.sequences.overlay import Emissions, Joined
from fastvi.models.sequences.stream import Stream

__all__ = ["Chain", "Expected", "Weights", "chain_of"]

FLOOR = 1e-150  # of transitions, so that borders of blocks can always be crossed
LEAST = 1e-60  # of the likelihood of a row; below it, states that were lost may matter
AGREE = 1e-11  # of messages, of their sum
REPAIRS = 3  # passes over borders of blocks, after which what whole blocks do is computed
FORBIDDEN = 1e-12  # posterior mass on transitions that only their floor allows


class Weights(NamedTuple):
    """Weights of a chain's start (K,) and its transitions (K, K) [from, to].

    Probabilities, or in variational inference exp of the expected logs, whose sums are below 1.
    """

    start: Array
    transitions: Array


class Expected(NamedTuple):
    """What a pass over all sequences finds; sums are over rows that count.

    Attributes
    ----------
    log_norm : float
        Log of the sum over all paths, nats.
    starts : (K,) array
        Sum of the posteriors of first states.
    pairs : (K, K) array
        Sum of the posteriors of neighbours, [from, to].
    posterior : (G, Q, K, W) array
        Posteriors of states, in the stream's order.
    impossible : array of int
        Sequences that no path explains.
    """

    log_norm: float
    starts: Array
    pairs: Array
    posterior: Array
    impossible: NDArray[np.intp] = np.zeros(0, np.intp)


def chain_of(stream: Stream, n_states: int) -> Chain:
    """Return the chain whose memory the stream keeps, so that each pass overwrites the last one's.

    New memory costs as much as the passes do: the system hands out pages one at a time.
    """
    kept: Chain | None = stream.chain
    if kept is None or kept.n_states != n_states:
        kept = stream.chain = Chain(stream, n_states)
    return kept


class Chain:
    """Forward and backward passes over a stream; only the memory is kept from one to the next.

    Parameters
    ----------
    stream : Stream
    n_states : int
    """

    def __init__(self, stream: Stream, n_states: int) -> None:
        g, q, w = stream.shape
        self.stream, self.n_states = stream, n_states
        self._likelihood = np.empty((g, q, n_states, w))
        self._alpha = np.empty_like(self._likelihood)
        self._norm = np.empty((g, q, w))

    def expect(self, weights: Weights, emissions: Emissions) -> Expected:
        """Run forward and backward."""
        stream = self.stream
        weights, emissions = self._joined(weights, emissions)
        floored = np.maximum(weights.transitions, FLOOR)
        tops = self._write(emissions)
        if not np.isfinite(tops):  # a row is impossible in all states
            return self._exactly(weights, emissions)
        messages: Array | None = None
        reach = 0
        transfers: Array | None = None
        while True:
            steps, transfers = self._forward(weights.start, floored, transfers)
            reach = max(reach, steps)
            log_norm, least = self._log_norm()
            if not (least > LEAST and np.isfinite(log_norm)):  # NaN after a row of norm 0
                return self._exactly(weights, emissions)
            ends = by_block(self._alpha[:, -1, :, -LANES:]).copy()
            if transfers is not None:
                messages = self._messages(floored, stream.n_steps, betas(transfers, ends))
            guess = self._messages(floored, reach) if messages is None else messages
            pairs, messages = self._backward(floored, ends, guess)
            if transfers is not None or np.abs(shares(messages) - shares(guess)).max() <= AGREE:
                break
            if reach < stream.n_steps:
                reach, messages = min(8 * reach, stream.n_steps), None
            else:
                transfers = self._transfers(weights.start, floored)
        pairs *= floored
        floor_used = pairs[weights.transitions < FLOOR].sum()
        if not floor_used <= FORBIDDEN:
            return self._exactly(weights, emissions)
        pairs[weights.transitions == 0] = 0.0
        never = ~reached(weights.start, weights.transitions)  # only the floor leads there
        if never.any():
            pairs[never], self._alpha[:, :, never] = 0.0, 0.0
        starts = stream.at(self._alpha, stream.opening).sum(axis=0)
        return Expected(log_norm + tops, starts, pairs, self._alpha)

    def log_norm(self, weights: Weights, emissions: Emissions) -> float:
        """Run forward only, and return the log of the sum over all paths, nats."""
        if np.any(weights.transitions < FLOOR):  # the backward pass shows whether a floor was used
            return self.expect(weights, emissions).log_norm
        weights, emissions = self._joined(weights, emissions)
        tops = self._write(emissions)
        if np.isfinite(tops):
            self._forward(weights.start, weights.transitions, None)
            log_norm, least = self._log_norm()
            if least > LEAST and np.isfinite(log_norm):
                return log_norm + tops
        return self._exactly(weights, emissions).log_norm

    def _joined(self, weights: Weights, emissions: Emissions) -> tuple[Weights, Emissions]:
        """Where parts of sequences lack their beginning, let each begin as it should."""
        if not len(self.stream.joining):
            return weights, emissions
        middle = stationary(weights.transitions)
        emissions = Joined(emissions, self.stream, weights.start, middle)
        return weights._replace(start=np.ones(self.n_states)), emissions

    def _write(self, emissions: Emissions) -> float:
        """Write likelihoods of all rows; the sum of the logs of the largest."""
        tops = np.zeros(self.stream.n_groups)

        def write(g: int) -> None:
            tops[g] = emissions.write(g, self._likelihood[g], logs=False)

        self.stream.run(write)
        return float(tops.sum())

    def _forward(
        self, start: Array, transitions: Array, transfers: Array | None
    ) -> tuple[int, Array | None]:
        """Alpha of all groups, from what blocks make of what is before them if that is known.

        Returns a number of steps after which blocks forget their border, and `transfers`, also if
        they had to be computed.
        """
        stream, k = self.stream, self.n_states
        before = np.full((stream.n_groups, k, LANES), 1.0 / k)
        scale = np.ones((stream.n_groups, LANES))
        if transfers is None:
            self._pass(before, scale, start, transitions)
            reach = min(64, stream.n_steps)
            for _ in range(min(REPAIRS, stream.n_groups * LANES)):
                ends, norms = by_block(self._alpha[:, -1, :, -LANES:]), self._norm[:, -1, -LANES:]
                before = by_group(np.hstack((np.full((k, 1), 1.0 / k), ends[:, :-1])))
                scale[:] = np.append(1.0, 1.0 / norms.reshape(-1)[:-1]).reshape(scale.shape)
                steps = self._pass(before, scale, start, transitions, again=True)
                reach = max(reach, min(2 * steps, stream.n_steps))
                if steps <= stream.n_steps:
                    return reach, None
            transfers = self._transfers(start, transitions)
        self._pass(by_group(borders(transfers)), np.ones_like(scale), start, transitions)
        return stream.n_steps, transfers

    def _pass(
        self, before: Array, scale: Array, start: Array, transitions: Array, again: bool = False
    ) -> int:
        """One forward pass of all groups; returns the most steps taken, see `kernels.forward`."""
        stream, transposed = self.stream, np.ascontiguousarray(transitions.T)
        steps = np.zeros(stream.n_groups, np.int64)

        def task(g: int) -> None:
            steps[g] = kernels.forward(
                before[g], scale[g], self._likelihood[g], transposed, start, stream.reset[g],
                self._alpha[g], self._norm[g], again,
            )  # fmt: skip

        stream.run(task)
        return int(steps.max())

    def _transfers(self, start: Array, transitions: Array) -> Array:
        """What blocks make of alpha before them, (16 G, K, K) [before, end], from K passes."""
        g, k = self.stream.n_groups, self.n_states
        n_blocks = g * LANES
        found, sizes = np.empty((n_blocks, k, k)), np.empty((n_blocks, k))
        for i in range(k):
            before = np.zeros((g, k, LANES))
            before[:, i] = 1.0
            self._pass(before, np.ones((g, LANES)), start, transitions)
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = np.log(self._norm.reshape(g, -1, LANES)).sum(axis=1)
                ends = self._alpha[:, -1, :, -LANES:] / self._norm[:, -1, None, -LANES:]
            found[:, i], sizes[:, i] = by_block(ends).T, logs.reshape(-1)
        lost = ~(np.isfinite(sizes) & np.isfinite(found).all(axis=2))
        found[lost], sizes[lost] = 0.0, -np.inf
        top = np.maximum(sizes.max(axis=1, keepdims=True), -1e300)
        return np.asarray(found * np.exp(sizes - top)[:, :, None])

    def _log_norm(self) -> tuple[float, float]:
        """Sum of logs of norms of all rows, and the least norm."""
        found = [kernels.log_norms(norm, real) for norm, real in zip(self._norm, self.stream.real)]
        return sum(part for part, _ in found), min(least for _, least in found)

    def _messages(self, transitions: Array, n_steps: int, ends: Array | None = None) -> Array:
        """Guess what blocks say to those before them, (K, 16 G).

        From backward passes that begin at least n_steps ahead, with a beta that is the same for all
        states; or at the ends of blocks, with betas `ends` (K, 16 G).
        """
        stream, k = self.stream, self.n_states
        found = np.empty((stream.n_groups, k, LANES))
        n = min(-(-n_steps // kernels.STRIP), stream.n_strips)
        given = None if ends is None else by_group(ends)

        def task(g: int) -> None:
            flat = np.tile(1.0 / self._norm[g, n - 1, -LANES:], (k, 1))
            beta = flat if given is None else given[g]
            kernels.backward(
                beta, self._likelihood[g, :n], transitions, stream.reset[g, :n],
                stream.follows[g, :0], self._alpha[g, :n].copy(), self._norm[g, :n],
                np.empty((k, k)), found[g],
            )  # fmt: skip

        stream.run(task)
        return by_block(found)

    def _backward(self, transitions: Array, ends: Array, messages: Array) -> tuple[Array, Array]:
        """Posteriors in place of alpha; sums over pairs (K, K), and what blocks then say.

        ends (K, 16 G): alpha at the ends of blocks; messages (K, 16 G).
        """
        stream, k = self.stream, self.n_states
        norms = self._norm[:, -1, -LANES:].reshape(-1)
        begins = stream.reset[:, 0, :LANES].reshape(-1)[1:] > 0
        ahead = messages[:, 1:] / norms[:-1]
        beta = transitions @ ahead
        size = (beta * ends[:, :-1]).sum(axis=0)
        ahead, beta = np.where(begins, 0.0, ahead / size), beta / size
        beta = np.hstack((np.where(begins, 1.0 / norms[:-1], beta), np.full((k, 1), 1 / norms[-1])))
        betas, found = by_group(beta), np.empty((stream.n_groups, k, LANES))
        pairs = np.zeros((stream.n_groups, k, k))
        stream.run(
            lambda g: kernels.backward(
                betas[g],
                self._likelihood[g],
                transitions,
                stream.reset[g],
                stream.follows[g],
                self._alpha[g],
                self._norm[g],
                pairs[g],
                found[g],
            )
        )
        if stream.follows.size:
            ahead = ahead * stream.follows[:, -1, -LANES:].reshape(-1)[:-1]
        return pairs.sum(axis=0) + ends[:, :-1] @ ahead.T, by_block(found)

    def _exactly(self, weights: Weights, emissions: Emissions) -> Expected:
        """The same in logs, slowly, where a row is too unlikely given those before it."""
        stream = self.stream
        found = exact_posteriors(
            emissions.logs(), weights.start, weights.transitions, stream.first, stream.inside
        )
        arranged = stream.arranged(found.posterior).reshape(*stream.shape, -1)
        self._alpha[:] = arranged.transpose(0, 1, 3, 2)
        starts = found.posterior[stream.opening].sum(axis=0)
        impossible = np.flatnonzero(~found.possible)
        return Expected(found.log_norm, starts, found.pairs, self._alpha, impossible)
