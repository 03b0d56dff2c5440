"""tomotopy: the correlated topic model, Gibbs sampling in C++ with one worker."""

import evaluation as ev
import numpy as np
import tomotopy as tp
from tomotopy_lda import ONE, topics_of, words_of


def build(documents, k, seed):
    model = tp.CTModel(k=k, eta=1 / k, seed=seed + 1)
    for words in documents:
        model.add_doc(words)
    model.train(0, **ONE)
    return model


def prior_of(model):
    """Mean and covariance of the log weights."""
    return np.array(model.prior_mean), np.array(model.prior_cov)


def sweeps(corpus, k, n=10):
    """CPU seconds of each of the first sweeps but the very first."""
    X, _, _ = ev.load(corpus)
    model = build(words_of(X), k, 0)
    seconds = []
    for _ in range(n):
        with ev.Stopwatch() as watch:
            model.train(1, **ONE)
        seconds.append(watch.cpu)
    return {"seconds": seconds[1:]}


def curve(corpus, k, seed=0, passes=(10, 20, 50, 100, 150, 200)):
    """Perplexity with fixed-point VB and its mean proportions as the prior, by CPU seconds."""
    X, obs, score = ev.load(corpus, seed)
    documents = words_of(X)
    out = ev.Curve(obs, score)
    with out.watch:
        model = build(documents, k, seed)
    done = 0
    for mark in passes:
        with out.watch:
            model.train(mark - done, **ONE)
        done = mark
        theta = np.mean([doc.get_topic_dist() for doc in model.docs], axis=0)
        out.add(done, topics_of(model, X.shape[1]), theta * 2)
    return {"points": out.points, "unit": "sweeps"}


if __name__ == "__main__":
    ev.main(sweeps, curve)
