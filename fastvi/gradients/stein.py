"""Stein variational gradients: the direction that moves particles towards a target.

Among all displacements in the unit ball of the kernel's space, it decreases the KL divergence from
particles to target the fastest (Liu and Wang 2016).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, ArrayLike, DTypeLike, Info, Tree
from fastvi.core import Batch, Gradient
from fastvi.targets.base import Target

__all__ = ["KERNELS", "Field", "Interaction", "median_square", "scores_of", "stein"]

KERNELS = ("rbf", "imq")
SAMPLE = 128  # particles used for the median distance, to within a few percent
CHUNK, MOST_CHUNKS = 64, 8  # chunks of particles for concurrent targets
MOST_BLOCKS = 16
FARTHEST = 1e6  # distance in lengths assumed for particles without a density


class Field(NamedTuple):
    """The field of directions at the particles.

    Attributes
    ----------
    phi : (n, D) array
        The direction.
    masses : (n,) array
        Means of the kernel over the other particles.
    lengths : (D,) array
        Of the kernel.
    """

    phi: AnyArray
    masses: AnyArray
    lengths: AnyArray


class Interaction:
    """A kernel and the interaction of particles through it.

    Parameters
    ----------
    kernel : {"rbf", "imq"}
        exp(-s / 2) or (1 + s)^(-1/2), where s is the squared distance in units of the lengths.
    bandwidth : "median", float or (D,) array
        Length, or one length per coordinate. "median" is that of Liu and Wang (2016), recomputed at
        each step, with which the other particles together count as much as the particle itself.
    n_threads : int
    seed : int
        Seed for the choice of particles for the median distance.
    """

    def __init__(
        self,
        kernel: str = "rbf",
        bandwidth: str | ArrayLike = "median",
        n_threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.kind = KERNELS.index(kernel)
        self.bandwidth, self.n_threads, self.seed = bandwidth, n_threads, seed
        self._kept: dict[str, AnyArray] = {}

    def must_be_gaussian(self, form: str) -> None:
        """Raise ValueError unless the kernel is "rbf", the only one with this form."""
        if self.kind:
            raise ValueError(f"kernel={KERNELS[self.kind]!r} has no {form} form; wanted 'rbf'")

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> AnyArray:
        """Return memory used by the previous step; fresh pages would cost a tenth of a step."""
        array = self._kept.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            array = self._kept[name] = np.empty(shape, dtype)
        return array

    def sample(self, n: int) -> NDArray[np.int64]:
        """Choose the particles for the median distance."""
        if n <= SAMPLE:
            return np.arange(n)
        return np.sort(np.random.default_rng([self.seed, n]).permutation(n)[:SAMPLE])

    def lengths(self, x: AnyArray) -> AnyArray:
        """Return the lengths (D,) for particles x (n, D)."""
        d = x.shape[1]
        if not isinstance(self.bandwidth, str):
            return np.broadcast_to(np.asarray(self.bandwidth, x.dtype), (d,)).copy()
        length = median_length(x[self.sample(len(x))], len(x))
        return np.full(d, length, x.dtype)

    def field(self, x: AnyArray, scores: AnyArray, weights: AnyArray) -> Field:
        """Direction at particles x (n, D), given scores (n, D) and weights 0 or 1 (n,)."""
        from fastvi.kernels import stein as kernels

        n, d = x.shape
        lengths = self.lengths(kept(x, weights))
        inverse = 1 / lengths
        u, half = self.scaled(x, inverse, weights)
        share = x.dtype.type(1.0 / np.sum(weights))
        joined = self._buffer("joined", (n, d + 1), x.dtype)
        if self.kind == kernels.RBF:
            kernels.join(scores, u, inverse, weights, joined)
            sums, slopes = self.sums(u, half, joined, joined[:, :0])
        else:
            kernels.join(np.zeros_like(scores), u, inverse, weights, joined)
            values = np.concatenate((scores, np.ones((n, 1), x.dtype)), axis=1)
            sums, slopes = self.sums(u, half, values * weights[:, None], joined)
        phi = np.empty_like(scores)
        kernels.assemble(sums, slopes, u, inverse, share, phi)
        return Field(phi, np.ascontiguousarray(sums[:, d]) * share, lengths)

    def scaled(
        self, x: AnyArray, inverse: AnyArray, weights: AnyArray
    ) -> tuple[AnyArray, AnyArray]:
        """Return centred particles in lengths, so that few digits cancel, and |u|^2 / 2.

        Particles of weight 0 may be anywhere, and do not affect the centre. The next call
        overwrites the result.
        """
        from fastvi.kernels import stein as kernels

        u, half = self._buffer("u", x.shape, x.dtype), self._buffer("half", x.shape[:1], x.dtype)
        centre = centre_of(kept(x, weights)).astype(x.dtype)
        kernels.prepare(x, centre, inverse, u, half)
        if not weights.all():
            hold(u, weights)
            half[:] = np.einsum("ij,ij->i", u, u) / 2
        return u, half

    def sums(
        self, u: AnyArray, half: AnyArray, values: AnyArray, slopes: AnyArray
    ) -> tuple[AnyArray, AnyArray]:
        """Sum values and slopes, see `fastvi.kernels.stein`; the next call overwrites them."""
        from fastvi.kernels import stein as kernels

        out = (
            self._buffer("values", values.shape, u.dtype),
            self._buffer("slopes", slopes.shape, u.dtype),
        )
        for array in out:
            array.fill(0)
        n_tiles = -(-len(u) // kernels.TILE)
        n_blocks = max(1, min(n_tiles, MOST_BLOCKS))
        bounds = np.minimum(kernels.TILE * (np.arange(n_blocks + 1) * n_tiles // n_blocks), len(u))
        arrays = (u, half, values, np.ascontiguousarray(slopes), *out)
        if self.n_threads == 1:
            kernels.add_rounds(self.kind, bounds, *arrays)
            return out
        cuts = bounds.tolist()
        for r in range(n_blocks):
            others = [(r - i) % n_blocks for i in range(n_blocks)]
            meetings = [(i, j) for i, j in enumerate(others) if i <= j]

            def meet(task: int, meetings: list[tuple[int, int]] = meetings) -> None:
                i, j = meetings[task]
                rows, columns = (cuts[i], cuts[i + 1]), (cuts[j], cuts[j + 1])
                kernels.add_pairs(self.kind, rows, columns, *arrays)

            parallel.run(meet, len(meetings), self.n_threads)
        return out


def kept(x: AnyArray, weights: AnyArray) -> AnyArray:
    """Return the particles (n, D) of weight 1."""
    return x if weights.all() else x[weights > 0]


def hold(u: AnyArray, weights: AnyArray) -> None:
    """Move particles (n, D) of weight 0 so that sums over pairs stay finite."""
    lost = weights == 0
    u[lost] = np.clip(np.nan_to_num(u[lost], nan=FARTHEST), -FARTHEST, FARTHEST)


def centre_of(x: AnyArray) -> NDArray[np.float64]:
    """Means (D,) of particles (n, D)."""
    from fastvi.kernels import stein as kernels

    out = np.empty(x.shape[1])
    kernels.means(x, out)
    return out


def median_length(x: AnyArray, n: int) -> float:
    """Length of exp(-s / 2) by the median rule, from a subset x of n particles."""
    square = median_square(x)
    return float(np.sqrt(square / (2.0 * np.log(n)))) if n > 1 and square > 0 else 1.0


def median_square(x: AnyArray) -> float:
    """Median of the squared distances between rows, or their mean if the median is 0."""
    from fastvi.kernels import stein as kernels

    n = len(x)
    if n < 2:
        return 0.0
    squares = np.empty(n * (n - 1) // 2, x.dtype)
    kernels.square_distances(x - centre_of(x).astype(x.dtype), squares)
    half = len(squares) // 2
    squares.partition(half)  # np.median takes twice as long
    low = squares[half] if len(squares) % 2 else squares[:half].max()
    return 0.5 * (float(low) + float(squares[half])) or float(squares.mean(dtype=np.float64))


def scores_of(
    target: Target, x: AnyArray, batch: Batch | None, n_threads: int
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Return log densities (n,), scores (n, D) and weights (n,), 0 where one is not finite and else
    1.

    Raises
    ------
    TargetError
        If all of them fail.
    """
    from fastvi.kernels import stein as kernels

    points = np.asarray(x, np.float64)
    n_chunks = 1
    if target.concurrent:
        n_chunks = min(-(-len(points) // CHUNK), MOST_CHUNKS)
    cuts = np.arange(n_chunks + 1) * len(points) // n_chunks
    values, slopes = np.empty(len(points)), np.empty(points.shape)

    def attempt(i: int) -> None:
        part = slice(cuts[i], cuts[i + 1])
        values[part], slopes[part] = target.attempt(points[part], batch)

    parallel.run(attempt, n_chunks, n_threads)
    scores, weights = np.empty_like(x), np.empty(len(x), x.dtype)
    if not kernels.take_scores(values, slopes, scores, weights):
        target.refuse(points, batch)
    return values, scores, weights


def report(
    values: AnyArray,
    weights: AnyArray,
    field: Field,
    phi: AnyArray,
    scores: AnyArray,
    units: AnyArray,
) -> Info:
    """Return the report of a step; phi and scores are in coordinates with these units."""
    from fastvi.kernels import stein as kernels

    left, pull = kernels.forces(phi, scores, field.masses, units)
    n_rejected = len(weights) - int(np.count_nonzero(weights))
    log_prob = float(values.mean() if not n_rejected else values[weights > 0].mean())
    return {
        "log_prob": log_prob,
        "residual": float(np.sqrt(left / pull)) if pull > 0 else 0.0,
        "bandwidth": float(np.exp(np.mean(np.log(field.lengths)))),
        "rejected": n_rejected,
        "units": units,
    }


def units_of(x: AnyArray, scores: AnyArray, weights: AnyArray | None = None) -> AnyArray:
    """Standard deviations (D,) of a Gaussian whose scores vary as much as these.

    They are roots of the ratio of the deviations of particles and of scores. For independent
    coordinates this is the target's standard deviation; for correlated ones it lies between the
    marginal and the conditional one. Unlike deviations of the particles x (n, D), it is right when
    these have collapsed, have not spread yet, or fly apart. It is 1 if particles agree. Particles
    of weight 0 do not count.
    """
    from fastvi.kernels import stein as kernels

    if weights is not None:
        x, scores = kept(x, weights), kept(scores, weights)
    of_x, of_scores = np.zeros((2, x.shape[1]))
    kernels.add_squares(x, centre_of(x), of_x)
    kernels.add_squares(scores, centre_of(scores), of_scores)
    flat = of_scores == 0.0
    units = np.where(flat, np.sqrt(of_x / len(x)), (of_x / np.where(flat, 1.0, of_scores)) ** 0.25)
    return np.where(units > 0, units, 1.0).astype(x.dtype)


def stein(target: Target, interaction: Interaction) -> Gradient:
    """The direction of Stein variational gradient descent (Liu and Wang 2016, eq. 8).

    Parameters
    ----------
    target : Target
        A target with a gradient.
    interaction : Interaction
        Interaction of the particles.

    Returns
    -------
    Gradient
        Its parameters are particles (n, D), float32 or float64. Its `info` has `log_prob`, their
        mean log density in nats; `residual`, the norm of the direction divided by that of the
        scores smoothed by the kernel, in `units` (D,) (see `units_of`), which near a Gaussian is
        the error of the means in standard deviations; `bandwidth`, the length of the kernel; and
        `rejected`, the number of particles whose density or score is not finite, which do not act
        on others but are moved by them.

    Raises
    ------
    ValueError
        If the target has no gradient.
    """
    needs_gradient(target)

    def estimate(
        state: Tree, params: AnyArray, batch: Batch, rng: np.random.Generator
    ) -> tuple[AnyArray, Tree, Info]:
        values, scores, weights = scores_of(target, params, batch, interaction.n_threads)
        field = interaction.field(params, scores, weights)
        units = units_of(params, scores, weights)
        return field.phi, state, report(values, weights, field, field.phi, scores, units)

    return Gradient(lambda params: None, estimate)


def needs_gradient(target: Target) -> None:
    """Raise ValueError if the target has no gradient."""
    target.require_gradient("Stein variational gradients need")
