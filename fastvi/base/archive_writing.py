"""Writing members of an archive, in blocks."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np
from numpy.lib import format as npy

from fastvi.base.archive_format import BLOCK_BYTES, HEADER, NAME, Blocks, describe, is_plain
from fastvi.base.typing import AnyArray


def as_blocks(name: str, array: AnyArray | Blocks) -> Blocks:
    """Check an array's name and dtype, and cut it into blocks of rows."""
    if not NAME.fullmatch(name):
        raise ValueError(f"array name {name!r}: wanted letters, digits, '_' and single dots")
    if isinstance(array, Blocks):
        table = array._replace(dtype=np.dtype(array.dtype))
    else:
        table = Blocks(array.shape, array.dtype, _rows(array))
    if not is_plain(table.dtype):
        raise ValueError(
            f"array {name!r} is {table.dtype}; wanted booleans, integers or floats of up to 64 bits"
        )
    return table


def _rows(array: AnyArray) -> Iterator[AnyArray]:
    """Yield blocks of rows that are small enough to copy if `array` is not contiguous."""
    if array.ndim == 0:
        yield array
        return
    row_bytes = max(1, array[:1].nbytes)
    step = max(1, BLOCK_BYTES // row_bytes)
    for begin in range(0, len(array), step):
        yield array[begin : begin + step]


def write_archive(file: IO[bytes], text: bytes, tables: Mapping[str, Blocks]) -> None:
    """Write the header and one npy member per array."""
    archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
    try:
        # A fixed date (the ZipInfo default), so that the same content gives the same bytes.
        archive.writestr(zipfile.ZipInfo(HEADER), text)
        for name, table in tables.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.file_size = table.n_bytes + 1024  # tells zipfile whether it needs 64 bits
            with archive.open(info, "w") as member:
                _write_array(member, name, table)
        archive.close()
    except BaseException:
        # An interrupt within zipfile can leave it unable to close: it would raise another error,
        # and complain again when it is collected. The file is discarded, so neither matters.
        archive.fp = None
        raise


def _write_array(member: IO[bytes], name: str, table: Blocks) -> None:
    descr = npy.dtype_to_descr(table.dtype)
    npy.write_array_header_1_0(
        member, {"descr": descr, "fortran_order": False, "shape": table.shape}
    )
    n_rows = 0
    for block in table.blocks:
        if block.dtype != table.dtype or block.shape[1:] != table.shape[1:]:
            raise ValueError(
                f"a block of array {name!r} is {describe(block)}; "
                f"wanted {table.dtype} rows of an array of shape {table.shape}"
            )
        n_rows += len(block) if block.ndim else 0
        data = np.ascontiguousarray(block).reshape(-1).view(np.uint8)
        for begin in range(0, len(data), BLOCK_BYTES):
            member.write(data[begin : begin + BLOCK_BYTES].data)
    if table.shape and n_rows != table.shape[0]:
        raise ValueError(f"the blocks of array {name!r} hold {n_rows} of {table.shape[0]} rows")
