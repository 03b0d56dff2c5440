"""Opening plain and gzipped files so that every failure names its file and place."""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

BLOCK_BYTES = 1 << 20
MAX_LINE = 1 << 26  # bytes of a line of numbers; a file of longer ones holds something else


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, unpacking it if it is gzipped."""
    with path.open("rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        if not packed:
            yield raw
            return
        try:
            with gzip.open(raw) as unpacked:
                yield cast(BinaryIO, unpacked)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: damaged or truncated gzip file ({error})") from None


@contextmanager
def open_text(path: Path, encoding: str, newline: str | None = None) -> Iterator[io.TextIOBase]:
    """Open a plain or gzipped text file; an undecodable byte becomes a ValueError."""
    with open_bytes(path) as file:
        try:
            with io.TextIOWrapper(file, encoding=_without_mark(encoding), newline=newline) as text:
                yield text
        except UnicodeError:
            raise ValueError(_undecodable(path, encoding)) from None


def _without_mark(encoding: str) -> str:
    """UTF-8 that skips the byte order mark Windows programs write."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _undecodable(path: Path, encoding: str) -> str:
    """Say where the first byte is that the encoding cannot read."""
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
    """Read a file with one word a line; lines are stripped, empty ones at the end dropped."""
    with open_text(existing(path), encoding) as file:
        words = [line.strip() for line in file]
    while words and not words[-1]:
        words.pop()
    return words


def line_blocks(path: Path, skip: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, whole lines of about 1 MB), after `skip` lines.

    The last block ends with a newline whether or not the file does.
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
    """Return the path, or say that there is nothing."""
    result = Path(path)
    if not result.exists():
        raise ValueError(f"{result}: no such file or folder")
    return result
