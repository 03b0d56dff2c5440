"""Build a release from a checkout: python .ci/wheels.py FOLDER.

That is the sdist, the wheel without compiled kernels, which any Python may install, and the wheel
of this Python and platform with kernels for every level of x86-64 that this processor runs,
compiled by the Numba that wheels.txt names.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent.resolve()
SHOW = "from fastvi.kernels._shipped import LEVELS, features as f; "
SHOW += "print(*(level for level in LEVELS if LEVELS[level] <= f()))"


def copy_checkout(folder):
    """Copy tracked files and new ones, not the ignored ones."""
    listed = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listed, text=True).split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def environment_with(folder, *packages):
    """Make an environment; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


def platform():
    """The platform's tag; the code calls nothing that depends on the version of libc."""
    name = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return name.replace("linux", "manylinux_2_17")


def main(out):
    """Build, and check the wheel that has compiled kernels."""
    out = Path(out).resolve()
    with tempfile.TemporaryDirectory() as folder:
        source, pinned = Path(folder, "source"), ROOT / ".ci" / "wheels.txt"
        copy_checkout(source)
        python = environment_with(Path(folder, "build"), "build", "-r", pinned, "-e", source)
        build = [python, "-m", "build", "-q", "--outdir", out]
        subprocess.run([*build, source], check=True)
        levels = subprocess.check_output([python, "-c", SHOW], text=True).split()
        print("levels of this processor:", *levels or ["none, so no kernels are compiled"])
        for level in levels:
            subprocess.run([python, source / ".ci" / "ship.py", level], check=True)
        if not levels:
            return
        tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        options = [f"--python-tag={tag}", f"--plat-name={platform()}"]
        options = [f"--config-setting=--build-option={option}" for option in options]
        subprocess.run([*build, "--wheel", *options, source], check=True)
        (wheel,) = out.glob(f"*-{tag}-*.whl")
        python = environment_with(Path(folder, "test"), "-r", pinned, wheel)
        check = [python, "-I", source / "tests" / "check_wheel.py", source]
        subprocess.run(check, cwd=folder, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
