"""The name of a build: libraries made from other sources are not used by Python."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import fastvi
from fastvi.kernels._stamp import folder_stamp

__all__ = ["build_name"]


@functools.cache
def build_name() -> str:
    """Version of fastvi, and a hash of the kernels and of the C sources."""
    digest = hashlib.sha256(folder_stamp("fastvi.kernels").encode())
    for folder in (Path(__file__).parent, Path(__file__).with_name("c")):
        for path in sorted(folder.glob("*.*")):
            content = path.read_bytes()
            digest.update(f"\0{path.name}\0{len(content)}\0".encode() + content)
    return f"{fastvi.__version__} {digest.hexdigest()[:32]}"
