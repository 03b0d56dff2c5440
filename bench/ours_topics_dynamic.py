"""fastvi's side of the benchmarks of dynamic topics."""

import time

import dynamic_problem as problem
import evaluation as ev
import numpy as np

from fastvi import DynamicTopicModel, LatentDirichletAllocation


def model(k, seed, **options):
    return DynamicTopicModel(k, random_state=seed, **options)


def completion(k=20, seed=0, drift=False):
    """Document completion on the fixed split, in nats per word, and that of static topics."""
    X, years, obs, score, test_years = problem.sotu()
    found = model(k, seed, drift=drift).fit(X, years)
    return {
        "score": found.document_completion(obs, test_years, score),
        "static": static(k, seed, X).document_completion(obs, score),
        "seconds": found.history_["seconds"].tolist(),
    }


def static(k, seed, X):
    """Static topics with learned priors, after 100 passes."""
    learned = {"learn_doc_topic_prior": True, "learn_topic_word_prior": True}
    lda = LatentDirichletAllocation(k, random_state=seed, max_iter=100, **learned)
    return lda.fit(X)


def forecasts(k=20, seed=0, years=problem.FORECAST_YEARS):
    """Scores of years by topics of the years before them, nats per word: dynamic and static."""
    totals = {"dynamic": 0.0, "static": 0.0}
    n_words = 0.0
    for year in years:
        X, before, obs, score = problem.year_after(year)
        found = model(k, seed, drift=True).fit(X, before)
        n = float(score.sum())
        at = np.full(obs.shape[0], year)
        totals["dynamic"] += n * found.document_completion(obs, at, score)
        totals["static"] += n * static(k, seed, X).document_completion(obs, score)
        n_words += n
    return {name: total / n_words for name, total in totals.items()}


def iteration(k=20, width=10.0, n_words=None, iterations=20):
    """CPU seconds per iteration, without the static topics and the first ones."""
    X, years = problem.sotu()[:2]
    X = problem.cut(X, n_words)
    seen = []
    found = model(k, 0, slices=float(width), max_iter=iterations, tol=0.0)
    found.fit(X, years, callback=lambda state: seen.append(time.process_time()) and False)
    steps = seen[::2]  # it is called after steps and after passes
    return {"cpu": float(np.median(np.diff(steps)[2:])), "n_slices": len(found.slice_times_)}


if __name__ == "__main__":
    ev.main(completion, forecasts, iteration)
