"""The kernels that the C library contains, with the types of their arguments."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import typeof
from numba.core import types

from fastvi.export.parts import PARTS

__all__ = ["Entry", "entries"]

SINGLE, DOUBLE, WORD, INDEX = types.float32, types.float64, types.int64, types.int32


class Entry(NamedTuple):
    """A kernel for some types, by its name in C."""

    name: str
    kernel: Any
    signature: tuple[Any, ...]
    result: Any = types.none


def _array(kind: Any, n_dimensions: int = 1) -> Any:
    return types.Array(kind, n_dimensions, "C")


def _topics() -> list[Entry]:
    from fastvi.kernels import lda

    found = []
    flag, offsets, words = types.boolean, _array(WORD), _array(INDEX)
    for suffix, kind in (("f32", SINGLE), ("f64", DOUBLE)):
        row, table, sums = _array(kind), _array(kind, 2), _array(DOUBLE)
        documents = offsets, words, row, table
        signatures = {
            "infer": (*documents, row, flag, WORD, DOUBLE, WORD, WORD, table),
            "local_step": (*documents, row, row, WORD, flag, WORD, DOUBLE, WORD, WORD, table,
                           table, row, sums),
            "mean_weights": (table, sums, WORD, WORD, WORD),
            "score_documents": (*documents, table, WORD, WORD, sums),
            "word_weights": (table, sums, WORD, WORD, WORD, row),
        }  # fmt: skip
        for name, signature in signatures.items():
            found.append(Entry(f"lda_{name}_{suffix}", getattr(lda, name), signature))
    return found


def _mixture() -> list[Entry]:
    from fastvi.kernels import mixture

    row, table = _array(DOUBLE), _array(DOUBLE, 2)
    fill = table, row, row, WORD, WORD, table
    signatures = {
        "likeliest": (table, _array(WORD)),
        "linear": fill,
        "mean_square": fill,
        "products": fill,
        "responsibilities": (table, row),
        "squares": fill,
        "subtract_squares": (table, row),
    }
    return [Entry(f"mixture_{n}", getattr(mixture, n), s) for n, s in signatures.items()]


def _sequences() -> list[Entry]:
    from fastvi.kernels import chain_filter

    row, table = _array(DOUBLE), _array(DOUBLE, 2)
    signature = row, WORD, WORD, row, row, table, table, row, table, row, row
    return [Entry("chain_filter_step", chain_filter.filter_step, signature, DOUBLE)]


def _processes() -> list[Entry]:
    from fastvi.kernels import covariance

    words, numbers = np.zeros(1, np.int64), np.zeros(1)
    tree = (words,) * 4
    program = typeof(covariance.Program(*tree, numbers, numbers, np.zeros((1, 1))))
    table = _array(DOUBLE, 2)
    signature = program, table, _array(DOUBLE, 3), table, table
    return [
        Entry(f"gp_{kernel.__name__}", kernel, signature)
        for kernel in (covariance.covariance, covariance.gaussian)
    ]


def _autoencoders() -> list[Entry]:
    from fastvi.kernels import networks

    row = _array(SINGLE)
    return [Entry("networks_activate", networks.activate, (WORD, row, row))]


def entries(parts: tuple[str, ...] = PARTS) -> list[Entry]:
    """The kernels of some parts of the library."""
    known = {
        "topics": _topics, "mixture": _mixture, "sequences": _sequences, "processes": _processes,
        "autoencoders": _autoencoders,
    }  # fmt: skip
    return [entry for part in PARTS if part in parts for entry in known[part]()]
