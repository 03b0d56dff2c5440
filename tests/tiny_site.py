"""A tiny fastvi with three kernels, and processes that run it."""

import json
import os
import shutil
from pathlib import Path

import fastvi.kernels

KERNELS = Path(fastvi.kernels.__file__).parent
MACHINERY = [
    f"{name}.py"
    for name in ("__init__", "_jit", "_cache", "_fingerprint", "_linkage", "_shipped", "_stamp")
]
HELPER = """from ._jit import kernel

@kernel(inline="always")
def scale(x):
    return FACTOR * x
"""
CALLER = """from ._jit import kernel
from .helper import scale

@kernel
def total(x):
    result = x[0] * 0
    for i in range(x.size):
        result += scale(x[i])
    return result

@kernel
def pick(x, i):
    return x[i]
"""
RUN = """
import json, sys, warnings
import numpy as np
from fastvi.kernels.caller import pick, total
assert "site" in total.py_func.__code__.co_filename
kinds = json.loads(sys.argv[1])
values = [float(total(np.arange(4, dtype=kind))) for kind in kinds]
print(json.dumps([values, sum(total.stats.cache_hits.values())]))
"""


class Site:
    """One in a folder."""

    def __init__(self, folder, forks):
        self.root, self.forks = folder / "site", forks
        self.kernels = self.root / "fastvi" / "kernels"
        self.kernels.mkdir(parents=True)
        (self.root / "fastvi" / "__init__.py").touch()
        for name in MACHINERY:
            shutil.copy(KERNELS / name, self.kernels)
        (self.kernels / "caller.py").write_text(CALLER)
        self.set_factor(2)
        self.cache = folder / "cache"
        self.environment = os.environ | {
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(self.cache),
            "NUMBA_DISABLE_JIT": "0",
            "NUMBA_BOUNDSCHECK": "0",
        }

    def set_factor(self, factor):
        (self.kernels / "helper.py").write_text(HELPER.replace("FACTOR", str(factor)))

    def start(self, code, *arguments, **environment):
        return self.forks.start(
            code, *arguments, environment=self.environment | environment, path=[self.root]
        )

    def finish(self, process):
        code, out, err = self.forks.finish(process)
        assert code == 0, err
        return out, err

    def totals(self, *kinds, **environment):
        """Totals of 0 1 2 3 for each dtype, the number of cache hits, and what went to stderr."""
        out, err = self.finish(self.start(RUN, json.dumps(kinds), **environment))
        values, hits = json.loads(out)
        return values, hits, err

    def files(self):
        return sorted(str(p.relative_to(self.cache)) for p in self.cache.rglob("*") if p.is_file())
