"""Corpora larger than memory: shards on disk."""

import errno
import os
import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import scipy.io
import scipy.sparse

import fastvi.corpus.shuffle
from fastvi.corpus import read, read_sharded
from fastvi.corpus.shards import MAX_SHARDS, shard_sizes

SEED = 7


def write_numbered(path, n_documents, n_words=300):
    """Write documents that name themselves by their counts: document i has i + 1 times word 0."""
    rng = np.random.default_rng(SEED)
    with open(path, "w") as file:
        for i in range(n_documents):
            words = rng.integers(1, n_words, 5)
            file.write(f"6 0:{i + 1} " + " ".join(f"{w}:1" for w in words) + "\n")


def rows_of(corpus):
    """Return all documents of all shards as (words, counts) pairs."""
    found = []
    for i in range(corpus.n_shards):
        indptr, indices, data = corpus.shard(i)
        assert (indptr.dtype, indices.dtype, data.dtype) == (np.int64, np.int32, np.float32)
        for begin, end in pairwise(indptr):
            assert np.all(np.diff(indices[begin:end]) > 0)
            found.append((tuple(indices[begin:end]), tuple(data[begin:end])))
    return found


def rows_of_matrix(matrix):
    return [
        (tuple(matrix.indices[b:e]), tuple(matrix.data[b:e])) for b, e in pairwise(matrix.indptr)
    ]


def write_texts(path):
    rng = np.random.default_rng(SEED)
    words = np.array(["".join(rng.choice(list("abcdefg"), 4)) for _ in range(200)])
    with open(path, "w") as file:
        for _ in range(300):
            file.write(" ".join(rng.choice(words, rng.integers(0, 30))) + "\n")


def write_matrix(order):
    def write(path):
        table = scipy.sparse.random_array((300, 40), density=0.2, rng=np.random.default_rng(SEED))
        table = table.tocsr() if order == "C" else table.tocsc()
        rows, columns = table.tocoo().coords
        lines = (f"{i + 1} {j + 1} 3\n" for i, j in zip(rows, columns))
        path.write_text(f"300\n40\n{table.nnz}\n" + "".join(lines))

    return write


def write_npz(path):
    table = scipy.sparse.random_array((300, 40), density=0.2, rng=np.random.default_rng(SEED))
    scipy.sparse.save_npz(path, table.tocsr())


SOURCES = {
    "lines": (write_texts, "a.txt"),
    "ldac": (lambda path: write_numbered(path, 300), "a.ldac"),
    "docword": (write_matrix("C"), "docword.a.txt"),
    "docword, not sorted": (write_matrix("F"), "docword.a.txt"),
    "npz": (write_npz, "a.npz"),
}


@pytest.mark.parametrize("options", [{}, {"min_df": 7, "max_features": 30}], ids=["", "pruned"])
@pytest.mark.parametrize("kind", SOURCES)
def test_shards_hold_the_corpus(tmp_path, kind, options, rng):
    write, name = SOURCES[kind]
    write(tmp_path / name)
    corpus = read(tmp_path / name, **options)
    with read_sharded(
        tmp_path / name, batch_size=64, n_held_out=20, random_state=rng, **options
    ) as sharded:
        found = rows_of(sharded) + rows_of_matrix(sharded.held_out)
        assert Counter(found) == Counter(rows_of_matrix(corpus.counts))
        assert sharded.held_out.shape == (20, corpus.n_words)
        assert sharded.vocabulary == corpus.vocabulary
        assert (sharded.n_documents, sharded.n_words) == (280, corpus.n_words)
        held_tokens = sharded.held_out.data.sum(dtype=float)
        assert sharded.n_tokens + held_tokens == pytest.approx(corpus.n_tokens)
        held_empty = np.count_nonzero(np.diff(sharded.held_out.indptr) == 0)
        assert sharded.n_empty + held_empty == corpus.n_empty
        assert sharded.n_shards == 5
        assert "280 documents" in sharded.description


def test_small_buffers_change_nothing(tmp_path, monkeypatch):
    write_texts(tmp_path / "a.txt")

    def rows():
        with read_sharded(
            tmp_path / "a.txt", batch_size=50, random_state=np.random.default_rng(SEED)
        ) as corpus:
            return rows_of(corpus)

    expected = rows()
    assert rows() == expected
    monkeypatch.setattr(fastvi.corpus.shuffle, "BUFFER_BYTES", 100)
    assert rows() == expected


@pytest.mark.thorough
def test_the_shuffle_is_uniform(tmp_path):
    """Documents fall into shards, and pairs into the same one, as often as chance has it.

    Bounds: five standard deviations of a binomial of 150 trials.
    """
    n_documents, n_shards, n_seeds = 24, 4, 150
    write_numbered(tmp_path / "a.ldac", n_documents)
    where = np.zeros((n_documents, n_shards))
    together = np.zeros((n_documents, n_documents))
    first = np.zeros(n_documents)
    for seed in range(n_seeds):
        with read_sharded(
            tmp_path / "a.ldac", batch_size=6, random_state=np.random.default_rng(seed)
        ) as corpus:
            for i in range(n_shards):
                indptr, _, data = corpus.shard(i)
                documents = data[indptr[:-1]].astype(int) - 1
                assert len(documents) == 6
                where[documents, i] += 1
                together[np.ix_(documents, documents)] += 1
                first[documents[0]] += 1 / n_shards

    def limit(p):
        return 5 * np.sqrt(n_seeds * p * (1 - p))

    assert np.all(np.abs(where - n_seeds / n_shards) < limit(1 / n_shards))
    apart = together[~np.eye(n_documents, dtype=bool)]
    assert np.all(np.abs(apart - n_seeds * 5 / 23) < limit(5 / 23))
    assert np.all(np.abs(first - n_seeds / n_documents) < limit(1 / n_documents))


def peak_of_sharding(path, n_documents):
    rng = np.random.default_rng(SEED)
    words = np.array(["".join(word) for word in rng.choice(list("abcdefgh"), (500, 5))])
    documents = rng.choice(words, (n_documents, 20))
    path.write_text("".join(" ".join(words) + "\n" for words in documents))
    del documents
    tracemalloc.start()
    try:
        with read_sharded(path, batch_size=256, n_held_out=50, random_state=rng):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.thorough
def test_memory_does_not_grow_with_the_documents(tmp_path, monkeypatch):
    # A buffer that both corpora fill; the rest is one block of documents.
    monkeypatch.setattr(fastvi.corpus.shuffle, "BUFFER_BYTES", 1 << 18)
    peak_of_sharding(tmp_path / "warm.txt", 100)
    small = peak_of_sharding(tmp_path / "small.txt", 3000)
    large = peak_of_sharding(tmp_path / "large.txt", 8000)
    assert large < small + 18 * (8000 - 3000)  # less than their words' numbers take


@pytest.mark.parametrize("n_documents", [1, 2, 5, 999, 10**8])
@pytest.mark.parametrize("batch_size", [1, 64])
@pytest.mark.parametrize("n_held_out", [0, 1, 3])
def test_shard_sizes(n_documents, batch_size, n_held_out):
    sizes = shard_sizes(n_documents, batch_size, n_held_out)
    assert sizes.sum() == n_documents
    assert sizes[-1] == min(n_held_out, n_documents - 1)
    assert sizes[:-1].min() >= 1
    assert np.ptp(sizes[:-1]) <= 1
    assert len(sizes) - 1 == MAX_SHARDS or sizes[:-1].max() <= batch_size


def test_close_removes_everything(tmp_path, rng):
    write_numbered(tmp_path / "a.ldac", 30)
    (tmp_path / "here").mkdir()
    with read_sharded(tmp_path / "a.ldac", tmp_path / "here", random_state=rng) as corpus:
        assert len(os.listdir(tmp_path / "here")) == 1
    assert not os.listdir(tmp_path / "here")
    with pytest.raises(ValueError, match="closed"):
        corpus.shard(0)
    corpus.close()


def fail_with(error):
    def write(*_):
        raise error

    return write


@pytest.mark.parametrize("name", ["write_spool", "scatter", "write_shard"])
def test_full_disk_and_interrupt_leave_nothing(tmp_path, monkeypatch, rng, name):
    write_numbered(tmp_path / "a.ldac", 30)
    (tmp_path / "here").mkdir()
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(f"fastvi.corpus.shards.{name}", fail_with(full))
    with pytest.raises(OSError, match=r"the disk of .*here is full; free some space") as error:
        read_sharded(tmp_path / "a.ldac", tmp_path / "here", random_state=rng)
    assert error.value.errno == errno.ENOSPC
    monkeypatch.setattr(f"fastvi.corpus.shards.{name}", fail_with(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        read_sharded(tmp_path / "a.ldac", tmp_path / "here", random_state=rng)
    assert not os.listdir(tmp_path / "here")


def test_bad_input_leaves_nothing(tmp_path, rng):
    (tmp_path / "here").mkdir()
    write_numbered(tmp_path / "a.ldac", 300_000 // 50)
    with open(tmp_path / "a.ldac", "a") as file:
        file.write("2 0:1\n")
    with pytest.raises(ValueError, match=r"a\.ldac, line 6001: 2 pairs declared"):
        read_sharded(tmp_path / "a.ldac", tmp_path / "here", random_state=rng)
    assert not os.listdir(tmp_path / "here")
    for options, message in [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"n_held_out": -1}, "n_held_out is -1"),
        ({"folder": tmp_path / "nowhere"}, "does not exist"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_sharded(tmp_path / "a.ldac", random_state=rng, **options)


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_damaged_shards_are_noticed(tmp_path, rng, damage):
    write_numbered(tmp_path / "a.ldac", 30)
    (tmp_path / "here").mkdir()
    with read_sharded(tmp_path / "a.ldac", tmp_path / "here", random_state=rng) as corpus:
        (shard,) = (tmp_path / "here").glob("*/shard-*")
        content = bytearray(shard.read_bytes())
        if damage == "cut":
            del content[-8:]
        content[50] ^= 1
        shard.write_bytes(content)
        if damage == "gone":
            shard.unlink()
        with pytest.raises(ValueError, match=r"shard-0000: .*(cut off|removed)"):
            corpus.shard(0)
        with pytest.raises(ValueError, match="allowed: 0 to 0"):
            corpus.shard(-1)


def test_streamed_matrix_market(tmp_path, rng):
    table = scipy.sparse.random_array((300, 40), density=0.2, rng=rng).tocsr()
    scipy.io.mmwrite(tmp_path / "a.mtx", table)
    with read_sharded(tmp_path / "a.mtx", batch_size=64, random_state=rng) as corpus:
        assert corpus.n_documents == 300
        assert corpus.n_tokens == pytest.approx(table.sum(), rel=1e-6)
