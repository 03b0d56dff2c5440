"""Mistakes put into the derivation of gradients, each of which the tests must find."""

from __future__ import annotations

import numpy as np
import pytest
import test_derivatives_functions as by_function
from test_derivatives_fuzz import OPTIONS, SMALL, agrees, programs
from test_derivatives_models import as_tuple, derived, numerical

from fastvi.derivatives import adjoint, functions, fusing, lanes, recording, reverse

pytestmark = pytest.mark.slow
MOST = 400  # programs that are tried
Z = np.array([0.4, 1.7, -0.6, 0.9, 1.3])
DATA = {"g": np.array([1, 0, 4, 1]), "A": np.array([[2, 1, 0], [1, 3, 1], [0, 1, 1.5]])}
functions_of_z = by_function.functions


def found_by_a_program(folder, seed=0):
    """Number of the first program that is wrong or fails; below MOST if there is one."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        for k, function in enumerate([*SMALL, *programs(seed, MOST, folder)]):
            try:
                right = agrees(function, rng.normal(size=5), OPTIONS[k % 3 :][:1])
            except Exception:
                right = False
            if right is False:
                return k
    return MOST


def without(lines, end):
    return [line for line in lines if not line.endswith(end)]


def keeps_adjoints(real):  # of what is assigned
    def mutated(self, s, found):
        real(self, s, found)
        found.before[:] = without(found.before, "__b = 0.0")

    return mutated


def forgets_indices(real):
    def mutated(self, s, seed):
        found = real(self, s, seed)
        found.late -= {name for name in found.late if name.startswith(("i", "k"))}
        return found

    return mutated


MUTATIONS = {
    "nothing is recorded": (reverse._Reverse, "push", lambda real: lambda self, s: []),
    "nothing is restored": (reverse._Reverse, "pop", lambda real: lambda self, s: []),
    "rounds in any order": (reverse._Reverse, "_any_order", lambda real: lambda self, s: True),
    "no room on the stack": (reverse._Reverse, "room", lambda real: lambda self, n, t="": []),
    "a branch is taken back as the other": (
        reverse._Reverse, "_block", lambda real: lambda self, s, k: real(self, s, 0)),
    "steps end one round late": (
        reverse._Reverse, "_reversed_head",
        lambda real: lambda self, s: real(self, s).replace(" - 1, -1)", ", -1)")),
    "differences are sums": (adjoint, "negative", lambda real: lambda seed: seed),
    "products forget the other factor": (
        adjoint, "product", lambda real: lambda seed, factor: seed),
    "what is overwritten keeps its adjoint": (adjoint.Adjoints, "_of_assignment", keeps_adjoints),
    "sums lose their seed": (
        adjoint.Adjoints, "_of_sum", lambda real: lambda self, s, seed, found: real(
            self, s, None if seed is None else 1.0, found)),
    "needs of what is computed again are forgotten": (
        recording.Recording, "expand", lambda real: lambda self, names: (
            (set(names) - set(self.again)) & self.known - self.indices, real(self, names)[1])),
    "nothing is computed again": (
        recording.Recording, "again_lines", lambda real: lambda self, s, k: []),
    "a value that a loop needs is not kept": (
        recording.Recording, "_loop", lambda real: lambda self, s, needed: (
            self.pushes.update({s: []}) or self._analyse(s.body, needed) | needed)),
    "every number is a total": (
        fusing._Finder, "_is_total", lambda real: lambda self, name, body: True),
    "loops are fused whatever follows": (
        fusing._Finder, "_decide", lambda real: lambda self, loop, after: real(
            self, loop, fusing.After(
                {n: c or 1.0 for n, c in after.factors.items()}, after.read, set()))),
    "sums of several draws lose rounds": (
        lanes._Moved, "visit_Name", lambda real: lambda self, node: node),
    "both is either": (lanes, "_call", lambda real: lambda name, *args: real(
        {"maximum": "minimum", "max": "min"}.get(name, name), *args)),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_programs_find(name, tmp_path, monkeypatch):
    where, attribute, mutate = MUTATIONS[name]
    monkeypatch.setattr(where, attribute, mutate(getattr(where, attribute)))
    found = found_by_a_program(tmp_path)
    print(f"{name}: found by program {found}")
    assert found < MOST


def rules():
    return [(name, k) for name, parts in functions.SMOOTH.items() for k in range(len(parts))]


def is_wrong(module, k):
    """Whether the test of one function would fail."""
    function = getattr(module, f"f{k}")
    try:
        _, grad = derived(function, Z, DATA)
    except Exception:
        return True
    wanted = numerical(lambda x: function(x, as_tuple(DATA)), Z, 1e-5)
    return not np.allclose(grad, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("name", "part"), rules())
@pytest.mark.parametrize("change", ["0.0 * ({})", "-({})", "1.001 * ({})"])
def test_functions_find(functions_of_z, name, part, change, monkeypatch):
    parts = list(functions.SMOOTH[name])
    parts[part] = change.format(parts[part])
    monkeypatch.setitem(functions.SMOOTH, name, tuple(parts))
    assert any(is_wrong(functions_of_z, k) for k in range(len(by_function.expressions())))
