"""Corpora drawn from the model itself."""

from typing import NamedTuple

import numpy as np
import scipy.sparse


class Simulated(NamedTuple):
    counts: scipy.sparse.csr_array  # (n_documents, n_words), int64
    topics: np.ndarray  # (n_topics, n_words)
    proportions: np.ndarray  # (n_documents, n_topics)


def simulate(
    n_documents: int = 200,
    n_words: int = 60,
    n_topics: int = 4,
    length: int = 40,
    alpha: float | np.ndarray = 0.1,
    eta: float = 0.05,
    seed: int = 20240607,
) -> Simulated:
    """Latent Dirichlet allocation, `length` tokens a document."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(n_words, eta), n_topics)
    proportions = rng.dirichlet(np.broadcast_to(alpha, n_topics), n_documents)
    words = proportions @ topics
    counts = rng.multinomial(length, words / words.sum(axis=1, keepdims=True))
    return Simulated(scipy.sparse.csr_array(counts), topics, proportions)


def best_match(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For each true topic the L1 distance of the found topic that is matched with it."""
    from scipy.optimize import linear_sum_assignment

    distance = np.abs(truth[:, None] - found[None]).sum(axis=2)
    return distance[linear_sum_assignment(distance)]
