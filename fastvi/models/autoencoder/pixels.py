"""Decoders that read the pixels before each one: their form and start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.kernels import convolutions as kernels
from fastvi.models.autoencoder.choice import Option
from fastvi.models.autoencoder.rows import Frame

__all__ = ["PIXELS", "Pixels", "image_shape", "refuse_other_rows"]

Single = NDArray[np.float32]


def image_shape(given: Any, name: str) -> tuple[int, ...]:
    """Check the shape of images, and add their number of channels."""
    if given is None or np.ndim(given) != 1 or len(given) not in (2, 3):
        raise ValueError(
            f"{name} is {given!r}; wanted the height and width of images, or these and the number "
            "of channels, such as (28, 28)"
        )
    return tuple(checks.integer(n, f"a number in {name}", 1) for n in (*given, 1)[:3])


def refuse_other_rows(shape: Sequence[int], frame: Frame) -> None:
    """Raise ValueError if rows are not images of this shape."""
    size = int(np.prod(shape))
    if size != frame.n_features:
        raise ValueError(
            f"image_shape has {size} numbers, and X {frame.n_features} columns; wanted the shape "
            "of rows"
        )


def _n_maps(given: Any, name: str) -> int:
    n_maps = checks.integer(given, name, 8)
    if n_maps % 8:
        raise ValueError(f"{name} is {n_maps}; wanted a multiple of 8")
    return n_maps


def _kernel_sizes(given: Any, name: str) -> tuple[int, ...]:
    if np.ndim(given) != 1 or not len(given):
        raise ValueError(f"{name} is {given!r}; wanted one per layer, such as (5, 5, 5, 5)")
    sizes = tuple(checks.integer(size, f"a number in {name}", 1) for size in given)
    for size in sizes:
        if size % 2 == 0:
            raise ValueError(f"{name} holds {size}; wanted odd numbers")
    return sizes


PIXELS = {
    "image_shape": Option(None, image_shape),
    "n_maps": Option(16, _n_maps),
    "kernel_sizes": Option((5, 5, 5, 5), _kernel_sizes),
}


class Pixels:
    """Causal convolutions of images of H x W pixels with C channels.

    Parameters
    ----------
    shape : (H, W, C)
    n_kinds : int
        Outputs of each number.
    n_maps : int
        A multiple of 8.
    kernel_sizes : sequence of int
        Odd: each layer reads so many pixels around each, as far as they are before it.
    activation : int
        The kernels' number of it.
    first : int
        Place of the first parameter.

    Attributes
    ----------
    plan : (.,) int64 array
        Of `fastvi.kernels.convolutions`.
    end : int
        Place after the last parameter.
    """

    one_by_one = True

    def __init__(
        self, shape: tuple[int, int, int], n_kinds: int, n_maps: int, kernel_sizes: Sequence[int],
        activation: int, first: int,
    ) -> None:  # fmt: skip
        self.shape = height, width, channels = shape
        self.pad = max(kernel_sizes) // 2
        plan = np.zeros(kernels.HEADER + kernels.LAYER * len(kernel_sizes), np.int64)
        parts, length, at = [plan], len(plan), first
        for layer, kernel_size in enumerate(kernel_sizes):
            inputs = channels if layer == 0 else n_maps
            taps = _taps(kernel_size, width + 2 * self.pad, with_own=layer > 0) * inputs
            row = plan[kernels.HEADER + kernels.LAYER * layer :]
            row[kernels.TAPS], row[kernels.BACK_TAPS] = length, length + len(taps)
            row[kernels.N_TAPS] = len(taps)
            row[kernels.WEIGHTS] = at
            row[kernels.BIAS] = at + len(taps) * inputs * n_maps
            at = row[kernels.BIAS] + n_maps
            parts += [taps, -taps]
            length += 2 * len(taps)
        n_outputs = n_kinds * channels
        self.end = int(at + n_outputs * n_maps + height * width * n_outputs)
        plan[: kernels.HEADER] = (
            height, width, channels, n_maps, self.pad, len(kernel_sizes), n_outputs, activation,
            at, at + n_outputs * n_maps, first, self.end, length,
        )  # fmt: skip
        self.plan = np.concatenate(parts)

    @staticmethod
    def n_features(frame: Frame, options: Mapping[str, Any]) -> int:
        """Return how many features of a row the network reads besides its pixels.

        Raises
        ------
        ValueError
            If rows are not images of this shape, or not drawn pixel by pixel.
        """
        height, width, _ = options["image_shape"]
        if frame.likelihood == "multinomial":
            raise ValueError(
                "decoder='pixelcnn' draws pixels one by one; likelihood='multinomial' draws a row "
                "as a whole"
            )
        refuse_other_rows(options["image_shape"], frame)
        return int(height * width * options["n_maps"])

    @classmethod
    def of(
        cls, frame: Frame, options: Mapping[str, Any], n_kinds: int, activation: int, first: int
    ) -> Pixels:
        """Return the network for rows in a frame."""
        height, width, channels = options["image_shape"]
        shape = (height, width, channels * (frame.n_entries // frame.n_features))
        n_maps, sizes = options["n_maps"], options["kernel_sizes"]
        return cls(shape, n_kinds, n_maps, sizes, activation, first)

    @classmethod
    def before(cls, frame: Frame, options: Mapping[str, Any], activation: int, first: int) -> None:
        """Nothing: the dense encoder sees rows."""

    @staticmethod
    def last(activation: str) -> str:
        """None: features are added to maps before their activation."""
        return "none"

    @property
    def address(self) -> int:
        """The address of the compiled network, see `fastvi.kernels.pixels`."""
        from fastvi.kernels._jit import adapter
        from fastvi.kernels.pixels import pixels

        return int(adapter(pixels)[0])

    @property
    def bias(self) -> int:
        """Place of the biases of all outputs."""
        return int(self.plan[kernels.LAST_BIAS])

    @property
    def slot(self) -> int:
        """Numbers that a draw leaves in all layers."""
        size = kernels.padded_size(self.plan, self.plan[kernels.MAPS])
        return int(self.plan[kernels.N_LAYERS] * size)

    def spare(self) -> Single:
        """Return scratch."""
        plan, maps = self.plan, self.plan[kernels.MAPS]
        rows = plan[kernels.HEADER :][: kernels.LAYER * plan[kernels.N_LAYERS]]
        layers = rows.reshape(-1, kernels.LAYER)[1:]
        weights = (layers[:, kernels.BIAS] - layers[:, kernels.WEIGHTS]).sum()
        sizes = (kernels.padded_size(plan, n) for n in (plan[kernels.CHANNELS], 2 * maps))
        return np.zeros(sum(sizes) + maps + weights, np.float32)

    def start(self, rng: np.random.Generator, params: Single) -> None:
        """Set weights at random (Glorot and Bengio 2010)."""
        plan = self.plan
        n_maps = plan[kernels.MAPS]
        for layer in range(plan[kernels.N_LAYERS]):
            row = plan[kernels.HEADER + kernels.LAYER * layer :]
            a, b = row[kernels.WEIGHTS], row[kernels.BIAS]
            inputs = max((b - a) // n_maps, 1)
            params[a:b] = rng.uniform(-1, 1, b - a) * np.sqrt(6.0 / (inputs + n_maps))
        a, b = plan[kernels.LAST_WEIGHTS], plan[kernels.LAST_BIAS]
        params[a:b] = rng.uniform(-1, 1, b - a) * np.sqrt(6.0 / (n_maps + (b - a) // n_maps))


def _taps(size: int, row: int, with_own: bool) -> Any:
    """Pixels that are read, relative to the one that is written, in rows of so many pixels."""
    reach = size // 2
    whole = [(dy, dx) for dy in range(-reach, 1) for dx in range(-reach, reach + 1)]
    chosen = [dy * row + dx for dy, dx in whole if dy < 0 or dx < 0 or (with_own and dx == 0)]
    return np.array(chosen, np.int64)
