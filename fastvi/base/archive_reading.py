"""Reading members of an archive that is not trusted: all is checked before memory is taken."""

from __future__ import annotations

import json
import math
import os
import warnings
import zipfile
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from fastvi.base.archive_format import (
    BLOCK_BYTES,
    FORMAT,
    HEADER,
    MAX_HEADER_BYTES,
    NAME,
    VERSION,
    is_plain,
)
from fastvi.base.typing import AnyArray, JsonObject


def open_zip(file: IO[bytes], path: str | os.PathLike[str]) -> zipfile.ZipFile:
    """Open a zip file; ValueError if it is not one."""
    try:
        return zipfile.ZipFile(file)
    except Exception as error:  # zipfile raises many kinds of errors on damage
        raise ValueError(f"{path}: not a fastvi file, or cut short ({error})") from None


def check_members(
    archive: zipfile.ZipFile, file_size: int, path: str | os.PathLike[str]
) -> dict[str, zipfile.ZipInfo]:
    """Return members by name, if they are what `save` writes and fit into the file."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        if name in members:
            raise ValueError(f"{path}: member {name!r} occurs twice")
        if name != HEADER and not (name.endswith(".npy") and NAME.fullmatch(name[:-4])):
            raise ValueError(f"{path}: unexpected member {name!r}")
        stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        if not stored or info.flag_bits & 0x1:
            raise ValueError(f"{path}: member {name!r} is compressed or encrypted")
        members[name] = info
    total = sum(info.file_size for info in members.values())
    if total > file_size:
        raise ValueError(f"{path}: members of {total} bytes in a file of {file_size}")
    return members


def read_header(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, path: str | os.PathLike[str]
) -> JsonObject:
    """Read the JSON of the archive's header."""
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


def check_header(
    top: JsonObject, kind: str, names: list[str], path: str | os.PathLike[str]
) -> JsonObject:
    """Check version, kind and names of arrays; return the rest of the header."""
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


def read_array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str | os.PathLike[str]
) -> AnyArray:
    """Read an array; ValueError if its size, dtype or checksum is wrong."""
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
    if not is_plain(dtype) or fortran_order:
        raise ValueError(
            f"{where} is {dtype}{' in Fortran order' if fortran_order else ''}; "
            "wanted booleans, integers or floats of up to 64 bits in native C order"
        )
    if any(n < 0 or isinstance(n, bool) for n in shape):
        raise ValueError(f"{where} declares the shape {shape}")
    return shape, dtype


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
