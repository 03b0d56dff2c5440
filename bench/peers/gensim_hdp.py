"""gensim's HdpModel: documents per CPU second, with its default truncation."""

import evaluation as ev
from gensim.models import HdpModel
from gensim_lda import bags


def speed(corpus, n_documents, seed=0):
    X, _, _ = ev.load(corpus, seed)
    documents = bags(X[:n_documents])
    words = {w: str(w) for w in range(X.shape[1])}
    watch = ev.Stopwatch()
    with watch:
        HdpModel(documents, words, max_chunks=-(-n_documents // 256), random_state=seed)
    return {"speed": n_documents / watch.cpu}


if __name__ == "__main__":
    ev.main(speed)
