"""Headers of UCI docword and Matrix Market files."""

from pathlib import Path
from typing import NamedTuple

from fastvi.corpus.files import ZIP, open_bytes, packed_with
from fastvi.corpus.numbers import MAX_WORDS, Line

SIZES = ("the number of documents", "the number of words", "the number of entries")
FIELDS = ("integer", "unsigned-integer", "real", "double", "pattern")
MAX_LINE = 1 << 12  # bytes per line of a header
# A compressed file may hold many times its size, but only of repeated entries.
PACKED_RATIO = 1100
TEXT_RATIO = 40


class Header(NamedTuple):
    """What the header of a file declares."""

    n_documents: int
    n_words: int
    n_entries: int
    n_lines: int  # of the header itself
    field: str = "real"  # one of FIELDS
    dense: bool = False  # one value per line, by columns
    symmetric: bool = False  # only the lower triangle is stored

    @property
    def width(self) -> int:
        """Numbers on each line."""
        return 1 if self.dense else 2 if self.field == "pattern" else 3

    @property
    def streamable(self) -> bool:
        """Whether entries can be in the order of documents."""
        return not (self.dense or self.symmetric)


def read_header(path: Path, matrix_market: bool) -> Header:
    """Read and check the header of a docword or Matrix Market file."""
    head: list[str] = []
    with open_bytes(path) as file:
        while raw := file.readline(MAX_LINE):
            text = raw.decode("ascii", "backslashreplace").strip()
            head.append(text)
            line = Line(path, len(head), text)
            if len(raw) == MAX_LINE:
                raise line.error("too long for a line of a header")
            if matrix_market and len(head) == 1:
                field, dense, symmetric = _banner(line)
            elif matrix_market and text and not text.startswith("%"):
                return _market_header(line, field, dense, symmetric)
            elif not matrix_market and len(head) == 3:
                n_documents, n_words, n_entries = (
                    Line(path, i, text).size(text, what)
                    for i, (text, what) in enumerate(zip(head, SIZES), 1)
                )
                return _believable(Header(n_documents, n_words, n_entries, 3), line)
    raise ValueError(f"{path}, line {len(head) + 1}: the file ends inside its header")


def _banner(line: Line) -> tuple[str, bool, bool]:
    """Return the field, whether the matrix is dense, and whether it is symmetric."""
    words = line.text.lower().split()
    known = (
        len(words) == 5
        and words[:2] == ["%%matrixmarket", "matrix"]
        and words[2] in ("coordinate", "array")
        and words[3] in FIELDS
        and words[4] in ("general", "symmetric")
        and words[2:4] != ["array", "pattern"]
    )
    if not known:
        raise line.error(
            "wanted: '%%MatrixMarket matrix coordinate integer general' (or real, pattern, "
            "array, symmetric)"
        )
    return words[3], words[2] == "array", words[4] == "symmetric"


def _market_header(line: Line, field: str, dense: bool, symmetric: bool) -> Header:
    words = line.text.split()
    if len(words) != (2 if dense else 3):
        raise line.error(
            f"wanted: the numbers of rows{' and columns' if dense else ', columns and entries'}"
        )
    n_rows, n_columns, *rest = (line.size(text, what) for text, what in zip(words, SIZES))
    if symmetric and n_rows != n_columns:
        raise line.error(f"a symmetric matrix of {n_rows} rows and {n_columns} columns")
    n_entries = n_rows * n_columns
    if dense and symmetric:
        n_entries = n_rows * (n_rows + 1) // 2
    elif not dense:
        (n_entries,) = rest
    header = Header(n_rows, n_columns, n_entries, line.number, field, dense, symmetric)
    return _believable(header, line)


def _believable(header: Header, line: Line) -> Header:
    """Refuse sizes that would fill the memory without any documents."""
    if header.n_words > MAX_WORDS:
        raise line.error(f"{header.n_words} words declared; at most {MAX_WORDS} are possible")
    with line.path.open("rb") as file:
        head = file.read(8)
    packed = packed_with(head) is not None or head.startswith(ZIP)
    n_bytes = line.path.stat().st_size
    if header.n_entries > (n_bytes * PACKED_RATIO if packed else n_bytes):
        raise line.error(f"{header.n_entries} entries declared in a file of {n_bytes} bytes")
    n_entries = min(header.n_entries, n_bytes * TEXT_RATIO)
    if header.n_documents > 10 * n_entries + 10**6:
        raise line.error(
            f"{header.n_documents} documents declared but only {header.n_entries} entries"
        )
    return header
