"""The `kernel` decorator: its cache in new processes, and the rules about who imports what."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_site import KERNELS, RUN, Site

import fastvi

API = Path(fastvi.__file__).parent


@pytest.fixture
def site(tmp_path, forks):
    return Site(tmp_path, forks)


def test_a_second_process_hits_the_cache(site):
    """One that was not forked, so that its hashes of strings are others."""
    for hits in (0, 2):
        done = subprocess.run(
            [sys.executable, "-c", RUN, '["f8", "f4"]'],
            env=site.environment | {"PYTHONHASHSEED": str(hits)}, cwd=site.root.parent,
            capture_output=True, text=True,
        )  # fmt: skip
        assert (json.loads(done.stdout), done.stderr) == ([[12, 12], hits], "")


def test_an_edited_helper_is_noticed_and_the_cache_does_not_grow(site):
    assert site.totals("f8")[:2] == ([12], 0)
    files = site.files()
    caller = site.kernels / "caller.py"
    for factor, above in ((3, ""), (4, "# moves every line\n")):
        site.set_factor(factor)
        caller.write_text(above + caller.read_text())
        assert site.totals("f8") == ([6 * factor], 0, "")
        assert site.files() == files
    assert site.totals("f8") == ([24], 1, "")


def test_bounds_checks_are_not_passed_by_a_kernel_compiled_without(site):
    code = """
import numpy as np
from fastvi.kernels.caller import pick
try:
    pick(np.zeros(3), 3)
except IndexError:
    print("refused")
print(sum(pick.stats.cache_hits.values()))
"""
    for flag, said in (("0", "0\n"), ("1", "refused\n0\n"), ("0", "1\n"), ("1", "refused\n1\n")):
        assert site.finish(site.start(code, NUMBA_BOUNDSCHECK=flag))[0] == said


def test_nothing_writable_warns_once_and_goes_on(site, tmp_path):
    file = tmp_path / "file"
    file.touch()
    (site.kernels / "__pycache__").touch()  # a file: no folder can be made there, even by root
    nowhere = str(file / "folder")
    places = {"NUMBA_CACHE_DIR": nowhere, "HOME": nowhere, "XDG_CACHE_HOME": nowhere}
    values, hits, err = site.totals("f8", LOCALAPPDATA=nowhere, **places)
    assert (values, hits) == ([12], 0)
    assert err.count("RuntimeWarning") == 1
    assert "NUMBA_CACHE_DIR" in err


def test_the_first_compile_is_logged_once(site):
    """And kernels that come from the cache are not."""
    log = "import logging\nlogging.basicConfig(level='INFO', format='%(name)s: %(message)s')\n"
    for said in (1, 0):
        _, err = site.finish(site.start(log + RUN, '["f8", "f4"]'))
        assert err.count("\n") == said
        if said:
            assert err.startswith("fastvi.kernels: compiling kernels for this machine")
            assert str(site.cache) in err
    _, err = site.finish(site.start(RUN, '["i8"]'))  # without a log that is shown
    assert err == ""


def test_a_full_disk_warns_and_goes_on(site):
    full = """
from numba.core.caching import IndexDataCacheFile
def refuse(self, *arguments):
    raise OSError(28, "No space left on device")
IndexDataCacheFile._save_data = refuse
"""
    out, err = site.finish(site.start(full + RUN, '["f8"]'))
    assert json.loads(out) == [[12], 0]
    assert "No space left on device" in err
    assert site.totals("f8") == ([12], 0, "")  # the index names a file that was never written
    assert site.totals("f8") == ([12], 1, "")


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage", [(0.5,), pytest.param((0, None), marks=pytest.mark.slow)], ids=["cut", "none of it"]
)
def test_damaged_files_are_replaced(site, suffix, damage):
    site.totals("f8")
    for keep in damage:
        for path in site.cache.rglob(f"*{suffix}"):
            content = path.read_bytes()
            path.write_bytes(b"garbage" if keep is None else content[: int(keep * len(content))])
        assert site.totals("f8") == ([12], 0, "")
    assert site.totals("f8") == ([12], 1, "")


def test_data_of_another_signature_or_stamp_is_refused(site):
    site.totals("f8", "i4")
    first, second = sorted(site.cache.rglob("*total*.nbc"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert site.totals("f8", "i4") == ([12, 12], 0, "")
    old = {path: path.read_bytes() for path in site.cache.rglob("*.nbc")}
    site.set_factor(5)
    assert site.totals("f8", "i4") == ([30, 30], 0, "")
    for path, content in old.items():  # as if an older process had written its data last
        path.write_bytes(content)
    assert site.totals("f8", "i4") == ([30, 30], 0, "")
    assert site.totals("f8", "i4") == ([30, 30], 2, "")


def test_processes_that_compile_at_once_leave_a_working_cache(site):
    orders = [["f8", "i8"], ["i8", "f8"], ["f8"]]
    processes = [site.start(RUN, json.dumps(kinds)) for kinds in orders]
    for process in processes:
        out, err = site.finish(process)
        assert set(json.loads(out)[0]) == {12}
        assert err == ""
    assert site.totals("f8", "i8")[0] == [12, 12]
    assert site.totals("f8", "i8") == ([12, 12], 2, "")


def test_an_untested_numba_gets_its_own_cache_and_one_warning(site):
    newer = "import numba\nnumba.version_info = numba.version_info._replace(short=(0, 999))\n"
    for hits in (0, 1):
        out, err = site.finish(site.start(newer + RUN, '["f8"]'))
        assert json.loads(out) == [[12], hits]
        assert err.count("RuntimeWarning") == 1


def test_jit_off_gives_the_plain_function(site):
    code = "from fastvi.kernels import caller; print(type(caller.total).__name__)"
    assert site.finish(site.start(code, NUMBA_DISABLE_JIT="1"))[0] == "function\n"


def test_top_level_kernels_is_refused(site):
    shutil.copytree(site.kernels, site.root / "kernels")
    code, _, err = site.forks.finish(site.start("import kernels"))
    assert code == 1
    assert "import these kernels as fastvi.kernels" in err


def imported_modules(tree):
    """Absolute names of the modules a file imports; relative ones keep their dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", sorted(KERNELS.rglob("*.py")), ids=lambda p: p.name)
def test_kernels_import_numba_numpy_and_each_other(path):
    for name in imported_modules(ast.parse(path.read_text(encoding="utf-8"))):
        assert not name.startswith(".."), name
        top = name.split(".")[0]
        ours = ("", "numba", "numpy", "llvmlite")  # the last comes with Numba, for its intrinsics
        if path.name == "_scipy.py":  # which teaches Numba functions of SciPy
            ours = (*ours, "scipy")
        assert top in ours or top in sys.stdlib_module_names, name


def test_nothing_outside_the_kernels_compiles():
    compilers = {"jit", "njit", "vectorize", "guvectorize", "cfunc", "stencil", "jitclass"}
    files = [path for path in API.rglob("*.py") if not path.is_relative_to(KERNELS)]
    assert files
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba"):
                assert not compilers & {alias.name for alias in node.names}, path
            if isinstance(node, ast.Attribute) and node.attr in compilers:
                assert not ast.unparse(node.value).startswith("numba"), path
