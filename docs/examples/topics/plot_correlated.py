"""
Topics that occur together
==========================

Topics of Python's docstrings are not independent: modules about sockets write about threads too.
The graph joins topics whose log weights are correlated.
"""

import fastvi

corpus = fastvi.corpus.standard_library(max_features=1500)
model = fastvi.CorrelatedTopicModel(12, random_state=0).fit(corpus.counts)
model.vocabulary_ = corpus.vocabulary
fastvi.plots.plot_topic_graph(model, "graph.png", least=0.1)
