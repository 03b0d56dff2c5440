"""Decoders that read the pixels before each one: their form and start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.kernels import convolutions as kernels

__all__ = ["Pixels"]

Single = NDArray[np.float32]


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

    def __init__(
        self, shape: tuple[int, int, int], n_kinds: int, n_maps: int, kernel_sizes: Sequence[int],
        activation: int, first: int,
    ) -> None:  # fmt: skip
        height, width, channels = shape
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

    @property
    def n_features(self) -> int:
        """Number of features of a row that the network reads besides its pixels."""
        height, width, _, n_maps = self.plan[:4]
        return int(height * width * n_maps)

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
