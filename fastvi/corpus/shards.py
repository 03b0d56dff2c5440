"""Corpora larger than memory: random subsets of the documents as files on disk.

Memory holds the vocabulary, one block of documents, a buffer, and the held-out documents.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.temporary import Folder
from fastvi.base.typing import RandomState
from fastvi.corpus.documents import Counts, Pruned, Source, describe, warn_of_empty
from fastvi.corpus.options import Options
from fastvi.corpus.reading import Paths, choose_words, how_read, open_source, resolve
from fastvi.corpus.shuffle import (
    Rows,
    gather_shard,
    read_shard,
    scatter,
    shard_path,
    write_shard,
    write_spool,
)
from fastvi.corpus.triples import NotSorted

MAX_SHARDS = 4096
MAX_DOCUMENTS = 10**9  # what numpy's hypergeometric sampler can count
SPOOL = "spool"
PREFIX = "fastvi-shards-"


class ShardedCorpus:
    r"""Word counts in shards on disk, made by `read_sharded` and removed by `close`.

    Each shard is a random subset of the documents in random order. Sizes do not include the
    held-out documents.

    Attributes
    ----------
    n_documents, n_words, n_empty, n_shards : int
        Numbers of documents, words, documents without words, and shards.
    n_tokens : float
        Sum of all counts.
    vocabulary : list of str, optional
        The word of each column.
    held_out : scipy.sparse.csr_array (n_held_out, n_words), float32
        Documents kept out of the shards.
    description : str
        One line: what was read, its size, what pruning removed.
    reading : mapping
        As in `fastvi.corpus.Corpus`.
    pruned : bool
        Whether columns were left out.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastvi import corpus
    >>> path = pathlib.Path(tempfile.mkdtemp(), "texts.txt")
    >>> _ = path.write_text("cats purr\ndogs bark\ncats bark\n" * 4)
    >>> with corpus.read_sharded(path, batch_size=4, random_state=0) as shards:
    ...     print(shards.n_documents, shards.n_shards, shards.vocabulary)
    12 3 ['bark', 'cats', 'dogs', 'purr']
    """

    def __init__(
        self,
        folder: Folder,
        pruned: Pruned,
        n_shards: int,
        held_out: Counts,
    ) -> None:
        self._folder = folder
        self._closed = False
        self.vocabulary = pruned.vocabulary
        self.removed = pruned.removed
        self.pruned = bool(pruned.removed)
        self.reading: Mapping[str, object] = {}
        self.n_words = pruned.n_words
        self.n_shards = n_shards
        self.held_out = held_out
        self.n_documents = 0
        self.n_empty = 0
        self.n_tokens = 0.0
        self.description = ""

    def shard(self, i: int) -> Rows:
        """Read one shard.

        Parameters
        ----------
        i : int
            0 to ``n_shards - 1``.

        Returns
        -------
        Rows
            ``indptr`` (int64), ``indices`` (int32, sorted in each document), ``data`` (float32).

        Raises
        ------
        ValueError
            If the corpus is closed, there is no such shard, or its file is damaged.
        """
        if self._closed:
            raise ValueError("this corpus is closed, and its shards are removed")
        if not 0 <= i < self.n_shards:
            raise ValueError(f"shard {i} of {self.n_shards}; allowed: 0 to {self.n_shards - 1}")
        return read_shard(shard_path(self._folder.name, i))

    def close(self) -> None:
        """Remove the shards from disk."""
        self._closed = True
        self._folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_sharded(
    paths: Paths,
    folder: str | os.PathLike[str] | None = None,
    *,
    batch_size: int = 1024,
    n_held_out: int = 0,
    random_state: RandomState = None,
    **options: Any,
) -> ShardedCorpus:
    r"""Read a corpus of any size into random shards on disk.

    Parameters
    ----------
    paths : path or sequence of paths
        As for `read`. Texts, LDA-C, svmlight, and docword and Matrix Market files sorted by
        document are streamed; others are first read whole.
    folder : path, optional
        Where to make a temporary folder for the shards; by default the system's temporary folder.
    batch_size : int
        Approximate number of documents per shard; larger if there would be more than 4096 shards.
    n_held_out : int
        Number of random documents to keep in memory instead of the shards; at most a tenth of the
        corpus, but at least one.
    random_state : int, RandomState, Generator or None
        The same seed and files give the same shards.
    **options
        See `Options`.

    Returns
    -------
    ShardedCorpus
        Close it after use, preferably as a context manager; this removes the temporary folder.

    Raises
    ------
    ValueError
        As for `read`.
    OSError
        If the disk is full or the folder cannot be written. The temporary folder is removed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastvi import corpus
    >>> path = pathlib.Path(tempfile.mkdtemp(), "texts.txt")
    >>> _ = path.write_text("cats purr\ndogs bark\ncats bark\n" * 4)
    >>> with corpus.read_sharded(path, batch_size=4, n_held_out=2, random_state=0) as shards:
    ...     print(shards.n_documents, shards.held_out.shape)
    11 (1, 4)
    """
    wanted = Options(**options)
    if wanted.keep:
        raise ValueError("keep is given, but shards keep no fields; wanted read")
    batch_size = checks.integer(batch_size, "batch_size", 1)
    n_held_out = checks.integer(n_held_out, "n_held_out", 0)
    rng = checks.generator(random_state, "random_state")
    if folder is not None and not os.path.isdir(folder):
        raise ValueError(f"folder {os.fspath(folder)!r} does not exist")
    places, kind = resolve(paths, wanted)
    temporary = Folder(folder, PREFIX)
    try:
        spool = Path(temporary.name, SPOOL)
        try:
            source = open_source(places, kind, wanted, whole_file=False)
            statistics = write_spool(source, spool)
        except NotSorted:
            source = open_source(places, kind, wanted, whole_file=True)
            statistics = write_spool(source, spool)
        pruned = choose_words(source, statistics, wanted)
        n_held_out = min(n_held_out, max(1, statistics.n_documents // 10))
        sizes = shard_sizes(statistics.n_documents, batch_size, n_held_out)
        held_out = scatter(spool, pruned, sizes, temporary.name, rng)
        spool.unlink()
        corpus = ShardedCorpus(temporary, pruned, len(sizes) - 1, held_out)
        corpus.reading = how_read(source, wanted)
        _finish(corpus, temporary.name, source, rng)
        return corpus
    except BaseException as error:
        temporary.close()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = os.path.dirname(temporary.name)
            raise OSError(
                errno.ENOSPC,
                f"the disk of {where} is full; free some space or give another folder for the "
                "shards (they take about 16 bytes for each different word of each document)",
            ) from None
        raise


def shard_sizes(n_documents: int, batch_size: int, n_held_out: int) -> NDArray[np.int64]:
    """Return the number of documents per shard, equal to within one, and last of held-out ones."""
    if n_documents >= MAX_DOCUMENTS:
        raise ValueError(f"{n_documents} documents; at most {MAX_DOCUMENTS - 1} can be sharded")
    n_held_out = min(n_held_out, n_documents - 1)
    n_left = n_documents - n_held_out
    n_shards = min(max(1, -(-n_left // batch_size)), MAX_SHARDS)
    bounds = np.arange(n_shards + 1, dtype=np.int64) * n_left // n_shards
    return np.append(np.diff(bounds), n_held_out)


def _finish(corpus: ShardedCorpus, folder: str, source: Source, rng: np.random.Generator) -> None:
    """Write each shard in its final form, and add up the sizes."""
    for i in range(corpus.n_shards):
        path = shard_path(folder, i)
        documents = gather_shard(Path(path), corpus.n_words)
        documents = documents[rng.permutation(documents.shape[0])]
        write_shard(path, documents)
        corpus.n_documents += documents.shape[0]
        corpus.n_empty += int(np.count_nonzero(np.diff(documents.indptr) == 0))
        corpus.n_tokens += float(documents.data.sum(dtype=np.float64))
    size = (corpus.n_documents, corpus.n_words, corpus.n_tokens, corpus.n_empty)
    warn_of_empty(source, corpus.n_empty, corpus.n_documents)
    removed = [*source.removed, *corpus.removed]
    corpus.description = describe(source.label, size, removed)
    if corpus.held_out.shape[0]:
        corpus.description += f"; {corpus.held_out.shape[0]:,} more documents held out"
