"""A hash of the source files of a folder of this package; imports nothing heavy."""

import functools
import hashlib
import sys
from pathlib import Path


@functools.cache
def folder_stamp(package):
    """Hash of the source files of one folder of this package, whose functions call one another."""
    digest = hashlib.sha256()
    folder = Path(sys.modules[package].__file__).parent
    for path in sorted(folder.glob("*.py"), key=lambda path: path.name):
        content = path.read_bytes()
        digest.update(f"\0{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
