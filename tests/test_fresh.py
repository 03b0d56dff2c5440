"""Who compiled a kernel changes no bit: this process, an earlier one or one with other fits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from check_shipped import FITS, LEVEL, check
from numba.core.caching import NullCache

from fastvi.kernels._jit import KernelCache, kernel
from fastvi.kernels._shipped import LEVELS, features

RUNS = LEVELS[LEVEL] <= features()
pytestmark = pytest.mark.jit


@kernel
def rabbits(n):
    """Calls itself twice, so that it cannot be inlined."""
    if n < 2:
        return 1
    return rabbits(n - 1) + rabbits(n - 2)


@kernel
def pairs(n):
    return rabbits(n) + 1


@pytest.mark.skipif(KernelCache is None, reason="a version of Numba that was not tested")
def test_a_kernel_calls_its_own_copies_of_helpers():
    """Not one that another library of the process brings under the same name."""
    pairs._cache = NullCache()  # code that comes from the cache has nothing to look at
    assert pairs(5) == 9
    (compiled,) = pairs.overloads.values()
    linkage = {f.name: f.linkage.name for f in compiled.library.get_defined_functions()}
    copies = {kind for name, kind in linkage.items() if "rabbits" in name}
    assert copies == {"internal"}
    assert {kind for name, kind in linkage.items() if "pairs" in name} == {"external"}


@pytest.mark.slow
def test_every_fit_has_the_bits_of_one_with_cached_kernels(tmp_path):
    """And so in the reverse order, where other fits have loaded or compiled what is shared."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
    script = str(Path(__file__).with_name("small_fits.py"))
    found = []
    for order in ((), ("--reversed",)):
        done = subprocess.run(
            [sys.executable, script, *order],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.skipif(not RUNS, reason=f"no processor of {LEVEL}")
def test_every_fit_with_shipped_kernels_compiles_nothing_and_has_the_same_bits(tmp_path):
    check(FITS, tmp_path)
