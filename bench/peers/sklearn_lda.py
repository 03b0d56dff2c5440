"""scikit-learn's LatentDirichletAllocation, online and batch, n_jobs=1."""

import evaluation as ev
import numpy as np
import sklearn
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.decomposition._lda import _update_doc_distribution

Hooked = ev.hooked(LatentDirichletAllocation, "_em_step")  # a mini-batch when online


def model_of(k, seed, cls=LatentDirichletAllocation, **options):
    return cls(
        n_components=k,
        doc_topic_prior=1 / k,
        topic_word_prior=1 / k,
        random_state=seed,
        n_jobs=1,
        **options,
    )


def curve(corpus, k, seed=0, passes=(1, 2, 5, 10), method="online", dtype="float64"):
    """Scikit-learn has no learned priors; its final bound after the fit is not counted."""
    X, obs, score = ev.load(corpus, seed)
    X = X.astype(dtype)
    out = ev.Curve(obs, score)
    model = model_of(k, seed, Hooked, learning_method=method, max_iter=max(passes))
    a_pass = -(-X.shape[0] // model.batch_size) if method == "online" else 1
    steps = 0

    def after_step():
        nonlocal steps
        steps += 1
        if steps % a_pass == 0 and steps // a_pass in passes:
            out.watch.__exit__()
            out.add(steps // a_pass, model.components_)
            out.watch.__enter__()

    model.hook = after_step
    with out.watch:
        model.fit(X)
    return {"points": out.points, "unit": "passes", "version": sklearn.__version__}


def fitted_topics(corpus, k, path):
    """One online pass: the topic-word parameters every word-update benchmark starts from."""
    X, _, _ = ev.load(corpus)
    lam = model_of(k, 0, learning_method="online", max_iter=1).fit(X).components_
    np.save(path, lam.astype(np.float32))


def updates(corpus, k, iterations, dtype="float32"):
    """Word-updates per CPU second at a fixed number of inner iterations, statistics included."""
    X, expElogbeta = ev.update_problem(corpus, k)
    X, eb = X.astype(dtype), expElogbeta.astype(dtype)
    rng = np.random.RandomState(0)

    def run(part):
        _update_doc_distribution(part, eb, 1 / k, iterations, 0.0, True, rng)

    return ev.updates_rate(run, X, iterations)


def infer(corpus, k, seed=0, dtype="float32"):
    """`transform` of the observed halves: documents per CPU second, and their scores."""
    X, obs, score = ev.load(corpus, seed)
    model = model_of(k, seed, learning_method="online", max_iter=2).fit(X.astype(dtype))
    new = obs.astype(dtype)
    model.transform(new[:10])
    theta, watch = ev.timed(lambda: model.transform(new))
    return ev.inference(watch, theta, ev.normalised(model.components_), obs, score)


if __name__ == "__main__":
    ev.main(curve, fitted_topics, updates, infer)
