"""Covariances of times as sums of terms that the compiled filter knows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

from fastvi.base.typing import Array
from fastvi.kernels import covariance as kernels
from fastvi.models.gp.covariance import Covariance

__all__ = ["MOST_HARMONICS", "StateSpace", "TimeCovariance"]

MOST_HARMONICS = 40  # of a periodic function
LEAST_SHAPE = 0.18  # length scale of a periodic function that so many harmonics are enough for
TAIL = 1e-11  # of a periodic function's variance, which its harmonics may miss
ORDERS = {kernels.MATERN12: 1, kernels.MATERN32: 2, kernels.MATERN52: 3}
# Of (r t)^k / k! in the polynomial of a Matern function: 1, 1 + r t, 1 + r t + (r t)^2 / 3.
COEFFICIENTS = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 2.0 / 3.0]])
WANTED = (
    "sums and products of ConstantKernel, ExpSineSquared and Matern (nu 0.5, 1.5 or 2.5), with at "
    "most one Matern and one ExpSineSquared in a product, and WhiteKernel"
)


class StateSpace(NamedTuple):
    """A covariance at lag t as `fastvi.kernels.temporal` takes it.

    The sum of exp(-r t) p(r t) cos(w t) times amplitudes, over terms (B,); q (d,) are the
    covariances of f and the states.
    """

    orders: NDArray[np.int64]
    turning: NDArray[np.int64]
    rates: Array
    turns: Array
    amplitudes: Array

    @property
    def terms(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
        """What compiled functions take together."""
        return self.orders, self.turning, self.rates, self.turns

    @property
    def q(self) -> Array:
        """Amplitudes times the coefficients of polynomials, term after term."""
        return np.concatenate([a * shape for a, shape in zip(self.amplitudes, self._shapes())])

    @property
    def variance(self) -> float:
        """Of f."""
        return float(self.amplitudes.sum())

    def by_amplitude(self, by_q: Array) -> Array:
        """Derivatives with respect to amplitudes (B,), from those with respect to q (d,)."""
        shapes = self._shapes()
        ends = np.cumsum([len(shape) for shape in shapes])[:-1]
        parts = np.split(by_q, ends)
        return np.array([shape @ part for shape, part in zip(shapes, parts)])

    def _shapes(self) -> list[Array]:
        found = []
        for order, turning in zip(self.orders, self.turning):
            shape = COEFFICIENTS[order - 1, :order]
            found.append(np.kron(shape, [1.0, 0.0]) if turning else shape)
        return found


class Factor(NamedTuple):
    """A product of leaves: numbers of hyperparameters; -1 where there is no such leaf."""

    amplitudes: tuple[int, ...] = ()
    order: int = 1
    length: int = -1  # of the Matern function
    shape: int = -1  # of the periodic one
    period: int = -1

    def times(self, other: Factor, kernel: object) -> Factor:
        """The product of two."""
        if min(self.length, other.length) >= 0 or min(self.shape, other.shape) >= 0:
            raise ValueError(f"kernel is {kernel}; wanted {WANTED}")
        return Factor(
            self.amplitudes + other.amplitudes,
            max(self.order, other.order),
            max(self.length, other.length),
            max(self.shape, other.shape),
            max(self.period, other.period),
        )


class TimeCovariance:
    """How hyperparameters make a `StateSpace`, and how gradients come back.

    A periodic function is the sum of its harmonics (Solin and Särkkä 2014), as many as have all
    but 1e-11 of its variance, at most 40.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel
    alpha : float
        Noise variance beside that of white noise.

    Raises
    ------
    ValueError
        If the kernel holds what has no state space, or a periodic function of a shorter scale.
    """

    def __init__(self, kernel: object, alpha: float = 0.0) -> None:
        self.covariance = Covariance(kernel, 1, alpha)
        self._kernel = kernel
        self._factors = self._expand(len(self.covariance.nodes) - 1)
        for factor in self._factors:
            shape = self.covariance.values[factor.shape] if factor.shape >= 0 else 1.0
            if shape < LEAST_SHAPE:
                raise ValueError(
                    f"kernel has ExpSineSquared with length_scale={shape:g}; wanted at least "
                    f"{LEAST_SHAPE}, for which {MOST_HARMONICS} harmonics are enough"
                )

    def _expand(self, number: int) -> list[Factor]:
        """The part of the tree below this node, as a sum of products."""
        node = self.covariance.nodes[number]
        if node.kind == kernels.SUM:
            return self._expand(node.left) + self._expand(node.right)
        if node.kind == kernels.PRODUCT:
            left, right = self._expand(node.left), self._expand(node.right)
            return [a.times(b, self._kernel) for a in left for b in right]
        if node.kind == kernels.CONSTANT:
            return [Factor(node.amplitudes)]
        if node.kind == kernels.PERIODIC:
            return [Factor(node.amplitudes, shape=node.shape, period=node.lengths[0])]
        if node.kind not in ORDERS:
            raise ValueError(f"kernel is {self._kernel}; wanted {WANTED}")
        return [Factor(node.amplitudes, ORDERS[node.kind], node.lengths[0])]

    @property
    def theta(self) -> Array:
        """Logarithms of the hyperparameters that the kernel was given with."""
        return self.covariance.theta

    def limited(self, bounds: Array) -> Array:
        """Bounds of theta (n, 2) within which harmonics are enough."""
        found, places = bounds.copy(), np.cumsum(self.covariance.free) - 1
        for factor in self._factors:
            if factor.shape >= 0 and self.covariance.free[factor.shape]:
                row = found[places[factor.shape]]
                row[:] = np.maximum(row, np.log(LEAST_SHAPE))
        return found

    def at(self, theta: Array) -> StateSpace:
        """The state space of these hyperparameters."""
        return _joined([made.space for made in self._made(theta)])

    def gradient(self, theta: Array, by_rate: Array, by_turn: Array, by_q: Array) -> Array:
        """Derivative with respect to theta, from those with respect to rates, turns (B,) and q."""
        by_amplitude = self.at(theta).by_amplitude(by_q)
        found, first = np.zeros(len(self.covariance.values)), 0
        for factor, space, by_shape in self._made(theta):
            part = slice(first, first + len(space.orders))
            first = part.stop
            amplitudes = by_amplitude[part]
            np.add.at(found, list(factor.amplitudes), space.amplitudes @ amplitudes)
            if factor.length >= 0:
                found[factor.length] -= space.rates @ by_rate[part]
            if factor.shape >= 0:
                found[factor.shape] += by_shape @ amplitudes
                found[factor.period] -= space.turns @ by_turn[part]
        return np.asarray(found[self.covariance.free])

    def _made(self, theta: Array) -> list[_Made]:
        values = self.covariance.hyperparameters(theta)
        return [_made(factor, values) for factor in self._factors]


class _Made(NamedTuple):
    """What a factor becomes, and d amplitudes / d log shape of a periodic function (B,)."""

    factor: Factor
    space: StateSpace
    by_shape: Array


def _made(factor: Factor, values: Array) -> _Made:
    amplitude = float(np.prod(values[list(factor.amplitudes)]))
    rate = np.sqrt(2.0 * factor.order - 1.0) / values[factor.length] if factor.length >= 0 else 0.0
    sizes, slopes, turn = np.ones(1), np.zeros(1), 0.0
    if factor.shape >= 0:
        sizes, slopes = _harmonics(values[factor.shape])
        turn = 2.0 * np.pi / values[factor.period]
    n = len(sizes)
    numbers = np.arange(n)
    space = StateSpace(
        np.full(n, factor.order), (numbers > 0).astype(np.int64), np.full(n, rate),
        np.asarray(numbers * turn, np.float64), amplitude * sizes,
    )  # fmt: skip
    return _Made(factor, space, amplitude * slopes)


def _harmonics(length: float) -> tuple[Array, Array]:
    """Variances of the harmonics of exp(-2 sin^2 / length^2), and d variances / d log length."""
    kappa = length**-2.0
    numbers = np.arange(MOST_HARMONICS + 2)
    scaled = ive(numbers, kappa)
    sizes = np.where(numbers > 0, 2.0, 1.0) * scaled
    missed = 1.0 - np.cumsum(sizes[:-1])
    n = int(np.argmax(missed <= TAIL)) + 1 if np.any(missed <= TAIL) else MOST_HARMONICS + 1
    below = scaled[np.abs(numbers - 1)]
    slopes = 0.5 * (below[:n] + scaled[1 : n + 1]) - scaled[:n]
    slopes *= np.where(numbers[:n] > 0, 2.0, 1.0) * -2.0 * kappa
    return sizes[:n], slopes


def _joined(parts: list[StateSpace]) -> StateSpace:
    return StateSpace(*(np.concatenate(columns) for columns in zip(*parts)))
