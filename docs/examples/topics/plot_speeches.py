"""
Topics of speeches over a century
=================================

Speeches are made up: each year has eight, which speak of war, trade or law, and the words for trade
change from wheat and railways to oil and computers. `DynamicTopicModel` finds topics whose words
move.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastvi

words = ["war", "peace", "army", "treaty", "court", "law", "judge", "rights", "trade", "tariff"]
words += ["wheat", "railways", "oil", "computers"]
rng = np.random.default_rng(0)
years = np.repeat(np.arange(1900, 2000, 5), 8)


def trade(year):
    """Probabilities of the words of a speech on trade."""
    late = 1.0 / (1.0 + np.exp(-(year - 1950) / 10.0))
    return np.r_[
        np.zeros(8), 0.25, 0.25, 0.25 * (1 - late), 0.25 * (1 - late), 0.25 * late, 0.25 * late
    ]


fixed = np.kron(np.eye(2), np.full(4, 0.25))
X = np.zeros((len(years), len(words)), int)
for i, year in enumerate(years):
    shares = rng.dirichlet([0.3, 0.3, 0.3])
    topics = np.vstack([np.pad(fixed, ((0, 0), (0, 6))), trade(year)])
    X[i] = rng.multinomial(120, shares @ topics / (shares @ topics).sum())

model = fastvi.DynamicTopicModel(3, random_state=0).fit(X, years)
topic = int(model.components_[:, :, words.index("trade")].sum(axis=0).argmax())
times = np.unique(years)

figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
for word, style in zip(words[-6:], ("-", "--", "-.", ":", "-", "--")):
    axis.plot(times, model.components_[:, topic, words.index(word)], style, label=word)
axis.set(xlabel="year", ylabel="probability in the topic", title="The topic of trade")
axis.legend(ncols=2)
