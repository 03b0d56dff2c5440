"""Kernels that come compiled with the package: when they are used, and when they are not."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from numba.core.codegen import get_host_cpu_features
from tiny_site import RUN, Site

from fastvi.kernels._shipped import LEVELS, STAMP

LEVEL = "x86-64-v2"
LOG = "import logging\nlogging.basicConfig(level='INFO', format='%(message)s')\n"
PACK = f"from fastvi.kernels._shipped import pack; pack(__import__('sys').argv[1], {LEVEL!r})"

HOST = {name[1:] for name in get_host_cpu_features().split(",") if name[0] == "+"}

pytestmark = [
    pytest.mark.jit,
    pytest.mark.skipif(not LEVELS[LEVEL] <= HOST, reason=f"no processor of {LEVEL}"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory, forks):
    """A package in which `total` of float64 is compiled for a level."""
    site = Site(tmp_path_factory.mktemp("made"), forks)
    environment = site.environment | {"NUMBA_CPU_NAME": LEVEL, "NUMBA_CPU_FEATURES": ""}
    for program in (RUN, PACK):
        argument = '["f8"]' if program == RUN else str(site.cache)
        command = [sys.executable, "-c", program, argument]
        subprocess.run(command, env=environment, cwd=site.root, check=True)
    return site


@pytest.fixture
def site(made, tmp_path, forks):
    """A copy elsewhere, with other times, an empty cache and a package that is only read."""
    site = Site(tmp_path, forks)
    for path in made.kernels.rglob("*.*"):
        if path.is_file():
            place = site.kernels / path.relative_to(made.kernels)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, place)
            place.chmod(0o444)
    yield site
    for path in site.kernels.rglob("*"):
        path.chmod(0o755)


def archive(site):
    return site.kernels / "_compiled" / f"{LEVEL}.zip"


def logged(site, *kinds, **environment):
    """As `Site.totals`, with the log."""
    out, err = site.finish(site.start(LOG + RUN, json.dumps(kinds), **environment))
    return *json.loads(out), err.splitlines()


def rewritten(site, change):
    """Apply a function to the contents of the archive, a dictionary of bytes."""
    with zipfile.ZipFile(archive(site)) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    change(contents)
    archive(site).chmod(0o644)
    with zipfile.ZipFile(archive(site), "w") as new:
        for name, content in contents.items():
            new.writestr(name, content)


def test_nothing_is_compiled_or_kept(site):
    assert logged(site, "f8") == ([12], 1, [])
    assert site.files() == []


def test_another_processor_of_the_level(site):
    """One of which Numba knows another name and other features."""
    features = ",".join(f"+{name}" for name in LEVELS[LEVEL])
    done = subprocess.run(
        [sys.executable, "-c", LOG + RUN, '["f8"]'],
        cwd=site.root, check=True, capture_output=True, text=True,
        env=site.environment | {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": features},
    )  # fmt: skip
    assert (json.loads(done.stdout), done.stderr) == ([[12], 1], "")


def test_other_types_and_lesser_processors_compile(site):
    assert logged(site, "f4")[:2] == ([12], 0)
    assert logged(site, "f8", NUMBA_CPU_NAME="core2", NUMBA_CPU_FEATURES="+sse3")[:2] == ([12], 0)
    assert site.totals("f8", NUMBA_BOUNDSCHECK="1")[:2] == ([12], 0)


def test_no_place_to_write_does_not_matter(site, tmp_path):
    file = tmp_path / "file"
    file.touch()
    (site.kernels / "__pycache__").touch()
    nowhere = str(file / "folder")
    places = {"NUMBA_CACHE_DIR": nowhere, "HOME": nowhere, "XDG_CACHE_HOME": nowhere}
    assert logged(site, "f8", **places) == ([12], 1, [])


@pytest.mark.parametrize("name", ["Python", "Numba", "llvmlite", "platform"])
def test_of_other_versions_is_said_and_not_used(site, name):
    def change(contents):
        stamp = json.loads(contents[STAMP]) | {name: "0.1"}
        contents[STAMP] = json.dumps(stamp).encode()

    rewritten(site, change)
    value, hits, log = logged(site, "f8", "i4")
    assert (value, hits) == ([12, 12], 0)
    assert len(log) == 1
    assert log[0].startswith(f"the package has them for {name} 0.1, not ")
    assert "compiling kernels" in log[0]
    assert logged(site, "f8") == ([12], 1, [])  # which were kept


def test_an_edited_kernel_is_noticed(site):
    helper = site.kernels / "helper.py"
    helper.chmod(0o644)
    stat = helper.stat()
    site.set_factor(3)
    os.utime(helper, (stat.st_atime, stat.st_mtime))
    value, hits, log = logged(site, "f8")
    assert (value, hits) == ([18], 0)
    assert len(log) == 1
    assert log[0].startswith("the kernels in the package were edited")


@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_a_damaged_file_is_compiled(site, where):
    content = bytearray(archive(site).read_bytes())
    content[int(where * len(content))] ^= 255
    archive(site).chmod(0o644)
    archive(site).write_bytes(content)
    value, hits, log = logged(site, "f8")
    assert (value, hits, len(log)) == ([12], 0, 1)
    archive(site).write_bytes(content[: len(content) // 2])
    assert logged(site, "f8") == ([12], 1, [])  # kept


def test_code_of_another_kernel_is_refused(site):
    def change(contents):
        (name,) = (name for name in contents if "total/" in name)
        contents[name] = contents[name].replace(b"caller.total", b"caller.tutal", 1)

    rewritten(site, change)
    assert logged(site, "f8")[:2] == ([12], 0)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("path", ["_compiled", f"_compiled/{LEVEL}.zip"])
def test_what_other_users_may_write_to_is_not_read(site, path):
    (site.kernels / path).chmod(0o777)
    value, hits, log = logged(site, "f8")
    assert (value, hits, len(log)) == ([12], 0, 1)
    assert log[0].startswith("other users may write to ")


def test_the_cache_that_is_packed_must_be_of_the_level(site):
    site.totals("i4")
    code, _, err = site.forks.finish(site.start(PACK, str(site.cache)))
    assert code == 1
    assert "of another processor" in err


def test_levels_contain_each_other():
    names = list(LEVELS)
    assert all(LEVELS[low] < LEVELS[high] for high, low in itertools.pairwise(names))
