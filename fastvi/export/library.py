"""The C library from Python: where it is, and its functions."""

from __future__ import annotations

import ctypes
import functools
import os
import stat
import sys
from pathlib import Path
from typing import Any

from fastvi.export.stamp import build_name

__all__ = ["SONAME", "Model", "folder", "library"]

SONAME = "libfastvi.so.0"  # changes when programs must be compiled again
VARIABLE = "FASTVI_LIBRARY"  # names a library, or if empty says to use none
TOPICS, LOGISTIC, CHAIN = 1, 3, 4  # of `fastvi_kind`
DOCUMENTS = 10
SIGNATURES = {
    "build": "p", "kind": "ip", "n_features": "lp", "n_outputs": "lp", "number_size": "ip",
    "open": "ipp", "close": "vp", "message": "pi",
    "topics_f32": "iplpppp", "topics_f64": "iplpppp", "logistic": "iplpp",
    "filter": "iplpppp",
}  # fmt: skip
KINDS = {"p": ctypes.c_void_p, "i": ctypes.c_int32, "l": ctypes.c_int64, "v": None}


def folder() -> Path:
    """Where ``python -m fastvi.export --install`` puts the library of this version."""
    from fastvi.base.caches import user_folder

    return user_folder() / "library" / build_name().split()[1]


def _is_private(path: Path) -> bool:
    """Whether no other user can have written it."""
    found = path.stat()
    return found.st_uid in (0, os.getuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _candidates() -> list[Path]:
    named = os.environ.get(VARIABLE)
    if named is not None:
        return [Path(named)] if named else []
    import fastvi.kernels

    shipped = Path(fastvi.kernels.__file__).with_name("_compiled") / SONAME
    try:
        installed = folder() / "lib" / SONAME
    except RuntimeError:  # no home
        return [shipped]
    return [shipped, installed]


@functools.cache
def library() -> Any:
    """The library, if there is one that was built from these sources and only its owner may write
    to it; None otherwise.
    """
    if not sys.platform.startswith("linux"):
        return None
    for path in _candidates():
        try:
            if not _is_private(path):
                continue
            found = ctypes.CDLL(str(path))
        except OSError:  # not there, or of another platform
            continue
        for name, kinds in SIGNATURES.items():
            function = getattr(found, f"fastvi_{name}", None)
            if function is None:
                break
            function.restype, *function.argtypes = (KINDS[kind] for kind in kinds)
        else:
            if ctypes.string_at(found.fastvi_build()).decode() == build_name():
                return found
    return None


class Model:
    """A model that the library has read, for as long as this object lives."""

    def __init__(self, functions: Any, address: int) -> None:
        self.functions, self.address = functions, address
        self.kind = functions.fastvi_kind(address)
        self.n_features = functions.fastvi_n_features(address)
        self.n_outputs = functions.fastvi_n_outputs(address)

    @classmethod
    def open(cls, path: str) -> Model | None:
        """Read a file; None if there is no library, or it does not read this one."""
        functions = library()
        if functions is None:
            return None
        place = ctypes.c_void_p()
        code = functions.fastvi_open(os.fsencode(path), ctypes.byref(place))
        return None if code or place.value is None else cls(functions, place.value)

    def __del__(self) -> None:
        self.functions.fastvi_close(self.address)

    def call(self, name: str, *arguments: Any) -> int:
        """Call a function of the model; its code. Numbers and addresses are integers."""
        code: int = getattr(self.functions, f"fastvi_{name}")(self.address, *arguments)
        return code

    def message(self, code: int) -> str:
        """What a code means."""
        return ctypes.string_at(self.functions.fastvi_message(code)).decode()
