"""CSR matrices in .npz archives, never unpickled."""

import math
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.lib import format as npy

from fastvi.base.typing import AnyArray
from fastvi.corpus.columns import ColumnNumbers
from fastvi.corpus.documents import Columns, Counts, csr_block
from fastvi.corpus.numbers import MAX_WORDS, proper

BLOCK_DOCUMENTS = 1 << 13
BLOCK_BYTES = 1 << 20
PARTS = ("data", "indices", "indptr", "row", "col", "shape", "format")


def load_arrays(path: Path, names: Collection[str] = PARTS) -> dict[str, AnyArray]:
    """Load some arrays of an archive; damaged files and pickles become a ValueError."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return {
                info.filename[:-4]: _member(archive, info)
                for info in archive.infolist()
                if info.filename.endswith(".npy") and info.filename[:-4] in names
            }
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: not a readable npz archive ({error})") from None
    except Exception as error:
        # Errors that NumPy and zipfile let through for archives that were tampered with.
        raise ValueError(f"{path}: not a readable npz archive ({error!r})") from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> AnyArray:
    """Read one array, in blocks, if the archive holds as many bytes as its header says."""
    with warnings.catch_warnings(), archive.open(info) as member:
        warnings.simplefilter("error")  # refuse NumPy's repair of Python 2 headers
        version = npy.read_magic(member)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in read_header:
            raise ValueError(f"{info.filename} has npy version {version}")
        shape, fortran_order, dtype = read_header[version](member)
        n_bytes = math.prod(shape) * dtype.itemsize
        if (
            dtype.hasobject
            or n_bytes != info.file_size - member.tell()
            or min(shape, default=0) < 0
        ):
            raise ValueError(f"{info.filename} is {dtype} of shape {shape}, which it does not hold")
        data = bytearray()
        while block := member.read(BLOCK_BYTES):
            data += block
        if len(data) != n_bytes:
            raise ValueError(f"{info.filename} holds {len(data)} bytes of {n_bytes}")
        array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
        return array.astype(dtype.newbyteorder("="), copy=False)


def csr_parts(path: Path, arrays: dict[str, AnyArray]) -> Counts:
    """Check and return the matrix of an archive (SciPy's save_npz or plain CSR arrays)."""
    from scipy.sparse import coo_array, csc_array, csr_array

    stored = _format(arrays)
    wanted = ("row", "col") if stored == "coo" else ("indices", "indptr")
    missing = [name for name in ("data", *wanted, "shape") if name not in arrays]
    if missing or stored not in ("csr", "csc", "coo"):
        there = ", ".join(sorted(arrays)) or "nothing"
        raise ValueError(
            f"{path}: has {there}; wanted arrays data, indices, indptr, shape of a CSR matrix"
        )
    data, first, second = arrays["data"], arrays[wanted[0]], arrays[wanted[1]]
    n_rows, n_columns = _shape(path, arrays["shape"], stored, data.size)
    _check_numbers(path, data, first, second)
    if stored == "coo":
        _check_range(path, "row", first, n_rows)
        _check_range(path, "col", second, n_columns)
        if not len(data) == len(first) == len(second):
            raise ValueError(f"{path}: data, row and col have different lengths")
        return csr_array(coo_array((data, (first, second)), shape=(n_rows, n_columns)))
    n_major, n_minor = (n_rows, n_columns) if stored == "csr" else (n_columns, n_rows)
    _check_range(path, "indices", first, n_minor)
    _check_offsets(path, second, n_major, len(data))
    if len(first) != len(data):
        raise ValueError(f"{path}: {len(data)} data but {len(first)} indices")
    kind = csr_array if stored == "csr" else csc_array
    return csr_array(kind((data, first, second), shape=(n_rows, n_columns)))


def _format(arrays: dict[str, AnyArray]) -> str:
    stored = arrays.get("format")
    if stored is None:
        return "csr"
    value = stored.item() if stored.size == 1 else ""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _shape(path: Path, shape: AnyArray, stored: str, n_entries: int) -> tuple[int, int]:
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or shape.min() < 0:
        raise ValueError(f"{path}: shape is {shape}; wanted: two whole numbers >= 0")
    if shape[1] > MAX_WORDS:
        raise ValueError(f"{path}: {shape[1]} words; at most {MAX_WORDS} are possible")
    if stored != "csr" and shape[0] > 10 * n_entries + 10**6:
        raise ValueError(f"{path}: {shape[0]} documents but only {n_entries} entries")
    return int(shape[0]), int(shape[1])


def _check_numbers(path: Path, data: AnyArray, *indices: AnyArray) -> None:
    if data.ndim != 1 or data.dtype.kind not in "biuf":
        raise ValueError(f"{path}: data is {data.dtype} of {data.ndim} dimensions; wanted: numbers")
    if not proper(data):
        raise ValueError(f"{path}: counts (data) must be finite and >= 0")
    for array in indices:
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(f"{path}: indices are {array.dtype}; wanted: integers, one dimension")


def _check_range(path: Path, name: str, indices: AnyArray, stop: int) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= stop):
        at = int(np.argmax((indices < 0) | (indices >= stop)))
        raise ValueError(f"{path}: {name}[{at}] is {indices[at]}; allowed: 0 to {stop - 1}")


def _check_offsets(path: Path, indptr: AnyArray, n_major: int, n_entries: int) -> None:
    if len(indptr) != n_major + 1:
        raise ValueError(f"{path}: indptr has {len(indptr)} entries; wanted: {n_major + 1}")
    if indptr[0] != 0 or indptr[-1] != n_entries or np.any(indptr[1:] < indptr[:-1]):
        raise ValueError(f"{path}: indptr must increase from 0 to the {n_entries} entries of data")


class ArchiveSource:
    """Documents of .npz archives, read whole and returned in blocks."""

    names: list[str] | None = None
    fields: Mapping[str, list[object]] = MappingProxyType({})
    open_vocabulary = False
    reading: Mapping[str, object] = MappingProxyType({})

    def __init__(self, paths: list[Path], label: str, vocabulary: list[str] | None) -> None:
        self.label = label
        self.removed: list[str] = []
        self._paths = paths
        self._vocabulary = vocabulary
        self._n_words = -1
        self._numbers = ColumnNumbers()

    def blocks(self) -> Iterator[Counts]:
        """Yield CSR blocks."""
        for path in self._paths:
            matrix = csr_parts(path, load_arrays(path))
            self._check_words(path, matrix.shape)
            for begin in range(0, matrix.shape[0], BLOCK_DOCUMENTS):
                indptr = matrix.indptr[begin : begin + BLOCK_DOCUMENTS + 1]
                part = slice(indptr[0], indptr[-1])
                ids = self._numbers.ids(matrix.indices[part].astype(np.int64, copy=False))
                yield csr_block(indptr - indptr[0], ids, matrix.data[part], self._numbers.n_ids)

    def _check_words(self, path: Path, shape: tuple[int, int]) -> None:
        if self._n_words < 0:
            self._n_words = shape[1]
        if shape[1] != self._n_words:
            raise ValueError(f"{path}: {shape[1]} words, but {self._paths[0]} has {self._n_words}")
        if self._vocabulary is not None and len(self._vocabulary) != shape[1]:
            hint = ""
            if len(self._vocabulary) == shape[0]:
                hint = "; is the matrix transposed? Rows are documents, columns are words"
            raise ValueError(
                f"{path}: {shape[1]} words, but the vocabulary has {len(self._vocabulary)}{hint}"
            )

    def columns(self) -> Columns:
        """Return all columns in the order of the file."""
        return self._numbers.columns(0, max(self._n_words, 0), self._vocabulary)
