"""fastvi's side of `python bench/run.py topics`: structured SVI and the Dirichlet process."""

import time

import evaluation as ev
import numpy as np

from fastvi import HierarchicalDirichletProcess, LatentDirichletAllocation


def timed(model, corpus, seed, passes):
    """Fit after a first fit that compiles: the model, its score in nats per word, CPU seconds."""
    X, obs, score = ev.load(corpus, seed)
    X = X.astype(np.float32)
    type(model)(**(model.get_params() | {"max_iter": 1})).fit(X[:300])
    begin = time.process_time()
    model.fit(X)
    cpu = time.process_time() - begin
    found = {"score": model.document_completion(obs, score), "cpu": cpu}
    return found | {"speed": passes * X.shape[0] / cpu}


def svi(k, seed=0, passes=10, structured=False, corpus="ap"):
    """Mini-batches of 128 documents, rates (16 + t) ** -0.7, alpha = eta = 1 / K."""
    model = LatentDirichletAllocation(
        k,
        solver="svi",
        structured=structured,
        batch_size=128,
        learning_offset=16.0,
        max_iter=passes,
        random_state=seed,
    )
    return timed(model, corpus, seed, passes)


def hdp(seed=0, corpus="ap", passes=20, n_topics=150):
    """The defaults."""
    model = HierarchicalDirichletProcess(n_topics, max_iter=passes, random_state=seed)
    return timed(model, corpus, seed, passes) | {"n_topics": model.n_topics_}


if __name__ == "__main__":
    ev.main(svi, hdp)
