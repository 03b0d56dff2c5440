"""
Topics that predict labels
==========================

Which part of the standard library does a docstring come from? Supervised topics explain the words
and the labels together. Rows of the picture are true labels; each sums to 1.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

corpus = fastvi.corpus.standard_library(max_features=1000)
modules = np.array([name.split(".")[0] for name in corpus.names])
shown = ["asyncio", "email", "logging", "tkinter", "unittest"]
rows = np.isin(modules, shown)
X, y = corpus.counts[rows], modules[rows]
test = np.arange(len(y)) % 4 == 0

model = fastvi.TopicClassifier(10, random_state=0).fit(X[~test], y[~test])
predicted = model.predict(X[test])
table = np.array([[np.mean(predicted[y[test] == a] == b) for b in shown] for a in shown])

figure, axis = plt.subplots(figsize=(4.6, 4), layout="constrained")
axis.imshow(table, cmap="Greys", vmin=0, vmax=1)
for (i, j), share in np.ndenumerate(table):
    axis.text(j, i, f"{share:.2f}", ha="center", color="white" if share > 0.5 else "black")
axis.set_xticks(range(5), shown, rotation=45, ha="right")
axis.set_yticks(range(5), shown)
axis.set(xlabel="predicted", ylabel="module", title=f"accuracy {np.mean(predicted == y[test]):.2f}")
