"""Plain and compressed files, with errors that name the file and the position."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

BLOCK_BYTES = 1 << 20
MAX_LINE = 1 << 26  # bytes per line of numbers; a file with longer lines holds something else


# Kinds of files without readable text, by their first bytes.
_OTHER_KINDS = {
    b"%PDF-": "a PDF file; extract its text first",
    b"PAR1": "a Parquet file; write it as CSV or JSON lines",
    b"ARROW1": "an Arrow file; write it as CSV or JSON lines",
    b"FEA1": "a Feather file; write it as CSV or JSON lines",
    b"ORC": "an ORC file; write it as CSV or JSON lines",
    b"Obj\x01": "an Avro file; write it as CSV or JSON lines",
    b"SQLite format 3\0": "an SQLite database; write it as CSV or JSON lines",
    b"\x89HDF\r\n": "an HDF5 file; write it as npz",
    b"\x93NUMPY": "an npy file of a single array; write a CSR matrix as npz",
    b"\xd0\xcf\x11\xe0": "an old Office document; save it as text or CSV",
    b"{\\rtf": "an RTF document; save it as text",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first",
    b"\x04\x22\x4d\x18": "compressed with lz4; unpack it first",
    b"\x1f\x9d": "compressed with compress; unpack it first",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"\x7fELF": "a program",
    **dict.fromkeys(
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a Python pickle, which can run code and is never opened; write it as text or npz",
    ),
}
_PACKED: dict[bytes, tuple[str, Callable[[Any], Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
}
ZIP = b"PK\x03\x04"


def packed_with(head: bytes) -> str | None:
    """Return how a file that begins with these bytes is compressed."""
    return next((name for magic, (name, _) in _PACKED.items() if head.startswith(magic)), None)


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, unpacking gzip, bzip2, xz or zip.

    Kinds of files without text are refused by name.
    """
    with path.open("rb") as raw:
        head = raw.peek(512)[:512]
        _refuse_other_kinds(path, head)
        if head.startswith(ZIP):
            with _only_member(path, raw) as unpacked:
                yield unpacked
            return
        packed = packed_with(head)
        if packed is None:
            yield raw
            return
        opener = next(opener for name, opener in _PACKED.values() if name == packed)
        try:
            with opener(raw) as unpacked:
                yield cast(BinaryIO, unpacked)
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise ValueError(f"{path}: damaged or truncated {packed} file ({error})") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise ValueError(f"{path}: damaged or truncated {packed} file ({error})") from None


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    if head[257:262] == b"ustar":
        raise ValueError(f"{path}: a tar archive; unpack it first")
    for magic, kind in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise ValueError(f"{path}: {kind}")


@contextmanager
def _only_member(path: Path, raw: BinaryIO) -> Iterator[BinaryIO]:
    """Open the one file that a zip archive holds."""
    try:
        with zipfile.ZipFile(raw) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            names = {info.filename for info in members}
            if "[Content_Types].xml" in names or "content.xml" in names:
                raise ValueError(f"{path}: an Office document; save it as text or CSV")
            if len(members) != 1:
                raise ValueError(f"{path}: a zip archive of {len(members)} files; unpack it first")
            with archive.open(members[0]) as unpacked:
                yield cast(BinaryIO, unpacked)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: damaged, encrypted or truncated zip file ({error})") from None


@contextmanager
def open_text(path: Path, encoding: str, newline: str | None = None) -> Iterator[io.TextIOBase]:
    """Open a plain or compressed text file; an undecodable byte becomes a ValueError."""
    with open_bytes(path) as file:
        try:
            with io.TextIOWrapper(file, encoding=_without_mark(encoding), newline=newline) as text:
                yield text
        except UnicodeError:
            raise ValueError(_undecodable(path, encoding)) from None


def _without_mark(encoding: str) -> str:
    """Make UTF-8 skip the byte order mark that Windows programs write."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _undecodable(path: Path, encoding: str) -> str:
    """Make an error that locates the first byte that the encoding cannot read."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line = 0, 1
    with open_bytes(path) as file:
        while True:
            chunk = file.read(BLOCK_BYTES)
            pending = decoder.getstate()[0]
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                offset += error.start - len(pending)
                line += error.object[: error.start].decode(encoding, "ignore").count("\n")
                break
            except UnicodeError:
                break
            if not chunk:
                break
            offset += len(chunk)
    return (
        f"{path}, line {line} (byte {offset}): not {encoding} text; give the file's encoding, "
        "for example encoding='latin-1' or 'utf-16'"
    )


def read_words(path: str | os.PathLike[str], encoding: str) -> list[str]:
    """Read a file with one word per line; lines are stripped, and empty ones at the end dropped."""
    with open_text(existing(path), encoding) as file:
        words = [line.strip() for line in file]
    while words and not words[-1]:
        words.pop()
    return words


def line_blocks(path: Path, skip: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, whole lines of about 1 MB), after `skip` lines.

    The last block ends with a newline even if the file does not.
    """
    with open_bytes(path) as file:
        for _ in range(skip):
            file.readline()
        number, pending = skip + 1, bytearray()
        while chunk := file.read(BLOCK_BYTES):
            cut = chunk.rfind(b"\n") + 1
            if not cut:
                pending += chunk
                if len(pending) > MAX_LINE:
                    raise ValueError(f"{path}, line {number}: longer than {MAX_LINE} bytes")
                continue
            block = bytes(pending) + chunk[:cut]
            pending = bytearray(chunk[cut:])
            yield number, block
            number += block.count(b"\n")
        if pending:
            yield number, bytes(pending) + b"\n"


def existing(path: str | os.PathLike[str]) -> Path:
    """Return the path, or raise an error if nothing is there."""
    result = Path(path)
    if not result.exists():
        raise ValueError(f"{result}: no such file or folder")
    return result
