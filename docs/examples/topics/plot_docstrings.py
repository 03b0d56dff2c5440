"""
Topics of Python's docstrings
=============================

Every machine has this corpus: the docstrings of the standard library. Rows of the last picture are
topics, columns are modules, and darker squares mean that a module writes more about a topic.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

corpus = fastvi.corpus.standard_library()
lda = fastvi.LatentDirichletAllocation(n_components=12, random_state=0).fit(corpus.counts)
lda.vocabulary_ = corpus.vocabulary
fastvi.plots.plot_topics(lda.topic_model(), "topics.png", n_words=6)

# %%
# Which modules write about what? Documents are named after what they document.

shares = lda.transform(corpus.counts)
modules = np.array([name.split(".")[0] for name in corpus.names])
shown = ["asyncio", "decimal", "email", "logging", "socket", "threading", "tkinter", "unittest"]
table = np.array([shares[modules == name].mean(axis=0) for name in shown]).T
labels = [" ".join(word for word, _ in words) for words in lda.top_words(3)]

figure, axis = plt.subplots(figsize=(7, 5), layout="constrained")
axis.imshow(table, cmap="Greys", aspect="auto")
axis.set_xticks(range(len(shown)), shown, rotation=45, ha="right")
axis.set_yticks(range(len(labels)), labels)
axis.set_title("Mean shares of topics")
