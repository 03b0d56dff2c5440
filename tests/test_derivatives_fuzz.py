"""Random programs: their derived gradients against dual numbers."""

from __future__ import annotations

import importlib.util
import math
import random

import numpy as np
import pytest
from dual_numbers import differentiated
from test_derivatives_models import Interpreted, as_tuple

from fastvi.derivatives import NotDifferentiable

DATA = {"y": np.array([0.3, -0.7, 1.2, 0.4, -0.2, 0.9]), "g": np.array([2, 0, 3, 1, 1, 0]), "n": 3}
OPTIONS = [{"first": 1}, {"first": 1, "fuse": False}, {"first": 1, "again": False}]
UNARY = ["math.tanh({})", "math.sin({})", "math.exp(-abs({}))", "math.log1p(({}) ** 2)", "abs({})",
         "math.sqrt(0.5 + ({}) ** 2)", "-({})", "math.erf({})", "({}) ** 3"]  # fmt: skip
BINARY = ["({} + {})", "({} - {})", "{} * ({})", "max({}, {})", "min({}, {})", "helper({}, {})",
          "({}) / (1.5 + ({}) ** 2)"]  # fmt: skip
RANGES = ["4", "3", "1, 4", "3, -1, -1", "data.n", "0", "1, 7, 2", "6, 0, -2", "k % 3"]
HELPER = ["def helper(p, q):", "    t = 0.0", "    for i in range(3):", "        if t > 1.0:",
          "            return t * q", "        t += p * q + i * 0.1", "    return t"]  # fmt: skip


class Writer:
    """Writes one program of scalars a, b, c, arrays A and M, the integer k, and a total."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.n = 0
        self.lines: list[str] = []
        self.indices: list[str] = ["k"]

    def index(self) -> str:
        i = self.rng.choice(self.indices)
        return self.rng.choice(
            ["0", "1", "3", "-1", f"{i} % 4", f"({i} + 1) % 4", f"data.g[{i} % 6]"]
        )

    def atom(self) -> str:
        place = [f"z[{self.index()}]", f"A[{self.index()}]", f"M[{self.index()}, {self.index()}]"]
        literal = f"{self.rng.uniform(-1.5, 1.5):.2f}"
        return self.rng.choice(["a", "b", "c", *place, f"data.y[{self.index()}]", literal])

    def vector(self) -> str:
        return self.rng.choice(["z[:4]", "z[1:5]", "data.y[:4]", "A", "M[1]", "M[:, 2]", "A[::-1]"])

    def expression(self, depth: int = 0) -> str:
        chance = self.rng.random()
        if depth > 2 or chance < 0.3:
            return self.atom()
        inner = [self.expression(depth + 1) for _ in range(2)]
        if chance < 0.55:
            return self.rng.choice(UNARY).format(inner[0])
        if chance < 0.9:
            return self.rng.choice(BINARY).format(*inner)
        if chance < 0.95:
            return f"({inner[0]} if {self.test()} else {inner[1]})"
        return f"np.sum({self.vector()} * {self.atom()} + np.tanh({self.vector()}))"

    def test(self) -> str:
        if self.rng.random() < 0.4:
            return f"{self.rng.choice(self.indices)} % {self.rng.randint(2, 3)} == 0"
        return f"{self.atom()} {self.rng.choice('<>')} {self.atom()}"

    def add(self, level: int, line: str) -> None:
        self.lines.append("    " * level + line)

    def block(self, level: int, size: int, loops: int) -> None:
        for _ in range(self.rng.randint(1, size)):
            self.statement(level, loops)

    def statement(self, level: int, loops: int) -> None:
        chance, value = self.rng.random(), self.expression()
        if chance < 0.25:
            self.add(
                level, f"{self.rng.choice('abc')} {self.rng.choice(['=', '+=', '-='])} {value}"
            )
        elif chance < 0.4:
            self.add(level, f"total {self.rng.choice('+-')}= {value}")
        elif chance < 0.55:
            target = self.rng.choice([f"A[{self.index()}]", f"M[{self.index()}, {self.index()}]"])
            self.add(level, f"{target} {self.rng.choice(['=', '+=', '-='])} math.tanh({value})")
        elif chance < 0.6:
            self.add(level, f"A[:] = {self.vector()} * 0.5 + np.tanh({self.vector()})")
        elif chance < 0.65:
            self.add(level, f"k = {self.rng.choice(self.indices)} + 1")
        elif level > 4:
            self.add(level, f"a, b = b, math.tanh({value})")
        elif chance < 0.8:
            self.add(level, f"if {self.test()}:")
            self.block(level + 1, 3, loops)
            if self.rng.random() < 0.5:
                self.add(level, "else:")
                self.block(level + 1, 3, loops)
        elif chance < 0.94 and loops < 3:
            self.loop(level, loops)
        else:
            leave = self.rng.choice(["break", "continue"]) if loops else "return total + a"
            self.add(level, f"if {self.test()} and {self.atom()} > 0.6:")
            self.add(level + 1, leave)

    def loop(self, level: int, loops: int) -> None:
        self.n += 1
        self.add(level, f"for i{self.n} in range({self.rng.choice(RANGES)}):")
        self.indices.append(f"i{self.n}")
        self.block(level + 1, 4, loops + 1)
        self.indices.pop()

    def program(self, name: str) -> list[str]:
        self.add(0, f"def {name}(z, data):")
        for line in ("total, k = 0.0, 1", "A = np.zeros(4)", "M = np.zeros((4, 4))",
                     "a, b, c = z[0], z[1] * 0.5, z[4]"):  # fmt: skip
            self.add(1, line)
        self.block(1, 9, 0)
        self.add(1, f"return {self.rng.choice(['total', '2.0 * total', 'total * a', 'total + b'])}")
        return self.lines


def programs(seed, count, folder):
    rng = random.Random(seed)
    lines = ["import math", "import numpy as np", *HELPER]
    for k in range(count):
        lines += Writer(rng).program(f"f{k}")
    path = folder / f"random_programs_{seed}.py"
    path.write_text("\n".join(lines) + "\n")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [getattr(module, f"f{k}") for k in range(count)]


def agrees(function, z, all_options):
    """Whether the derived gradient is right; None if the value is huge or the program refused."""
    try:
        value, wanted = differentiated(function, z, as_tuple(DATA))
    except (ArithmeticError, ValueError):  # also sin(inf)
        return None
    size = max(1.0, np.abs(wanted).max(), abs(value))
    if not np.isfinite(size) or size > 1e8:
        return None
    for options in all_options:
        try:
            ours = Interpreted(function, DATA, **options)
            found, grad = ours(z)
        except NotDifferentiable:  # an array whose length differs between rounds
            return None
        close = max(abs(found - value), np.abs(grad - wanted).max()) <= 1e-9 * size
        if not close:
            return False
    return ours.several is None or same_side_by_side(ours, z)


def same_side_by_side(ours, z):
    """Whether several draws at once give what each gives by itself, up to rounding."""
    Z = z * np.array([[1.0], [0.9], [-0.4]])
    values, grads = ours.side_by_side(Z)
    for k, x in enumerate(Z):
        value, grad = ours(x)
        size = max(1.0, abs(value), np.abs(grad).max())
        error = max(abs(values[k] - value), np.abs(grads[k] - grad).max())
        if np.isfinite(size) and size < 1e8 and not error <= 1e-9 * size:
            return False
    return True


def check(seed, count, folder, each):
    """Each: how many of the options every program is derived with, in turn."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        found = [
            agrees(f, rng.normal(size=5), (OPTIONS[k % 3 :] + OPTIONS[: k % 3])[:each])
            for k, f in enumerate(programs(seed, count, folder))
        ]
    assert [k for k, ok in enumerate(found) if ok is False] == []
    assert sum(ok is True for ok in found) > 0.8 * count


@pytest.mark.thorough
def test_random_programs(tmp_path):
    check(0, 100, tmp_path, 1)


def leaves_at_once(z, data):  # by a test that is the same in all rounds
    total = 0.0
    for i in range(data.n):
        total -= data.y[i] * z[0]
        if z[1] < z[0]:
            break
    return total


def carries(z, data):
    a = z[0]
    for _ in range(data.n):
        a = math.tanh(a) + z[1]
    return a


def reads_its_total(z, data):
    total = z[0]
    for _ in range(data.n):
        total += total * z[1]
    return total


def sums(z, data):
    total = max(z[0], 2.0 * z[1])
    for j in range(z.size):
        total += z[j] * data.y[j]
    return math.tanh(total)


def overwrites(z, data):
    a = np.zeros(2)
    a[0], a[1] = z[3], z[4]
    for i in range(data.n):
        a[i % 2] = z[i] * a[0] * a[1]
    return a[0] + a[1]


SMALL = [
    leaves_at_once,
    carries,
    reads_its_total,
    sums,
    overwrites,
]  # which random programs rarely are


@pytest.mark.parametrize("function", SMALL)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_small_programs(function, sign):
    assert agrees(function, sign * np.array([0.5, 0.1, 0.2, 0.3, 0.4]), OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 41))
def test_many_random_programs(seed, tmp_path):
    check(seed, 500, tmp_path, 3)
