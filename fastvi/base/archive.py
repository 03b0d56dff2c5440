"""Model files and checkpoints: uncompressed `.npz` archives with a JSON header, without pickle.

A file holds ``header.json`` and one ``NAME.npy`` per array, so ``numpy.load`` and any zip tool can
open it. Files are not trusted: `load` checks everything before it allocates, and refuses what
`save` would not have written.
"""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from fastvi.base.temporary import new_file, put_in_place, remove_dead_files
from fastvi.base.typing import AnyArray, JsonObject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Blocks",
    "kind",
    "load",
    "pack_strings",
    "remove_leftovers",
    "replacing",
    "save",
    "unpack_strings",
]

FORMAT = "fastvi"
VERSION = 1
HEADER = "header.json"
MAX_HEADER_BYTES = 16 << 20
BLOCK_BYTES = 16 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*", re.ASCII)
_DISK_FULL = {errno.ENOSPC, errno.EFBIG} | {getattr(errno, "EDQUOT", errno.ENOSPC)}


class Blocks(NamedTuple):
    """An array given as consecutive blocks of rows, so that it need not exist as a whole."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Iterable[AnyArray]


def save(
    path: str | os.PathLike[str],
    kind: str,
    header: Mapping[str, object],
    arrays: Mapping[str, AnyArray | Blocks],
) -> None:
    """Write an archive atomically: `path` always holds all of the old file or all of the new.

    Parameters
    ----------
    path : path
        Replaced if it exists. The new file is written beside it first.
    kind : str
        Kind of file, such as ``"lda-model"``, which `load` checks.
    header : mapping
        Values that JSON can represent.
    arrays : mapping of str to array or Blocks
        Booleans, integers or floats of up to 64 bits.

    Raises
    ------
    OSError
        If the file cannot be written; on a full disk the message says how much space it needs.
    ValueError
        If a name, a dtype or the shape of a block is invalid.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "not a regular file, so it cannot be replaced", str(path))
    tables = {name: _as_blocks(name, array) for name, array in arrays.items()}
    top = {"format": FORMAT, "version": VERSION, "kind": kind, "arrays": list(tables)}
    text = json.dumps({**top, "header": dict(header)}).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(f"the header has {len(text)} bytes; wanted at most {MAX_HEADER_BYTES}")
    try:
        with new_file(target) as (file, temporary):
            _write_archive(file, text, tables)
            file.flush()
            os.fsync(file.fileno())
            put_in_place(file, temporary, target)
    except OSError as error:
        if error.errno in _DISK_FULL:
            n_bytes = len(text) + sum(_n_bytes(table) for table in tables.values())
            message = f"not enough space for this file, which needs {n_bytes} bytes"
            raise OSError(error.errno, message, str(path)) from None
        raise
    _sync_folder(target.parent)


def load(path: str | os.PathLike[str], kind: str) -> tuple[JsonObject, dict[str, AnyArray]]:
    """Read an archive that `save` wrote.

    Parameters
    ----------
    path : path
        The file.
    kind : str
        The kind it must have.

    Returns
    -------
    header : dict
    arrays : dict of str to array
        New arrays in C order.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged, of another kind or version, or contains anything that `save` does not
        write.
    """
    with open(path, "rb") as file:
        archive = _open_zip(file, path)
        with archive:
            members = _check_members(archive, os.fstat(file.fileno()).st_size, path)
            top = _read_header(archive, members.pop(HEADER, None), path)
            header = _check_header(top, kind, [name[:-4] for name in members], path)
            arrays = {name[:-4]: _read_array(archive, info, path) for name, info in members.items()}
    return header, {name: arrays[name] for name in top["arrays"]}


def kind(path: str | os.PathLike[str]) -> str | None:
    """Return the kind of archive that a file declares, or None if `save` did not write it.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            with _open_zip(file, path) as archive:
                members = _check_members(archive, os.fstat(file.fileno()).st_size, path)
                name = _read_header(archive, members.get(HEADER), path).get("kind")
        except ValueError:
            return None
    return name if isinstance(name, str) else None


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the name of a file to write, which replaces `path` if that succeeds.

    Raises
    ------
    OSError
        If writing fails; the error names `path`, and the old file is kept.
    """
    target = Path(os.path.realpath(path))
    try:
        with new_file(target) as (file, temporary):
            yield str(temporary)
            put_in_place(file, temporary, target)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove temporary files that killed processes left beside a file."""
    remove_dead_files(Path(os.path.realpath(path)))


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
        raise ValueError(f"{what}: the text is {_describe(buffer)}; wanted uint8 (n,)")
    if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) == 0:
        raise ValueError(f"{what}: the offsets are {_describe(offsets)}; wanted int64 (n,)")
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


def _describe(array: AnyArray) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _plain(dtype: np.dtype[Any]) -> bool:
    """Whether kernels can take it: boolean, integer or float of up to 64 bits, native order."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8 and dtype.isnative


def _n_bytes(table: Blocks) -> int:
    return math.prod(table.shape) * table.dtype.itemsize


# --- writing ----------------------------------------------------------------------------------


def _as_blocks(name: str, array: AnyArray | Blocks) -> Blocks:
    if not _NAME.fullmatch(name):
        raise ValueError(f"array name {name!r}: wanted letters, digits, '_' and single dots")
    if isinstance(array, Blocks):
        table = array._replace(dtype=np.dtype(array.dtype))
    else:
        table = Blocks(array.shape, array.dtype, _rows(array))
    if not _plain(table.dtype):
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


def _write_archive(file: IO[bytes], text: bytes, tables: Mapping[str, Blocks]) -> None:
    archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
    try:
        # A fixed date (the ZipInfo default), so that the same content gives the same bytes.
        archive.writestr(zipfile.ZipInfo(HEADER), text)
        for name, table in tables.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.file_size = _n_bytes(table) + 1024  # tells zipfile whether it needs 64 bits
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
                f"a block of array {name!r} is {_describe(block)}; "
                f"wanted {table.dtype} rows of an array of shape {table.shape}"
            )
        n_rows += len(block) if block.ndim else 0
        data = np.ascontiguousarray(block).reshape(-1).view(np.uint8)
        for begin in range(0, len(data), BLOCK_BYTES):
            member.write(data[begin : begin + BLOCK_BYTES].data)
    if table.shape and n_rows != table.shape[0]:
        raise ValueError(f"the blocks of array {name!r} hold {n_rows} of {table.shape[0]} rows")


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, if the system can sync a folder."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


# --- reading ----------------------------------------------------------------------------------


def _open_zip(file: IO[bytes], path: str | os.PathLike[str]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except Exception as error:  # zipfile raises many kinds of errors on damage
        raise ValueError(f"{path}: not a fastvi file, or cut short ({error})") from None


def _check_members(
    archive: zipfile.ZipFile, file_size: int, path: str | os.PathLike[str]
) -> dict[str, zipfile.ZipInfo]:
    """Return members by name, if they are what `save` writes and fit into the file."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        if name in members:
            raise ValueError(f"{path}: member {name!r} occurs twice")
        if name != HEADER and not (name.endswith(".npy") and _NAME.fullmatch(name[:-4])):
            raise ValueError(f"{path}: unexpected member {name!r}")
        stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        if not stored or info.flag_bits & 0x1:
            raise ValueError(f"{path}: member {name!r} is compressed or encrypted")
        members[name] = info
    total = sum(info.file_size for info in members.values())
    if total > file_size:
        raise ValueError(f"{path}: members of {total} bytes in a file of {file_size}")
    return members


def _read_header(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, path: str | os.PathLike[str]
) -> JsonObject:
    if info is None:
        raise ValueError(f"{path}: not a fastvi file ({HEADER} is missing)")
    if info.file_size > MAX_HEADER_BYTES:
        raise ValueError(
            f"{path}: {HEADER} has {info.file_size} bytes; wanted at most {MAX_HEADER_BYTES}"
        )
    try:
        top = json.loads(archive.read(info))
    except Exception as error:  # damage found by zipfile, or JSON that is invalid or too deep
        raise ValueError(f"{path}: {HEADER} cannot be read ({error})") from None
    if not isinstance(top, dict) or top.get("format") != FORMAT:
        raise ValueError(f"{path}: not a fastvi file ({HEADER} does not say so)")
    return top


def _check_header(
    top: JsonObject, kind: str, names: list[str], path: str | os.PathLike[str]
) -> JsonObject:
    version = top.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"{path}: format version {version!r}; this fastvi reads version {VERSION}")
    if top.get("kind") != kind:
        raise ValueError(f"{path}: holds {top.get('kind')!r}; wanted {kind!r}")
    declared, header = top.get("arrays"), top.get("header")
    if not isinstance(header, dict):
        raise ValueError(f"{path}: 'header' in {HEADER} is not a JSON object")
    if not isinstance(declared, list) or not all(isinstance(name, str) for name in declared):
        raise ValueError(f"{path}: 'arrays' in {HEADER} is not a list of names")
    if sorted(declared) != sorted(names):
        raise ValueError(f"{path}: holds the arrays {sorted(names)}, declares {sorted(declared)}")
    return header


def _read_array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str | os.PathLike[str]
) -> AnyArray:
    where = f"{path}: member {info.filename!r}"
    try:
        member = archive.open(info)
    except Exception as error:  # zipfile raises many kinds of errors on damage
        raise ValueError(f"{where} cannot be read ({error})") from None
    with member:
        shape, dtype = _read_npy_header(member, where)
        n_bytes = math.prod(shape) * dtype.itemsize
        rest = info.file_size - member.tell()
        if n_bytes != rest:
            raise ValueError(f"{where} declares {n_bytes} bytes of data and has {rest}")
        try:
            array = np.empty(shape, dtype)
        except (ValueError, OverflowError):  # sizes that no array can have, such as (0, 2**70)
            raise ValueError(f"{where} declares the shape {shape}") from None
        flat = array.reshape(-1).view(np.uint8)
        try:
            for begin in range(0, n_bytes, BLOCK_BYTES):
                part = flat[begin : begin + BLOCK_BYTES]
                part[:] = np.frombuffer(member.read(len(part)), np.uint8)
            member.read(1)  # zipfile compares checksums at the end
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
            raise ValueError(f"{where} is damaged ({error})") from None
    return array


def _read_npy_header(member: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # refuse NumPy's repair of Python 2 headers
            if npy.read_magic(member) != (1, 0):
                raise ValueError("npy version is not 1.0")
            shape, fortran_order, dtype = npy.read_array_header_1_0(member)
    except Exception as error:  # the header is a Python literal, which can fail in many ways
        raise ValueError(f"{where} has no npy header ({_first_line(error)})") from None
    if not _plain(dtype) or fortran_order:
        raise ValueError(
            f"{where} is {dtype}{' in Fortran order' if fortran_order else ''}; "
            "wanted booleans, integers or floats of up to 64 bits in native C order"
        )
    if any(n < 0 or isinstance(n, bool) for n in shape):
        raise ValueError(f"{where} declares the shape {shape}")
    return shape, dtype


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
