"""The default corpus: docstrings of the installed Python standard library.

Every machine that runs fastvi has them. A document is the docstring of a module, class or function;
they are collected from source with `ast`, without imports. Counts for the default options are
cached in the user's cache folder.
"""

import ast
import contextlib
import hashlib
import json
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastvi.base.archive import replacing
from fastvi.base.caches import cache_folder
from fastvi.corpus.documents import Corpus, csr_array
from fastvi.corpus.options import Options

# Increase it when what is collected, counted or stored changes, to renew the caches.
COLLECTOR_VERSION = 1
SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
)
TEXTS = ("vocabulary", "names", "description", "how")  # parts of a cached corpus besides its matrix
Definition = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def standard_library(**options: Any) -> Corpus:
    """Return the docstrings of the installed Python standard library as a corpus.

    Parameters
    ----------
    **options
        See `Options`; file options (format, field, encoding) have no effect here. Without options,
        counts come from the user's cache folder after the first call.

    Returns
    -------
    Corpus
        ``names`` are dotted names such as ``json.decoder.JSONDecoder.decode``.

    Raises
    ------
    ValueError
        If this Python lacks the source code of its library, or pruning removed all words.

    Examples
    --------
    >>> from fastvi import corpus
    >>> found = corpus.standard_library(max_features=100)
    >>> found.n_words
    100
    """
    wanted = Options(**options)
    if wanted.keep:
        raise ValueError(f"docstrings have no field {wanted.keep[0]!r}; wanted a file with fields")
    root = Path(sysconfig.get_path("stdlib"))
    cache = cache_file(root) if wanted == Options() else None
    if cache is not None:
        corpus = load(cache)
        if corpus is not None:
            return corpus
    corpus = count(root, wanted)
    if cache is not None:
        # The cache only saves time; failing to use it is not an error.
        with contextlib.suppress(OSError):
            store(corpus, cache)
    return corpus


def count(root: Path, options: Options) -> Corpus:
    """Collect and count the docstrings below a folder."""
    from fastvi.corpus.reading import gather, given_vocabulary
    from fastvi.corpus.text import TextSource
    from fastvi.corpus.text_files import Text

    label = f"docstrings of the Python {sys.version.split()[0]} standard library"
    texts = (Text(name, text) for name, text in docstrings(root))
    return gather(TextSource(texts, label, options, given_vocabulary(options)), options)


def docstrings(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (dotted name, docstring) of all modules below a folder, in sorted order."""
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(
            name for name in subfolders if name not in SKIPPED_FOLDERS and "-" not in name
        )
        for file in sorted(name for name in files if name.endswith(".py")):
            path = Path(folder, file)
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError, OSError, RecursionError):
                continue
            yield from _documented(tree, name)


def _documented(node: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield the docstrings of a module, class or function and of its definitions."""
    docstring = ast.get_docstring(node)
    if docstring:
        yield name, docstring
    for child in _definitions(node.body):
        yield from _documented(child, f"{name}.{child.name}")


def _definitions(body: list[ast.stmt]) -> Iterator[Any]:
    for statement in body:
        if isinstance(statement, Definition):
            yield statement
        elif isinstance(statement, ast.If | ast.Try):
            yield from _definitions(statement.body)
            yield from _definitions(statement.orelse)
            if isinstance(statement, ast.Try):
                for handler in statement.handlers:
                    yield from _definitions(handler.body)


def cache_file(root: Path) -> Path | None:
    """Return the file of the cached counts, or None if there is no cache folder."""
    key = repr((COLLECTOR_VERSION, sys.version, sys.implementation.name, str(root), Options()))
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    try:
        return cache_folder("corpus") / f"standard-library-{name}.npz"
    except OSError:
        return None


def store(corpus: Corpus, path: Path) -> None:
    """Write a corpus atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {
        "vocabulary": "\n".join(corpus.vocabulary or []),
        "names": "\n".join(corpus.names or []),
        "description": corpus.description,
        "how": json.dumps([dict(corpus.reading), corpus.pruned]),
    }
    arrays: dict[str, Any] = {
        name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()
    }
    for name in ("data", "indices", "indptr", "shape"):
        arrays[name] = np.asarray(getattr(corpus.counts, name))
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load(path: Path) -> Corpus | None:
    """Read what `store` wrote; None if it is missing or damaged."""
    from fastvi.corpus.archive import PARTS, csr_parts, load_arrays

    if not path.is_file():
        return None
    try:
        arrays = load_arrays(path, (*PARTS, *TEXTS))
        matrix = csr_parts(path, arrays)
        vocabulary, names, description, how = (arrays[name].tobytes().decode() for name in TEXTS)
        reading, pruned = json.loads(how)
    except (ValueError, KeyError, TypeError):
        return None
    words, documents = vocabulary.split("\n"), names.split("\n")
    if matrix.shape != (len(documents), len(words)):
        return None
    counts = csr_array(matrix.data, matrix.indices, matrix.indptr, len(words))
    counts.has_canonical_format = True
    return Corpus(counts, words, documents, description, reading, pruned)
