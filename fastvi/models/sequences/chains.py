"""Posteriors and best paths of hidden chains, exact across the borders of blocks."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import chains as kernels
from fastvi.kernels._chain_steps import LANES
from fastvi.models.sequences.exact import exact_posteriors
from fastvi.models.sequences.stream import Stream

__all__ = ["Chain", "Emissions", "Expected", "Weights", "best_paths"]

FLOOR = 1e-150  # of transitions, so that borders of blocks can always be crossed
LEAST = 1e-60  # of the likelihood of a row; below it, states that were lost may matter
AGREE = 1e-11  # of messages, of their sum
FORBIDDEN = 1e-12  # posterior mass on transitions that only their floor allows


class Weights(NamedTuple):
    """Weights of a chain's start (K,) and its transitions (K, K) [from, to].

    Probabilities, or in variational inference exp of the expected logs, whose sums are below 1.
    """

    start: Array
    transitions: Array


class Emissions(Protocol):
    """Log likelihoods of rows in each state, for the rows of a stream."""

    def write(self, group: int, out: Array, *, logs: bool) -> float:
        """Write likelihoods relative to the largest, or their logs, (Q, K, W).

        Returns the sum of the logs of the largest.
        """

    def logs(self) -> Array:
        """Return log likelihoods of all rows, (n, K); 0 for missing ones."""


class Expected(NamedTuple):
    """What a pass over all sequences finds.

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
    """

    log_norm: float
    starts: Array
    pairs: Array
    posterior: Array


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
        floored = np.maximum(weights.transitions, FLOOR)
        tops = np.zeros(stream.n_groups)

        def write(g: int) -> None:
            tops[g] = emissions.write(g, self._likelihood[g], logs=False)

        stream.run(write)
        if not np.isfinite(tops.sum()):  # a row is impossible in all states
            return self._exactly(weights, emissions)
        messages: Array | None = None
        reach = 0
        while True:
            reach = max(reach, self._forward(weights.start, floored))
            log_norm, least = self._log_norm()
            if not (least > LEAST and np.isfinite(log_norm)):  # NaN after a row of norm 0
                return self._exactly(weights, emissions)
            ends = _by_block(self._alpha[:, -1, :, -LANES:]).copy()
            guess = self._messages(floored, reach) if messages is None else messages
            pairs, messages = self._backward(floored, ends, guess)
            if np.abs(_shares(messages) - _shares(guess)).max() <= AGREE:
                break
            if reach < stream.n_steps:
                reach, messages = min(8 * reach, stream.n_steps), None
        pairs *= floored
        floor_used = pairs[weights.transitions < FLOOR].sum()
        if not floor_used <= FORBIDDEN:
            return self._exactly(weights, emissions)
        pairs[weights.transitions == 0] = 0.0
        never = ~_reached(weights)  # only the floor leads there
        if never.any():
            pairs[never], self._alpha[:, :, never] = 0.0, 0.0
        starts = stream.at(self._alpha, stream.first).sum(axis=0)
        return Expected(log_norm + tops.sum(), starts, pairs, self._alpha)

    def _forward(self, start: Array, transitions: Array) -> int:
        """Alpha of all groups; returns a number of steps after which blocks forget their border."""
        stream, k = self.stream, self.n_states
        transposed = np.ascontiguousarray(transitions.T)
        before = np.full((stream.n_groups, k, LANES), 1.0 / k)
        scale, steps = np.ones((stream.n_groups, LANES)), np.zeros(stream.n_groups, np.int64)
        reach = min(64, stream.n_steps)
        for repair in range(stream.n_groups * LANES + 1):

            def task(g: int, again: bool = repair > 0) -> None:
                steps[g] = kernels.forward(
                    before[g], scale[g], self._likelihood[g], transposed, start,
                    stream.reset[g], self._alpha[g], self._norm[g], again,
                )  # fmt: skip

            stream.run(task)
            if repair:
                reach = max(reach, min(2 * int(steps.max()), stream.n_steps))
                if steps.max() <= stream.n_steps:
                    break
            ends, norms = _by_block(self._alpha[:, -1, :, -LANES:]), self._norm[:, -1, -LANES:]
            before[:] = _by_group(np.hstack((np.full((k, 1), 1.0 / k), ends[:, :-1])))
            scale[:] = np.append(1.0, 1.0 / norms.reshape(-1)[:-1]).reshape(scale.shape)
        return reach

    def _log_norm(self) -> tuple[float, float]:
        """Sum of logs of norms of all rows, and the least norm."""
        found = [kernels.log_norms(norm, real) for norm, real in zip(self._norm, self.stream.real)]
        return sum(part for part, _ in found), min(least for _, least in found)

    def _messages(self, transitions: Array, n_steps: int) -> Array:
        """Guess what blocks say to those before them, (K, 16 G).

        From backward passes that begin at least n_steps ahead, with a beta that is the same for all
        states.
        """
        stream, k = self.stream, self.n_states
        found = np.empty((stream.n_groups, k, LANES))
        n = min(-(-n_steps // kernels.STRIP), stream.n_strips)

        def task(g: int) -> None:
            beta = np.tile(1.0 / self._norm[g, n - 1, -LANES:], (k, 1))
            kernels.backward(
                beta, self._likelihood[g, :n], transitions, stream.reset[g, :n],
                self._alpha[g, :n].copy(), self._norm[g, :n], np.empty((k, k)), found[g],
            )  # fmt: skip

        stream.run(task)
        return _by_block(found)

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
        betas, found = _by_group(beta), np.empty((stream.n_groups, k, LANES))
        pairs = np.zeros((stream.n_groups, k, k))
        stream.run(
            lambda g: kernels.backward(
                betas[g],
                self._likelihood[g],
                transitions,
                stream.reset[g],
                self._alpha[g],
                self._norm[g],
                pairs[g],
                found[g],
            )
        )
        return pairs.sum(axis=0) + ends[:, :-1] @ ahead.T, _by_block(found)

    def _exactly(self, weights: Weights, emissions: Emissions) -> Expected:
        """The same in logs, slowly, where a row is too unlikely given those before it."""
        stream = self.stream
        log_norm, starts, pairs, posterior = exact_posteriors(
            emissions.logs(), weights.start, weights.transitions, stream.first
        )
        self._alpha[:] = posterior[stream.rows].reshape(*stream.shape, -1).transpose(0, 1, 3, 2)
        return Expected(log_norm, starts, pairs, self._alpha)


def best_paths(stream: Stream, weights: Weights, emissions: Emissions) -> NDArray[np.int64]:
    """Return the likeliest path of each sequence (Viterbi), (n,); of equal states the lowest."""
    (groups, strips, width), k = stream.shape, len(weights.start)
    likelihood = np.empty((groups, strips, k, width))
    ends = np.full((groups, strips, k, LANES), np.nan)
    kind = np.uint8 if k <= 256 else np.uint16
    origin = np.empty((groups, strips, width // LANES, k, LANES), kind)
    with np.errstate(divide="ignore"):
        start, transposed = np.log(weights.start), np.log(weights.transitions.T.copy())
    stream.run(lambda g: emissions.write(g, likelihood[g], logs=True))
    before, taken = np.zeros((groups, k, LANES)), np.zeros(groups, np.int64)
    for repair in range(groups * LANES + 1):

        def task(g: int, again: bool = repair > 0, before: Array = before) -> None:
            taken[g] = kernels.best_paths(
                before[g], likelihood[g], transposed, start, stream.reset[g], ends[g], origin[g],
                again,
            )  # fmt: skip

        stream.run(task)
        if repair and taken.max() <= strips:
            break
        last = _by_block(ends[:, -1])
        before = _by_group(np.hstack((np.zeros((k, 1)), last[:, :-1])))
    path = np.empty(stream.n_rows, np.int64)
    kernels.follow(origin, int(np.argmax(last[:, -1])), path)
    return path


def _reached(weights: Weights) -> NDArray[np.bool_]:
    """Whether a path leads to each state, (K,)."""
    found, n = weights.start > 0, 0
    while n < found.sum():
        n = int(found.sum())
        found = found | (weights.transitions[found] > 0).any(axis=0)
    return found


def _by_block(values: Array) -> Array:
    """From (G, K, L) to (K, 16 G)."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)


def _by_group(values: Array) -> Array:
    """From (K, 16 G) to (G, K, L)."""
    k = len(values)
    return np.ascontiguousarray(values.reshape(k, -1, LANES).transpose(1, 0, 2))


def _shares(messages: Array) -> Array:
    return np.asarray(messages / messages.sum(axis=0))
