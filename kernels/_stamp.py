"""A hash of the source files of a folder of this package; imports nothing heavy."""

import functools
import hashlib
import importlib.resources


@functools.cache
def folder_stamp(package):
    """Hash of the source files of one folder of this package, whose functions call one another."""
    digest = hashlib.sha256()
    files = importlib.resources.files(package).iterdir()
    for file in sorted((f for f in files if f.name.endswith(".py")), key=lambda f: f.name):
        content = file.read_bytes()
        digest.update(f"\0{file.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
