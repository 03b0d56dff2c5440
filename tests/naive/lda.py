"""Plain twins of `fastvi.kernels.lda`: float64, one number at a time, and the bound by definition.

Topics are not padded here; documents are lists of (word, count).
"""

import itertools
import math

import numpy as np
from scipy.special import gammaln, logsumexp, psi


def word_weights(values, column_sums, n_topics, collapsed):
    """(weights, shift): exp(E[log beta] - shift) with shift each row's largest, or E[beta]."""
    weights = np.zeros(values.shape)
    shift = np.zeros(len(values))
    for u, row in enumerate(values.astype(np.float64)):
        if collapsed:
            weights[u, :n_topics] = row[:n_topics] / column_sums[:n_topics]
        else:
            logs = psi(row[:n_topics]) - psi(column_sums[:n_topics])
            shift[u] = max(logs)
            weights[u, :n_topics] = np.exp(logs - shift[u])
    return weights, shift


def topic_weights(gamma, collapsed):
    with np.errstate(under="ignore"):
        return gamma if collapsed else np.exp(psi(gamma))


def iterates(document, weights, alpha, collapsed, n_iter, gamma):
    """The start and each iterate of gamma_k = alpha_k + sum_n c_n phi_nk.

    Collapsed, every other step is long, but not the last.
    """
    result = [gamma]
    for i in range(n_iter):
        e = topic_weights(gamma, collapsed)
        new = alpha.copy()
        for word, count in document:
            phi = e * weights[word]
            new += count * phi / phi.sum()
        if collapsed and i % 2 == 0 and i + 1 < n_iter:
            new = np.maximum(gamma + 3 * (new - gamma), alpha)
        gamma = new
        result.append(gamma)
    return result


def fixed_point(document, weights, alpha, collapsed, n_iter, gamma):
    """The last of `iterates`."""
    return iterates(document, weights, alpha, collapsed, n_iter, gamma)[-1]


def start_gamma(document, alpha):
    return alpha + sum(count for _, count in document) / len(alpha)


def local_step(document, weights, shift, alpha, collapsed, n_iter, before=None):
    """(gamma, e, ratio, bound) of a document after exactly `n_iter` iterations.

    With gamma from `before`, go on from there if a fresh start ends with a lower bound.
    """
    gamma = fixed_point(document, weights, alpha, collapsed, n_iter, start_gamma(document, alpha))
    if before is not None:
        old = document_bound(document, weights, shift, before, alpha)
        if document_bound(document, weights, shift, gamma, alpha) < old:
            gamma = fixed_point(document, weights, alpha, collapsed, n_iter, before)
    e = topic_weights(gamma, collapsed)
    ratio = [count / (e @ weights[word]) for word, count in document]
    bound = math.nan
    if not collapsed:
        bound = document_bound(document, weights, shift, gamma, alpha)
    return gamma, e, np.array(ratio), bound


def dirichlet_divergence(gamma, alpha):
    """-KL(Dirichlet(gamma) || Dirichlet(alpha))."""
    gamma, alpha = np.float64(gamma), np.float64(alpha)
    expected_log = psi(gamma) - psi(gamma.sum())
    log_p = gammaln(alpha.sum()) - gammaln(alpha).sum() + ((alpha - 1) * expected_log).sum()
    log_q = gammaln(gamma.sum()) - gammaln(gamma).sum() + ((gamma - 1) * expected_log).sum()
    return log_p - log_q


def document_bound(document, weights, shift, gamma, alpha):
    """E_q[log p(words, z, theta)] - E_q[log q(z, theta)] with phi written out."""
    expected_log_theta = psi(gamma) - psi(gamma.sum())
    result = dirichlet_divergence(gamma, alpha)
    for word, count in document:
        log_phi = expected_log_theta + np.log(weights[word]) + shift[word]
        log_phi -= logsumexp(log_phi)
        phi = np.exp(log_phi)
        expected_log_beta = np.log(weights[word]) + shift[word]
        result += count * (phi * (expected_log_theta + expected_log_beta - log_phi)).sum()
    return result


def statistics(documents, weights, ratios, e, doc_weights):
    """Weighted expected counts (U, K): the sum over documents of ratio * e * weights."""
    out = np.zeros(weights.shape)
    for d, document in enumerate(documents):
        for (word, _), ratio in zip(document, ratios[d]):
            out[word] += doc_weights[d] * ratio * e[d] * weights[word]
    return out


def collapsed_statistics(documents, weights, alpha, gamma, doc_weights):
    """The same, where each token sees its document's counts without its own share."""
    out = np.zeros(weights.shape)
    for d, document in enumerate(documents):
        for word, count in document:
            own = min(count, 1) * gamma[d] * weights[word] / (gamma[d] @ weights[word])
            share = np.maximum(gamma[d] - own, alpha) * weights[word]
            out[word] += doc_weights[d] * count * share / share.sum()
    return out


def score(document, weights, theta):
    return sum(count * math.log(theta @ weights[word]) for word, count in document)


def elbo(documents, table, gamma, alpha, eta):
    """The whole bound for q(beta) = Dirichlet(table[:, k]), q(theta) = Dirichlet(gamma[d])."""
    logs = psi(table) - psi(table.sum(axis=0))
    shift = logs.max(axis=1)
    weights = np.exp(logs - shift[:, None])
    topics = sum(dirichlet_divergence(column, np.full(len(column), eta)) for column in table.T)
    return topics + sum(
        document_bound(document, weights, shift, g, alpha) for document, g in zip(documents, gamma)
    )


def _polya(counts, prior):
    """log p of one sequence with these counts under a Dirichlet-multinomial."""
    result = gammaln(prior.sum()) - gammaln(prior.sum() + counts.sum())
    return result + (gammaln(prior + counts) - gammaln(prior)).sum()


def _tokens(documents):
    return [
        (d, i, word)
        for d, document in enumerate(documents)
        for i, (word, count) in enumerate(document)
        for _ in range(count)
    ]


def _assignments(documents, n_words, alpha, eta):
    """Every assignment z of topics to tokens, with log p(tokens, z).

    p(tokens, z) = prod_d p(z_d | alpha) prod_k p(tokens of topic k | eta); counts stand for that
    many tokens, in a fixed order.
    """
    tokens, n_topics = _tokens(documents), len(alpha)
    for z in itertools.product(range(n_topics), repeat=len(tokens)):
        by_document = np.zeros((len(documents), n_topics))
        by_topic = np.zeros((n_topics, n_words))
        for (d, _, word), k in zip(tokens, z):
            by_document[d, k] += 1
            by_topic[k, word] += 1
        yield (
            z,
            sum(_polya(row, alpha) for row in by_document)
            + sum(_polya(row, np.full(n_words, eta)) for row in by_topic),
        )


def log_evidence(documents, n_words, alpha, eta):
    """log p(tokens), by summing over every assignment of topics to tokens."""
    return logsumexp([joint for _, joint in _assignments(documents, n_words, alpha, eta)])


def collapsed_bound(documents, n_words, phi, alpha, eta):
    """E_q[log p(tokens, z) - log q(z)] with independent q(z), proportions and topics integrated out
    (Teh, Newman and Welling 2007, eq. 10), by summing over every assignment.

    phi[d][i] (K,) is q(z) of each of the tokens of entry i of document d.
    """
    tokens, total = _tokens(documents), 0.0
    for z, joint in _assignments(documents, n_words, alpha, eta):
        q = math.prod(float(phi[d][i][k]) for (d, i, _), k in zip(tokens, z))
        if q > 0:
            total += q * (joint - math.log(q))
    return total
