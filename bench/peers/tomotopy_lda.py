"""tomotopy: collapsed Gibbs sampling in C++, one worker."""

import evaluation as ev
import numpy as np
import tomotopy as tp

ONE = {"workers": 1, "parallel": tp.ParallelScheme.NONE}


def words_of(X):
    """Every document as a list of tokens, the form tomotopy takes."""
    names = np.array([str(w) for w in range(X.shape[1])])
    return [
        np.repeat(names[X.indices[a:b]], X.data[a:b]).tolist()
        for a, b in zip(X.indptr[:-1], X.indptr[1:])
    ]


def build(documents, k, seed, learn):
    model = tp.LDAModel(k=k, alpha=1 / k, eta=1 / k, seed=seed + 1)
    if not learn:
        model.optim_interval = 0
    for words in documents:
        model.add_doc(words)
    model.train(0, **ONE)  # assigns the first topics
    return model


def topics_of(model, n_words):
    """Counts plus eta, (K, V); words that never occurred have only eta."""
    out = np.full((model.k, n_words), model.eta)
    seen = np.array([int(w) for w in model.used_vocabs])
    for k in range(model.k):
        out[k, seen] = model.get_topic_word_dist(k, normalize=False)
    return out


def curve(corpus, k, seed=0, passes=(10, 20, 50, 100, 200), learn=False, until=None, limit=None):
    X, obs, score = ev.load(corpus, seed)
    documents = words_of(X)
    out = ev.Curve(obs, score, until)
    with out.watch:
        model = build(documents, k, seed, learn)
    done = 0
    for mark in ev.checkpoints(passes, limit):
        with out.watch:
            model.train(mark - done, **ONE)
        done = mark
        out.add(done, topics_of(model, X.shape[1]), np.array(model.alpha) if learn else None)
        if out.settled():
            break
    return {"points": out.points, "unit": "sweeps", "version": tp.__version__, "isa": tp.isa}


def infer(corpus, k, seed=0, sweeps=50, documents=None, together=False, iterations=100):
    """Topic proportions of the observed halves: documents per CPU second, and their scores."""
    X, obs, score = ev.load(corpus, seed)
    model = build(words_of(X), k, seed, False)
    model.train(sweeps, **ONE)
    chosen = ev.spread(obs.shape[0], documents)
    words = words_of(obs[chosen])
    watch = ev.Stopwatch()
    with watch:
        docs = [model.make_doc(w) for w in words]
        theta, _ = model.infer(docs, iterations=iterations, together=together, **ONE)
    topics = ev.normalised(topics_of(model, X.shape[1]))
    return ev.inference(watch, np.asarray(theta), topics, obs[chosen], score[chosen])


if __name__ == "__main__":
    ev.main(curve, infer)
