"""Kernels may flush subnormal numbers, and leave the mode as it was."""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from fastvi.kernels import _jit, lda
from fastvi.kernels._jit import kernel
from fastvi.kernels._subnormals import IS_X86, flush_subnormals, restore_subnormals


@kernel
def products(x, y, out):
    mode = flush_subnormals()
    for i in range(x.shape[0]):
        out[i] = x[i] * y[i]
    restore_subnormals(mode)


@pytest.mark.jit
@pytest.mark.skipif(not IS_X86, reason="only x86 processors have this mode")
@pytest.mark.parametrize(
    ("dtype", "tiny", "factor"), [(np.float32, 1e-30, 1e-10), (np.float64, 1e-300, 1e-12)]
)
def test_products_are_flushed_inside_and_not_outside(dtype, tiny, factor):
    x = np.array([tiny, 2.0, tiny], dtype)
    y = np.array([factor, 3.0, 1.0], dtype)
    assert 0 < x[0] * y[0] < np.finfo(dtype).tiny
    out = np.empty(3, dtype)
    products(x, y, out)
    assert out.tolist() == [0.0, 6.0, x[2]]
    assert x[0] * y[0] > 0  # this thread is as before


@pytest.mark.jit
@pytest.mark.skipif(not IS_X86, reason="only x86 processors have this mode")
def test_a_failed_allocation_leaves_the_mode_as_it_was():
    tiny = np.array([5e-324])
    words, counts = np.zeros(1, np.int32), np.ones(1, np.float32)
    indptr = np.array([0, 2**58])  # a document longer than memory
    with pytest.raises(MemoryError):
        lda.infer(
            indptr, words, counts, np.ones((1, 8), np.float32), np.ones(8, np.float32), True, 10,
            1e-3, 0, 1, np.empty((1, 8), np.float32),
        )  # fmt: skip
    assert (tiny * 1.0)[0] == 5e-324


def test_nothing_is_allocated_while_subnormals_are_flushed():
    """Where memory is exhausted, a kernel ends at once, and would leave the mode switched."""
    defined = {}
    for path in Path(inspect.getfile(_jit)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                defined.setdefault(node.name, []).append(ast.unparse(node))
    begin = "mode = flush_subnormals()"
    left = [text.split(begin)[1] for texts in defined.values() for text in texts if begin in text]
    assert len(left) >= 3
    seen = set()
    while left:  # with whatever is called meanwhile
        text = left.pop()
        assert not re.search(r"np\.(empty|zeros|ones|full)\w*\(|\.(copy|astype)\(", text)
        called = set(re.findall(r"(?<![\w.])\w+(?=\()", text)) & set(defined) - seen  # not methods
        seen |= called
        left += [text for name in called for text in defined[name]]
