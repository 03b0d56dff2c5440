"""State of the Union addresses with their years, for the benchmarks of dynamic topics."""

import evaluation as ev
import numpy as np
import scipy.sparse as sp

FORECAST_YEARS = (1960, 1966, 1972, 1978, 1984, 1990, 1994, 1998, 2002, 2004, 2006)


def sotu():
    """Training documents and years, observed and scored halves of test documents, their years."""
    with np.load(ev.data_folder() / "sotu.npz") as f:
        X = sp.csr_matrix((f["data"], f["indices"], f["indptr"]), shape=tuple(f["shape"]))
        year = f["year"].astype(int)
    with np.load(ev.data_folder() / "sotu_split.npz") as f:
        train, test = f["train_idx"], f["test_idx"]
        obs, score = (
            sp.csr_matrix(
                (f[h + "_data"], f[h + "_indices"], f[h + "_indptr"]),
                shape=(len(test), X.shape[1]),
            )
            for h in ("obs", "score")
        )
    return X[train].tocsr(), year[train], obs, score, year[test]


def year_after(year):
    """Training documents before a year, their years, and random halves of those of the year."""
    X, years = sotu()[:2]
    rng = np.random.default_rng(year)
    obs = X[years == year]
    score = obs.copy()
    obs.data = rng.binomial(obs.data.astype(int), 0.5).astype(obs.data.dtype)
    score.data = score.data - obs.data
    for half in (obs, score):
        half.eliminate_zeros()
    return X[years < year], years[years < year], obs, score


def cut(X, n_words):
    """The most frequent words alone."""
    if n_words is None:
        return X
    frequent = np.argsort(-np.asarray(X.sum(axis=0)).ravel(), kind="stable")[:n_words]
    return X[:, np.sort(frequent)].tocsr()
