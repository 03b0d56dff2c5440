"""Private cache folders, to which no other user can write."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["cache_folder", "user_folder"]


def user_folder() -> Path:
    """Return the user's cache folder for fastvi, which need not exist.

    Raises
    ------
    RuntimeError
        If the user has no home folder.
    """
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "fastvi"


def cache_folder(name: str) -> Path:
    """Return a folder to which only this user can write, creating it if necessary.

    It is in the user's cache folder. If that is not writable or belongs to somebody else, it is in
    the system's temporary folder; if that one belongs to somebody else too, it is a new folder.
    """
    for find in (user_folder, _shared_folder):
        try:
            folder = find()
            for place in (folder, folder / name):
                _make_private(place)
        except (OSError, RuntimeError):
            continue
        return folder / name
    folder = _new_folder()
    _make_private(folder / name)
    return folder / name


def _shared_folder() -> Path:
    user = os.getuid() if os.name == "posix" else "cache"
    return Path(tempfile.gettempdir()) / f"fastvi-of-{user}"


@cache
def _new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fastvi-cache-"))


def _make_private(folder: Path) -> None:
    """Make a folder, or check that it belongs to this user.

    Raises
    ------
    OSError
        If it belongs to another user, is a link, or cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if os.name == "posix":
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError(f"{folder} does not belong to this user")
        if found.st_mode & 0o077:
            folder.chmod(0o700)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written")
