"""tomotopy's HDPModel: collapsed Gibbs sampling, one worker."""

import evaluation as ev
import numpy as np
import tomotopy as tp
from tomotopy_lda import ONE, words_of


def fit(corpus, sweeps, seed=0):
    """Held-out perplexity by the topics in use, with alpha times their shares as prior."""
    X, obs, score = ev.load(corpus, seed)
    model = tp.HDPModel(initial_k=2, alpha=1.0, gamma=1.0, eta=0.05, seed=seed + 1)
    for words in words_of(X):
        model.add_doc(words)
    watch = ev.Stopwatch()
    with watch:
        model.train(sweeps, **ONE)
    live = [k for k in range(model.k) if model.is_live_topic(k)]
    seen = np.array([int(w) for w in model.used_vocabs])
    topics = np.full((len(live), X.shape[1]), model.eta)
    for i, k in enumerate(live):
        topics[i, seen] = model.get_topic_word_dist(k, normalize=False)
    shares = np.array([model.get_count_by_topics()[k] for k in live], float)
    alpha = model.alpha * shares / shares.sum()
    return {
        "perplexity": ev.perplexity(topics, obs, score, alpha),
        "n_topics": len(live),
        "cpu": watch.cpu,
    }


if __name__ == "__main__":
    ev.main(fit)
