"""
Who reads what?
===============

Counts of 60 readers and 40 books in three genres. Poisson factorization finds the genres from
counts alone, and recommends unread books to each reader.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

rng = np.random.default_rng(0)
tastes = rng.gamma(0.3, 1.0, (60, 3))
books = np.zeros((3, 40))
for genre, columns in enumerate(np.array_split(np.arange(40), 3)):
    books[genre, columns] = rng.gamma(1.0, 3.0, len(columns))
counts = rng.poisson(tastes @ books)

model = fastvi.PoissonFactorization(3, random_state=0).fit(counts)
items, expected = model.recommend(counts[:1], 5)
print("for the first reader:", items[0], expected[0].round(1))

order = np.argsort(model.transform(counts).argmax(axis=1), kind="stable")
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
left.imshow(np.log1p(counts[order]), cmap="Greys", aspect="auto")
left.set(title="counts, readers by their main factor", xlabel="book", ylabel="reader")
right.imshow(model.components_, cmap="Greys", aspect="auto")
right.set(title="factors", xlabel="book", yticks=range(3))
