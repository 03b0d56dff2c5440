"""gensim's LdaModel on a single core."""

import evaluation as ev
import gensim
import numpy as np
from gensim.models import LdaModel


def bags(X):
    """Every document as a list of (word, count), the form gensim takes."""
    return [
        list(zip(X.indices[a:b].tolist(), X.data[a:b].tolist()))
        for a, b in zip(X.indptr[:-1], X.indptr[1:])
    ]


def model_of(X, k, seed, **options):
    return LdaModel(
        id2word={w: str(w) for w in range(X.shape[1])},
        num_topics=k,
        eval_every=None,
        random_state=seed,
        **{"alpha": 1 / k, "eta": 1 / k, **options},
    )


def curve(corpus, k, seed=0, passes=(1, 2, 5, 10), learn=False, chunksize=None):
    X, obs, score = ev.load(corpus, seed)
    documents = bags(X)
    out = ev.Curve(obs, score)
    chunksize = chunksize or min(2000, -(-X.shape[0] // 2))
    a_pass = -(-X.shape[0] // chunksize)
    steps = 0
    base = LdaModel.do_mstep

    def do_mstep(model, *args, **kwargs):
        nonlocal steps
        base(model, *args, **kwargs)
        steps += 1
        if steps % a_pass == 0 and steps // a_pass in passes:
            out.watch.__exit__()
            out.add(steps // a_pass, model.state.get_lambda(), model.alpha if learn else None)
            out.watch.__enter__()

    LdaModel.do_mstep = do_mstep
    priors = {"alpha": "auto", "eta": "auto"} if learn else {}
    with out.watch:
        model = model_of(X, k, seed, chunksize=chunksize, passes=max(passes), **priors)
        model.update(documents)
    return {"points": out.points, "unit": "passes", "version": gensim.__version__}


def updates(corpus, k, iterations):
    """Word-updates per CPU second of `inference` at a fixed number of inner iterations."""
    X, expElogbeta = ev.update_problem(corpus, k)
    model = model_of(X, k, 0, iterations=iterations, gamma_threshold=-1.0)
    model.expElogbeta = expElogbeta.astype(model.dtype)

    def run(documents):
        model.inference(documents, collect_sstats=True)

    return ev.updates_rate(run, X, iterations, bags)


def infer(corpus, k, seed=0):
    """`inference` of the observed halves: documents per CPU second, and their scores."""
    X, obs, score = ev.load(corpus, seed)
    model = model_of(X, k, seed)
    model.update(bags(X))
    new = bags(obs)
    (gamma, _), watch = ev.timed(lambda: model.inference(new))
    topics = ev.normalised(model.state.get_lambda())
    theta = np.asarray(gamma, dtype=np.float64)
    theta /= theta.sum(axis=1, keepdims=True)
    return ev.inference(watch, theta, topics, obs, score)


if __name__ == "__main__":
    ev.main(curve, updates, infer)
