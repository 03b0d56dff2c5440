"""What the files of `fastvi.base.archive` consist of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray

FORMAT = "fastvi"
VERSION = 1
HEADER = "header.json"
MAX_HEADER_BYTES = 16 << 20
BLOCK_BYTES = 16 << 20
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*", re.ASCII)


class Blocks(NamedTuple):
    """An array given as consecutive blocks of rows, so that it need not exist as a whole."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Iterable[AnyArray]

    @property
    def n_bytes(self) -> int:
        """Size of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def describe(array: AnyArray) -> str:
    """Name an array's dtype and shape for a message."""
    return f"{array.dtype} of shape {array.shape}"


def is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether kernels can take it: boolean, integer or float of up to 64 bits, native order."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8 and dtype.isnative
