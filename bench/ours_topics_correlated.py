"""fastvi's side of the benchmarks of correlated topics."""

import time

import evaluation as ev
import numpy as np

from fastvi import CorrelatedTopicModel, LatentDirichletAllocation

LABELLED = 5000  # training documents of news20 with their labels


def observed(obs, n, seed=0):
    """At most n random tokens of each document of a CSR matrix."""
    rng, out = np.random.default_rng(seed), obs.copy()
    for a, b in zip(out.indptr[:-1], out.indptr[1:]):
        counts = out.data[a:b].astype(np.int64)
        if counts.sum() > n:
            out.data[a:b] = rng.multivariate_hypergeometric(counts, n)
    out.eliminate_zeros()
    return out


def warm_up(**options):
    tiny = np.random.default_rng(0).poisson(1.0, (20, 30))
    CorrelatedTopicModel(2, max_iter=2, **options).fit(tiny, X_val=tiny).transform(tiny)


def sweeps(corpus, k, n=25, solver="laplace", n_jobs=1):
    """CPU and wall seconds of the sweeps of a fit but the first."""
    warm_up(solver=solver)
    X, _, _ = ev.load(corpus)
    marks = []

    def look(state):
        if state.step == 0:
            marks.append((time.process_time(), time.perf_counter()))

    model = CorrelatedTopicModel(k, solver=solver, max_iter=n, tol=0, random_state=0, n_jobs=n_jobs)
    model.fit(X, callback=look)
    cpu, wall = np.diff(np.array(marks), axis=0).T
    return {"seconds": cpu.tolist(), "wall": wall.tolist()}


def curve(corpus, k, seed=0, solver="laplace", max_iter=20):
    """Perplexity after each sweep by CPU seconds, the start by CVB0 included."""
    warm_up(solver=solver)
    X, obs, score = ev.load(corpus, seed)
    began, spent = time.process_time(), [0.0]
    points = []

    def look(state):
        if state.step:
            return
        now = time.process_time() - spent[0]
        topics = state.params.table[:, :k].T
        value = ev.perplexity(topics, obs, score, share(state.params))
        points.append({"passes": state.epoch, "cpu": now - began, "perplexity": value})
        spent[0] = time.process_time() - now

    model = CorrelatedTopicModel(k, solver=solver, max_iter=max_iter, tol=0, random_state=seed)
    model.fit(X, callback=look)
    return {"points": points, "unit": "sweeps"}


def share(params):
    """Twice the topics' shares, as a Dirichlet prior: the same for the peer."""
    table = params.table[:, : len(params.covariance)].sum(axis=0, dtype=np.float64)
    return 2 * table / table.sum()


def held_out(corpus, k, seed=0, solver="laplace", tokens=10):
    """Scores in nats per word with few observed tokens and with whole halves, and those of LDA."""
    X, obs, score = ev.load(corpus, seed)
    few = observed(obs, tokens)
    ours = CorrelatedTopicModel(k, solver=solver, random_state=seed).fit(X)
    lda = LatentDirichletAllocation(
        k, solver="cvb0", max_iter=50, random_state=seed,
        learn_doc_topic_prior=True, learn_topic_word_prior=True,
    ).fit(X)  # fmt: skip
    return {
        name: [model.document_completion(part, score) for part in (few, obs)]
        for name, model in (("ours", ours), ("lda", lda))
    }


def covariates(k=50, seed=0, solver="laplace", tokens=(0, 3, 10)):
    """Gain over LDA in nats per word from news20's labels, for so many observed tokens."""
    with np.load(ev.data_folder() / "news20.npz") as f:
        labels = f["label"].astype(np.str_)
        counts = ev.sp.csr_matrix((f["data"], f["indices"], f["indptr"]), shape=tuple(f["shape"]))
    with np.load(ev.data_folder() / "news20_split.npz") as f:
        train, test = f["train_idx"], f["test_idx"]
    _, obs, score = ev.load("news20", seed)
    chosen = np.random.default_rng(seed).permutation(train)[:LABELLED]
    X = counts[chosen]
    ours = CorrelatedTopicModel(k, solver=solver, random_state=seed)
    ours.fit(X, covariates={"label": labels[chosen]})
    lda = LatentDirichletAllocation(
        k, solver="cvb0", max_iter=50, random_state=seed,
        learn_doc_topic_prior=True, learn_topic_word_prior=True,
    ).fit(X)  # fmt: skip
    gains = {}
    for n in tokens:
        part = observed(obs, n)
        known = {"label": labels[test]}
        gains[str(n)] = ours.document_completion(
            part, score, covariates=known
        ) - lda.document_completion(part, score)
    return gains


if __name__ == "__main__":
    ev.main(sweeps, curve, held_out, covariates)
