"""Lists of strings as two arrays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastvi.base.archive_format import describe
from fastvi.base.typing import AnyArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pack_strings", "unpack_strings"]


def pack_strings(strings: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pack strings into a UTF-8 buffer, (n_bytes,) uint8, and offsets, (n + 1,) int64."""
    encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(piece) for piece in encoded], out=offsets[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def unpack_strings(buffer: AnyArray, offsets: AnyArray, what: str) -> list[str]:
    """Inverse of `pack_strings`.

    Raises
    ------
    ValueError
        If the two arrays are not a list of strings; the message begins with `what`.
    """
    if buffer.dtype != np.uint8 or buffer.ndim != 1:
        raise ValueError(f"{what}: the text is {describe(buffer)}; wanted uint8 (n,)")
    if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) == 0:
        raise ValueError(f"{what}: the offsets are {describe(offsets)}; wanted int64 (n,)")
    if offsets[0] != 0 or offsets[-1] != len(buffer) or np.any(offsets[1:] < offsets[:-1]):
        raise ValueError(f"{what}: the offsets do not increase from 0 to {len(buffer)}")
    data = buffer.tobytes()
    try:
        return [
            data[begin:end].decode("utf-8", "surrogatepass")
            for begin, end in itertools.pairwise(offsets.tolist())
        ]
    except UnicodeDecodeError as error:
        raise ValueError(f"{what}: a string is not valid UTF-8 ({error.reason})") from None
