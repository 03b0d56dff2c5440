"""fastvi's side of the benchmarks of neural topics."""

import time

import evaluation as ev
import numpy as np

from fastvi import LatentDirichletAllocation, NeuralTopicModel, topic_coherence


def held_out(corpus, k, seed=0, max_iter=20):
    """Scores in nats per word of the mixture form and of CVB0, coherence, seconds of a pass."""
    X, obs, score = ev.load(corpus, seed)
    marks = []

    def look(state):
        if state.step == 0:
            marks.append(time.process_time())

    ours = NeuralTopicModel(k, max_iter=max_iter, random_state=seed).fit(X, callback=look)
    lda = LatentDirichletAllocation(
        k, solver="cvb0", max_iter=50, random_state=seed,
        learn_doc_topic_prior=True, learn_topic_word_prior=True,
    ).fit(X)  # fmt: skip
    models = {"ours": ours, "lda": lda}
    found = {name: model.document_completion(obs, score) for name, model in models.items()}
    found |= {f"npmi {n}": float(topic_coherence(m, X).mean()) for n, m in models.items()}
    alone = ours.set_params(n_refinements=0).document_completion(obs, score)
    return found | {"encoder": alone, "pass": float(np.median(np.diff(marks)))}


def product(corpus, k, n_words=2000, seed=0, max_iter=15):
    """Coherence of the product of experts on the most frequent words, and seconds of a pass."""
    X, _, _ = ev.load(corpus, seed)
    X = X[:, np.sort(np.argsort(-np.asarray(X.sum(axis=0)).ravel())[:n_words])]
    marks = []

    def look(state):
        if state.step == 0:
            marks.append(time.process_time())

    model = NeuralTopicModel(k, form="product", max_iter=max_iter, random_state=seed)
    model.fit(X, callback=look)
    npmi = float(topic_coherence(model, X).mean())
    return {"npmi": npmi, "pass": float(np.median(np.diff(marks)))}


if __name__ == "__main__":
    ev.main(held_out, product)
