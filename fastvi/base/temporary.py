"""Temporary files and folders: named at random, locked while in use, removed when abandoned.

A killed process leaves them behind. The system then frees their locks, so the next process can tell
them from those in use.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Folder", "new_file", "put_in_place", "remove_dead_files", "remove_dead_folders"]

SUFFIX = ".tmp"
LOCK = "lock"


@contextmanager
def new_file(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Yield a new file beside `target`, open for writing and locked, and its name; removed on exit.

    The name cannot be predicted, and an existing file or link is neither followed nor overwritten.
    The name is known before the file exists, so that an interrupt at any moment leaves no file.
    """
    path = None
    try:
        while True:
            path = target.with_name(f"{target.name}.{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}")
            try:
                file = open(path, "xb")  # noqa: SIM115
            except FileExistsError:
                path = None
                continue
            with file:
                if _is_locked_for_us(file):
                    yield file, path
                    return
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def put_in_place(file: IO[bytes], path: Path, target: Path) -> None:
    """Give a file of `new_file` its final name, atomically."""
    if os.name == "nt":  # open files cannot be renamed; elsewhere the lock is kept until the end
        file.close()
    os.replace(path, target)


def remove_dead_files(target: Path) -> None:
    """Remove temporary files that killed processes left beside a file."""
    leftover = re.compile(re.escape(target.name) + r"\.\d+-[0-9a-f]{8}" + re.escape(SUFFIX))
    for path in target.parent.iterdir():
        if leftover.fullmatch(path.name):
            _remove_if_dead(path, path)


class Folder:
    """A temporary folder, removed by `close()`.

    Attributes
    ----------
    name : str
    """

    def __init__(self, parent: str | os.PathLike[str] | None, prefix: str) -> None:
        parent = Path(parent or tempfile.gettempdir())
        remove_dead_folders(parent, prefix)
        with ExitStack() as undo:  # the name is known before the folder exists
            while True:
                self.name = os.fspath(parent.absolute() / f"{prefix}{secrets.token_hex(8)}")
                undo.callback(shutil.rmtree, self.name, ignore_errors=True)
                os.mkdir(self.name, 0o700)
                self._lock = undo.enter_context(open(os.path.join(self.name, LOCK), "xb"))
                if _is_locked_for_us(self._lock):
                    break
            undo.pop_all()
        # Also at interpreter exit, and when the object is garbage collected.
        self.close = weakref.finalize(self, _remove_folder, self.name, self._lock)


def _remove_folder(name: str, lock: IO[bytes]) -> None:
    shutil.rmtree(name, ignore_errors=True)
    lock.close()


def remove_dead_folders(parent: Path, prefix: str) -> None:
    """Remove temporary folders that killed processes of this user left."""
    try:
        places = [place for place in os.scandir(parent) if place.name.startswith(prefix)]
    except OSError:
        return
    for place in places:
        if place.is_dir(follow_symlinks=False) and _is_mine(place):
            _remove_if_dead(Path(place.path, LOCK), Path(place.path))


def _is_mine(place: os.DirEntry[str]) -> bool:
    try:
        return os.name == "nt" or place.stat(follow_symlinks=False).st_uid == os.getuid()
    except OSError:
        return False


def _is_locked_for_us(file: IO[bytes]) -> bool:
    """Lock a new file; False if another process took it for abandoned and removed it meanwhile."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            return True  # a file system without locks, on which nothing counts as abandoned
        return os.fstat(file.fileno()).st_nlink > 0
    return True


def _remove_if_dead(lock: Path, path: Path) -> None:
    """Remove a file or folder if nobody holds its lock."""
    try:
        with open(os.open(lock, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_nlink == 0:
                    return
            if path == lock:
                path.unlink(missing_ok=True)
            else:
                shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return
