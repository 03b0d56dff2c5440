"""Plain twins of `fastvi.kernels.coherence`, and the measures by their definitions.

Röder, Both and Hinneburg (2015), "Exploring the space of topic coherence measures".
"""

import math

import numpy as np

EPSILON = 1e-12


def windows(texts, width):
    """The windows of all texts, as sets of words."""
    found = []
    for text in texts:
        n = max(len(text) - width + 1, 1) if len(text) else 0
        found += [set(text[t : t + width]) for t in range(n)]
    return found


def together(places, *words):
    """The share of windows that hold all words."""
    return sum(all(w in window for w in words) for window in places) / len(places)


def npmi_of(places, v, w):
    each, both = together(places, v) * together(places, w), together(places, v, w) + EPSILON
    return math.log(both / each) / -math.log(both) if each else 0.0


def npmi(topic, texts, width):
    places = windows(texts, width)
    return np.mean([npmi_of(places, v, w) for v in topic for w in topic if v != w])


def c_v(topic, texts, width):
    places = windows(texts, width)
    vectors = np.array([[npmi_of(places, v, w) for w in topic] for v in topic])
    whole = vectors.sum(axis=0)
    return np.mean([x @ whole / np.linalg.norm(x) / np.linalg.norm(whole) for x in vectors])


def u_mass(topic, texts):
    places = [set(text) for text in texts]
    pairs = [(v, w) for i, v in enumerate(topic) for w in topic[:i]]
    conditional = [
        math.log((together(places, v, w) + EPSILON) / together(places, w)) for v, w in pairs
    ]
    return np.mean(conditional)
