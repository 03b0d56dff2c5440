"""Convolutional encoders and decoders of images: their form and start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.kernels import pyramids as kernels
from fastvi.kernels.networks import SOFTPLUS
from fastvi.models.autoencoder.choice import Option, count
from fastvi.models.autoencoder.pixels import Single, image_shape, refuse_other_rows
from fastvi.models.autoencoder.rows import Frame

__all__ = ["PYRAMID", "Pyramid"]


def _numbers_of_maps(given: Any, name: str) -> tuple[int, ...]:
    if np.ndim(given) != 1 or not len(given):
        raise ValueError(f"{name} is {given!r}; wanted one per convolution, such as (16, 32)")
    found = tuple(checks.integer(n, f"a number in {name}", 8) for n in given)
    for n in found:
        if n % 8:
            raise ValueError(f"{name} holds {n}; wanted multiples of 8")
    return found


PYRAMID = {
    "image_shape": Option(None, image_shape),
    "n_maps": Option((16, 32), _numbers_of_maps),
    "kernel_size": count(4),
    "stride": count(2),
}


class _Level(NamedTuple):
    """A level's image: pixels, channels, and padding before, and pixels of a padded line."""

    height: int
    width: int
    channels: int
    top: int
    left: int
    pitch: int
    room: int  # numbers, with padding


class Pyramid:
    """Strided convolutions of images of H x W pixels with C channels, or their transposes.

    Parameters
    ----------
    shape : (H, W, C)
    n_kinds : int
        Outputs of each number, of a decoder; 0 for an encoder.
    n_maps : sequence of int
        Of each level, multiples of 8.
    kernel_size, stride : int
        Pixels of each side that a pixel of the next level sees, and between those that two
        neighbours see.
    activation : int
        The kernels' number of it.
    first : int
        Place of the first parameter.

    Attributes
    ----------
    plan : (.,) int64 array
        Of `fastvi.kernels.pyramids`.
    end : int
        Place after the last parameter.
    n_top : int
        Number of features, which are those of the last level.
    """

    one_by_one = False  # whether pixels depend on others of the image

    def __init__(
        self, shape: tuple[int, int, int], n_kinds: int, n_maps: Sequence[int], kernel_size: int,
        stride: int, activation: int, first: int,
    ) -> None:  # fmt: skip
        self.first, size = first, kernel_size
        channels = (shape[2] * max(n_kinds, 1), *n_maps)
        levels = _levels(shape[:2], channels, size, stride)
        table = np.zeros((len(levels), kernels.LEVEL), np.int64)
        at = kernels.HEADER + table.size
        place, weights, turned, taps = 0, first, 0, []
        for k, (row, level) in enumerate(zip(table, levels)):
            row[:6], row[kernels.ROOM], row[kernels.PLACE] = level[:6], level.room, place
            place += level.room
            if k > 0:
                below = levels[k - 1]
                columns = size * size * below.channels
                row[kernels.TAPS], row[kernels.WEIGHTS], row[kernels.TURNED] = at, weights, turned
                row[kernels.COLUMNS] = -(-columns // 8) * 8
                taps.append(np.arange(size) * below.pitch * below.channels)
                at, weights = at + size, weights + columns * level.channels
                turned += row[kernels.COLUMNS] * level.channels
        self.n_top = levels[-1].room
        n_outputs = shape[0] * shape[1] * channels[0]
        biased = table[:-1] if n_kinds else table[1:]
        for k, row in enumerate(biased):
            row[kernels.BIAS] = weights
            weights += n_outputs if n_kinds and k == 0 else row[kernels.CHANNELS]
        self.end, products = int(weights), table[:, kernels.WIDTH] * table[:, kernels.COLUMNS]
        header = np.zeros(kernels.HEADER, np.int64)
        header[:] = (
            len(levels), size, stride, activation, n_kinds > 0, n_kinds, first, self.end, at,
            place - self.n_top, max(level.room for level in levels), products.max(), turned,
        )  # fmt: skip
        self.plan = np.concatenate([header, table.ravel(), *taps])

    @staticmethod
    def n_features(frame: Frame, options: Mapping[str, Any]) -> int:
        """Return how many features of a row the dense layers make.

        Raises
        ------
        ValueError
            If rows are not images of this shape, or the convolutions leave out pixels.
        """
        shape, size, stride = (options[name] for name in ("image_shape", "kernel_size", "stride"))
        refuse_other_rows(shape, frame)
        if size < stride:
            raise ValueError(
                f"kernel_size is {size} and stride {stride}: pixels between would be left out; "
                "wanted a kernel_size of at least the stride"
            )
        return _levels(shape[:2], (shape[2], *options["n_maps"]), size, stride)[-1].room

    @classmethod
    def of(
        cls, frame: Frame, options: Mapping[str, Any], n_kinds: int, activation: int, first: int
    ) -> Pyramid:
        """Return the network for rows in a frame: a decoder, or an encoder for 0 kinds."""
        height, width, channels = options["image_shape"]
        shape = (height, width, channels * (frame.n_entries // frame.n_features))
        sizes = options["n_maps"], options["kernel_size"], options["stride"]
        return cls(shape, n_kinds, *sizes, activation, first)

    @classmethod
    def before(
        cls, frame: Frame, options: Mapping[str, Any], activation: int, first: int
    ) -> Pyramid:
        """Return what the dense encoder has before it."""
        return cls.of(frame, options, 0, activation, first)

    @staticmethod
    def last(activation: str) -> str:
        """The activation of features: like that of maps."""
        return activation

    @property
    def address(self) -> int:
        """The address of the compiled network, see `fastvi.kernels.pyramid_heads`."""
        from fastvi.kernels._jit import adapter
        from fastvi.kernels.pyramid_heads import pyramids

        return int(adapter(pyramids)[0])

    @property
    def bias(self) -> int:
        """Place of the biases of all outputs of a decoder."""
        return int(self._table[0, kernels.BIAS])

    @property
    def slot(self) -> int:
        """Numbers that an image leaves in all levels but the last."""
        return int(self.plan[kernels.SLOT])

    @property
    def _table(self) -> NDArray[np.int64]:
        n = self.plan[kernels.N_LEVELS] * kernels.LEVEL
        return self.plan[kernels.HEADER : kernels.HEADER + n].reshape(-1, kernels.LEVEL)

    def spare(self) -> Single:
        """Return scratch."""
        sizes = self.plan[[kernels.BACK, kernels.PRODUCTS, kernels.LARGEST]]
        return np.zeros(sizes.sum() + self._table[:, kernels.CHANNELS].max(), np.float32)

    def start(self, rng: np.random.Generator, params: Single) -> None:
        """Set weights at random, by the numbers that go in (He et al. 2015, eq. 10), twice as large
        for the softplus, whose slope at 0 is a half.
        """
        gain = 2.0 if self.plan[kernels.ACTIVATION] == SOFTPLUS else 1.0
        size, stride = self.plan[kernels.SIZE], self.plan[kernels.STRIDE]
        channels, places = self._table[:, kernels.CHANNELS], self._table[:, kernels.WEIGHTS]
        for below, here, at in zip(channels, channels[1:], places[1:]):
            n = size * size * below * here
            seen = here / stride**2 if self.plan[kernels.IS_DECODER] else below
            limit = gain * np.sqrt(6.0 / (size * size * seen))
            params[at : at + n] = rng.uniform(-limit, limit, n)


def _levels(shape: Sequence[int], channels: Sequence[int], size: int, stride: int) -> list[_Level]:
    """Return levels: each has a pixel for `stride` of the one below, and the rest of one, which is
    filled up by zeros on both sides.
    """
    found, (height, width) = [], shape
    for n in channels[:-1]:
        above = -(-height // stride), -(-width // stride)
        padded = [(n_above - 1) * stride + size for n_above in above]
        top, left = ((full - n_pixels) // 2 for full, n_pixels in zip(padded, (height, width)))
        found.append(_Level(height, width, n, top, left, padded[1], padded[0] * padded[1] * n))
        height, width = above
    room = height * width * channels[-1]
    return [*found, _Level(height, width, channels[-1], 0, 0, width, room)]
