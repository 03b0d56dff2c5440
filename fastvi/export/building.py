"""Building the C library: kernels by Numba for each level, the rest by a C compiler."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fastvi.export.library import SONAME
from fastvi.export.objects import LEVELS, environment_of, levels_here
from fastvi.export.parts import PARTS
from fastvi.export.stamp import build_name

__all__ = ["build"]

SOURCES = Path(__file__).with_name("c")
FLAGS = ("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off")
PER_LEVEL = "matrix.c"
PKG_CONFIG = """prefix={prefix}
libdir=${{prefix}}/lib
includedir=${{prefix}}/include

Name: fastvi
Description: Predictions of models that fastvi fitted
Version: {version}
Cflags: -I${{includedir}}
Libs: -L${{libdir}} -lfastvi
Libs.private: -lm
"""


def build(
    out: Path,
    *,
    levels: Sequence[int] = (),
    parts: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> Path:
    """Build the library into a folder; the path of the shared one.

    Parameters
    ----------
    out : Path
        Gets ``lib/libfastvi.so``, ``lib/libfastvi.a``, ``lib/pkgconfig/fastvi.pc`` and
        ``include/fastvi.h``. Files of that name are replaced.
    levels : sequence of int
        2, 3 and 4 for x86-64-v2 to v4, by default all; 1 on other processors.
    parts : sequence of str
        Names in `catalogue.PARTS`; by default all.
    flags : sequence of str
        More options of the C compiler, which is `CC` of the environment or else ``cc``.

    Raises
    ------
    RuntimeError
        If there is no C compiler, or a step fails; the message says what it printed.
    """
    compiler = _compiler()
    levels, parts = list(levels) or levels_here(), tuple(parts or PARTS)
    with tempfile.TemporaryDirectory(prefix="fastvi-export-") as name:
        folder = Path(name)
        _kernels(folder, levels, parts)
        _generate(folder, levels, parts)
        objects = _compile(folder, levels, [*compiler, *FLAGS, *flags])
        objects += sorted(folder.glob("*.[1-4].o"))
        return _link(folder, out, objects, compiler)


def _compiler() -> list[str]:
    if not sys.platform.startswith("linux"):
        raise RuntimeError(f"the C library is built on Linux; this is {sys.platform}")
    words = shlex.split(os.environ.get("CC", "cc"))
    for program in (*words[:1], "ar"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program!r} is not there; wanted a C compiler (CC) and ar")
    return words


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    _finish(_start(*command, environment=environment))


def _start(
    *command: str | Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _finish(process: subprocess.Popen[str]) -> None:
    printed, _ = process.communicate()
    if process.returncode:
        first = shlex.join(map(str, process.args))  # type: ignore[arg-type]
        raise RuntimeError(f"{first} failed:\n{printed[-4000:]}")


def _kernels(folder: Path, levels: list[int], parts: tuple[str, ...]) -> None:
    """Compile kernels, each level in a process of its own, side by side."""
    command = sys.executable, "-m", "fastvi.export.objects"
    jobs = [
        _start(*command, str(level), folder, *parts, environment=environment_of(level))
        for level in levels
    ]
    try:
        for job in jobs:
            _finish(job)
    finally:
        for job in jobs:
            if job.poll() is None:
                job.kill()
                job.wait()


def _generate(folder: Path, levels: list[int], parts: tuple[str, ...]) -> None:
    """Write the sources that depend on what is built."""
    from fastvi.export.catalogue import entries
    from fastvi.export.declarations import header, tables

    built = [entry.name for entry in entries(parts)]
    (folder / "kernels.h").write_text(header(entries(), build_name()))
    (folder / "kernels.c").write_text(tables(entries(), built, levels))


def _compile(folder: Path, levels: list[int], compiler: list[str]) -> list[Path]:
    objects: list[Path] = []
    options: list[str | Path] = ["-I", SOURCES, "-I", folder, "-c"]
    for source in [*sorted(SOURCES.glob("*.c")), folder / "kernels.c"]:
        if source.name == PER_LEVEL:
            continue
        objects.append(folder / f"{source.stem}.o")
        _run(*compiler, *options, source, "-o", objects[-1])
    for level in levels:
        march = [f"-march={LEVELS[level]}"] if level in LEVELS else []
        for kind, suffix in (("double", ""), ("float", "_f32")):
            name = f"fv_product{suffix}_{level}"
            fast = ["-O3", "-ffp-contract=fast", f"-DFV_PRODUCT={name}", f"-DFV_NUMBER={kind}"]
            objects.append(folder / f"{name}.o")
            source = SOURCES / PER_LEVEL
            _run(*compiler, *options, *fast, *march, source, "-o", objects[-1])
    return objects


def _link(folder: Path, out: Path, objects: list[Path], compiler: list[str]) -> Path:
    """Link both libraries, and put all in its place."""
    shared, static = folder / SONAME, folder / "libfastvi.a"
    link = ["-shared", f"-Wl,-soname,{SONAME}", "-Wl,-z,noexecstack,-z,defs", "-s"]
    _run(*compiler, *link, "-o", shared, *objects, "-lm")
    _run("ar", "rcs", static, *objects)
    library, include = out.resolve() / "lib", out.resolve() / "include"
    for place in (library / "pkgconfig", include):
        place.mkdir(parents=True, exist_ok=True)
    version = build_name().split()[0]
    text = PKG_CONFIG.format(prefix=out.resolve(), version=version)
    (library / "pkgconfig" / "fastvi.pc").write_text(text)
    shutil.copyfile(SOURCES / "fastvi.h", include / "fastvi.h")
    shutil.copyfile(static, library / static.name)
    made = library / SONAME
    part = library / f".{SONAME}.{os.getpid()}"  # programs may have the old one open
    shutil.copyfile(shared, part)
    part.chmod(0o755)
    part.replace(made)
    link_name = library / "libfastvi.so"
    link_name.unlink(missing_ok=True)
    link_name.symlink_to(SONAME)
    return made
