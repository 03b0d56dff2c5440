"""Model files and checkpoints: uncompressed `.npz` archives with a JSON header, without pickle.

A file holds ``header.json`` and one ``NAME.npy`` per array, so ``numpy.load`` and any zip tool can
open it. Files are not trusted: `load` checks everything before it allocates, and refuses what
`save` would not have written.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fastvi.base.archive_format import FORMAT, HEADER, MAX_HEADER_BYTES, VERSION, Blocks
from fastvi.base.archive_reading import (
    check_header,
    check_members,
    open_zip,
    read_array,
    read_header,
)
from fastvi.base.archive_writing import as_blocks, write_archive
from fastvi.base.temporary import new_file, put_in_place, remove_dead_files
from fastvi.base.typing import AnyArray, JsonObject

__all__ = [
    "Blocks",
    "kind",
    "load",
    "remove_leftovers",
    "replacing",
    "save",
]

_DISK_FULL = {errno.ENOSPC, errno.EFBIG} | {getattr(errno, "EDQUOT", errno.ENOSPC)}


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
    tables = {name: as_blocks(name, array) for name, array in arrays.items()}
    top = {"format": FORMAT, "version": VERSION, "kind": kind, "arrays": list(tables)}
    text = json.dumps({**top, "header": dict(header)}).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(f"the header has {len(text)} bytes; wanted at most {MAX_HEADER_BYTES}")
    try:
        with new_file(target) as (file, temporary):
            write_archive(file, text, tables)
            file.flush()
            os.fsync(file.fileno())
            put_in_place(file, temporary, target)
    except OSError as error:
        if error.errno in _DISK_FULL:
            n_bytes = len(text) + sum(table.n_bytes for table in tables.values())
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
        archive = open_zip(file, path)
        with archive:
            members = check_members(archive, os.fstat(file.fileno()).st_size, path)
            top = read_header(archive, members.pop(HEADER, None), path)
            header = check_header(top, kind, [name[:-4] for name in members], path)
            arrays = {name[:-4]: read_array(archive, info, path) for name, info in members.items()}
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
            with open_zip(file, path) as archive:
                members = check_members(archive, os.fstat(file.fileno()).st_size, path)
                name = read_header(archive, members.get(HEADER), path).get("kind")
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
