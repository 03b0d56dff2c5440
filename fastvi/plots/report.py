"""A report on topics for the browser, in one file that needs no network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.archive import replacing
from fastvi.base.bags import bags_of_words
from fastvi.base.typing import AnyArray, ArrayLike, Path, RowsLike
from fastvi.plots.report_page import page
from fastvi.plots.report_summary import Reported, summary_of

__all__ = ["topic_report"]


def topic_report(
    topics: Reported,
    path: Path,
    *,
    documents: RowsLike | None = None,
    proportions: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    title: str | None = None,
    n_words: int = 20,
    n_documents: int = 5,
) -> None:
    """Write a report on topics as one HTML file, which needs neither a network nor matplotlib.

    It has the topics with their shares and words, a map of topics (Jensen-Shannon distances scaled
    to two dimensions), a search, and where the model has them, shares and words over time, the
    graph of correlations and coefficients of covariates. With `documents`, it also has each topic's
    coherence and the documents that show it best.

    Parameters
    ----------
    topics : fitted estimator of topics
        `LatentDirichletAllocation`, `DynamicTopicModel`, `CorrelatedTopicModel`,
        `HierarchicalDirichletProcess`, or anything with a method `topic_model`.
    path : path
        Where to write the page; its name ends in .html or .htm.
    documents : (n_documents, n_features) CSR matrix or array, optional
        Counts of the documents to show, such as those of the fit.
    proportions : (n_documents, n_topics) array, optional
        Their topic proportions; by default ``topics.transform(documents)``. Needed for models that
        know times or covariates: ``topics.transform(documents, times)``.
    names, texts : sequences of str, optional
        Names of the documents, and their texts, of which the page shows the beginning. Without
        texts, it shows the words that speak for the topic.
    title : str, optional
        Title of the page; by default "Topics".
    n_words : int, default=20
        Words per topic.
    n_documents : int, default=5
        Documents per topic.

    Raises
    ------
    ValueError
        If an argument is invalid.
    OSError
        If the file cannot be written; an old file is then kept.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.array([[5, 4, 0, 0], [4, 5, 0, 1], [0, 0, 5, 4], [0, 1, 4, 5]])
    >>> lda = fastvi.LatentDirichletAllocation(2, random_state=0).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "report.html")
    >>> fastvi.plots.topic_report(lda, path, documents=X, texts=["a", "b", "c", "d"])
    >>> path.read_text()[:15]
    '<!DOCTYPE html>'
    """
    check_html(path, "path")
    n_words = checks.integer(n_words, "n_words", 1)
    n_documents = checks.integer(n_documents, "n_documents", 1)
    counts, theta = _documents(topics, documents, proportions)
    for name, given in (("names", names), ("texts", texts)):
        if given is not None and (counts is None or len(given) != counts.shape[0]):
            wanted = "documents as well" if counts is None else f"{counts.shape[0]}, one a document"
            raise ValueError(f"{name} has {len(given)} entries; wanted {wanted}")
    for d, text in enumerate(() if texts is None else texts):
        if not isinstance(text, str):
            raise ValueError(f"texts holds {text!r} for document {d}; wanted a string")
    summary = summary_of(topics, counts, theta, names, texts, n_words, n_documents)
    content = page(summary, "Topics" if title is None else str(title)).encode("utf-8", "replace")
    with replacing(os.fspath(path)) as temporary, open(temporary, "wb") as file:
        file.write(content)


def check_html(path: Path, name: str) -> None:
    """Refuse a name that browsers would not open as a page.

    Raises
    ------
    ValueError
        If it does not end in .html or .htm.
    """
    if not os.fspath(path).lower().endswith((".html", ".htm")):
        raise ValueError(f"{name} is {os.fspath(path)}; wanted a name in .html")


def _documents(
    topics: Any, documents: RowsLike | None, proportions: ArrayLike | None
) -> tuple[Any, AnyArray | None]:
    """Return counts as CSR and proportions of documents, or None for both."""
    if documents is None:
        if proportions is not None:
            raise ValueError("proportions is given without documents; wanted both")
        return None, None
    from scipy.sparse import csr_array

    model, bags = topics.topic_model(), bags_of_words(documents, "documents")
    if bags.n_words != len(model.table):
        raise ValueError(
            f"documents has {bags.n_words} columns; wanted {len(model.table)}, the topics' words"
        )
    n_rows = len(bags.indptr) - 1
    counts = csr_array((bags.counts, bags.indices, bags.indptr), shape=(n_rows, bags.n_words))
    theta = np.asarray(topics.transform(documents) if proportions is None else proportions)
    shape = n_rows, model.n_topics
    if theta.shape != shape:
        raise ValueError(f"proportions has shape {theta.shape}; wanted {shape}")
    if not np.all((theta >= 0) & np.isfinite(theta)):
        raise ValueError("proportions holds NaN, infinity or numbers below 0; wanted shares")
    return counts, theta
