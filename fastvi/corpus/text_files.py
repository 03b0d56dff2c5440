"""Texts from folders, lines, JSON and CSV.

A reader yields the name, the text and the kept fields of each document. It writes what it guessed
about a file into `found`, and uses that for the following files.
"""

import csv
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from fastvi.base.typing import JsonObject
from fastvi.corpus.files import open_text
from fastvi.corpus.options import Options

Found = dict[str, Any]

DELIMITERS = ",;\t|"


class Text(NamedTuple):
    """A document: its name, its text, and the fields to keep with it."""

    name: str | None
    text: str
    fields: tuple[object, ...] = ()


def folder_texts(path: Path, options: Options, found: Found) -> Iterator[Text]:
    """Yield each file below the folder in sorted order, without hidden and unreadable ones."""
    n_files, bad = 0, []
    for folder, subfolders, files in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if name.startswith(".") or not file.is_file():
                continue
            n_files += 1
            try:
                with open_text(file, options.encoding) as text:
                    content = text.read()
            except (ValueError, OSError) as error:
                bad.append(str(error))
                continue
            yield Text(file.relative_to(path).as_posix(), content)
    if not n_files:
        raise ValueError(f"{path}: the folder has no files")
    if len(bad) == n_files:
        raise ValueError(f"{path}: none of its {n_files} files can be read; {bad[0]}")
    if bad:
        found["n_skipped"] = found.get("n_skipped", 0) + len(bad)
        more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
        warnings.warn(
            f"{path}: {len(bad)} of {n_files} files cannot be read and are left out: "
            f"{'; '.join(bad[:3])}{more}",
            stacklevel=2,
        )


def line_texts(path: Path, options: Options, found: Found) -> Iterator[Text]:
    """Yield each line; an empty line is an empty document."""
    with open_text(path, options.encoding) as file:
        for line in file:
            yield Text(None, line)


def jsonl_texts(path: Path, options: Options, found: Found) -> Iterator[Text]:
    """Yield one field of each JSON object; empty lines are skipped, null is an empty text."""
    field = found["field"] = options.field or found.get("field", "text")
    with open_text(path, options.encoding) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{place}: not a JSON object on one line ({error})") from None
            if not isinstance(record, dict):
                kind = type(record).__name__
                raise ValueError(f"{place}: wanted one JSON object per line, this is a {kind}")
            yield Text(None, _text_of(record, field, place), _kept(record, options.keep, place))


def json_texts(path: Path, options: Options, found: Found) -> Iterator[Text]:
    """Yield the strings of a JSON array, or one field of its objects."""
    field = found["field"] = options.field or found.get("field", "text")
    with open_text(path, options.encoding) as file:
        content = file.read()
    end = _skip_blanks(content, 0)
    if content[end : end + 1] != "[":
        raise ValueError(
            f"{path}, line 1: not a JSON array; wanted an array of strings or objects, or "
            "(format='jsonl') one object per line"
        )
    line, counted, separator = 1, 0, "["
    while content[end : end + 1] == separator:
        begin = _skip_blanks(content, end + 1)
        line, counted = line + content.count("\n", counted, begin), begin
        place = f"{path}, line {line}"
        if content[begin : begin + 1] == "]" and separator == "[":
            end = begin
            break
        try:
            record, end = json.JSONDecoder().raw_decode(content, begin)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}: not well-formed JSON ({_flat(error)})") from None
        kept: tuple[object, ...] = ()
        if isinstance(record, dict):
            kept = _kept(record, options.keep, place)
            record = _text_of(record, field, place)
        elif options.keep:
            raise ValueError(f"{place}: no field {options.keep[0]!r}; this is not an object")
        if not isinstance(record, str):
            kind = type(record).__name__
            raise ValueError(f"{place}: a {kind} in the array; wanted: a string or an object")
        yield Text(None, record, kept)
        end, separator = _skip_blanks(content, end), ","
    if content[end : end + 1] != "]" or content[end + 1 :].strip():
        line += content.count("\n", counted, end)
        raise ValueError(f"{path}, line {line}: not one well-formed JSON array")


def _skip_blanks(text: str, begin: int) -> int:
    while text[begin : begin + 1] in (" ", "\t", "\r", "\n"):
        begin += 1
    return begin


def _flat(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _text_of(record: JsonObject, field: str, place: str) -> str:
    if field not in record:
        raise ValueError(f"{place}: no field {field!r}; there are {_listed(record)}")
    text = record[field]
    if text is not None and not isinstance(text, str):
        kind = type(text).__name__
        raise ValueError(f"{place}: field {field!r} is a {kind}; wanted: a string")
    return text or ""


def _kept(record: JsonObject, fields: Sequence[str], place: str) -> tuple[object, ...]:
    """Return the values of fields to keep: strings, numbers or None."""
    for field in fields:
        if field not in record:
            raise ValueError(f"{place}: no field {field!r}; there are {_listed(record)}")
        if not isinstance(record[field], (str, int, float, NoneType)):
            kind = type(record[field]).__name__
            raise ValueError(f"{place}: field {field!r} is a {kind}; wanted: a string or a number")
    return tuple(record[field] for field in fields)


def csv_texts(path: Path, options: Options, found: Found) -> Iterator[Text]:
    """Yield one column of a table with a header row."""
    field = options.field or found.get("field")
    with open_text(path, options.encoding, newline="") as file:
        first = file.readline()
        delimiter = options.delimiter or found.get("delimiter") or _delimiter(first, field)
        found["delimiter"] = delimiter
        yield from _columns(path, chain([first], file), delimiter, field, options.keep, found)


def tsv_texts(path: Path, options: Options, found: Found) -> Iterator[Text]:
    """Yield one column of a tab-separated table."""
    field = options.field or found.get("field")
    with open_text(path, options.encoding, newline="") as file:
        yield from _columns(path, file, options.delimiter or "\t", field, options.keep, found)


def _delimiter(header: str, field: str | None) -> str:
    """Return the delimiter with which the header has the wanted column, or the most columns."""

    def merit(delimiter: str) -> tuple[bool, int]:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        return len(names) > 1 and (field or "text") in names, len(names)

    return max(DELIMITERS, key=merit)


def _columns(
    path: Path,
    lines: Iterable[str],
    delimiter: str,
    field: str | None,
    keep: Sequence[str],
    found: Found,
) -> Iterator[Text]:
    """Yield the texts of a table whose first row is the header, and the columns to keep."""
    longest = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        place = f"{path}, line 1"
        if not header:
            raise ValueError(f"{place}: no header row with column names")
        name = found["field"] = field or (header[0] if len(header) == 1 else "text")
        column, *kept = (_place_of(name, header, place) for name in (name, *keep))
        for row in rows:
            if len(row) == len(header) or (len(row) > len(header) and not any(row[len(header) :])):
                yield Text(None, row[column], tuple(row[i].strip() or None for i in kept))
            elif row:
                raise ValueError(
                    f"{path}, line {rows.line_num}: {len(row)} columns, but the header has "
                    f"{len(header)}; quote texts that hold {delimiter!r}, or say which delimiter="
                )
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: not well-formed CSV ({error})") from None
    finally:
        csv.field_size_limit(longest)


def _place_of(name: str, header: list[str], place: str) -> int:
    """Return the number of a column."""
    if header.count(name) != 1:
        number = "no" if name not in header else "more than one"
        raise ValueError(f"{place}: {number} column {name!r}; there are {_listed(header)}")
    return header.index(name)


def _listed(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return (", ".join(shown[:20]) or "none") + more


READERS: dict[str, Callable[[Path, Options, Found], Iterator[Text]]] = {
    "folder": folder_texts,
    "lines": line_texts,
    "jsonl": jsonl_texts,
    "json": json_texts,
    "csv": csv_texts,
    "tsv": tsv_texts,
}
