"""Check an installed wheel: ``python -I tests/check_wheel.py CHECKOUT``, from outside of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np


def check_files(checkout: Path, site: Path) -> None:
    """The wheel holds every module of the checkout, archives of kernels, and nothing else."""
    wanted = {"fastvi/py.typed"}
    for source, target in (("fastvi", "fastvi"), ("kernels", "fastvi/kernels")):
        for ending in ("py", "c", "h"):
            for path in (checkout / source).rglob(f"*.{ending}"):
                wanted.add(f"{target}/{path.relative_to(checkout / source).as_posix()}")
    files = metadata.files("fastvi") or []
    held = {
        file.as_posix()
        for file in files
        if file.parts[0] == "fastvi"
        and file.suffix != ".pyc"
        and (site / file).exists()
        and file not in archives(files)
    }
    assert held == wanted, f"missing {sorted(wanted - held)}, unexpected {sorted(held - wanted)}"
    strays = [str(file) for file in files if file.suffix in {".nbi", ".nbc"}]
    assert not strays, f"compiled kernels in the wheel: {strays}"


def archives(files: list[Any]) -> list[Any]:
    """Those of compiled kernels; wheels for any Python have none."""
    return [file for file in files if file.match("fastvi/kernels/_compiled/*.zip")]


def check_shipped(checkout: Path, site: Path) -> None:
    """Their sizes, and that no fit compiles anything."""
    found = [site / file for file in archives(metadata.files("fastvi") or [])]
    for path in found:
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
        assert path.stat().st_size < 10e6
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, checkout / "tests" / "small_fits.py", "--compiled"],
            env=os.environ | {"NUMBA_CACHE_DIR": folder}, cwd=folder, stdout=subprocess.PIPE,
            text=True, check=True,
        )  # fmt: skip
    fits = json.loads(done.stdout)
    del fits["density"]  # which compiles the user's code
    assert not any(compiled for _, compiled in fits.values()), fits


def check_fit(site: Path) -> None:
    import fastvi
    from fastvi import kernels

    for module in (fastvi, kernels):
        assert module.__file__ is not None
        assert Path(module.__file__).is_relative_to(site), f"imported from {module.__file__}"
    counts = np.random.default_rng(0).poisson(1.0, (20, 12))
    model = fastvi.LatentDirichletAllocation(n_components=3, random_state=0)
    proportions = model.fit_transform(counts)
    assert proportions.shape == (20, 3)
    np.testing.assert_allclose(proportions.sum(axis=1), 1.0, rtol=1e-5)


def check_command() -> None:
    command = Path(sysconfig.get_path("scripts")) / "fastvi"
    done = subprocess.run([command, "--help"], stdout=subprocess.PIPE, text=True, check=True)
    assert "lda" in done.stdout


if __name__ == "__main__":
    site_packages = Path(sysconfig.get_path("purelib"))
    check_files(Path(sys.argv[1]), site_packages)
    if archives(metadata.files("fastvi") or []):
        check_shipped(Path(sys.argv[1]), site_packages)
    check_fit(site_packages)
    check_command()
    print(f"fastvi {metadata.version('fastvi')} works from {site_packages}")
