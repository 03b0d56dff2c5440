"""Bounds where every assignment can be summed over: VB's, the collapsed one, the evidence."""

import numpy as np
import pytest
from cases import solve
from naive import lda as naive
from naive.sparse import csr
from scipy.special import psi
from test_lda_methods import TINY, cavi

from fastvi.models.counts import DocumentSource
from fastvi.models.topics.collapsed import make_grid
from fastvi.models.topics.settings import Settings

pytestmark = pytest.mark.jit

PRIORS = [([0.5, 0.5], 0.5), ([0.1, 0.1], 0.1), ([0.2, 1.5], 0.3)]
PAIRS = [  # half of them, with all documents and all priors, find what the others find
    pytest.param(name, *priors, marks=[pytest.mark.slow] if (i + j) % 2 else [])
    for i, name in enumerate(TINY)
    for j, priors in enumerate(PRIORS)
]


def responsibilities_of_vb(documents, solver):
    """Of each entry's tokens, at the optimum for the solver's topics and proportions."""
    table, gamma = solver.table()[:, :2], solver.state.ascent.gradient[0][:, :2]
    log_topics = psi(table) - psi(table.sum(axis=0))
    phi = []
    for document, row in zip(documents, gamma):
        weights = [np.exp(log_topics[word] + psi(row) - psi(row.sum())) for word, _ in document]
        phi.append([w / w.sum() for w in weights])
    return phi


def responsibilities_of(documents, corpus, solver):
    """Those that CVB and CVB0 hold, entry by entry of the grid."""
    rng = np.random.default_rng(solver.settings.seed)
    parts = corpus.indptr, corpus.indices, corpus.counts
    grid, g = make_grid(*parts, corpus.n_words, rng), solver.state.g[:, :2].astype(float)
    found = {}
    for i, d in enumerate(grid.run_doc):
        for j in range(grid.run_start[i], grid.run_start[i + 1]):
            found[d, grid.words[j]] = g[j] / g[j].sum()
    return [[found[d, word] for word, _ in document] for d, document in enumerate(documents)]


@pytest.mark.parametrize(("documents", "alpha", "eta"), PAIRS)
def test_bounds_are_in_order(documents, alpha, eta):
    """VB's bound <= the collapsed bound of VB's q(z) <= evidence, from each start: what VB says of
    proportions and topics given z is no better than the truth, which the collapsed bound takes. At
    the best of three starts CVB's collapsed bound is above VB's bound as well, and CVB0's is not
    above the evidence.
    """
    documents = TINY[documents]
    evidence = naive.log_evidence(documents, 4, np.array(alpha), eta)
    plain, collapsed = [], {"cvb": [], "cvb0": []}
    for seed in range(3):
        solver, bounds = cavi(documents, 4, alpha, eta, 60, seed)
        phi = responsibilities_of_vb(documents, solver)
        of_vb = naive.collapsed_bound(documents, 4, phi, np.array(alpha), eta)
        assert bounds[-1] <= of_vb + 1e-9
        assert of_vb <= evidence + 1e-9
        plain.append(bounds[-1])
        for name, found in collapsed.items():
            chosen = Settings(name, np.array(alpha), eta, seed=seed)
            corpus = DocumentSource(*csr(documents, np.float32), 4)
            solver, _ = solve(chosen, corpus, 60)
            phi = responsibilities_of(documents, corpus, solver)
            found.append(naive.collapsed_bound(documents, 4, phi, np.array(alpha), eta))
            assert found[-1] <= evidence + 1e-9
    assert max(plain) <= max(collapsed["cvb"])


def test_with_one_topic_the_collapsed_bound_is_the_evidence():
    documents = TINY["words shared"]
    phi = [[np.ones(1) for _ in document] for document in documents]
    evidence = naive.log_evidence(documents, 4, np.array([0.7]), 0.3)
    bound = naive.collapsed_bound(documents, 4, phi, np.array([0.7]), 0.3)
    assert bound == pytest.approx(evidence, rel=1e-12)
