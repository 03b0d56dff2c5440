"""Recognising the format of a corpus and finding its vocabulary."""

import os
import re
import zipfile
from pathlib import Path

from fastvi.corpus.files import ZIP, existing, open_bytes

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".mtx": "mtx",
    ".ldac": "ldac",
    ".lda-c": "ldac",
    ".svmlight": "svmlight",
    ".svm": "svmlight",
    ".libsvm": "svmlight",
}
PACKED = frozenset({".gz", ".bz2", ".xz", ".zip"})
HEAD_BYTES = 1 << 16

_LABEL = re.compile(rb"[-+]?[0-9][-+.eE0-9]*(,[-+]?[0-9][-+.eE0-9]*)*")
_PAIR = re.compile(rb"[0-9]+:[-+.eE0-9]+")
_JSON_ARRAY = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*[\"{\]]")
_THREE_NUMBERS = re.compile(rb"\s*[0-9]+\s+[0-9]+\s+[0-9]+\s*")


def sniff(path: str | os.PathLike[str]) -> str:
    r"""Recognise the format of a corpus.

    Parameters
    ----------
    path : path
        A file, compressed or not, or a folder of text files.

    Returns
    -------
    str
        A key of `fastvi.corpus.FORMATS`; ``"lines"`` (text, one document per line) if no other
        matches.

    Raises
    ------
    ValueError
        If the path does not exist.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastvi import corpus
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.ldac")
    >>> _ = path.write_text("2 0:1 1:2\n1 3:4\n")
    >>> corpus.sniff(path)
    'ldac'
    """
    place = existing(path)
    if place.is_dir():
        return "folder"
    names = [place.name]
    with place.open("rb") as raw:
        if raw.read(4) == ZIP or place.suffix == ".npz":
            names += (inside := _names_inside(place))
            if place.suffix == ".npz" or (inside and all(name.endswith(".npy") for name in inside)):
                return "npz"
    with open_bytes(place) as file:
        head = file.read(HEAD_BYTES)
    if head[:14].lower() == b"%%matrixmarket":
        return "mtx"
    for name in reversed(names):
        suffixes = [suffix.lower() for suffix in Path(name).suffixes]
        suffixes = [suffix for suffix in suffixes if suffix not in PACKED]
        if suffixes and suffixes[-1] in SUFFIXES:
            return SUFFIXES[suffixes[-1]]
        if suffixes and suffixes[-1] == ".json":
            return "json" if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") else "jsonl"
    return sniff_lines(head)


def _names_inside(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return []  # the reader will report what is wrong


def sniff_lines(head: bytes) -> str:
    """Recognise a format by its first lines."""
    if _JSON_ARRAY.match(head):
        return "json"
    lines = head.split(b"\n")
    if len(head) == HEAD_BYTES and len(lines) > 1:
        lines.pop()
    lines = [line for line in lines if line.strip()][:50]
    if lines and all(line.lstrip().startswith(b"{") for line in lines):
        return "jsonl"
    is_docword = len(lines) >= 3 and all(line.strip().isdigit() for line in lines[:3])
    if is_docword and all(_THREE_NUMBERS.fullmatch(line) for line in lines[3:]):
        return "docword"
    rows = [line.partition(b"#")[0].split() for line in lines]
    rows = [row for row in rows if row]
    if not any(len(row) > 1 for row in rows) or not all(map(_is_pairs, rows)):
        return "lines"
    # The last line may be cut off; the parser reports wrong numbers in lines.
    n_counted = sum(row[0] == b"%d" % (len(row) - 1) for row in rows)
    return "ldac" if 2 * n_counted > len(rows) else "svmlight"


def _is_pairs(row: list[bytes]) -> bool:
    pairs = row[2:] if len(row) > 1 and row[1].startswith(b"qid:") else row[1:]
    return bool(_LABEL.fullmatch(row[0])) and all(map(_PAIR.fullmatch, pairs))


def vocabulary_beside(path: Path) -> Path | None:
    """Return the vocabulary file beside a bag-of-words file, by its usual names.

    For `docword.NAME.txt.gz`, `NAME.npz` and the like: `vocab.NAME.txt`, `NAME_vocab.txt`,
    `NAME.vocab.txt`, `NAME.vocab`, `vocab.txt`.
    """
    stem = path.name.removeprefix("docword.")
    for suffix in PACKED:
        stem = stem.removesuffix(suffix)
    stem = stem.rpartition(".")[0] or stem
    patterns = ("vocab.{}.txt", "{}_vocab.txt", "{}.vocab.txt", "{}.vocab")
    names = [pattern.format(stem) for pattern in patterns]
    for name in [*names, "vocab.txt"]:
        candidate = path.with_name(name)
        if candidate.is_file() and candidate != path:
            return candidate
    return None
