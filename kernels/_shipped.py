"""Compiled kernels that come with the package, for a level of x86-64 instead of one processor.

One archive per level lies in the folder `_compiled` and is only read. It is used if it was made
from these source files by this Python and Numba, and entry by entry, each with a checksum. The
archives are made of caches that were filled with `NUMBA_CPU_NAME=LEVEL NUMBA_CPU_FEATURES=`.
"""

import functools
import hashlib
import io
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numba
from numba import config

from ._stamp import folder_stamp

FOLDER = Path(__file__).with_name("_compiled")
STAMP = "stamp.json"
V2 = {"crc32", "cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3"}
V3 = V2 | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"}
V4 = V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
LEVELS = {"x86-64-v4": V4, "x86-64-v3": V3, "x86-64-v2": V2}  # best first


def features():
    """Names of the processor's features that Numba compiles for, as far as they are known."""
    named = LEVELS | {"haswell": V3}
    if config.CPU_NAME in named and config.CPU_FEATURES == "":
        return named[config.CPU_NAME]
    if config.CPU_FEATURES is not None:
        return {name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+")}
    found = {name for name, has in llvm.get_host_cpu_features().items() if has}
    return found if config.ENABLE_AVX else {name for name in found if not name.startswith("avx")}


def stamp(level):
    """What all code of a level depends on."""
    return {
        "level": level,
        "platform": llvm.get_process_triple(),
        "Python": f"{sys.version_info[0]}.{sys.version_info[1]}{getattr(sys, 'abiflags', '')}",
        "Numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "source": folder_stamp(__package__),
    }


@functools.cache
def archive():
    """The archive for this processor and "", or None and why it is not used."""
    known = features()
    levels = [level for level, needed in LEVELS.items() if needed <= known]
    paths = [FOLDER / f"{level}.zip" for level in levels]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return None, ""
    if os.name == "posix" and any(p.stat().st_mode & 0o002 for p in (FOLDER, path)):
        return None, f"other users may write to {path}; "
    try:
        # In memory, because processes that fork share the position in a file.
        opened = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
        made_for = json.loads(opened.read(STAMP))
        wanted = stamp(path.stem)
        name = next((name for name in wanted if made_for[name] != wanted[name]), None)
    except Exception:  # damaged files can raise anything
        return None, f"{path} is damaged; "
    if name == "source":
        return None, "the kernels in the package were edited; "
    if name is not None:
        return None, f"the package has them for {name} {made_for[name]}, not {wanted[name]}; "
    return opened, ""


def entry(name, key):
    """Where an archive has the code of a kernel for a key."""
    return f"{name}/{hashlib.sha256(repr(key).encode()).hexdigest()}"


def load(name, key):
    """What the cache keeps of a kernel, from the archive; None if it is not there."""
    opened, _ = archive()
    try:
        *saved, data = pickle.loads(opened.read(entry(name, key)))
    except Exception:  # not there, no archive, or damaged
        return None
    return data if saved == [name, key] else None


def portable(key):
    """The key of a cache's entry (see `KernelCache`) without the processor."""
    (signature, _, code), *more = key
    return signature, code, *more


def pack(folder, level):
    """Make the archive of a level from a cache folder that was filled for it; its path."""
    entries = {}
    for index in Path(folder).rglob(f"{__package__}.*.nbi"):
        name = index.name.rsplit(".py", 1)[0]
        with open(index, "rb") as file:
            pickle.load(file)
            (sources, _), files = pickle.load(file)
        for key, data_name in files.items():
            if sources[1] != folder_stamp(__package__) or key[0][1][1:] != (level, ""):
                raise ValueError(f"{index} is of other sources or of another processor")
            *_, data = pickle.loads(index.with_name(data_name).read_bytes())
            where = entry(name, portable(key))
            assert where not in entries, where
            entries[where] = pickle.dumps((name, portable(key), data), protocol=4)
    entries[STAMP] = json.dumps(stamp(level)).encode()
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{level}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for where in sorted(entries):
            made.writestr(zipfile.ZipInfo(where), entries[where], zipfile.ZIP_DEFLATED)
    return path
