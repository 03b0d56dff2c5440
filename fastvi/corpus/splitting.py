"""Held-out documents, and their halves for document completion."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import AnyArray, RandomState
from fastvi.corpus.documents import Counts, csr_array

# What numpy's hypergeometric sampler can count.
MAX_TOKENS = 10**9


class Halves(NamedTuple):
    """Two matrices (n_documents, n_words) that add up to the counts."""

    observed: Counts
    scored: Counts


class Split(NamedTuple):
    """Sorted row numbers of the two parts."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def split(counts: Counts, held_out_fraction: float, random_state: RandomState) -> Split:
    """Choose documents at random for testing.

    Parameters
    ----------
    counts : scipy.sparse CSR (n_documents, n_words)
        Only documents with at least two tokens are held out, since one token cannot be halved.
    held_out_fraction : float
        Share of the documents to hold out, above 0 and below 1; at least one document is held out
        and one kept.
    random_state : int, RandomState, Generator or None

    Returns
    -------
    Split
        Row numbers ``train`` and ``test``.

    Raises
    ------
    ValueError
        If the fraction is out of range or there are too few documents.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from fastvi.corpus import split
    >>> train, test = split(csr_array(np.ones((10, 3))), 0.2, random_state=0)
    >>> len(train), len(test)
    (8, 2)
    """
    if not 0 < held_out_fraction < 1:
        raise ValueError(f"held_out_fraction is {held_out_fraction}; wanted: above 0 and below 1")
    n_documents = int(counts.shape[0])
    eligible = np.flatnonzero(document_lengths(counts) >= 2)
    if not len(eligible) or n_documents < 2:
        raise ValueError(
            f"{n_documents} documents, {len(eligible)} of two tokens or more: nothing to hold out"
        )
    n_test = min(max(1, round(held_out_fraction * n_documents)), len(eligible), n_documents - 1)
    rng = checks.generator(random_state, "random_state")
    test = np.sort(rng.choice(eligible, n_test, replace=False))
    train = np.setdiff1d(np.arange(n_documents), test, assume_unique=True)
    return Split(train, test)


def document_lengths(counts: Counts) -> NDArray[np.float64]:
    """Return the number of tokens of each row of a CSR matrix."""
    sums = np.concatenate([[0.0], np.cumsum(counts.data, dtype=np.float64)])
    return np.asarray(np.diff(sums[counts.indptr]))


def halves(counts: Counts, random_state: RandomState) -> Halves:
    """Split the tokens of each document at random into two halves.

    Each token (not each word) goes to one half; if their number is odd, the observed half gets one
    more.

    Parameters
    ----------
    counts : scipy.sparse CSR (n_documents, n_words)
        Integer counts of any dtype.
    random_state : int, RandomState, Generator or None

    Returns
    -------
    Halves
        ``observed`` and ``scored``, float32 CSR of the shape of `counts`.

    Raises
    ------
    ValueError
        If counts are negative or not whole, or a document has 1e9 tokens or more.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from fastvi.corpus import halves
    >>> observed, scored = halves(csr_array(np.array([[4.0, 3.0]])), random_state=0)
    >>> observed.sum(), scored.sum()
    (np.float32(4.0), np.float32(3.0))
    """
    whole = np.asarray(counts.data).astype(np.int64)
    if len(whole) and (whole.min() < 0 or not np.array_equal(whole, counts.data)):
        raise ValueError("counts must be whole and >= 0 to be halved; round them first")
    indptr = np.asarray(counts.indptr, np.int64)
    drawn = _draw(whole, indptr, checks.generator(random_state, "random_state"))
    return Halves(
        _matrix(drawn, counts.indices, indptr, counts.shape[1]),
        _matrix(whole - drawn, counts.indices, indptr, counts.shape[1]),
    )


def _draw(
    counts: NDArray[np.int64], indptr: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the number of observed tokens for each entry.

    This is a multivariate hypergeometric draw per document, entry by entry: entry j of all
    documents at once, with the longest documents first, so that the remaining ones are a prefix.
    """
    sums = np.concatenate([[0], np.cumsum(counts)])
    tokens = np.diff(sums[indptr])
    if len(tokens) and tokens.max() >= MAX_TOKENS:
        at = int(np.argmax(tokens))
        raise ValueError(f"document {at} has {tokens[at]} tokens; at most {MAX_TOKENS - 1} wanted")
    lengths = np.diff(indptr)
    order = np.argsort(-lengths, kind="stable")
    starts, left = indptr[:-1][order], tokens[order]
    wanted = (left + 1) // 2
    n_documents = np.searchsorted(-lengths[order], -np.arange(lengths.max(initial=0)), "left")
    drawn = np.zeros_like(counts)
    for j, n in enumerate(n_documents.tolist()):
        entries = starts[:n] + j
        here = counts[entries]
        left[:n] -= here
        drawn[entries] = rng.hypergeometric(here, left[:n], wanted[:n])
        wanted[:n] -= drawn[entries]
    return drawn


def _matrix(data: AnyArray, indices: AnyArray, indptr: AnyArray, n_words: int) -> Any:
    matrix = csr_array(data.astype(np.float32), indices.copy(), indptr.copy(), n_words)
    matrix.eliminate_zeros()
    return matrix
