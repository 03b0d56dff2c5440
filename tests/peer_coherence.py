"""Coherence of topics by gensim and tomotopy: prints the figures that test_coherence.py holds.

Run it with a Python that has them: `python bench/run.py topics` makes one. Texts come from NumPy's
legacy generator, whose numbers never change.
"""

import json

import numpy as np

N_WORDS, N_TEXTS = 250, 80
TOPICS = [["w0", "w1", "w2", "w3", "w4"], ["w5", "w0", "w9", "w12", "w30"], ["w39", "w38", "w1"]]


def texts():
    """Texts of 100 to 240 words, half of which begin with common ones.

    No word comes twice in a text: gensim counts a window as without a word once an earlier place of
    it has left the window, even if a later one is still in it.
    """
    rng = np.random.RandomState(5)
    orders = [rng.permutation(N_WORDS)[:n] for n in rng.randint(100, 240, N_TEXTS)]
    draws = [np.sort(order) if i % 2 else order for i, order in enumerate(orders)]
    return [[f"w{v}" for v in words] for words in draws]


def gensim_says():
    from gensim.corpora import Dictionary
    from gensim.models.coherencemodel import CoherenceModel

    words = Dictionary(texts())
    bags = [words.doc2bow(text) for text in texts()]
    found = {}
    for name, measure in (("npmi", "c_npmi"), ("c_v", "c_v"), ("u_mass", "u_mass")):
        model = CoherenceModel(
            topics=TOPICS, texts=texts(), corpus=bags, dictionary=words, coherence=measure,
            topn=5, processes=1,
        )  # fmt: skip
        found[name] = [float(x) for x in model.get_coherence_per_topic()]
    return found


def tomotopy_says():
    import tomotopy
    from tomotopy.coherence import Coherence

    corpus = tomotopy.utils.Corpus()
    for text in texts():
        corpus.add_doc(text)
    found = {}
    for name, measure in (("npmi", "c_npmi"), ("c_v", "c_v"), ("u_mass", "u_mass")):
        targets = sorted({word for words in TOPICS for word in words})
        model = Coherence(corpus, coherence=measure, top_n=5, targets=targets, eps=1e-12)
        found[name] = [model.get_score(words) for words in TOPICS]
    return found


if __name__ == "__main__":
    print(json.dumps({"gensim": gensim_says(), "tomotopy": tomotopy_says()}, indent=1))
