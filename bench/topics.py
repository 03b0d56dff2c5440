"""The benchmarks of topic models beyond LDA: measurements and tables."""

import harness as h
import topics_correlated
import topics_discrete
import topics_dynamic
import topics_neural

__all__ = ["PARTS", "extra_tables", "plot", "run"]

PEERS = ["tomotopy", "gensim"]
PARTS = topics_correlated.PARTS | topics_discrete.PARTS | topics_dynamic.PARTS | topics_neural.PARTS


def extra_tables(result):
    return ""


def plot(result, path):
    raise SystemExit("--plot is for lda, stochastic and generic")


def run(only, quick, repeats=None, corpora=None):
    """Measure the named parts (all by default); return the result as plain data."""
    session = h.Session("topics", "", quick, repeats, corpora or ["ap", "news20", "sotu"])
    return session.run(PARTS, only, PEERS)
