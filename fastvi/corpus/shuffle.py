"""External shuffling of documents from any source into random shards, in bounded memory.

There are three passes. The first writes the documents in order, with provisional word ids, to a
spool file and counts document frequencies. The second renumbers the words and appends each document
to a random shard. The third writes each shard in its final form.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, DTypeLike
from fastvi.corpus.documents import Counts, Pruned, Source, Statistics, csr_array, renumber, stack

BUFFER_BYTES = 4 << 20


class Rows(NamedTuple):
    """Documents of a shard, as CSR."""

    indptr: NDArray[np.int64]  # (n_documents + 1,)
    indices: NDArray[np.int32]  # (nnz,)
    data: NDArray[np.float32]  # (nnz,)


class Record(NamedTuple):
    """Documents as stored in a file, after their sizes (int64)."""

    lengths: NDArray[np.int32]  # (n_documents,) entries of each
    indices: NDArray[np.int32]  # (nnz,)
    data: NDArray[np.float32]  # (nnz,)

    def to_bytes(self, n_words: int) -> bytes:
        """Return the numbers of words, documents and entries, then the arrays."""
        sizes = np.array([n_words, len(self.lengths), len(self.data)], np.int64)
        return b"".join(part.tobytes() for part in (sizes, *self))

    def to_csr(self, n_words: int) -> Counts:
        """Return the documents as a matrix."""
        indptr = np.concatenate([np.zeros(1, np.int64), self.lengths]).cumsum()
        return csr_array(self.data, self.indices, indptr, n_words)


def read_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the records of a file, each with its number of words."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while file.tell() < size:
            n_words, n_documents, n_entries = _take(file, 3, np.int64).tolist()
            lengths = _take(file, n_documents, np.int32)
            indices = _take(file, n_entries, np.int32)
            yield n_words, Record(lengths, indices, _take(file, n_entries, np.float32))


def _take(file: BinaryIO, n: int, dtype: DTypeLike) -> AnyArray:
    values = np.fromfile(file, dtype, n)
    if len(values) < n:
        raise ValueError(f"{file.name}: this temporary file was cut off while it was in use")
    return values


def write_spool(source: Source, path: Path) -> Statistics:
    """Write the documents of a source to one file; return the statistics of their words."""
    statistics = Statistics()
    with path.open("wb") as file:
        for block in source.blocks():
            statistics.add(block)
            lengths = np.diff(block.indptr).astype(np.int32)
            indices = block.indices.astype(np.int32, copy=False)
            file.write(Record(lengths, indices, block.data).to_bytes(block.shape[1]))
    return statistics


def scatter(
    spool: Path,
    pruned: Pruned,
    sizes: NDArray[np.int64],
    folder: str,
    rng: np.random.Generator,
) -> Counts:
    """Append each document to a random shard; return the held-out documents.

    Shards are filled by sampling without replacement: all partitions of the documents into shards
    of these sizes are equally likely, and nothing is stored per document.
    """
    left = sizes.copy()
    held_out: list[Counts] = []
    waiting: list[Counts] = []
    targets: list[NDArray[np.int64]] = []
    n_bytes = 0
    for n_words, raw in read_records(spool):
        block = renumber(raw.to_csr(n_words), pruned)
        drawn = rng.multivariate_hypergeometric(left, block.shape[0], method="marginals")
        left -= drawn
        target = np.repeat(np.arange(len(sizes)), drawn)
        rng.shuffle(target)
        waiting.append(block)
        targets.append(target)
        n_bytes += 8 * (len(block.data) + block.shape[0])
        if n_bytes > BUFFER_BYTES:
            held_out.append(_append(waiting, targets, len(sizes), folder))
            waiting, targets, n_bytes = [], [], 0
    held_out.append(_append(waiting, targets, len(sizes), folder))
    return stack(held_out, pruned.n_words)


def _append(
    waiting: list[Counts], targets: list[NDArray[np.int64]], n_targets: int, folder: str
) -> Counts:
    """Append waiting documents to their shards; return those of the last target."""
    if not waiting:
        return csr_array(np.zeros(0), np.zeros(0), np.zeros(1, np.int64), 0)
    target = np.concatenate(targets)
    order = np.argsort(target, kind="stable")
    documents = stack(waiting, waiting[0].shape[1])[order]
    lengths = np.diff(documents.indptr).astype(np.int32)
    indices = documents.indices.astype(np.int32, copy=False)
    bounds = np.searchsorted(target[order], np.arange(n_targets + 1))
    entries = documents.indptr[bounds]
    for i in np.flatnonzero(np.diff(bounds[:-1])).tolist():
        part = slice(entries[i], entries[i + 1])
        mine = Record(lengths[bounds[i] : bounds[i + 1]], indices[part], documents.data[part])
        with open(shard_path(folder, i), "ab", buffering=0) as file:
            _write_all(file, mine.to_bytes(documents.shape[1]))
    return documents[int(bounds[-2]) :]


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write to an unbuffered file, which may accept only part of the data."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def shard_path(folder: str, i: int) -> str:
    """Return the file of a shard."""
    return os.path.join(folder, f"shard-{i:04d}")


def gather_shard(path: Path, n_words: int) -> Counts:
    """Read the records that were appended to one shard."""
    records = [record for _, record in read_records(path)]
    lengths, indices, data = (np.concatenate(parts) for parts in zip(*records))
    return Record(lengths, indices, data).to_csr(n_words)


def write_shard(path: str, documents: Counts) -> None:
    """Write head (checksum, documents, entries; int64), offsets, ids and counts."""
    sizes = np.array([documents.shape[0], len(documents.data)], np.int64)
    indptr = documents.indptr.astype(np.int64)
    body = b"".join(part.tobytes() for part in (sizes, indptr, documents.indices, documents.data))
    with open(path, "wb") as file:
        file.write(np.array([zlib.crc32(body)], np.int64).tobytes())
        file.write(body)


def read_shard(path: str) -> Rows:
    """Read what `write_shard` wrote, or say that it is damaged."""
    try:
        raw = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise ValueError(f"{path}: this temporary file was removed while it was in use") from None
    if len(raw) < 24 or zlib.crc32(raw[8:].data) != raw[:8].view(np.int64)[0]:
        raise ValueError(f"{path}: this temporary file was cut off or changed while in use")
    n_documents, n_entries = raw[8:24].view(np.int64).tolist()
    ids = 24 + 8 * (n_documents + 1)
    counts = ids + 4 * n_entries
    return Rows(
        raw[24:ids].view(np.int64), raw[ids:counts].view(np.int32), raw[counts:].view(np.float32)
    )
