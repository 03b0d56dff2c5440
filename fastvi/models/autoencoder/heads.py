"""What is between dense layers and images, and scratch of networks with or without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.kernels.autoencoder import Model, Work
from fastvi.kernels.networks import INPUTS, Layers
from fastvi.models.autoencoder.rows import Frame

__all__ = ["Head", "buffers", "scratch_of"]

Single = NDArray[np.float32]


class Head(Protocol):
    """What follows the dense decoder, or comes before the dense encoder, of images."""

    plan: NDArray[np.int64]
    end: int  # place after its last parameter
    one_by_one: bool  # whether a decoder's pixels depend on those before

    @staticmethod
    def n_features(frame: Frame, options: Mapping[str, Any]) -> int:
        """Return how many features of a row are between it and the dense layers."""

    @classmethod
    def of(
        cls, frame: Frame, options: Mapping[str, Any], n_kinds: int, activation: int, first: int
    ) -> Self:
        """Return the network for rows in a frame."""

    @classmethod
    def before(
        cls, frame: Frame, options: Mapping[str, Any], activation: int, first: int
    ) -> Self | None:
        """Return what the dense encoder has before it, if anything."""

    @staticmethod
    def last(activation: str) -> str:
        """Return the activation of features."""

    @property
    def address(self) -> int:
        """The address of the compiled network."""

    @property
    def bias(self) -> int:
        """Place of the biases of all outputs."""

    @property
    def slot(self) -> int:
        """Numbers that a draw leaves for its gradient."""

    def spare(self) -> Single:
        """Return scratch."""

    def start(self, rng: np.random.Generator, params: Single) -> None:
        """Set weights at random."""


def scratch_of(
    head: Head | None, n_draws: int, n_kept: int, n_outputs: int
) -> dict[str, NDArray[Any]]:
    """Return scratch of kernels for draws, of which so many keep what a gradient needs."""
    size, slot, spare = 0, 0, np.empty(0, np.float32)
    if head is not None:
        size, slot, spare = n_draws * n_outputs, head.slot, head.spare()
    return {
        "tape": np.zeros(n_kept * slot, np.float32), "finals": np.empty(size, np.float32),
        "scratch": spare, "table": np.zeros(9, np.int64),
    }  # fmt: skip


class _Networks(Protocol):
    """What scratch depends on, see `model.Autoencoder`."""

    frame: Frame
    form: Model
    n_latent: int
    n_outputs: int
    head: Head | None
    front: Head | None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """See `Autoencoder`."""

    @property
    def n_noise(self) -> int:
        """See `Autoencoder`."""


def buffers(model: _Networks, n: int, n_draws: int, are_counts: bool, with_gradient: bool) -> Work:
    """Return scratch for batches of up to n rows, for the encoder alone with 0 draws."""
    (inner, outer, widest), width, j = model.sizes, model.frame.n_entries, model.n_latent
    n_all = n * n_draws
    n_kept = n_all if with_gradient else 1

    def flat(size: int) -> Single:
        return np.empty(size, np.float32)

    return Work(
        x=flat(n * width), inputs=flat(n * width if are_counts else 0),
        encoded=flat(n * inner), eps=flat(n_all * model.n_noise), z=flat(n_all * j),
        back=flat(n_all * j),
        pull=flat(n_all * j), shares=flat(n_all * model.form.n_parts), densities=np.empty(n_all),
        decoded=flat(n_all * outer), values=np.empty(n_all), weights=flat(n_all),
        ratios=flat(n_all), divergences=flat(n * j), betas=flat(j), noise=flat(2 * width),
        spare=flat(max(n, n_all) * widest + width + 2 * j),
        **scratch_of(model.head, n_all, n_kept, model.n_outputs),
        **_front_buffers(model.front, model.form.encoder, n, n if with_gradient else 1),
    )  # fmt: skip


def _front_buffers(front: Head | None, encoder: Layers, n: int, n_kept: int) -> dict[str, Single]:
    """Return scratch of what is before the encoder."""
    size = n * int(encoder.table[0, INPUTS]) if front else 0
    found = scratch_of(front, n, n_kept, 0)
    return {
        "features": np.empty(size, np.float32), "told": np.empty(size, np.float32),
        "front_tape": found["tape"], "front_scratch": found["scratch"],
    }  # fmt: skip
