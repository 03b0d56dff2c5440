"""Plain twins of `fastvi.models.topics.hdp_model`, and the evidence of tiny corpora."""

import itertools
import math

import numpy as np
from scipy.special import gammaln, logsumexp, psi, roots_jacobi

from naive import lda


def log_shares(sticks):
    """E[log sigma_k] = E[log v_k] + sum_{l<k} E[log (1 - v_l)], the last v being 1."""
    result = []
    left = 0.0
    for a, b in sticks:
        result.append(psi(a) - psi(a + b) + left)
        left += psi(b) - psi(a + b)
    return np.array([*result, left])


def mean_shares(sticks):
    result = []
    left = 1.0
    for a, b in sticks:
        result.append(left * a / (a + b))
        left *= b / (a + b)
    return np.array([*result, left])


def on_sticks(tables):
    """(K - 1, 2): tables of each topic, and those of all later ones."""
    return np.array([[tables[k], sum(tables[k + 1 :])] for k in range(len(tables) - 1)])


def tables(gammas, alpha):
    """Expected numbers of tables of topics (K,), from gamma (D, K)."""
    return sum(alpha * (psi(gamma) - psi(alpha)) for gamma in gammas)


def stick_divergence(sticks, corpus_concentration):
    """E_q[log p(v)] - E_q[log q(v)]: Beta distributions are Dirichlet distributions of two."""
    prior = np.array([1.0, corpus_concentration])
    return sum(lda.dirichlet_divergence(stick, prior) for stick in sticks)


def bound(documents, gammas, weights, shift, table, sticks, eta, concentration, corpus):
    """The whole bound, in nats."""
    alpha = concentration * np.exp(log_shares(sticks))
    result = stick_divergence(sticks, corpus)
    result += sum(lda.dirichlet_divergence(t, np.full(len(t), eta)) for t in table.T)
    for document, gamma in zip(documents, gammas):
        n = sum(count for _, count in document)
        result += lda.document_bound(document, weights, shift, gamma, alpha)
        result += gammaln(concentration) - gammaln(concentration + n)
        result += gammaln(alpha.sum() + n) - gammaln(alpha.sum())
    return result


def log_evidence(documents, n_words, eta, concentration, corpus, n_points=200):
    """log p(documents) for two topics, by all assignments of tokens and quadrature over v.

    v ~ Beta(1, corpus) on (0, 1): Gauss-Jacobi points.
    """
    x, weights = roots_jacobi(n_points, corpus - 1.0, 0.0)
    shares = np.stack([(1 + x) / 2, (1 - x) / 2])  # (2, n_points)
    log_weights = np.log(weights / weights.sum())
    owners = [d for d, document in enumerate(documents) for _, c in document for _ in range(c)]
    words = [w for document in documents for w, c in document for _ in range(c)]
    terms = []
    for z in itertools.product(range(2), repeat=len(words)):
        of_topics = np.zeros((2, n_words))
        of_documents = np.zeros((len(documents), 2))
        for d, w, k in zip(owners, words, z):
            of_topics[k, w] += 1
            of_documents[d, k] += 1
        log_p = log_weights.copy()
        for counts in of_topics:
            log_p += gammaln(n_words * eta) - gammaln(n_words * eta + counts.sum())
            log_p += (gammaln(eta + counts) - gammaln(eta)).sum()
        for counts in of_documents:
            log_p += math.lgamma(concentration) - math.lgamma(concentration + counts.sum())
            for share, n in zip(concentration * shares, counts):
                log_p += gammaln(share + n) - gammaln(share)
        terms.append(logsumexp(log_p))
    return logsumexp(terms)
