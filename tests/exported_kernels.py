"""Kernels of the C library against Python's: ``python tests/exported_kernels.py LIBRARY LEVEL``.

Runs in the environment of the level (`fastvi.export.objects.environment_of`), in which both are
compiled for the same processor, so that all bits agree.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

from fastvi.export.catalogue import Entry, entries
from fastvi.kernels import covariance

N_DOCUMENTS, N_WORDS, LENGTH, WIDTH = 50, 300, 30, 24


def flat(value: Any) -> list[Any]:
    """A value as Numba passes it."""
    if isinstance(value, tuple):
        return [part for item in value for part in flat(item)]
    if isinstance(value, np.ndarray):
        numbers = value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides
        return [ctypes.c_void_p(), ctypes.c_void_p(), *map(ctypes.c_int64, numbers)]
    if isinstance(value, bool):
        return [ctypes.c_uint8(value)]
    kind = ctypes.c_double if isinstance(value, float) else ctypes.c_int64
    return [kind(value)]


def copied(value: Any) -> Any:
    if isinstance(value, tuple):
        parts = [copied(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value.copy() if isinstance(value, np.ndarray) else value


def topic_cases(suffix: str) -> dict[str, list[Any]]:
    kind = {"f32": np.float32, "f64": np.float64}[suffix]
    rng = np.random.default_rng(0)
    n = N_DOCUMENTS * LENGTH
    indptr = np.arange(N_DOCUMENTS + 1) * LENGTH
    words = rng.integers(0, N_WORDS, n).astype(np.int32)
    counts = rng.integers(1, 4, n).astype(kind)
    weights = rng.gamma(0.3, 1.0, (N_WORDS, WIDTH)).astype(kind)
    alpha = np.full(WIDTH, 0.1, kind)
    gamma = np.zeros((N_DOCUMENTS, WIDTH), kind)
    ratio, bound, shift = np.zeros(n, kind), np.zeros(N_DOCUMENTS), np.zeros(N_WORDS, kind)
    documents = indptr, words, counts, weights
    sums = weights.sum(axis=0, dtype=np.float64)
    infer = [
        (*documents, alpha, collapsed, 100, 1e-3 * WIDTH, 0, N_DOCUMENTS, gamma)
        for collapsed in (False, True)
    ]
    theta = rng.dirichlet(np.ones(WIDTH), N_DOCUMENTS).astype(kind)
    return {
        f"lda_infer_{suffix}": infer,
        f"lda_local_step_{suffix}": [
            (*documents, shift, alpha, WIDTH, False, 100, 1e-3 * WIDTH, 0, N_DOCUMENTS, gamma,
             gamma.copy(), ratio, bound)
        ],
        f"lda_mean_weights_{suffix}": [(weights, sums, WIDTH - 3, 0, N_WORDS)],
        f"lda_score_documents_{suffix}": [(*documents, theta, 0, N_DOCUMENTS, bound)],
        f"lda_word_weights_{suffix}": [(weights + kind(1e-3), sums, WIDTH - 3, 0, N_WORDS, shift)],
    }  # fmt: skip


def mixture_cases() -> dict[str, list[Any]]:
    rng = np.random.default_rng(1)
    X, centre, factor = rng.normal(size=(101, 5)), rng.normal(size=5), 2.0 ** np.arange(5)
    logits, norm = 5 * rng.normal(size=(7, 101)), rng.normal(size=101)
    sizes = {"linear": 6, "mean_square": 7, "products": 21, "squares": 11}
    cases: dict[str, list[Any]] = {
        f"mixture_{name}": [(X, centre, factor, 1, 99, np.zeros((size, 98)))]
        for name, size in sizes.items()
    }
    labels = np.zeros(101, np.int64)
    return cases | {
        "mixture_likeliest": [(logits, labels)],
        "mixture_responsibilities": [(logits, norm)],
        "mixture_subtract_squares": [(logits, norm)],
    }


def chain_cases() -> dict[str, list[Any]]:
    """Gaussian rows with full covariances, one of them partly missing, and symbols."""
    rng = np.random.default_rng(2)
    start, pairs = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4), 4)
    centre, factor, none = rng.normal(size=2), np.array([0.5, 2.0]), np.zeros(0)
    coefficients = rng.normal(size=(4, 6))
    coefficients[:, [0, 2]] = -2.0  # of squares
    arrays = centre, factor, coefficients, np.zeros((0, 4)), start, pairs
    row, gap, out = rng.normal(size=2), np.array([0.3, np.nan]), np.zeros(4)
    gaussian = [(x, 2, 0, *arrays, before, out) for x in (row, gap) for before in (none, start)]
    table = np.log(rng.dirichlet(np.ones(4), 9))
    symbols = np.array([5.0]), 0, 0, none, none, np.zeros((4, 0)), table, start, pairs, start, out
    return {"chain_filter_step": [*gaussian, symbols]}


def process_cases() -> dict[str, list[Any]]:
    rng = np.random.default_rng(3)
    x, columns = rng.normal(size=(90, 3)), rng.normal(size=(3, 3, 24))
    columns[:, :, 21:] = 0.0
    out = np.zeros((90, 21))
    given: dict[str, list[Any]] = {"gp_covariance": [], "gp_gaussian": []}
    for kind in range(covariance.LINEAR, covariance.PERIODIC + 1):  # times a constant, plus an RBF
        kinds = np.array([kind, covariance.RBF, covariance.SUM])
        slots = np.array([0, 1, -1])
        program = covariance.Program(
            kinds, np.array([0, 0, 0]), np.array([0, 0, 1]), slots, np.array([2.0, 0.5, 1.0]),
            np.array([1.5, 1.0, 1.0]), rng.uniform(0.5, 2.0, (3, 3)),
        )  # fmt: skip
        given["gp_covariance"].append((program, x, columns, np.zeros((4, 2048)), out))
    alone = covariance.Program(*(part[1:2] for part in program))
    given["gp_gaussian"].append((alone, x, columns[:1], np.zeros((2, 2048)), out))
    return given


def network_cases() -> dict[str, list[Any]]:
    rng = np.random.default_rng(4)
    bias, out = (rng.normal(size=n).astype(np.float32) for n in (11, 77))
    return {"networks_activate": [(kind, bias, 2 * out) for kind in range(5)]}


def cases() -> dict[str, list[Any]]:
    """Arguments of calls of each kernel."""
    topics = topic_cases("f32") | topic_cases("f64")
    return topics | mixture_cases() | chain_cases() | process_cases() | network_cases()


def differing(library: Any, entry: Entry, level: int, arguments: Any) -> bool:
    """Whether arguments or results of the two differ in any bit."""
    address = library.fastvi_kernel(level, entry.name.encode())
    assert address, f"{entry.name} is not in the library"
    ours, theirs = copied(arguments), copied(arguments)
    result = entry.kernel(*ours)
    found, error = ctypes.c_double(), ctypes.c_void_p()
    call = ctypes.CFUNCTYPE(ctypes.c_int32)(address)
    status = call(ctypes.byref(found), ctypes.byref(error), *flat(theirs))
    assert status == 0, f"{entry.name} returned {status}"
    if result is not None and np.float64(result).tobytes() != bytes(found):
        return True
    return any(a.tobytes() != b.tobytes() for a, b in zip(arrays(ours), arrays(theirs)))


def arrays(arguments: Any) -> list[Any]:
    parts = []
    for value in arguments:
        if isinstance(value, tuple):
            parts += arrays(value)
        elif isinstance(value, np.ndarray):
            parts.append(value)
    return parts


def main(path: str, level: int) -> None:
    library = ctypes.CDLL(path)
    library.fastvi_kernel.restype = ctypes.c_void_p
    given = cases()
    assert set(given) == {entry.name for entry in entries()}
    wrong = [
        entry.name
        for entry in entries()
        if any(differing(library, entry, level, arguments) for arguments in given[entry.name])
    ]
    assert not wrong, wrong
    print(f"{len(given)} kernels have the same bits")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
