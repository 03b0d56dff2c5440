"""The bits of a result do not depend on where arrays lie in memory.

LLVM gives a loop that stores a vector and a scalar form, and lets the distance of its arrays
decide between them. Both do the same to every element, but sums in another order differ.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastvi import kernels
from fastvi.kernels import cvb0, dirichlet, lda, poisson

FILES = sorted(Path(kernels.__file__).parent.glob("*.py"))
GAPS = (0, 16, 32, 64, 128, 256, 4096)  # bytes between arrays


def innermost_loops(tree: ast.AST) -> Iterator[tuple[ast.For | ast.While, list[ast.AST]]]:
    for loop in ast.walk(tree):
        if isinstance(loop, ast.For | ast.While):
            inside = [node for statement in loop.body for node in ast.walk(statement)]
            if not any(isinstance(node, ast.For | ast.While) for node in inside):
                yield loop, inside


HARMLESS = {
    # elements of several widths: LLVM compares the whole ranges of arrays, not their distance
    ("cvb0.py", "update_cell"),
    ("dynamic.py", "_assign_document"),
    # a step takes what the step before left, so that no vector form exists
    ("temporal_small.py", "filter_sites"),
    ("temporal_small.py", "smooth_sites"),
    # sums arrays, and is compiled from instructions in an order of our own
    ("_registers.py", "register_sums"),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_loop_both_sums_and_stores(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        if (path.name, function.name) in HARMLESS:
            continue
        for loop, inside in innermost_loops(function):
            stores = [
                ast.unparse(node)
                for node in inside
                if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
            ]
            sums = [
                node.target.id
                for node in inside
                if isinstance(node, ast.AugAssign)
                and isinstance(node.target, ast.Name)
                and not isinstance(node.value, ast.Constant)  # counters
            ]
            assert not (stores and sums), (
                f"{path.name}, line {loop.lineno}: {function.name} sums {sums} and stores {stores} "
                "in one loop; make it two"
            )


def placed(arrays: list[np.ndarray], gap: int) -> list[np.ndarray]:
    """Copies that lie one behind the other, `gap` bytes apart."""
    size = sum(array.nbytes + gap + 64 for array in arrays)
    buffer = np.zeros(size + 64, np.uint8)
    at = -buffer.ctypes.data % 64
    result = []
    for array in arrays:
        at += -at % array.itemsize
        copy = buffer[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        result.append(copy)
        at += array.nbytes + gap
    return result


@pytest.mark.jit
@pytest.mark.parametrize("width", [8, 24, 56])
def test_a_cell_of_cvb0(width: int, rng: np.random.Generator) -> None:
    for _ in range(50):
        g = rng.dirichlet(np.ones(width), 4) * 65535
        arrays = [
            np.array([0, 1]),
            np.array([0, 2, 4]),
            np.array([0, 1, 1, 2], np.int32),
            np.array([1.0, 2.0, 1.0, 3.0], np.float32),
            np.full(width, 0.1, np.float32),
            np.array([0.1], np.float32),
            rng.gamma(1.0, size=(2, width)).astype(np.float32) + np.float32(0.1),
            rng.gamma(1.0, size=(3, width)).astype(np.float32) + np.float32(0.1),
            rng.gamma(9.0, size=width),
            g.astype(np.uint16),
        ]
        results = set()
        for gap in GAPS:
            copies = placed(arrays, gap)
            cvb0.update_cell(0, 2, *copies)
            results.add(b"".join(copy.tobytes() for copy in copies))
        assert len(results) == 1


def counts_and_weights(width: int, dtype: type[np.floating], rng: np.random.Generator) -> list[Any]:
    """Two documents of three words as parts of a CSR matrix, and a table of the words."""
    return [
        np.array([0, 3, 5]),
        np.array([0, 1, 2, 1, 2], np.int32),
        rng.integers(1, 5, 5).astype(dtype),
        rng.random((3, width)).astype(dtype),
    ]


@pytest.mark.jit
@pytest.mark.parametrize("width", [8, 24, 56])
@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inference(
    width: int, collapsed: bool, dtype: type[np.floating], rng: np.random.Generator
) -> None:
    for _ in range(50):
        arrays = [
            *counts_and_weights(width, dtype, rng),
            np.full(width, 0.1, dtype),
            np.zeros((2, width), dtype),
        ]
        results = set()
        for gap in GAPS:
            indptr, words, counts, weights, alpha, gamma = placed(arrays, gap)
            lda.infer(indptr, words, counts, weights, alpha, collapsed, 7, 1e-9, 0, 2, gamma)
            results.add(gamma.tobytes())
        assert len(results) == 1


@pytest.mark.jit
@pytest.mark.parametrize("width", [8, 24, 56])
def test_sums_for_priors(width: int, rng: np.random.Generator) -> None:
    for _ in range(50):
        arrays = [
            rng.gamma(1.0, size=(3, width)).astype(np.float32),
            np.ones(3),
            np.zeros(width + 1),
            np.zeros(width + 1),
        ]
        results = set()
        for gap in GAPS:
            values, row_weights, first, second = placed(arrays, gap)
            dirichlet.digamma_sums(values, width, row_weights, 0, 3, first, second)
            results.add(first.tobytes() + second.tobytes())
        assert len(results) == 1


@pytest.mark.jit
@pytest.mark.parametrize("width", [8, 24, 56])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_poisson_factors(
    width: int, dtype: type[np.floating], rng: np.random.Generator
) -> None:
    prior = poisson.GammaPrior(0.3, 1.0, 0.3)
    for _ in range(30):
        arrays = [
            *counts_and_weights(width, dtype, rng),
            rng.random(3).astype(dtype),
            rng.random(width).astype(dtype),
            rng.gamma(1.0, size=(2, width)).astype(dtype),
            rng.random(2).astype(dtype),
            np.zeros((2, width), dtype),
            np.zeros(5, dtype),
            np.zeros(width),
            np.zeros(2),
        ]
        results = set()
        for gap in GAPS:
            copies = placed(arrays, gap)
            *parts, weights, shift, loads = copies[:6]
            poisson.local_step(
                *parts, weights, shift, loads, loads, np.ones(2), prior, width, 7, 1e-9, 0, 2,
                *copies[6:],
            )  # fmt: skip
            results.add(b"".join(copy.tobytes() for copy in copies))
        assert len(results) == 1
