"""Sums of the Stein kernel over all pairs of draws, in tiles; the same bits for any threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray
from fastvi.stein.draws import Points

__all__ = ["Sums", "rounds", "sweep"]

BLOCK = 256  # draws per side of a tile, whose matrices fit into a second-level cache
N_SIGNS = 512  # columns of signs multiplied at once


class Sums(NamedTuple):
    """Sums of u_p over pairs of different draws: (n,) by draw, of squares, and (B,) with signs."""

    rows: NDArray[np.float64]
    squares: float
    signed: NDArray[np.float64]


def rounds(n_blocks: int) -> Iterator[list[tuple[int, int]]]:
    """Yield all pairs of blocks, in rounds in which no block occurs twice."""
    yield [(i, i) for i in range(n_blocks)]
    seats = n_blocks + n_blocks % 2
    for turn in range(seats - 1):
        circle = [0, *(1 + (turn + k) % (seats - 1) for k in range(seats - 1))]
        found = [sorted((circle[k], circle[-1 - k])) for k in range(seats // 2)]
        yield [(i, j) for i, j in found if j < n_blocks]


def sweep(points: Points, n_threads: int, signs: NDArray[np.int8] | None = None) -> Sums:
    """Visit every pair of draws once, in tiles; `signs` (n, B) are -1 or 1.

    Pairs that are processed at the same time share no block, so the order of the sums does not
    depend on the number of threads.
    """
    from fastvi.base.parallel import run, single_threaded_blas

    n = len(points.X)
    bounds = np.append(np.arange(0, n, BLOCK), n)
    n_blocks = len(bounds) - 1
    n_signs = 0 if signs is None else signs.shape[1]
    work = _Tiles(points, signs, np.zeros(n), np.zeros(n_blocks), np.zeros((n_blocks, n_signs)))
    with single_threaded_blas():
        for pairs in rounds(n_blocks):

            def one(slot: int, pairs: list[tuple[int, int]] = pairs) -> None:
                (i, j) = pairs[slot]
                work(slot, slice(bounds[i], bounds[i + 1]), slice(bounds[j], bounds[j + 1]))

            run(one, len(pairs), n_threads)
    return Sums(work.rows, float(work.squares.sum()), work.signed.sum(axis=0))


class _Tiles:
    """Add one tile to the sums, with scratch memory for it."""

    def __init__(
        self,
        points: Points,
        signs: NDArray[np.int8] | None,
        rows: NDArray[np.float64],
        squares: NDArray[np.float64],
        signed: NDArray[np.float64],
    ) -> None:
        self.points, self.signs = points, signs
        self.rows, self.squares, self.signed = rows, squares, signed
        self.left = np.hstack((points.W, points.S))
        self.right = np.hstack((points.S, points.W))
        self.spare: list[AnyArray] = []

    def __call__(self, slot: int, i: slice, j: slice) -> None:
        from fastvi.kernels import ksd

        points = self.points
        try:
            scratch = self.spare.pop()
        except IndexError:
            scratch = np.empty((4, BLOCK * BLOCK), points.X.dtype)
        n, m = i.stop - i.start, j.stop - j.start
        XX, CC, WW, SS = (part[: n * m].reshape(n, m) for part in scratch)
        np.matmul(points.X[i], points.X[j].T, out=XX)
        np.matmul(self.left[i], self.right[j].T, out=CC)
        np.matmul(points.S[i], points.S[j].T, out=SS)
        of = points.metric
        if not of.uniform:
            np.matmul(points.W[i], points.W[j].T, out=WW)
        own = np.ascontiguousarray(points.own[:, i]), np.ascontiguousarray(points.own[:, j])
        ksd.tile(of.kind, of.beta, points.trace, of.uniform, *own, XX, CC, WW, SS)
        factor = 2.0
        if i == j:
            ksd.clear_diagonal(SS)
            factor = 1.0
        columns = self.rows[j] if i != j else np.empty(0)
        self.squares[slot] += factor * ksd.add_sums(SS, self.rows[i], columns)
        self._add_signed(slot, i, j, SS, factor)
        self.spare.append(scratch)

    def _add_signed(self, slot: int, i: slice, j: slice, U: AnyArray, factor: float) -> None:
        from fastvi.kernels import ksd

        if self.signs is None:
            return
        for start in range(0, self.signs.shape[1], N_SIGNS):
            part = slice(start, start + N_SIGNS)
            product = U @ self.signs[j, part].astype(U.dtype)
            mine = np.ascontiguousarray(self.signs[i, part])
            ksd.add_signed(mine, product, factor, self.signed[slot, part])
