"""Fits with kernels that come compiled: ``python tests/check_shipped.py [NAME ...]``.

Fresh, cached and shipped kernels of a level give the same bits, and a fit with shipped ones
compiles nothing: in a read-only package that was moved and has other file times, with an empty
cache, on a processor that has another name. The names are those of ``small_fits.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import small_fits

import fastvi.kernels
from fastvi.kernels._shipped import LEVELS

LEVEL = "x86-64-v3"
COMPILED_FOR = {"NUMBA_CPU_NAME": LEVEL, "NUMBA_CPU_FEATURES": ""}
PROCESSOR = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": ",".join(f"+{name}" for name in sorted(LEVELS[LEVEL])),
}
FITS = [name for name in small_fits.FITS if name != "density"]  # which compiles the user's code


def copy_package(site: Path) -> None:
    """Copy the sources of the package that is imported here."""
    only = shutil.ignore_patterns("__pycache__", "_compiled")
    for package in (fastvi, fastvi.kernels):
        assert package.__file__ is not None
        source = Path(package.__file__).parent
        shutil.copytree(source, site.joinpath(*package.__name__.split(".")), ignore=only,
                        dirs_exist_ok=True)  # fmt: skip


def run(site: Path, cache: Path, processor: dict[str, str], *arguments: str) -> str:
    environment = os.environ | processor | {"PYTHONPATH": str(site), "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run(
        [sys.executable, "-B", *arguments], env=environment, cwd=site, stdout=subprocess.PIPE,
        text=True, check=True,
    ).stdout  # fmt: skip


def fits(site: Path, cache: Path, processor: dict[str, str], names: list[str]) -> Any:
    found = json.loads(run(site, cache, processor, small_fits.__file__, "--compiled", *names))
    return [{name: found[name][part] for name in names} for part in (0, 1)]


def check(names: list[str], folder: Path) -> None:
    made, moved, cache, empty = (folder / name for name in ("made", "moved", "cache", "empty"))
    copy_package(made)
    fresh, compiled = fits(made, cache, COMPILED_FOR, names)
    assert any(compiled.values())
    cached, compiled = fits(made, cache, COMPILED_FOR, names)
    assert not any(compiled.values()), compiled
    pack = f"from fastvi.kernels import _shipped; _shipped.pack({str(cache)!r}, {LEVEL!r})"
    run(made, cache, COMPILED_FOR, "-c", pack)
    made.rename(moved)
    for path in moved.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o555 if path.is_dir() else 0o444)
    shipped, compiled = fits(moved, empty, PROCESSOR, names)
    for path in moved.rglob("*"):
        path.chmod(0o755)
    assert not any(compiled.values()), compiled
    assert not [path for path in empty.rglob("*") if path.is_file()]
    assert fresh == cached == shipped, [fresh, cached, shipped]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        check(sys.argv[1:] or FITS, Path(folder))
    print(f"Shipped kernels of {LEVEL} compile nothing and give the same bits")
