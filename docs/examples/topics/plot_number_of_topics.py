"""
How many topics?
================

A tenth of the docstrings is kept for scoring. Half of the words of each of these documents give its
topics, and the other half is predicted. The bound (`score`) would nearly always choose few topics.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

corpus = fastvi.corpus.standard_library()
train, test = fastvi.corpus.split(corpus.counts, 0.1, random_state=0)
X, X_new = corpus.counts[train], corpus.counts[test]

numbers, scores = [2, 5, 10, 20, 40], []
for n in numbers:
    lda = fastvi.LatentDirichletAllocation(n, random_state=0).fit(X)
    scores.append(np.exp(-lda.document_completion(X_new)))
hdp = fastvi.HierarchicalDirichletProcess(40, random_state=0).fit(X)
own = np.exp(-hdp.document_completion(X_new))

figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.semilogx(numbers, scores, "o-", color="#0072b2", label="fixed number")
axis.plot(hdp.n_topics_, own, "s", color="#d55e00", label="number found (HDP)")
axis.set(xlabel="topics", ylabel="held-out perplexity", xticks=numbers, xticklabels=numbers)
axis.minorticks_off()
axis.legend()
