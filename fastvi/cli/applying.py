"""Commands that use a fitted model: ``fastvi topics``, ``transform`` and ``score``."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.archive import replacing
from fastvi.base.bags import bags_of_words
from fastvi.base.typing import AnyArray, JsonObject
from fastvi.cli.options import check_outputs, reading_options, threads
from fastvi.cli.report import print_topics, topics_as_dicts
from fastvi.corpus.documents import Corpus
from fastvi.corpus.options import TEXT_FORMATS, Options
from fastvi.corpus.reading import align, read, resolve, without_other_formats
from fastvi.corpus.splitting import halves
from fastvi.models.topics.fitted import TopicModel

__all__ = ["score", "show_topics", "transform"]


def show_topics(options: argparse.Namespace) -> None:
    """Print or plot the topics of a model."""
    checks.integer(options.top_words, "--top-words", 1)
    check_outputs(options)
    model = TopicModel.load(options.model)
    if options.plot:
        from fastvi.plots import plot_topics

        plot_topics(model, options.plot)
    if options.json:
        print(json.dumps({"topics": topics_as_dicts(model, options.top_words)}))
    else:
        print_topics(model, options.top_words)


def _documents_for(model: TopicModel, options: argparse.Namespace) -> Corpus:
    """Return documents in the columns of the model, read like those of its fit."""
    kept = _kept(model, options.model)
    if options.format is None:
        kept = without_other_formats(options.paths, kept)
    reading = kept | reading_options(options)
    _, kind = resolve(options.paths, Options(**reading))
    words = model.vocabulary
    if kind in TEXT_FORMATS and options.vocabulary is None:
        if words is None:
            raise ValueError(
                f"{options.model}: a model without a vocabulary cannot take texts; give "
                "--vocabulary FILE, or counts"
            )
        return read(options.paths, **reading | {"vocabulary": words})
    if words is not None and options.vocabulary is None:
        reading |= {"min_df": 1, "max_df": 1.0, "stop_words": None}
    corpus = read(options.paths, **reading)
    if words is not None and corpus.vocabulary is not None:
        return align(corpus, words)
    _check_columns_of(corpus, model, kind, options.model)
    if corpus.n_words < len(model.table):
        corpus.counts.resize(corpus.n_documents, len(model.table))
    return corpus


def _kept(model: TopicModel, path: str) -> JsonObject:
    """Return how the corpus of the model's fit was read."""
    reading = model.info.get("reading", {})
    try:
        Options(**reading)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its reading options are damaged ({error})") from None
    return dict(reading)


def _check_columns_of(corpus: Corpus, model: TopicModel, kind: str, path: str) -> None:
    """Refuse columns that are matched by number if the numbers differ in meaning."""
    n_words = len(model.table)
    if corpus.n_words > n_words:
        raise ValueError(
            f"the corpus has {corpus.n_words} words and the model {n_words}: "
            "they do not share a vocabulary"
        )
    was_counts = "token_pattern" not in model.info.get("reading", {})
    same_width = corpus.n_words == n_words and kind not in ("ldac", "svmlight")
    if was_counts and model.info.get("pruned") and not same_width:
        raise ValueError(
            f"{path}: its words are some of the columns of its corpus, and columns without words "
            "cannot be matched with them; give --vocabulary FILE"
        )


def transform(options: argparse.Namespace) -> None:
    """Write the topic proportions of documents."""
    check_outputs(options)
    if options.output and not options.output.endswith((".npz", ".csv", ".csv.gz")):
        raise ValueError(f"--output {options.output}: wanted a name in .npz, .csv or .csv.gz")
    model = TopicModel.load(options.model)
    corpus = _documents_for(model, options)
    bags = bags_of_words(corpus.counts, dtype=model.table.dtype)
    gamma = model.topics.infer(*bags.parts, n_threads=threads(options))
    theta = gamma[:, : model.n_topics] / gamma.sum(axis=1, keepdims=True)
    print(f"{corpus.description}; {corpus.n_empty} empty", file=sys.stderr)
    names = corpus.names or [str(d) for d in range(len(theta))]
    _write_proportions(options.output, names, theta)


def _write_proportions(path: str | None, names: list[str], theta: AnyArray) -> None:
    if path is None:
        _write_csv(sys.stdout, names, theta)
        return
    with replacing(path) as temporary:
        if path.endswith(".npz"):
            with open(temporary, "wb") as file:
                np.savez(file, topic_proportions=theta, names=np.array(names, dtype=np.str_))
        else:
            opener: Any = gzip.open if path.endswith(".gz") else open
            with opener(temporary, "wt", encoding="utf-8", newline="") as file:
                _write_csv(file, names, theta)


def _write_csv(file: Any, names: list[str], theta: AnyArray) -> None:
    import csv

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["document", *(f"topic_{k}" for k in range(theta.shape[1]))])
    for name, row in zip(names, theta.tolist()):
        writer.writerow([name, *(f"{p:.6g}" for p in row)])


def score(options: argparse.Namespace) -> None:
    """Print how well a model predicts documents."""
    model = TopicModel.load(options.model)
    checks.integer(options.seed, "--seed", 0)
    corpus = _documents_for(model, options)
    n_threads = threads(options)
    parts = [
        bags_of_words(half, dtype=model.table.dtype)
        for half in halves(corpus.counts, np.random.default_rng(options.seed))
    ]
    n_scored = float(parts[1].counts.sum(dtype=np.float64))
    if not n_scored > 0:
        raise ValueError("no document has two words that the model knows; nothing to score")
    completion = model.topics.completion(parts[0].parts, parts[1].parts, n_threads)
    whole = bags_of_words(corpus.counts, dtype=model.table.dtype)
    bound = model.documents_bound(whole.parts, n_threads) / corpus.n_tokens
    result = {
        "n_documents": corpus.n_documents,
        "n_empty": corpus.n_empty,
        "n_scored_words": n_scored,
        "document_completion": completion,
        "document_completion_perplexity": float(np.exp(-completion)),
        "variational_bound": bound,
        "variational_bound_perplexity": float(np.exp(-bound)),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"documents                        {corpus.n_documents:>12,} ({corpus.n_empty} empty)")
    for name, value in (("document completion", completion), ("variational bound", bound)):
        print(f"{name + ', nats/word':<32} {value:>12.4f}  perplexity {np.exp(-value):.1f}")
