"""Reading a corpus into memory."""

import os
import warnings
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from fastvi.base.typing import JsonObject
from fastvi.corpus.archive import ArchiveSource
from fastvi.corpus.documents import (
    Corpus,
    Counts,
    Pruned,
    Source,
    Statistics,
    describe,
    prune,
    renumber,
    stack,
    warn_of_empty,
)
from fastvi.corpus.files import existing, read_words
from fastvi.corpus.options import FIELD_FORMATS, FORMATS, TEXT_FORMATS, Options
from fastvi.corpus.pairs import PairSource
from fastvi.corpus.sniffing import sniff, vocabulary_beside
from fastvi.corpus.text import TextSource, resolve_stop_words
from fastvi.corpus.text_files import READERS, Found
from fastvi.corpus.triples import NotSorted, TripleSource

TEXT_FILES = TEXT_FORMATS - {"folder"}
NUMBER_FILES = frozenset({"ldac", "svmlight", "docword"})

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def read(paths: Paths, **options: Any) -> Corpus:
    r"""Read a corpus into memory.

    Parameters
    ----------
    paths : path or sequence of paths
        A folder of text files; text with one document per line; JSON, CSV or TSV; LDA-C; svmlight;
        UCI docword; Matrix Market; npz CSR. Files may be compressed by gzip, bzip2, xz or zip.
        Several paths of the same format are read in turn.
    **options
        See `Options`: format, field, keep, delimiter, vocabulary, min_df, max_df, max_features,
        stop_words, lowercase, token_pattern, normal_form, encoding, zero_based.

    Returns
    -------
    Corpus
        The counts (n_documents, n_words) as float32 CSR, vocabulary, names, a description, and
        `reading`: options that were given or detected. ``read(path, **corpus.reading)`` reads
        another file in the same way, whatever it looks like.

    Raises
    ------
    ValueError
        For malformed or truncated files (file and line named), unreadable encodings, counts
        that are negative or not finite, indices out of range, a vocabulary that does not fit,
        or if no documents or words are left.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastvi import corpus
    >>> path = pathlib.Path(tempfile.mkdtemp(), "texts.txt")
    >>> _ = path.write_text("cats purr and purr\ndogs bark\n")
    >>> found = corpus.read(path)
    >>> found.vocabulary
    ['bark', 'cats', 'dogs', 'purr']
    >>> found.counts.toarray()
    array([[0., 1., 0., 2.],
           [1., 0., 1., 0.]], dtype=float32)
    """
    wanted = Options(**options)
    places, kind = resolve(paths, wanted)
    for whole_file in (False, True):
        try:
            return gather(open_source(places, kind, wanted, whole_file), wanted)
        except NotSorted:
            continue
    raise AssertionError("a file read whole needs no order")


def gather(source: Source, options: Options) -> Corpus:
    """Read a source to its end and prune its words."""
    source.names = []
    statistics = Statistics()
    blocks: list[Counts] = []
    for block in source.blocks():
        statistics.add(block)
        blocks.append(block)
    pruned = choose_words(source, statistics, options)
    counts = stack((renumber(block, pruned) for block in blocks), pruned.n_words)
    names = source.names or None
    reading = how_read(source, options)
    fields = {name: _numbers_if_all(values) for name, values in source.fields.items()}
    corpus = Corpus(counts, pruned.vocabulary, names, "", reading, bool(pruned.removed), fields)
    size = (corpus.n_documents, corpus.n_words, corpus.n_tokens, corpus.n_empty)
    warn_of_empty(source, corpus.n_empty, corpus.n_documents)
    return corpus._replace(
        description=describe(source.label, size, [*source.removed, *pruned.removed])
    )


def _numbers_if_all(values: list[object]) -> list[object]:
    """Return the strings of a column as numbers, if all of them are; else the values as given."""
    if not all(isinstance(value, str) for value in values):
        return values
    try:
        return [float(str(value)) for value in values]
    except ValueError:
        return values


def how_read(source: Source, options: Options) -> JsonObject:
    """Return the options with which other files are read like this source."""
    given = {} if options.format in (None, "folder") else {"format": options.format}
    return {**source.reading, **given}


def read_again(paths: Paths, reading: Mapping[str, object], **options: Any) -> Corpus:
    r"""Read a corpus in the same way as another.

    Parameters
    ----------
    paths : path or sequence of paths
        As for `read`.
    reading : mapping
        `Corpus.reading` of the other corpus. Its format is used if the files may have it: texts for
        texts, lines of numbers for lines of numbers.
    **options
        As for `read`; they override those in `reading`.

    Returns
    -------
    Corpus

    Raises
    ------
    ValueError
        As for `read`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastvi import corpus
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "old.txt").write_text("cats purr\ndogs bark\n")
    >>> _ = (folder / "new.txt").write_text("dogs purr loudly\n")
    >>> old = corpus.read(folder / "old.txt")
    >>> new = corpus.read_again(folder / "new.txt", old.reading, vocabulary=old.vocabulary)
    >>> new.vocabulary, new.counts.toarray().tolist()
    (['bark', 'cats', 'dogs', 'purr'], [[0.0, 0.0, 1.0, 1.0]])
    """
    kept = reading if options.get("format") is not None else without_other_formats(paths, reading)
    return read(paths, **{**kept, **options})


def without_other_formats(paths: Paths, reading: Mapping[str, object]) -> JsonObject:
    """Return reading options, without the format if the files cannot have it."""
    kept = dict(reading)
    if kept.get("format") is not None:
        _, kind = resolve(paths, Options())
        if not any({kind, kept["format"]} <= group for group in (TEXT_FILES, NUMBER_FILES)):
            del kept["format"]
    return kept


def choose_words(source: Source, statistics: Statistics, options: Options) -> Pruned:
    """Choose the words of a fully read source."""
    if not statistics.n_documents:
        raise ValueError(f"{source.label}: no documents, the file is empty")
    columns = source.columns()
    if not len(columns.ids):
        raise ValueError(f"{source.label}: no words, the vocabulary is empty")
    stop_words: frozenset[str] = frozenset()
    if not isinstance(source, TextSource):
        stop_words = resolve_stop_words(options, default=False)
        if stop_words and columns.words is None:
            raise ValueError(f"{source.label}: stop_words needs a vocabulary; wanted one")
    try:
        return prune(columns, statistics, options, stop_words, source.open_vocabulary)
    except ValueError as error:
        raise ValueError(f"{source.label}: {error}") from None


def resolve(paths: Paths, options: Options) -> tuple[list[Path], str]:
    """Return the existing paths and their common format."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    places = [existing(path) for path in paths]
    if not places:
        raise ValueError("paths is empty; wanted: at least one file or folder")
    kind = options.format or common_format(places)
    for place in places:
        if place.is_dir() != (kind == "folder"):
            what = "a folder" if place.is_dir() else "a file"
            raise ValueError(f"{place}: {what}, which cannot be read as {FORMATS[kind]}")
    return places, kind


def open_source(places: list[Path], kind: str, options: Options, whole_file: bool) -> Source:
    """Return the documents of files of one format.

    With `whole_file`, docword and Matrix Market files are read at once, sorted or not.
    """
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    label = f"{places[0]}{more} ({FORMATS[kind]})"
    if options.keep and kind not in FIELD_FORMATS:
        raise ValueError(
            f"{label}: no field {options.keep[0]!r}; only CSV, TSV, JSON and JSON lines have fields"
        )
    if kind in TEXT_FORMATS:
        found: Found = {}
        texts = chain.from_iterable(READERS[kind](place, options, found) for place in places)
        return TextSource(texts, label, options, given_vocabulary(options), found)
    vocabulary = find_vocabulary(places[0], options)
    if kind == "npz":
        return ArchiveSource(places, label, vocabulary)
    if kind in ("ldac", "svmlight"):
        return PairSource(places, label, vocabulary, kind == "svmlight", options.zero_based)
    return TripleSource(places, label, vocabulary, kind == "mtx", whole_file)


def texts_of(paths: Paths, rows: Sequence[int], **options: Any) -> list[str] | None:
    """Read the texts of some documents, by their numbers; None if the format has no texts.

    Options are those of `read`.
    """
    wanted = Options(**options)
    places, kind = resolve(paths, wanted)
    if kind not in TEXT_FORMATS:
        return None
    found: Found = {}
    texts = chain.from_iterable(READERS[kind](place, wanted, found) for place in places)
    chosen = dict.fromkeys(rows, "")
    last = max(chosen, default=-1)
    for number, document in enumerate(islice(texts, last + 1)):
        if number in chosen:
            chosen[number] = document.text
    return [chosen[row] for row in rows]


def common_format(places: list[Path]) -> str:
    """Return the common format of all files."""
    kinds = [sniff(place) for place in places]
    for place, kind in zip(places, kinds):
        if kind != kinds[0]:
            raise ValueError(
                f"{places[0]} looks like {FORMATS[kinds[0]]}, {place} like {FORMATS[kind]}; "
                "give files of one kind, or say format="
            )
    return kinds[0]


def given_vocabulary(options: Options) -> list[str] | None:
    """Return the requested vocabulary, given as a file or as words."""
    given = options.vocabulary
    if given is None or isinstance(given, bool):
        return None
    if isinstance(given, str | os.PathLike):
        words, what = read_words(given, options.encoding), str(given)
    else:
        words, what = [str(word) for word in given], "vocabulary"
    if not words:
        raise ValueError(f"{what}: the vocabulary is empty")
    return words


def find_vocabulary(place: Path, options: Options) -> list[str] | None:
    """Return the given vocabulary, or that beside a bag-of-words file."""
    if options.vocabulary is None:
        beside = vocabulary_beside(place)
        return None if beside is None else read_words(beside, options.encoding)
    return given_vocabulary(options)


def align(corpus: Corpus, vocabulary: Sequence[str]) -> Corpus:
    r"""Reorder the columns of a corpus by another vocabulary, for example that of a model.

    Parameters
    ----------
    corpus : Corpus
        A corpus with a vocabulary.
    vocabulary : sequence of str
        Words that the corpus lacks get an empty column; words that only the corpus has are dropped.

    Returns
    -------
    Corpus
        With ``len(vocabulary)`` columns.

    Raises
    ------
    ValueError
        If the corpus has no vocabulary.

    Warns
    -----
    UserWarning
        If the two vocabularies share no words.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastvi import corpus
    >>> path = pathlib.Path(tempfile.mkdtemp(), "texts.txt")
    >>> _ = path.write_text("cats purr\ndogs bark\n")
    >>> found = corpus.read(path)
    >>> found.vocabulary
    ['bark', 'cats', 'dogs', 'purr']
    >>> corpus.align(found, ["dogs", "cats", "birds"]).counts.toarray()
    array([[0., 1., 0.],
           [1., 0., 0.]], dtype=float32)
    """
    if corpus.vocabulary is None:
        raise ValueError("corpus has no vocabulary, so its columns cannot be matched by word")
    words = list(vocabulary)
    if words == corpus.vocabulary:
        return corpus
    column = {word: number for number, word in enumerate(words)}
    position = np.array([column.get(word, -1) for word in corpus.vocabulary], np.int32)
    n_known = int(np.count_nonzero(position >= 0))
    if not n_known:
        warnings.warn("vocabulary shares no words with that of the corpus", stacklevel=2)
    counts = renumber(corpus.counts, Pruned(position, words, len(words), []))
    note = f"; {n_known:,} of its words are among the {len(words):,} of the other vocabulary"
    return corpus._replace(counts=counts, vocabulary=words, description=corpus.description + note)
