"""
Topics of a stream
==================

Documents arrive in twenty batches, and `partial_fit` learns from each of them once. Held-out
documents are scored after every batch; the line is a fit to all documents at once.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

corpus = fastvi.corpus.standard_library()
train, test = fastvi.corpus.split(corpus.counts, 0.1, random_state=0)
X, X_new = corpus.counts[train], corpus.counts[test]

model = fastvi.LatentDirichletAllocation(10, solver="scvb0", random_state=0)
scores = []
for rows in np.array_split(np.random.default_rng(0).permutation(X.shape[0]), 20):
    model.partial_fit(X[rows])
    scores.append(np.exp(-model.document_completion(X_new)))
whole = fastvi.LatentDirichletAllocation(10, random_state=0).fit(X)

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.plot(range(1, 21), scores, "o-", color="#0072b2", label="partial_fit")
axis.axhline(np.exp(-whole.document_completion(X_new)), color="#d55e00", ls="--", label="fit")
axis.set(xlabel="batches seen", ylabel="held-out perplexity", xticks=range(0, 21, 5))
axis.legend()
