"""Compiled targets in other processes, what their cache depends on, and what is imported when."""

from __future__ import annotations

import ast
import collections
import dataclasses
import enum
import json
import math
import os
import subprocess
import sys
import types
from pathlib import Path

import numba
import numba.extending
import numpy as np
import pytest
from test_imports import loaded_by

import fastvi.targets
from fastvi.kernels._fingerprint import FrozenArrayError, fingerprint

MODEL = """
import json
import numpy as np
import fastvi
from numba import njit
from settings import Level, Pair

SCALE = {scale}
{above}
@njit
def helper(x):
    return {factor} * x

def make(power):
    def logp(z, data, grad):
        grad[0] = helper(power) * z[0] / SCALE * Level.HIGH.value * Pair(1.0, 0.5).first
        return data.y[0] * z[0]
    return logp

targets = [
    fastvi.target(make(power), data={{"y": np.ones(n)}}, dim=1)
    for power, n in ((1.0, 3), (2.0, 4))
]
found = [target.log_prob_and_grad([1.0])[1][0] for target in targets]
hits = [target.compiled.hit for target in targets]
import fastvi.kernels.targets as kernels
hits += [bool(kernels.evaluate.stats.cache_hits)]
print(json.dumps([found, hits]))
"""

SETTINGS = """
import collections, enum

class Level(enum.IntEnum):
    HIGH = {level}

Pair = collections.namedtuple("Pair", "{fields}")
"""


class Script:
    """A user's script, run in a new process, with a cache of its own."""

    def __init__(self, folder, forks):
        self.file, self.cache, self.forks = folder / "model.py", folder / "cache", forks
        self.environment = os.environ | {
            "NUMBA_CACHE_DIR": str(self.cache),
            "NUMBA_DISABLE_JIT": "0",
            "NUMBA_BOUNDSCHECK": "0",
            "PYTHONDONTWRITEBYTECODE": "1",  # within a second, an edit would go unnoticed
        }

    def run(self, scale=1.0, factor=1.0, above="", level=1, fields="first second"):
        """Gradients and cache hits of two targets, and whether a driver was in the cache."""
        settings = SETTINGS.format(level=level, fields=fields)
        self.file.with_name("settings.py").write_text(settings)
        self.file.write_text(MODEL.format(scale=scale, factor=factor, above=above))
        started = self.forks.start(
            self.file.read_text(), environment=self.environment, path=[self.file.parent],
            name=self.file,
        )  # fmt: skip
        code, out, err = self.forks.finish(started)
        assert code == 0, err
        return json.loads(out)

    def run_anew(self):
        """As `run`, in a process that was not forked, so that its hashes of strings are others."""
        done = subprocess.run(
            [sys.executable, self.file], env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def files(self):
        return sorted(str(path) for path in self.cache.rglob("*logp*"))


@pytest.fixture
def script(tmp_path, forks):
    return Script(tmp_path, forks)


def test_a_second_process_compiles_nothing(script):
    assert script.run() == [[1.0, 2.0], [False, False, False]]
    files = script.files()
    assert files
    assert script.run_anew() == [[1.0, 2.0], [True, True, True]]
    assert script.files() == files


def test_edits_are_noticed_and_the_cache_does_not_grow(script):
    """Of a global, an enumeration and a named tuple, then of a helper and a line above it.

    Tests of keys have each kind of edit alone.
    """
    script.run()
    files = script.files()
    changes = {"scale": 4.0, "level": 5, "fields": "second first"}
    assert script.run(**changes) == [[0.625, 1.25], [False, False, True]]
    assert script.files() == files
    changes |= {"factor": 3.0, "above": "# moves every line"}
    assert script.run(**changes) == [[1.875, 3.75], [False, False, True]]
    assert script.run(**changes) == [[1.875, 3.75], [True, True, True]]


def test_a_console_has_no_cache_and_works():
    code = (
        "import fastvi\n"
        "t = fastvi.target(eval('lambda z: -z[0] ** 2'), dim=1)\n"
        "print(t.log_prob([2.0]), t.compiled.hit)"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert (done.stdout, done.stderr) == ("-4.0 False\n", "")


def test_nothing_heavy_is_imported_before_it_is_used():
    heavy = ("numba", "sklearn", "cffi", "pymc", "pytensor", "bridgestan", "scipy")
    code = "import fastvi; fastvi.target; import fastvi.targets, fastvi.transforms"
    assert loaded_by(code, *heavy) == set()
    used = "import fastvi; fastvi.target(lambda z: z[0], dim=1).log_prob([1.0])"
    assert not loaded_by(used, "sklearn", "pymc", "pytensor", "bridgestan")


def test_extras_are_imported_inside_of_functions():
    """A run cannot tell of cffi, which Numba imports where it is installed."""
    for path in Path(fastvi.targets.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not {"cffi", "pymc", "pytensor", "bridgestan"} & set(
                    ast.unparse(node).split()
                )


# What the key is made of

FACTOR = 2.0
PAIR = (1, 2.5)
TABLE = np.arange(3.0)
THING = object()


@numba.njit
def compiled_helper(x):
    return FACTOR * x


def plain_helper(x):
    return compiled_helper(x) + math.sin(x) + np.exp(x)


def base(z):
    return plain_helper(z[0]) + PAIR[1] + len(z)


def test_the_same_function_has_the_same_key():
    assert fingerprint(base) == fingerprint(base) != fingerprint(base, "detail")
    assert len(fingerprint(base)) == 64


def test_globals_of_helpers_are_in_the_key(monkeypatch):
    before = fingerprint(base)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert fingerprint(base) != before
    monkeypatch.setitem(globals(), "FACTOR", 2)  # another type
    assert fingerprint(base) != before
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "PAIR", (1, 2.0))
    assert fingerprint(base) != before
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "compiled_helper", math.sqrt)
    assert fingerprint(base) != before


def test_constants_closures_and_modules_are_in_the_key():
    def make(x):
        return lambda z: z[0] + x

    assert fingerprint(make(1.0)) == fingerprint(make(1.0)) != fingerprint(make(2.0))
    assert fingerprint(lambda z: z[0] + 1.0) != fingerprint(lambda z: z[0] + 2.0)

    module = types.ModuleType("settings")
    module.scale, module.unused = 1.0, TABLE

    def uses(z):
        return z[0] * module.scale

    before = fingerprint(uses)
    module.scale = 2.0
    assert fingerprint(uses) != before


def test_enumerations_and_named_tuples_of_other_modules_are_in_the_key():
    """Numba compiles their members and fields as constants."""
    module = types.ModuleType("settings")

    def in_function(z):
        return z[0] * Level.HIGH + Pair(1.0, 2.0).a

    def in_module(z):
        return z[0] * module.Level.HIGH + module.Pair(1.0, 2.0).a

    keys = []
    for high, fields, default in ((1, "a b", 0), (2, "a b", 0), (1, "b a", 0), (1, "a b", 1)):
        Level = enum.IntEnum("Level", {"LOW": 0, "HIGH": high}, module="settings")
        Pair = collections.namedtuple("Pair", fields, defaults=[default], module="settings")
        module.Level, module.Pair = Level, Pair
        keys.append((fingerprint(in_function), fingerprint(in_module)))
    assert len(set(keys)) == 4
    assert None not in {key for pair in keys for key in pair}
    for part in zip(*keys):
        assert len(set(part)) == 4

    class Unknown:
        pass

    assert fingerprint(lambda z: Unknown.a) is None
    assert fingerprint(lambda z: LookupError) is not None


@dataclasses.dataclass
class Options:
    scale: float = 1.0


OPTIONS = Options()


def test_data_classes_and_classes_with_constants_have_no_key():
    """Numba cannot compile them today; if it learns to, nothing stale is taken."""
    assert fingerprint(lambda z: z[0] * OPTIONS.scale) is None
    assert fingerprint(lambda z: z[0] * Options.scale) is None


class Laconic(float):
    """Prints nothing of its value."""

    def __repr__(self):
        return "a number"


@pytest.mark.parametrize(
    "values",
    [
        (Laconic(1.0), Laconic(2.0), 1.0),
        (np.float32(1), np.float32(2), np.float64(1)),
        tuple(np.array([(1, value)], "i4,f8")[0] for value in (0.5, 1.5, 2.5)),
        (np.dtype("f4"), np.dtype("f8"), np.dtype([("a", "f8")])),
        tuple(enum.global_enum(enum.IntEnum("Level", {"HIGH": value})).HIGH for value in (1, 2, 3)),
    ],
)
def test_values_that_print_alike_are_told_apart(values):
    keys = {fingerprint(lambda z: z[0] + value) for value in values}  # noqa: B023
    assert len(keys) == len(values)
    assert None not in keys


def test_what_an_overload_compiles_is_in_the_key():
    def half(x):
        return x / 2

    def uses(z):
        return half(z[0])

    keys = [fingerprint(uses)]
    for factor in (0.5, 0.25):
        numba.extending.overload(half)(lambda x, factor=factor: lambda x: x * factor)
        keys.append(fingerprint(uses))
    assert len(set(keys)) == 3
    assert None not in keys


def test_functions_of_packages_are_the_same_in_every_process():
    """Addresses are no part of the key, and how a function was imported makes none uncached."""
    code = """
from numpy import sum, float64
from scipy.special import gammaln
from fastvi.densities import normal
from fastvi import densities
from fastvi.kernels._fingerprint import fingerprint
print(fingerprint(lambda z: float64(sum(z)) + gammaln(z[0]) + normal(z[0], 0.0, 1.0)
                  + densities.laplace(z[0], 0.0, 1.0)))
"""
    keys = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert len(keys) == 1
    assert len(keys.pop()) == 65


def test_a_module_may_refuse_to_make_what_its_functions_name():
    lazy = types.ModuleType("lazy")
    lazy.scale = 2.0

    def refuse(name):
        raise ImportError(name)

    def uses(z):
        return z.real * lazy.scale

    lazy.__getattr__ = refuse
    first = fingerprint(uses)
    lazy.scale = 3.0
    assert None not in {first, fingerprint(uses)}
    assert fingerprint(uses) != first


def test_recursion_ends():
    assert fingerprint(recursive) is not None


def recursive(z):
    return recursive(z[1:]) if z.size else 0.0


def test_arrays_are_refused_and_unknown_things_have_no_key():
    def uses_array(z):
        return z[0] * TABLE[0]

    def uses_helper(z):
        return uses_array(z)

    def uses_thing(z):
        return z[0] if THING else 0.0

    def attribute_of_the_same_name(z, data):
        return data.TABLE[0] * z[0]

    for function in (uses_array, uses_helper):
        with pytest.raises(FrozenArrayError, match="uses_array uses the array 'TABLE'"):
            fingerprint(function)
    assert fingerprint(uses_thing) is None
    assert fingerprint(attribute_of_the_same_name) is not None
