"""Supervised topics against latent Dirichlet allocation followed by a regression on its topics.

``python bench/topics_supervised.py`` prints CPU seconds and held-out scores: accuracy and mean log
probability of newsgroups, and R^2 of the years of speeches.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from evaluation import data_folder
from sklearn.linear_model import LogisticRegression, RidgeCV

import fastvi


def counts(name: str) -> tuple[Any, Any]:
    """Counts, and the archive with labels or years."""
    archive = np.load(data_folder() / f"{name}.npz")
    parts = (archive["data"].astype(np.float32), archive["indices"], archive["indptr"])
    return sp.csr_matrix(parts, shape=tuple(archive["shape"])), archive


def splits(n_rows: int, n_train: int, n_test: int, seed: int) -> tuple[Any, Any]:
    order = np.random.default_rng(seed).permutation(n_rows)
    return order[:n_train], order[n_train : n_train + n_test]


def allocation(n_topics: int, X: Any, seed: int) -> Any:
    lda = fastvi.LatentDirichletAllocation(
        n_topics, learn_doc_topic_prior=True, learn_topic_word_prior=True, random_state=seed
    )
    return lda.fit(X)


def newsgroups(n_topics: int, n_train: int = 4000, n_test: int = 2000, seed: int = 0) -> Iterator:
    """Yield rows (model, CPU seconds, accuracy, mean log probability)."""
    X, archive = counts("news20")
    labels = archive["label"]
    train, test = splits(X.shape[0], n_train, n_test, seed)
    begin = time.process_time()
    lda = allocation(n_topics, X[train], seed)
    shares = lda.transform(X[train])
    fits = [LogisticRegression(C=c, max_iter=300).fit(shares, labels[train]) for c in (1, 10, 100)]
    seconds, new = time.process_time() - begin, lda.transform(X[test])
    found = [(f.score(new, labels[test]), mean_log(f, new, labels[test])) for f in fits]
    yield "LDA, logistic regression", seconds, *np.max(found, axis=0)
    for weight in (1.0, None):
        begin = time.process_time()
        model = fastvi.TopicClassifier(n_topics, response_weight=weight, random_state=seed)
        model.fit(X[train], labels[train])
        seconds = time.process_time() - begin
        scores = model.score(X[test], labels[test]), mean_log(model, X[test], labels[test])
        yield f"TopicClassifier, weight {weight}", seconds, *scores


def mean_log(model: Any, X: Any, labels: Any) -> float:
    logs = model.predict_log_proba(X)
    return float(logs[np.arange(len(labels)), np.searchsorted(model.classes_, labels)].mean())


def years(n_topics: int, n_train: int = 1000, n_test: int = 205, seed: int = 0) -> Iterator:
    """Yield rows (model, CPU seconds, R^2, root mean squared error)."""
    X, archive = counts("sotu")
    y = archive["year"].astype(float)
    train, test = splits(X.shape[0], n_train, n_test, seed)
    begin = time.process_time()
    lda = allocation(n_topics, X[train], seed)
    ridge = RidgeCV(np.logspace(-4, 1, 11)).fit(lda.transform(X[train]), y[train])
    seconds = time.process_time() - begin
    predicted = ridge.predict(lda.transform(X[test]))
    yield "LDA, ridge regression", seconds, *errors(y[test], predicted)
    for weight in (1.0, None):
        begin = time.process_time()
        model = fastvi.TopicRegressor(n_topics, response_weight=weight, random_state=seed)
        model.fit(X[train], y[train])
        seconds = time.process_time() - begin
        yield f"TopicRegressor, weight {weight}", seconds, *errors(y[test], model.predict(X[test]))


def errors(y: Any, predicted: Any) -> tuple[float, float]:
    rest = float(np.square(y - predicted).mean())
    return 1 - rest / float(y.var()), rest**0.5


def main() -> None:
    seeds = [int(seed) for seed in sys.argv[1:]] or [0]
    for compare, numbers in ((newsgroups, (10, 20, 50)), (years, (5, 10, 20))):
        for n_topics in numbers:
            found = [list(compare(n_topics, seed=seed)) for seed in seeds]
            for rows in zip(*found):
                values = np.mean([row[1:] for row in rows], axis=0)
                print(
                    f"{compare.__name__:<11} K={n_topics:<3} {rows[0][0]:<28} {values[0]:>6.1f} s "
                    f"{values[1]:>7.3f} {values[2]:>8.3f}", flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
