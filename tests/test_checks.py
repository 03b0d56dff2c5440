"""Arguments: what is let through, and what the errors say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import fastvi
from fastvi.base import checks
from fastvi.base.bags import Bags, bags_of_words
from fastvi.targets.data import prepare

DTYPES = [
    bool, "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", ">i4", ">f8",
]  # fmt: skip


def raw(
    data: Any,
    indices: Any,
    indptr: Any,
    shape: tuple[int, int] = (3, 5),
    index: Any = np.int32,
) -> scipy.sparse.csr_matrix:
    """A CSR matrix whose arrays SciPy has not looked at."""
    matrix = scipy.sparse.csr_matrix(shape)
    matrix.data = np.asarray(data)
    matrix.indices = np.asarray(indices, index)
    matrix.indptr = np.asarray(indptr, index)
    return matrix


def dense(bags: Bags) -> np.ndarray:
    shape = (len(bags.indptr) - 1, bags.n_words)
    return scipy.sparse.csr_array((bags.counts, bags.indices, bags.indptr), shape=shape).toarray()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sparse", [False, True])
def test_counts_of_every_type(dtype: Any, sparse: bool) -> None:
    counts = np.array([[0, 2, 1], [0, 0, 0], [3, 0, 7]]).astype(dtype)
    X: Any = counts
    if sparse:  # SciPy makes none of float16 or foreign byte order, but they can be put in
        X = scipy.sparse.csr_array(counts.astype(float))
        X.data = X.data.astype(dtype)
    bags = bags_of_words(X)
    wanted = np.float64 if np.dtype(dtype).str[1:] == "f8" else np.float32
    assert [part.dtype for part in bags.parts] == [np.int64, np.int32, wanted]
    assert bags.n_words == 3
    np.testing.assert_array_equal(dense(bags), counts)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_a_fit_rules(dtype: Any) -> None:
    assert bags_of_words(np.ones((2, 2), np.int8), dtype=dtype).counts.dtype == dtype
    assert bags_of_words(np.ones((2, 2)), dtype=dtype).counts.dtype == dtype


@given(
    st.integers(0, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.tuples(st.integers(0, 4), st.integers(0, 200)), max_size=8),
            min_size=n + 1,
            max_size=n + 1,
        )
    ),
    st.sampled_from([np.int32, np.int64]),
    st.sampled_from(["u1", "i8", "f4", "f8"]),
)
def test_entries_in_any_order_and_twice(rows: list[Any], index: Any, dtype: str) -> None:
    """Unsorted rows and duplicates give what the canonical matrix gives; X is left alone."""
    words = [word for row in rows for word, _ in row]
    counts = [count for row in rows for _, count in row]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    X = raw(np.array(counts, dtype), words, indptr, (len(rows), 5), index)
    before = [part.tobytes() for part in (X.data, X.indices, X.indptr)]
    bags = bags_of_words(X)
    wanted = np.zeros((len(rows), 5))
    for i, row in enumerate(rows):
        for word, count in row:
            wanted[i, word] += count  # 200 + 200 does not fit into uint8: summed in floats
    np.testing.assert_array_equal(dense(bags), wanted)
    for begin, end in zip(bags.indptr, bags.indptr[1:]):
        assert np.all(np.diff(bags.indices[begin:end]) > 0)
    assert [part.tobytes() for part in (X.data, X.indices, X.indptr)] == before


def test_arrays_are_of_one_kind() -> None:
    """Read-only, strided and byte-swapped arrays would compile every kernel anew."""
    for words in ([0, 4, 2], [4, 0, 2]):  # sorted and not
        X = raw(
            np.repeat([1.0, 2.0, 3.0], 2)[::2],
            np.repeat(words, 2)[::2].astype(">i4"),
            np.array([0, 2, 3, 3], ">i8"),
            index=None,
        )
        for array in (X.data, X.indices, X.indptr):
            array.setflags(write=False)
        bags = bags_of_words(X)
        for part in bags.parts:
            assert part.flags.c_contiguous
            assert part.flags.writeable
            assert part.dtype.isnative
        assert dense(bags)[0, 4] == (2.0 if words[1] == 4 else 1.0)


BAD_MATRICES = {
    "negative": (raw([1.0, -2.0], [0, 1], [0, 1, 2, 2]), "Negative values in data: X holds -2.0"),
    "nan": (raw([1.0, np.nan], [0, 1], [0, 1, 2, 2]), "X holds nan; wanted finite counts"),
    "infinite": (raw([1.0, np.inf], [0, 1], [0, 1, 2, 2]), "X holds inf; wanted finite counts"),
    "beyond float32": (raw([1e300], [0], [0, 1, 1, 1]), r"X holds (1e\+300 tokens|inf; wanted)"),
    "too many": (raw([8e14, 8e14], [0, 1], [0, 1, 2, 2]), r"1.6e\+15 tokens; at most 1e\+15"),
    "index too large": (raw([1, 1], [0, 5], [0, 1, 2, 2]), "index 5; wanted 0 to 4"),
    "index negative": (raw([1, 1], [0, -1], [0, 1, 2, 2]), "index -1; wanted 0 to 4"),
    "index of 33 bits": (
        raw([1, 1], [0, 2**32 + 1], [0, 1, 2, 2], index=np.int64),
        "index 4294967297; wanted 0 to 4",
    ),
    "index of 32 unsigned bits": (
        raw([1, 1], [0, 2**32 - 1], [0, 1, 2, 2], index=np.uint32),
        "index 4294967295; wanted 0 to 4",
    ),
    "index a fraction": (raw([1.0], [0.5], [0, 1, 1, 1], index=float), "must hold integers"),
    "indptr short": (raw([1, 1], [0, 1], [0, 2]), "indptr has 2 entries; wanted 4"),
    "indptr beyond the end": (raw([1, 1], [0, 1], [0, 1, 2, 9]), "number of entries, 2"),
    "indptr falls": (raw([1, 1, 1], [0, 1, 2], [0, 2, 1, 3]), "must increase from 0"),
    "indptr negative": (raw([1, 1], [0, 1], [0, -1, 2, 2]), "must increase from 0"),
    "indptr from 1": (raw([1, 1], [0, 1], [1, 1, 2, 2]), "must increase from 0"),
    "indices too many": (raw([1, 1], [0, 1, 2], [0, 1, 2, 2]), "must increase from 0"),
    "data too many": (raw([1, 1, 1], [0, 1], [0, 1, 2, 2]), "must increase from 0"),
    "unsorted and negative": (raw([3, -1], [1, 1], [0, 2, 2, 2]), "Negative values"),
}


@pytest.mark.parametrize("name", BAD_MATRICES)
def test_bad_matrices(name: str) -> None:
    matrix, message = BAD_MATRICES[name]
    for dtype in (None, np.float32, np.float64):
        with pytest.raises(ValueError, match=message):
            bags_of_words(matrix, dtype=dtype)


def test_the_name_is_said() -> None:
    with pytest.raises(ValueError, match="the corpus holds nan"):
        bags_of_words(np.array([[np.nan]]), "the corpus")


@pytest.mark.parametrize("value", [0, 0.0, 1.0, "1", None, True, -3, np.nan, [1], 11])
def test_not_an_integer(value: Any) -> None:
    with pytest.raises(ValueError, match=r"batch_size is .*; wanted an integer from 1 to 10"):
        checks.integer(value, "batch_size", 1, 10)


def test_integers() -> None:
    assert checks.integer(3, "n", 1) == 3
    assert type(checks.integer(np.uint8(3), "n", 1)) is int


@pytest.mark.parametrize("value", [0.5, 1.5, "1", None, True, np.nan, np.inf, 1j, [1]])
def test_not_a_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"kappa is .*; wanted a number > 0.5 and <= 1"):
        checks.number(value, "kappa", 0.5, 1.0, open_low=True)


def test_numbers() -> None:
    assert checks.number(1, "kappa", 0.5, 1.0) == 1.0
    assert type(checks.number(np.float32(0.5), "kappa", 0.5)) is float
    with pytest.raises(ValueError, match=r"wanted a number >= 0$"):
        checks.number(-1, "tau", 0.0)


def test_choices() -> None:
    assert checks.choice("a", "solver", ("a", "b")) == "a"
    for value in ("c", None, ["a"], 1):
        with pytest.raises(ValueError, match=r"solver is .*; wanted one of 'a', 'b'"):
            checks.choice(value, "solver", ("a", "b"))


def test_priors() -> None:
    np.testing.assert_array_equal(checks.prior(None, "alpha", 2, 0.5), [0.5, 0.5])
    np.testing.assert_array_equal(checks.prior(3, "alpha", 2, 0.5), [3.0, 3.0])
    given = np.array([1, 2])
    result = checks.prior(given, "alpha", 2, 0.5)
    assert result.dtype == np.float64
    assert not np.shares_memory(result, given)
    same = np.array([0.1, 0.2])
    assert not np.shares_memory(checks.prior(same, "alpha", 2, 0.5), same)


@pytest.mark.parametrize(
    "value",
    [0, -1, np.nan, np.inf, "a", 1e-300, 1e300, True, [0.1], [[0.1, 0.1]], [0.1, 0.0], [0.1, -1],
     [0.1, np.nan], [0.1, np.inf], ["a", "b"], [True, True], [0.1, 1e-300], [0.1, 1e300], []],
)  # fmt: skip
def test_bad_priors(value: Any) -> None:
    with pytest.raises(ValueError, match=r"alpha .*(wanted|must hold)"):
        checks.prior(value, "alpha", 2, 0.5)


def test_numpy_booleans_are_booleans():
    assert checks.flag(np.bool_(True), "x") is True
    assert checks.flag(np.bool_(False), "x") is False
    with pytest.raises(ValueError, match="x is 1; wanted True or False"):
        checks.flag(1, "x")


def test_masked_counts_are_refused():
    X = np.ma.masked_array([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    with pytest.raises(ValueError, match=r"X has masked entries; fill them"):
        bags_of_words(X)
    np.testing.assert_array_equal(bags_of_words(X[1:]).counts, [3, 4])
    for estimator in (fastvi.LatentDirichletAllocation(2), fastvi.BayesianPCA()):
        with pytest.raises(ValueError, match="X has masked entries"):
            estimator.fit(X)
    with pytest.raises(ValueError, match="data's y has masked entries"):
        prepare({"y": X[0]})


@pytest.mark.parametrize("kind", [list, np.array, lambda texts: np.array(texts, object)])
def test_texts_are_not_counts(kind):
    texts = kind(["some text", "some other text"])
    for fit in (bags_of_words, fastvi.LatentDirichletAllocation(2).fit):
        with pytest.raises(ValueError, match="X holds texts; vectorize first"):
            fit(texts)
